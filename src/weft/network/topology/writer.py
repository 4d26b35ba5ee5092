"""From the model back to JSON: a Topology as its user would write it, and the spec of a Router object.

In: a topology. Out: JSON with only what differs from the defaults; `reader` makes the same topology of it. Who is
next: `weft lab convert` and `generate`, which write YAML, and `weft.network.controller`, which writes Routers.
"""

from typing import Any

from weft.network.routing.authentication import Authentication
from weft.network.topology.model import Endpoint, Host, Link, Router, ScheduledEvent, Switch, Topology
from weft.network.topology.resources import API_VERSION
from weft.network.topology.settings import (
    AreaSettings,
    BfdSettings,
    OspfSettings,
    RangeSettings,
    Redistribution,
    RipSettings,
    RoutingSettings,
    SpfDelay,
    StaticRoute,
)
from weft.network.topology.units import format_rate, format_share, format_time

Object = dict[str, Any]


def write_topology(topology: Topology) -> Object:
    """The Topology object; `read_topology` of it is `topology` again."""
    spec: Object = {}
    if routing := _settings(topology.routing, RoutingSettings(), "protocol"):
        spec["routing"] = routing
    places = topology.places
    spec["routers"] = [_router(router, topology) for router in topology.routers]
    for field, nodes in (("switches", topology.switches), ("hosts", topology.hosts)):
        spec[field] = [{"name": node.name, **_switch(node), **_location(places.get(node.name))} for node in nodes]
    spec["links"] = [_link(link) for link in topology.links]
    spec["schedule"] = [_event(event) for event in topology.schedule]
    return {
        "apiVersion": API_VERSION,
        "kind": "Topology",
        "metadata": {"name": topology.name},
        "spec": {key: value for key, value in spec.items() if value},
    }


