"""The routes that routers of a lab have found by their own protocols, as the kernel has them.

In: a `LabView`; it needs root, to enter the routers' namespaces. Out: a table for each router that speaks OSPF or RIP,
which `LabView.ways` follows, and how tables change in time. Who is next: `weft lab path`, `cut` and `restore`.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from weft.cli.lab_view import Found, LabView
from weft.core.errors import WeftError

_POLL_SECONDS = 0.03
QUIET_SECONDS = 1.5
_LONGEST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Changes:
    """How many tables are another than before, and how long the last of the changes took."""

    tables: int
    seconds: float
    rests: bool

    def __str__(self) -> str:
        text = f"the routes of {self.tables} routers are others"
        if self.tables:
            text += f", the last after {self.seconds * 1000:.0f} ms"
        return f"{text}; " + (f"nothing changed in {QUIET_SECONDS:g} s since" if self.rests else "they still change")


def speakers(view: LabView) -> list[str]:
    """The routers whose routes do not come from the controller."""
    return sorted(
        obj["spec"]["node"]
        for (kind, _), obj in view.parts.items()
        if kind == "Router" and obj["spec"].get("routing") in ("ospf", "rip")
    )


def read_tables(view: LabView) -> dict[str, Found]:
    """Raises UnavailableError for a router without a namespace."""
    return {name: _read(view, name) for name in speakers(view)}


def _read(view: LabView, name: str) -> Found:
    from weft.network.southbound.netlink import Netlink

    with Netlink(view.namespace(name)) as opened:
        names = {link.index: link.name for link in opened.links().values()}
        routes = opened.routes()
    found: dict[IPv4Network, tuple[tuple[str, str], ...]] = {}
    for route in sorted(routes, key=lambda route: route.metric):  # of several for one destination the lowest counts
        if isinstance(route.destination, IPv4Network):
            hops = [(str(hop.gateway or ""), names.get(hop.index, "")) for hop in route.next_hops]
            found.setdefault(route.destination, tuple(sorted(hops)))
    return found


async def follow(view: LabView, before: Mapping[str, Found], began: float) -> Changes:
    """Until nothing has changed for a while."""
    tables, last = dict(before), began
    while True:
        now = time.monotonic()
        try:
            present = await asyncio.to_thread(read_tables, view)
        except (WeftError, OSError):
            present = tables  # a node that is just being made anew
        if present != tables:
            tables, last = present, now
        rests = now - last > QUIET_SECONDS
        if rests or now - began > _LONGEST_SECONDS:
            return Changes(sum(tables[name] != before.get(name) for name in tables), last - began, rests)
        await asyncio.sleep(_POLL_SECONDS)
