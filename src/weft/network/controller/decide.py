"""From a Topology and the state of its links to the objects that the lab consists of.

In: the topology, and which links are up. Out: `Part`s, the wish of each Router, Switch, Host, Link and RouteTable as
JSON, the same each time for the same input. Who is next: `weft.controllers.network`, which writes what differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from weft.network.controller.backups import LocalSid, link_address, protect, uses_tunnels
from weft.network.controller.routes import Backup, NextHop, Route, compute_routes
from weft.network.topology.addresses import Addresses, allocate
from weft.network.topology.model import Endpoint, Link, State, Switch, Topology
from weft.network.topology.names import interface_name
from weft.network.topology.resources import object_name
from weft.network.topology.writer import link_spec, router_spec

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One object: its kind, its name in the API, its spec."""

    kind: str
    name: str
    spec: Object


def decide(topology: Topology, states: Mapping[str, State], failed: frozenset[str] = frozenset()) -> list[Part]:
    """`states` are the wishes for links by name, as they stand on Link objects; a new link has the topology's own.

    `failed` are the links that should be up and are seen down: routes avoid these too.
    """
    addresses = allocate(topology)
    wishes = {link.name: states.get(link.name, link.state) for link in topology.links}
    up = frozenset(name for name, state in wishes.items() if state == "up" and name not in failed)
    made = protect(topology, addresses, up, compute_routes(topology, addresses, up))
    tunnels = uses_tunnels(topology)
    lab = topology.name
    parts = []
    for router in topology.routers:
        loopback = {"loopback": f"{addresses.loopbacks[router.name]}/32"}
        parts.append(_part("Router", lab, router.name, loopback | router_spec(router)))
    parts += [_part("Switch", lab, switch.name, _switch(switch)) for switch in topology.switches]
    for host in topology.hosts:
        address = addresses.of_node(topology, host.name)
        parts.append(_part("Host", lab, host.name, {"address": str(address)} if address else {}))
    parts += [_link(topology, link, addresses, wishes[link.name], tunnels) for link in topology.links]
    for node, table in made.routes.items():
        spec: Object = {"topology": lab, "node": node, "routes": [_route(route) for route in table]}
        if sids := made.sids.get(node):
            spec["segments"] = [_segment(sid) for sid in sids]
        parts.append(Part("RouteTable", object_name(node, lab), spec))
    return parts


def _switch(switch: Switch) -> Object:
    return {"dataplane": switch.dataplane} if switch.dataplane != "linux" else {}


def _part(kind: str, lab: str, node: str, spec: Object) -> Part:
    return Part(kind, object_name(node, lab), {"topology": lab, "node": node, **spec})


def _link(topology: Topology, link: Link, addresses: Addresses, state: State, tunnels: bool) -> Part:
    spec: Object = {
        "topology": topology.name,
        "name": link.name,
        "endpoints": [_endpoint(topology, link, end, addresses, tunnels) for end in (link.a, link.b)],
        "cost": link.cost,
        "state": state,
        **link_spec(link),
    }
    return Part("Link", object_name(link.name, topology.name), spec)


def _endpoint(topology: Topology, link: Link, end: Endpoint, addresses: Addresses, tunnels: bool) -> Object:
    found: Object = {"node": end.node, "interface": interface_name(link.name)}
    if (address := addresses.interfaces.get((link.name, end.node))) is not None:
        found["address"] = str(address)
        if tunnels and {link.a.node, link.b.node} <= topology.transit_names:
            found["tunnelAddress"] = str(link_address(address))
    return found


def _segment(sid: LocalSid) -> Object:
    found: Object = {"sid": str(sid.sid), "action": sid.action}
    if sid.via is not None:
        found |= {"via": str(sid.via), "interface": interface_name(sid.link)}
    return found


def _route(route: Route) -> Object:
    found: Object = {
        "destination": str(route.destination),
        "nextHops": [_next_hop(hop) for hop in route.next_hops],
        "metric": route.metric,
    }
    if route.backup:
        found["backup"] = [_backup(each) for each in route.backup]
    return found


def _backup(backup: Backup) -> Object:
    found: Object = {"interface": interface_name(backup.link)}
    if backup.via is not None:
        found["via"] = str(backup.via)
    if backup.segments:
        found["segments"] = [str(segment) for segment in backup.segments]
    return found


@lru_cache(16384)
def _next_hop_texts(via: IPv4Address | IPv6Address, link: str) -> tuple[str, str]:
    return str(via), interface_name(link)


def _next_hop(hop: NextHop) -> Object:
    """A weight of 1 is left out: large labs have many thousands of next hops."""
    via, interface = _next_hop_texts(hop.via, hop.link)
    found: Object = {"via": via, "interface": interface}
    if hop.weight != 1:
        found["weight"] = hop.weight
    return found