def topology_yaml(topology: Topology) -> str:
    """The lab file, one line for each node and link as people write them."""
    import yaml

    obj = write_topology(topology)
    lines = [f"apiVersion: {API_VERSION}", "kind: Topology", "metadata:", f"  name: {_flow(topology.name)}", "spec:"]
    for field, value in obj["spec"].items():
        lines.append(f"  {field}:")
        if isinstance(value, list):
            lines += [f"  - {_flow(each)}" for each in value]
        else:
            text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)
            lines += [f"    {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def router_spec(router: Router) -> Object:
    """The routing fields of a Router object; `routing_reader.read_router` makes the same router of them."""
    spec: Object = {"routing": router.routing, **_settings(router.settings, RoutingSettings(), "routing")}
    if router.static:
        spec["static"] = [_static(route) for route in router.static]
    return spec


def link_spec(link: Link) -> Object:
    """The fields of a Link object that say more than its ends, cost and state."""
    spec: Object = {}
    if link.capacity:
        spec["capacity"] = format_rate(link.capacity)
    for key, microseconds in (("delay", link.delay), ("jitter", link.jitter)):
        if microseconds:
            spec[key] = format_time(microseconds / 1e6)
    if link.loss:
        spec["loss"] = format_share(link.loss)
    if link.mtu is not None:
        spec["mtu"] = link.mtu
    if link.area is not None:
        spec["area"] = str(link.area)
    if link.shared_risk_groups:
        spec["sharedRiskGroups"] = list(link.shared_risk_groups)
    if link.bfd is not None:
        spec["bfd"] = {"enabled": False} if link.bfd == "off" else _bfd(link.bfd)
    return spec


def _router(router: Router, topology: Topology) -> Object:
    found: Object = {"name": router.name}
    if router.loopback is not None:
        found["loopback"] = str(router.loopback)
    found |= _settings(router.settings, topology.routing, "routing")
    if router.static:
        found["static"] = [_static(route) for route in router.static]
    return found | _location(topology.places.get(router.name))


def _switch(node: Switch | Host) -> Object:
    return {"dataplane": node.dataplane} if isinstance(node, Switch) and node.dataplane != "linux" else {}


def _location(place: tuple[float, float] | None) -> Object:
    return {} if place is None else {"location": {"longitude": place[0], "latitude": place[1]}}


def _link(link: Link) -> Object:
    found: Object = {"endpoints": [_endpoint(link.a), _endpoint(link.b)]}
    if link.name != f"{link.a.node}-{link.b.node}":
        found["name"] = link.name
    found |= link_spec(link)
    if link.cost != 1:
        found["cost"] = link.cost
    if link.state != "up":
        found["state"] = link.state
    return found


def _endpoint(end: Endpoint) -> object:
    return end.node if end.address is None else {"node": end.node, "address": str(end.address)}


def _settings(own: RoutingSettings, base: RoutingSettings, protocol: str) -> Object:
    """What `own` says other than `base`."""
    found: Object = {}
    if own.protocol != base.protocol:
        found[protocol] = own.protocol
    if own.daemon != base.daemon:
        found["daemon"] = own.daemon
    if ospf := _ospf(own.ospf, base.ospf):
        found["ospf"] = ospf
    if rip := _rip(own.rip, base.rip):
        found["rip"] = rip
    if own.bfd != base.bfd:
        found["bfd"] = {"enabled": False} if own.bfd is None else _bfd(own.bfd)
    if own.backups != base.backups:
        found["backups"] = own.backups
    return found


def _bfd(bfd: BfdSettings) -> Object:
    return {"interval": format_time(bfd.interval), "multiplier": bfd.multiplier}


def _ospf(own: OspfSettings, base: OspfSettings) -> Object:
    found: Object = {}
    if own.area != base.area:
        found["area"] = str(own.area)
    if own.areas != base.areas:
        found["areas"] = {str(each.area): _area(each) for each in own.areas}
    if own.hello_interval != base.hello_interval:
        found["helloInterval"] = _number(own.hello_interval)
    if own.dead_interval != base.dead_interval or "helloInterval" in found:
        found["deadInterval"] = _number(own.dead_interval)
    if own.retransmit_interval != base.retransmit_interval:
        found["retransmitInterval"] = _number(own.retransmit_interval)
    if own.priority != base.priority:
        found["priority"] = own.priority
    if own.network_type != base.network_type:
        found["networkType"] = own.network_type
    if own.authentication != base.authentication:
        found["authentication"] = _authentication(own.authentication)
    if own.spf_delay != base.spf_delay:
        found["spfDelay"] = _spf_delay(own.spf_delay)
    if own.redistribute != base.redistribute:
        found["redistribute"] = [_redistribution(each) for each in own.redistribute]
    return found


def _rip(own: RipSettings, base: RipSettings) -> Object:
    found: Object = {}
    for key, value, default in (
        ("updateInterval", own.update_interval, base.update_interval),
        ("timeoutInterval", own.timeout_interval, base.timeout_interval),
        ("garbageInterval", own.garbage_interval, base.garbage_interval),
    ):
        if value != default:
            found[key] = _number(value)
    if own.split_horizon != base.split_horizon:
        found["splitHorizon"] = own.split_horizon
    if own.authentication != base.authentication:
        found["authentication"] = _authentication(own.authentication)
    if own.redistribute != base.redistribute:
        found["redistribute"] = [_redistribution(each) for each in own.redistribute]
    return found


def _number(value: float) -> float:
    """Whole numbers without a fraction, as people write them."""
    return int(value) if value == int(value) else value


def _area(area: AreaSettings) -> Object:
    found: Object = {"type": area.type}
    if area.default_cost != 1:
        found["defaultCost"] = area.default_cost
    if area.ranges:
        found["ranges"] = [_range(each) for each in area.ranges]
    return found


def _range(each: RangeSettings) -> Object:
    found: Object = {"prefix": str(each.prefix)}
    if not each.advertise:
        found["advertise"] = False
    if each.cost is not None:
        found["cost"] = each.cost
    return found


def _authentication(authentication: Authentication) -> Object:
    if authentication.algorithm == "none":
        return {"type": "none"}
    return {"type": authentication.algorithm, "keyID": authentication.key_id, "key": authentication.key.decode()}


def _spf_delay(delay: SpfDelay) -> Object:
    milliseconds = (("initial", delay.initial), ("hold", delay.hold), ("maximum", delay.maximum))
    return {key: _number(round(seconds * 1000, 3)) for key, seconds in milliseconds}


def _redistribution(redistribution: Redistribution) -> Object:
    found: Object = {"source": redistribution.source} if redistribution.source is not None else {}
    if redistribution.metric is not None:
        found["metric"] = redistribution.metric
    if redistribution.metric_type != 2:
        found["metricType"] = redistribution.metric_type
    if redistribution.policy is not None:
        found["policy"] = redistribution.policy
    return found


def _static(route: StaticRoute) -> Object:
    if route.via is None:
        return {"destination": str(route.destination), "blackhole": True}
    return {"destination": str(route.destination), "via": str(route.via)}


def _event(event: ScheduledEvent) -> Object:
    found: Object = {"at": format_time(event.at), "action": event.action}
    for one, many, names in (("link", "links", event.links), ("node", "nodes", event.nodes)):
        if len(names) == 1:
            found[one] = names[0]
        elif names:
            found[many] = list(names)
    if event.groups:
        found["groups"] = [list(group) for group in event.groups]
    if event.action == "flap":
        found |= {"period": format_time(event.period), "count": event.count}
    if event.action in ("loss", "reorder"):
        found["share"] = format_share(event.share)
    return found
