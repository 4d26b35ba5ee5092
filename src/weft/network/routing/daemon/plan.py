"""From a router's settings and its circuits to the configurations of its protocols.

In: the spec of a Router object, and what is known of its links. Out: `Plan`, which our own daemon and those of FRR and
BIRD follow alike. Raises InvalidError for what no schema has caught, UnsupportedError for what there is not yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Literal

from weft.core.errors import UnsupportedError
from weft.network.routing.ospf import AreaConfig, OspfConfig, OspfInterfaceConfig, Throttle
from weft.network.routing.policy import Match, Policy, Settings, Statement
from weft.network.routing.rip import RipConfig, RipInterfaceConfig
from weft.network.topology.model import Router
from weft.network.topology.routing_reader import read_router
from weft.network.topology.settings import BfdSettings, OspfSettings, Redistribution, RipSettings

Beside = Literal["router", "switch", "host"]
_DEFAULT_METRIC = 20


@dataclass(frozen=True, slots=True)
class Circuit:
    """An end of a link: its interface, what is on the other side, and what the link says over the router."""

    interface: str
    beside: Beside
    cost: int = 1
    area: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a router runs; without any protocol, nothing."""

    router: Router
    ospf: OspfConfig | None = None
    rip: RipConfig | None = None
    bfd: BfdSettings | None = None
    announced: Policy | None = None  # what the protocol announces of other sources


def plan(spec: dict[str, Any], circuits: Sequence[Circuit]) -> Plan:
    router = read_router(spec)
    settings = router.settings
    if router.routing == "rip":
        announced = _policy(settings.rip.redistribute, 1)
        return Plan(router, rip=_rip(settings.rip, circuits), bfd=settings.bfd, announced=announced)
    if router.routing == "ospf" and router.loopback is not None:
        announced = _policy(settings.ospf.redistribute, _DEFAULT_METRIC)
        return Plan(router, _ospf(router.loopback, settings.ospf, circuits), bfd=settings.bfd, announced=announced)
    return Plan(router)


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


def _policy(redistributed: Sequence[Redistribution], default: int) -> Policy | None:
    if not redistributed:
        return None
    if named := next((each.policy for each in redistributed if each.policy is not None), None):
        raise UnsupportedError(f"cannot redistribute by RoutingPolicy {named}: policies are not read yet")
    statements = [
        Statement(
            "permit",
            Match((each.source,)),
            Settings(metric=each.metric if each.metric is not None else default, metric_type=each.metric_type),
        )
        for each in redistributed
    ]
    return Policy("redistribute", tuple(statements))


def _ospf(router_id: IPv4Address, settings: OspfSettings, circuits: Sequence[Circuit]) -> OspfConfig:
    loopback = OspfInterfaceConfig("lo", settings.area, "loopback")
    delay = settings.spf_delay
    return OspfConfig(
        router_id,
        (*(_circuit(settings, each) for each in circuits), loopback),
        tuple(AreaConfig(each.area, each.type, each.default_cost) for each in settings.areas),
        spf_throttle=Throttle(delay.initial, delay.hold, delay.maximum),
    )


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
