"""From a router's settings and its circuits to the configurations of its protocols.

In: the spec of a Router object, and what is known of its links. Out: `Plan`, which our own daemon and those of FRR and
BIRD follow alike. Raises InvalidError for what no schema has caught, NotFoundError for policies that are not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Literal

from weft.core.errors import InvalidError
from weft.network.routing.daemon.announced import Objects, announced
from weft.network.routing.ospf import AreaConfig, AreaRange, OspfConfig, OspfInterfaceConfig, Throttle
from weft.network.routing.policy import Policy
from weft.network.routing.rip import RipConfig, RipInterfaceConfig
from weft.network.topology.fields import Fields
from weft.network.topology.model import Router
from weft.network.topology.routing_reader import read_bfd, read_router
from weft.network.topology.settings import AreaSettings, BfdSettings, OspfSettings, RipSettings, RoutingSettings

Beside = Literal["router", "switch", "host"]
_OSPF_METRIC, _RIP_METRIC = 20, 1


@dataclass(frozen=True, slots=True)
class Circuit:
    """An end of a link: its interface, what is on the other side, and what the link says over the router."""

    interface: str
    beside: Beside
    cost: int = 1
    area: str | None = None
    bfd: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a router runs; without any protocol, nothing."""

    router: Router
    ospf: OspfConfig | None = None
    rip: RipConfig | None = None
    bfd: BfdSettings | None = None
    bfd_on: Mapping[str, BfdSettings | None] = field(default_factory=dict)  # links that say otherwise
    announced: Policy | None = None  # what the protocol announces of other sources


def plan(spec: dict[str, Any], circuits: Sequence[Circuit], policies: Objects | None = None) -> Plan:
    """`policies` are RoutingPolicy objects by their name."""
    router = read_router(spec)
    settings = router.settings
    if router.routing == "rip":
        policy = announced(settings.rip.redistribute, policies or {}, _RIP_METRIC)
        return Plan(router, None, _rip(settings.rip, circuits), settings.bfd, _bfd_on(settings, circuits), policy)
    if router.routing == "ospf" and router.loopback is not None:
        policy = announced(settings.ospf.redistribute, policies or {}, _OSPF_METRIC)
        ospf = _ospf(router.loopback, settings.ospf, circuits)
        return Plan(router, ospf, None, settings.bfd, _bfd_on(settings, circuits), policy)
    if router.routing == "spf":  # the controller finds its routes; BFD looks after its links
        return Plan(router, bfd=settings.bfd, bfd_on=_bfd_on(settings, circuits))
    return Plan(router)


def _bfd_on(settings: RoutingSettings, circuits: Sequence[Circuit]) -> dict[str, BfdSettings | None]:
    fields = Fields()
    found: dict[str, BfdSettings | None] = {}
    for each in circuits:
        if each.bfd is not None:
            read = read_bfd(fields, f"link {each.interface}: bfd", dict(each.bfd), settings.bfd)
            found[each.interface] = None if read == "off" else read
    if fields.errors:
        raise InvalidError(str(fields.errors[0]))
    return found


def _rip(settings: RipSettings, circuits: Sequence[Circuit]) -> RipConfig:
    """RIP counts hops: costs of links are not for it. Its loopback is announced as a host."""
    interfaces = [
        RipInterfaceConfig(
            each.interface,
            passive=each.beside == "host",
            split_horizon=settings.split_horizon,
            authentication=settings.authentication,
        )
        for each in circuits
    ]
    return RipConfig(
        (*interfaces, RipInterfaceConfig("lo", passive=True)),
        settings.update_interval,
        settings.timeout_interval,
        settings.garbage_interval,
    )


def _ospf(router_id: IPv4Address, settings: OspfSettings, circuits: Sequence[Circuit]) -> OspfConfig:
    loopback = OspfInterfaceConfig("lo", settings.area, "loopback")
    delay = settings.spf_delay
    return OspfConfig(
        router_id,
        (*(_circuit(settings, each) for each in circuits), loopback),
        tuple(_area(each) for each in settings.areas),
        spf_throttle=Throttle(delay.initial, delay.hold, delay.maximum),
    )


def _area(settings: AreaSettings) -> AreaConfig:
    ranges = tuple(AreaRange(each.prefix, each.advertise, each.cost) for each in settings.ranges)
    return AreaConfig(settings.area, settings.type, settings.default_cost, ranges)


def _circuit(settings: OspfSettings, circuit: Circuit) -> OspfInterfaceConfig:
    return OspfInterfaceConfig(
        circuit.interface,
        IPv4Address(circuit.area) if circuit.area is not None else settings.area,
        settings.network_type or ("point-to-point" if circuit.beside == "router" else "broadcast"),
        cost=circuit.cost,
        priority=settings.priority,
        hello_interval=settings.hello_interval,
        dead_interval=settings.dead_interval,
        retransmit_interval=settings.retransmit_interval,
        passive=circuit.beside == "host",
        authentication=settings.authentication,
    )
