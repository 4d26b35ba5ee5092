"""The routing daemons of a lab: one process for all of Weft's own routers, and FRR's or BIRD's where a router asks.

In: the Router and Link objects of a lab. Out: running daemons, and what they know of their neighbours, for statuses.
`entries` is pure. Daemons end with this process and are started anew by the next; kernel routes stay meanwhile.
"""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from weft.core.errors import InvalidError, WeftError
from weft.core.ids import short_hash
from weft.core.tasks import Tasks
from weft.network.routing.daemon.plan import Circuit, plan
from weft.network.routing.peers import Bird, Frr, Peer, Seen, bird, frr
from weft.network.routing.peers.frr import BfdTimers
from weft.network.topology.settings import BfdSettings

logger = logging.getLogger(__name__)
Object = dict[str, Any]
_STOP_SECONDS = 3.0
_LOOK_SECONDS = 1.0
_BESIDE = {"Router": "router", "Switch": "switch", "Host": "host"}


@dataclass(slots=True)
class Learned:
    """What a router's daemon has told: neighbours by (protocol, interface, address), the number of routes, an error."""

    neighbors: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    routes: int | None = None
    error: str = ""
    # Interfaces on which BFD has lost the neighbour of a router that the controller leads.
    silent: set[str] = field(default_factory=set)


def entries(
    nodes: dict[str, Object],
    links: list[Object],
    namespace_of: Callable[[str], Path],
    policies: Mapping[str, Object] | None = None,
) -> dict[str, Object]:
    """For each router with a protocol, all that its daemon must know: JSON. `policies` are RoutingPolicies by name."""
    found: dict[str, Object] = {}
    for name, node in nodes.items():
        if node["kind"] == "Router" and node["spec"].get("routing") in ("ospf", "rip"):
            found[name] = {
                "name": name,
                "namespace": str(namespace_of(name)),
                "daemon": node["spec"].get("daemon", "weft"),
                "spec": node["spec"],
                "circuits": [],
            }
            if asked := policies_of(node):
                there = {each: (policies or {}).get(each) for each in sorted(asked)}
                found[name]["policies"] = {
                    each: {"metadata": {"name": each}, "spec": obj["spec"]} for each, obj in there.items() if obj
                }
        elif _is_led(node):
            found[name] = {"name": name, "namespace": str(namespace_of(name)), "daemon": "weft", "spec": node["spec"],
                           "circuits": [], "neighbors": []}  # fmt: skip
    for link in sorted(links, key=lambda link: str(link["spec"]["name"])):
        ends = link["spec"]["endpoints"]
        for mine, other in ((ends[0], ends[1]), (ends[1], ends[0])):
            if mine["node"] not in found or other["node"] not in nodes:
                continue
            circuit: Object = {
                "interface": mine["interface"],
                "beside": _BESIDE[nodes[other["node"]]["kind"]],
                "cost": link["spec"].get("cost", 1),
            }
            if link["spec"].get("area"):
                circuit["area"] = link["spec"]["area"]
            if link["spec"].get("bfd") is not None:
                circuit["bfd"] = link["spec"]["bfd"]
            entry = found[mine["node"]]
            entry["circuits"].append(circuit)
            if "neighbors" in entry and _is_led(nodes[other["node"]]) and _wants_bfd(entry["spec"], link["spec"]):
                address = str(other.get("address", "")).partition("/")[0]
                entry["neighbors"].append({"interface": mine["interface"], "address": address})
    return {name: entry for name, entry in found.items() if entry.get("neighbors") != []}


def _is_led(node: Object) -> bool:
    """A router that has its routes from the controller."""
    return bool(node["kind"] == "Router" and node["spec"].get("routing", "spf") == "spf")


def _wants_bfd(router: Object, link: Object) -> bool:
    own = link.get("bfd")
    return bool(own.get("enabled", True)) if own is not None else router.get("bfd") is not None


def policies_of(node: Object) -> set[str]:
    """The RoutingPolicies that a Router names."""
    spec = node["spec"]
    own = spec.get(spec.get("routing", "")) or {}
    return {each["policy"] for each in own.get("redistribute") or [] if each.get("policy")}


