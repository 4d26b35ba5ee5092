"""The routers of a lab as one process.

In, on standard input: a line of JSON with all routers, and another whenever that changes. Out, on standard output:
lines of JSON with changes of neighbours, notices and counts of routes. It ends with its input, leaving routes as they
are for its successor; on SIGTERM it takes leave of its neighbours first.
"""

import asyncio
import contextlib
import gc
import json
import logging
import signal
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from weft.core.errors import WeftError
from weft.network.routing.daemon.assembly import assemble, redistribution, static_routes
from weft.network.routing.daemon.driver import RouterHost
from weft.network.routing.daemon.plan import Circuit, Plan, plan
from weft.network.routing.protocol import NeighborChanged, Notice

logger = logging.getLogger(__name__)
Object = dict[str, Any]
_COUNT_SECONDS = 0.25
_REPAIR_SECONDS = 10.0


class Routers:
    """Keeps running what the last line said."""

    def __init__(self) -> None:
        self._host = RouterHost(self._hear)
        self._entries: dict[str, Object] = {}
        self._counts: dict[str, int] = {}

    def follow(self, wanted: list[Object]) -> None:
        """Starts, stops and replaces routers; one that did not change goes on undisturbed."""
        entries = {entry["name"]: entry for entry in wanted}
        for name, entry in list(self._entries.items()):
            new = entries.get(name)
            if new == entry or (new is not None and self._announce(name, entry, new)):
                continue
            self._host.remove(name)
            del self._entries[name]
            self._counts.pop(name, None)
        for name, entry in entries.items():
            if name in self._entries:
                continue
            try:
                self._start(name, entry)
                self._entries[name] = entry
            except (WeftError, OSError) as error:
                tell({"router": name, "error": str(error)})

    def _announce(self, name: str, old: Object, new: Object) -> bool:
        """Where only policies are others, the router goes on by these; by the old ones where they are wrong."""
        if {**old, "policies": None} != {**new, "policies": None}:
            return False
        try:
            self._host.routers[name].set_redistribution(redistribution(_plan(new)))
            self._entries[name] = new
        except WeftError as error:
            tell({"router": name, "error": str(error)})
        return True

    def _start(self, name: str, entry: Object) -> None:
        made = _plan(entry)
        driver = self._host.add(name, Path(entry["namespace"]), assemble(made))
        if "neighbors" in entry:
            for each in entry["neighbors"]:
                driver.watch(each["interface"], ip_address(each["address"]))
        else:
            driver.set_static(static_routes(made))

    def _hear(self, name: str, action: NeighborChanged | Notice) -> None:
        if isinstance(action, Notice):
            tell({"router": name, "interface": action.interface, "notice": action.text})
            return
        tell(
            {
                "router": name,
                "protocol": action.protocol,
                "interface": action.interface,
                "address": str(action.address),
                "routerID": str(action.router_id) if action.router_id is not None else "",
                "state": action.state,
                "gone": action.gone,
            }
        )

    async def repair(self) -> None:
        while True:
            await asyncio.sleep(_REPAIR_SECONDS)
            self._host.repair()

    async def count(self) -> None:
        """Tells of the number of routes where it is another than before."""
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            for name, driver in self._host.routers.items():
                if "neighbors" in self._entries.get(name, ()):
                    continue
                count = len(driver.router.routes)
                if self._counts.get(name) != count:
                    self._counts[name] = count
                    tell({"router": name, "routes": count})

    def close(self, *, farewell: bool) -> None:
        self._host.close(farewell=farewell)


def _plan(entry: Object) -> Plan:
    return plan(entry["spec"], [Circuit(**circuit) for circuit in entry["circuits"]], entry.get("policies"))


def tell(obj: Object) -> None:
    """To whoever started us; it may be gone."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(obj) + "\n")
        sys.stdout.flush()


async def run() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    routers = Routers()
    stopped: asyncio.Future[bool] = loop.create_future()

    def stop(farewell: bool) -> None:
        if not stopped.done():
            stopped.set_result(farewell)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, True)

    async def follow() -> None:
        while line := await reader.readline():
            try:
                routers.follow(json.loads(line)["routers"])
                gc.freeze()
            except (ValueError, KeyError, TypeError) as error:
                tell({"error": f"cannot follow a line of configuration: {error!r}"})
        stop(False)

    tasks = [asyncio.create_task(follow()), asyncio.create_task(routers.count()), asyncio.create_task(routers.repair())]
    farewell = await stopped
    for task in tasks:
        task.cancel()
    routers.close(farewell=farewell)


def main() -> None:
    import uvloop

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    uvloop.run(run())
