"""What FRR and BIRD say of their neighbours and routes, in the words that our own protocols use.

In: answers of their control sockets. Out: `Seen`. Answers that are not as expected give what could be read of them:
versions differ, and a status must not end for it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

_NO_ROUTES = ("connected", "kernel", "local")
_BFD_STATES = {"up": "Up", "down": "Down", "init": "Init", "shutdown": "AdminDown"}
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True, order=True)
class Neighbor:
    protocol: Literal["ospf", "rip", "bfd"]
    interface: str
    address: str
    state: str
    router_id: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """`routes` is the number of those that are used and were found by a protocol, or None."""

    neighbors: tuple[Neighbor, ...] = ()
    routes: int | None = None


def frr(ospf: str = "", bfd: str = "", rip: str = "", summary: str = "") -> Seen:
    """`show ip ospf neighbor json`, `show bfd peers json`, `show ip route rip json`, `show ip route summary json`.

    FRR tells RIP's neighbours without their interfaces, so they are taken from the routes that come by them.
    """
    found: set[Neighbor] = set()
    for router, entries in _object(_json(ospf).get("neighbors")).items():
        for each in _objects(entries):
            state = str(each.get("nbrState") or each.get("state") or "").partition("/")[0]
            interface = str(each.get("ifaceName") or "").partition(":")[0]
            found.add(Neighbor("ospf", interface, str(each.get("ifaceAddress") or ""), state, router))
    for each in _objects(_json(bfd).get("")):
        state = _BFD_STATES.get(str(each.get("status")), "Down")
        found.add(Neighbor("bfd", str(each.get("interface") or ""), str(each.get("peer") or ""), state))
    for entries in _json(rip).values():
        for route in _objects(entries):
            for hop in _objects(route.get("nexthops")):
                if hop.get("ip") and hop.get("interfaceName"):
                    found.add(Neighbor("rip", hop["interfaceName"], hop["ip"], "Up"))
    counts = [
        each.get("fib", 0) for each in _objects(_json(summary).get("routes")) if each.get("type") not in _NO_ROUTES
    ]
    return Seen(tuple(sorted(each for each in found if each.interface)), sum(counts) if summary else None)


def bird(ospf: str = "", bfd: str = "", rip: str = "", count: str = "") -> Seen:
    """`show ospf neighbors`, `show bfd sessions`, `show rip neighbors`, `show route primary where ... count`."""
    found = set()
    for words in _rows(ospf, 6):
        found.add(Neighbor("ospf", words[-2], words[-1], words[2].partition("/")[0], words[0]))
    for words in _rows(bfd, 3):
        found.add(Neighbor("bfd", words[1], words[0], words[2]))
    for words in _rows(rip, 2):
        found.add(Neighbor("rip", words[1], words[0], "Up"))
    match = re.search(r"(\d+) of \d+ routes for", count)
    return Seen(tuple(sorted(found)), int(match[1]) if match else None)


def _rows(text: str, least: int) -> Iterator[list[str]]:
    """Lines that begin with an address."""
    for line in text.splitlines():
        words = line.removeprefix("0000").split()
        if len(words) >= least and _ADDRESS.fullmatch(words[0]):
            yield words


def _json(text: str) -> dict[str, Any]:
    """An object; a list stands under an empty name."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {"": found} if isinstance(found, list) else _object(found)


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
