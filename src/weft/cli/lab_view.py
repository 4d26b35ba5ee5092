"""What `weft lab` knows of a lab: its objects as the API has them at one moment, and questions about them.

In: a client. Out: nodes, addresses, links, the state of the whole, and the ways that packets take by the route tables.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_interface
from pathlib import Path

from weft.api.gvr import TOPOLOGIES
from weft.client.base import Client, Object
from weft.controllers.network import Parts, link_states, plan, summarize
from weft.core.errors import NotFoundError, UnavailableError, WeftError
from weft.network.controller import decide
from weft.network.dataplane.linux.dataplane import NETNS
from weft.network.routing import RouteTable
from weft.network.topology.model import Topology
from weft.network.topology.reader import read_topology
from weft.network.topology.resources import LAB_LABEL, NODE_KINDS, PARTS, object_name

_POLL_SECONDS = 0.02
_FAILURES = 15
MAX_WAYS = 64
# Routes by destination: (address of the next node, or empty where it is on the link; interface) of each next hop.
Found = Mapping[IPv4Network, Sequence[tuple[str, str]]]


async def labs(client: Client) -> list[Object]:
    """All Topologies, by name."""
    return sorted((await client.list(TOPOLOGIES)).items, key=lambda obj: str(obj["metadata"]["name"]))


async def choose(client: Client, name: str | None) -> Object:
    """The lab of that name, or the only one; raises NotFoundError, WeftError where it is not clear which."""
    found = await labs(client)
    if name is not None:
        found = [obj for obj in found if obj["metadata"]["name"] == name]
        if not found:
            raise NotFoundError(f"there is no lab {name}: see `weft lab status`")
    if not found:
        raise NotFoundError("no lab is up: start one with `weft lab up FILE`")
    if len(found) > 1:
        names = ", ".join(obj["metadata"]["name"] for obj in found)
        raise WeftError(f"several labs are up ({names}): say which with --lab NAME")
    return found[0]


@dataclass(frozen=True)
class LabView:
    """A lab at one moment."""

    topology: Object
    model: Topology
    parts: Parts

    @classmethod
    async def load(cls, client: Client, name: str, namespace: str) -> "LabView":
        """Raises ApiError NotFound."""
        selector = f"{LAB_LABEL}={name}"
        topology = await client.get(TOPOLOGIES, name, namespace)
        lists = await asyncio.gather(*(client.list(gvr, namespace, label_selector=selector) for gvr in PARTS.values()))
        parts = {
            (kind, obj["metadata"]["name"]): {"kind": kind, **obj}
            for kind, found in zip(PARTS, lists, strict=True)
            for obj in found.items
        }
        return cls(topology, read_topology(topology), parts)

    @property
    def name(self) -> str:
        return str(self.topology["metadata"]["name"])

    def status(self) -> Object:
        """What the controller will say when it has seen all of this: never behind, as the stored status may be."""
        states, failed = link_states(self.parts)
        wanted = decide(self.model, states, failed)
        todo = plan(self.topology["metadata"]["uid"], wanted, self.parts)
        return summarize(self.topology, wanted, self.parts, todo)

    def find_node(self, name: str) -> Object | None:
        found = (self.parts.get((kind, object_name(name, self.name))) for kind in NODE_KINDS)
        return next((obj for obj in found if obj is not None), None)

    def node(self, name: str) -> Object:
        """Raises NotFoundError with the names that there are."""
        obj = self.find_node(name)
        if obj is None:
            names = ", ".join(self.model.node_names)
            raise NotFoundError(f"there is no node {name} in lab {self.name}: there are {names}")
        return obj

    def namespace(self, name: str) -> Path:
        """Where the node's network namespace is pinned; raises UnavailableError while there is none."""
        node = self.node(name)
        netns = str((node.get("status") or {}).get("netns") or "")
        if not netns or not (NETNS / netns).exists():
            message = (node.get("status") or {}).get("message") or "the node agent has not made it yet"
            raise UnavailableError(f"node {name} has no network namespace: {message}")
        return NETNS / netns

    def address(self, name: str) -> str:
        """By what address others know a node; raises WeftError where it has none."""
        node = self.node(name)
        if node["kind"] == "Switch":
            raise WeftError(f"{name} is a switch: it has no address")
        address = node["spec"].get("loopback") or node["spec"].get("address")
        if not address:
            raise WeftError(f"host {name} has no address: it has no link")
        return str(address).partition("/")[0]

    def owners(self) -> dict[str, str]:
        """Nodes by all of their addresses."""
        found: dict[str, str] = {}
        for (kind, _), obj in self.parts.items():
            spec = obj["spec"]
            if kind == "Link":
                found |= {e["address"].partition("/")[0]: e["node"] for e in spec["endpoints"] if e.get("address")}
            elif kind == "Router":
                found[spec["loopback"].partition("/")[0]] = spec["node"]
        return found

    def link(self, name: str) -> Object:
        """By its name, or by its two nodes in the other order."""
        first, dash, second = name.partition("-")
        for candidate in (name, f"{second}-{first}" if dash else name):
            obj = self.parts.get(("Link", object_name(candidate, self.name)))
            if obj is not None:
                return obj
        names = ", ".join(link.name for link in self.model.links)
        raise NotFoundError(f"there is no link {name} in lab {self.name}: there are {names or 'none'}")

    def cut_links(self) -> frozenset[str]:
        states, failed = link_states(self.parts)
        return failed | {name for name, state in states.items() if state == "down"}

    def ways(
        self, source: str, target: str, found_by: Mapping[str, Found] | None = None
    ) -> list[tuple[list[str], int]]:
        """All ways from node to node by the route tables, at most MAX_WAYS: the nodes and the cost of each. `found_by`
        are the routes of routers that find them themselves, by router."""
        self.node(source)
        address = self.address(target)
        found: list[tuple[list[str], int]] = []
        self._follow([source], 0, target, address, self.owners(), found_by or {}, found)
        return found

    def _follow(
        self,
        way: list[str],
        cost: int,
        target: str,
        address: str,
        owners: dict[str, str],
        found_by: Mapping[str, Found],
        found: list[tuple[list[str], int]],
    ) -> None:
        node = way[-1]
        if node == target:
            found.append((way, cost))
            return
        cut = self.cut_links()
        table: RouteTable[list[tuple[str, str]]] = RouteTable()
        costs = {}
        for (kind, _), obj in self.parts.items():
            spec = obj["spec"]
            if kind == "Link" and spec["name"] not in cut:
                for end in spec["endpoints"]:
                    if end["node"] == node:
                        costs[end["interface"]] = spec.get("cost", 1)
                        if end.get("address"):
                            table.add_route(ip_interface(end["address"]).network, [(address, end["interface"])])
        routes = self.parts.get(("RouteTable", object_name(node, self.name)))
        for route in (routes["spec"].get("routes") or []) if routes else []:
            table.add_route(route["destination"], [(hop["via"], hop["interface"]) for hop in route["nextHops"]])
        for destination, hops in found_by.get(node, {}).items():
            table.add_route(destination, [(via or address, interface) for via, interface in hops])
        for via, interface in table.lookup(ip_address(address)) or []:
            step = owners.get(via)
            if step is not None and step not in way and interface in costs and len(found) < MAX_WAYS:
                self._follow([*way, step], cost + costs[interface], target, address, owners, found_by, found)


async def settle(client: Client, name: str, namespace: str, seconds: float) -> LabView:
    """Waits until a lab is as it should be; raises WeftError with what it waits for when time is up or it failed."""
    deadline = time.monotonic() + seconds
    delay, failures = _POLL_SECONDS, 0
    while True:
        await asyncio.sleep(delay)
        delay = min(delay * 1.2, 0.5)
        # The stored status is cheap to read, and may be older than the last write: when it is good, all is looked at.
        status = (await client.get(TOPOLOGIES, name, namespace)).get("status") or {}
        if status.get("phase") == "Ready":
            view = await LabView.load(client, name, namespace)
            if view.status()["phase"] == "Ready":
                return view
        failures = failures + 1 if status.get("phase") == "Failed" else 0
        message = status.get("message") or "the network controller has not seen it yet"
        if failures > _FAILURES:  # a node may recover, but not without end
            raise WeftError(f"cannot bring up lab {name}: {message}")
        if time.monotonic() > deadline:
            raise WeftError(f"lab {name} is not ready after {seconds:.0f} s: {message}")