class LabRouting:
    """The daemons of one lab. `changed` is called when there is something new to tell of a router, `ended` when our
    own process has ended unasked and `apply` should start it anew."""

    def __init__(self, name: str, directory: Path, changed: Callable[[], None], ended: Callable[[], None]) -> None:
        self._name = name
        self._directory = directory
        self._changed = changed
        self._ended = ended
        self._tasks = Tasks()
        self._process: asyncio.subprocess.Process | None = None
        self._led: set[str] = set()
        self._told: list[Object] | None = None
        self._peers: dict[str, tuple[Object, Peer]] = {}
        self._looking: asyncio.Task[None] | None = None
        self.learned: dict[str, Learned] = {}

    async def apply(self, wanted: dict[str, Object]) -> dict[str, str]:
        """Makes the daemons agree; errors by router."""
        for name in [name for name in self.learned if name not in wanted]:
            del self.learned[name]
        self._led = {name for name, entry in wanted.items() if "neighbors" in entry}
        errors = await self._apply_peers({k: v for k, v in wanted.items() if v["daemon"] != "weft"})
        await self._apply_own([entry for _, entry in sorted(wanted.items()) if entry["daemon"] == "weft"])
        return errors | {name: each.error for name, each in self.learned.items() if each.error}

    async def _apply_own(self, wanted: list[Object]) -> None:
        if self._process is not None and self._process.returncode is not None:
            self._process = None
        if not wanted:
            await self._stop_own()
            return
        if self._process is None:
            self._told = None
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "weft.network.routing.daemon",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=None,
            )  # fmt: skip
            self._tasks.start(f"routers of {self._name}", self._listen)
        if wanted != self._told or any(each.error for each in self.learned.values()):
            for learned in self.learned.values():
                learned.error = ""
            assert self._process.stdin is not None
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(json.dumps({"routers": wanted}).encode() + b"\n")
                await self._process.stdin.drain()
            self._told = wanted

    async def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        while line := await process.stdout.readline():
            with contextlib.suppress(ValueError):
                self._hear(json.loads(line))
        await process.wait()
        for learned in self.learned.values():
            learned.neighbors.clear()
            learned.silent.clear()
        self._changed()
        if process is self._process:
            logger.warning("the routers' process ended", extra={"lab": self._name, "code": process.returncode})
            self._ended()

    def _hear(self, said: Object) -> None:
        if "notice" in said:
            logger.info("a router says", extra={"lab": self._name, **said})
            return
        if "router" not in said:
            logger.warning("the routers' process failed", extra={"lab": self._name, **said})
            return
        learned = self.learned.setdefault(said["router"], Learned())
        if "error" in said:
            learned.error = said["error"]
        elif "routes" in said:
            learned.routes = said["routes"]
        else:
            key = (said["protocol"], said["interface"], said["address"])
            if said["gone"]:
                learned.neighbors.pop(key, None)
            else:
                before = learned.neighbors.get(key, {}).get("state")
                if said["protocol"] == "bfd" and said["state"] == "Up":
                    learned.silent.discard(said["interface"])
                elif said["protocol"] == "bfd" and before == "Up" and said["router"] in self._led:
                    learned.silent.add(said["interface"])
                learned.neighbors[key] = {
                    name: said[name] for name in ("protocol", "interface", "address", "routerID", "state") if said[name]
                }
        self._changed()

    async def _apply_peers(self, wanted: dict[str, Object]) -> dict[str, str]:
        errors: dict[str, str] = {}
        for name in [name for name in self._peers if name not in wanted]:
            await asyncio.to_thread(self._peers.pop(name)[1].stop)
        if wanted and self._looking is None:
            self._looking = self._tasks.start(f"peers of {self._name}", self._look)
        for name, entry in wanted.items():
            old, running = self._peers.get(name, (None, None))
            if running is not None and old == entry and running.is_running:
                continue
            try:
                peer = self._peer(name, entry)  # what cannot be run leaves what does
                if running is not None and old is not None:
                    if _but_policies(old) == _but_policies(entry) and running.is_running:
                        with contextlib.suppress(OSError, WeftError):
                            if await asyncio.to_thread(running.announce_as, peer):
                                self._peers[name] = (entry, running)
                                continue
                    del self._peers[name]
                    await asyncio.to_thread(running.stop)
                await asyncio.to_thread(peer.start)
                self._peers[name] = (entry, peer)
            except (WeftError, OSError) as error:
                errors[name] = str(error)
        return errors

    async def _look(self) -> None:
        """Daemons of others are asked now and then."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for name, (_, peer) in list(self._peers.items()):
                with contextlib.suppress(OSError):
                    seen = await asyncio.to_thread(peer.look)
                    if self._peers.get(name, (None, None))[1] is peer:
                        self._take(name, seen)

    def _take(self, name: str, seen: Seen) -> None:
        found: dict[tuple[str, str, str], Object] = {
            (each.protocol, each.interface, each.address): {
                "protocol": each.protocol, "interface": each.interface, "address": each.address,
                **({"routerID": each.router_id} if each.router_id else {}), "state": each.state,
            }
            for each in seen.neighbors
        }  # fmt: skip
        learned = self.learned.setdefault(name, Learned())
        if (learned.neighbors, learned.routes) != (found, seen.routes):
            learned.neighbors, learned.routes = found, seen.routes
            self._changed()

    def _peer(self, name: str, entry: Object) -> Peer:
        made = plan(entry["spec"], [Circuit(**circuit) for circuit in entry["circuits"]], entry.get("policies"))
        if made.router.loopback is None or (made.ospf is None and made.rip is None):
            raise InvalidError(f"cannot run {entry['daemon']} in {name}: it needs a loopback, and routing ospf or rip")
        bfd = _timers(made.bfd)
        bfd_on = {interface: _timers(each) for interface, each in made.bfd_on.items()}
        namespace, directory = Path(entry["namespace"]), self._directory / name
        statics = [(str(each.destination), each.via) for each in made.router.static]
        if entry["daemon"] == "bird":
            routes = [f"{prefix} {_bird_way(via)}" for prefix, via in statics]
            return Bird(
                namespace,
                directory,
                bird.configuration(made.router.loopback, made.ospf, bfd, routes, made.rip, made.announced, bfd_on),
            )
        routes = [f"ip route {prefix} {via if via is not None else 'Null0'}" for prefix, via in statics]
        text = frr.configuration(name, made.ospf, bfd, routes, made.rip, made.announced, bfd_on)
        return Frr(namespace, directory, f"weft-{short_hash(str(namespace), 10)}", text)

    async def _stop_own(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def close(self, *, leave: bool) -> None:
        """Ends all daemons. With `leave` the lab stays: its kernel routes are left for who comes next."""
        if leave and (process := self._process) is not None and process.stdin is not None:
            self._process = None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        await self._stop_own()
        for _, peer in self._peers.values():
            await asyncio.to_thread(peer.kill if leave else peer.stop)
        self._peers.clear()
        await self._tasks.close()
        self._looking = None


def _but_policies(entry: Object) -> Object:
    return {**entry, "policies": None}


def _timers(settings: BfdSettings | None) -> BfdTimers | None:
    return BfdTimers(round(settings.interval * 1000), settings.multiplier) if settings is not None else None


def _bird_way(via: IPv4Address | None) -> str:
    return f"via {via}" if via is not None else "blackhole"


def status(learned: Learned | None, loopback: str) -> Object:
    """What the Router's status says of its protocols."""
    if learned is None:
        return {}
    neighbors = [learned.neighbors[key] for key in sorted(learned.neighbors)]
    found: Object = {"routerID": loopback.partition("/")[0], "neighbors": neighbors}
    if learned.routes is not None:
        found["routes"] = learned.routes
    if learned.error:
        found |= {"phase": "Failed", "message": learned.error}
    return found


__all__ = ["LabRouting", "Learned", "entries", "policies_of", "status"]
