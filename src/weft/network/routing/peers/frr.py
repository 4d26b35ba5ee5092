"""FRR's configuration (frr.conf) for what an `OspfConfig` or `RipConfig` says.

In: a configuration. Out: the text, or UnsupportedError for what FRR 8 cannot do. Source: docs.frrouting.org.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weft.core.errors import UnsupportedError
from weft.network.routing.ospf import OspfConfig, OspfInterfaceConfig
from weft.network.routing.peers.frr_policy import redistribution
from weft.network.routing.policy import Policy
from weft.network.routing.rip import RipConfig, RipInterfaceConfig

PROFILE = "weft"


@dataclass(frozen=True, slots=True)
class BfdTimers:
    """`interval` in milliseconds, both ways."""

    interval: int = 300
    multiplier: int = 3


def configuration(
    hostname: str,
    ospf: OspfConfig | None = None,
    bfd: BfdTimers | None = None,
    static: Iterable[str] = (),
    rip: RipConfig | None = None,
    announced: Policy | None = None,
    bfd_on: Mapping[str, BfdTimers | None] | None = None,
) -> dict[str, str]:
    """The text for each daemon, which also says which are needed; `static` are lines such as `ip route ... Null0`,
    `announced` is what OSPF or RIP announces of other sources, `bfd_on` what holds for single interfaces.

    One file for all would do only by vtysh: a daemon that reads an "exit" of another's section ends its reading there.
    """
    sections: dict[str, list[str]] = {"zebra": []}
    own = dict(bfd_on or {})
    if ospf is not None:
        lines = []
        for interface in ospf.interfaces:
            profile = PROFILE if interface.name not in own else f"{PROFILE}-{interface.name}"
            lines += _interface(interface, profile if own.get(interface.name, bfd) is not None else None)
        maps, redistributed = redistribution("ospf", announced)
        sections["ospfd"] = [*lines, *maps, *_router(ospf), *redistributed, "exit"]
    if rip is not None:
        lines = [line for each in rip.interfaces for line in _rip_interface(each)]
        maps, redistributed = redistribution("rip", announced)
        sections["ripd"] = [*lines, *maps, *_rip(rip), *redistributed, "exit"]
    profiles = {PROFILE: bfd, **{f"{PROFILE}-{name}": timers for name, timers in own.items()}}
    if any(profiles.values()):
        blocks = [line for name, timers in profiles.items() if timers is not None for line in _profile(name, timers)]
        sections["bfdd"] = ["bfd", *blocks, "exit"]
    if routes := list(static):
        sections["staticd"] = routes
    head = ["frr defaults traditional", f"hostname {hostname}", "log syslog errors"]
    return {daemon: "\n".join([*head, *lines, ""]) for daemon, lines in sections.items()}


def _profile(name: str, bfd: BfdTimers) -> list[str]:
    times = [f"  receive-interval {bfd.interval}", f"  transmit-interval {bfd.interval}"]
    return [f" profile {name}", *times, f"  detect-multiplier {bfd.multiplier}", " exit"]


def _interface(config: OspfInterfaceConfig, profile: str | None) -> list[str]:
    lines = [f"interface {config.name}", f" ip ospf area {config.area}"]
    if config.network_type == "loopback":
        return [*lines, "exit"]
    lines += [
        f" ip ospf network {config.network_type}",
        f" ip ospf cost {config.cost}",
        f" ip ospf priority {config.priority}",
        f" ip ospf retransmit-interval {max(3, round(config.retransmit_interval))}",
        f" ip ospf transmit-delay {config.transmit_delay}",
    ]
    if config.wire_hello:
        lines += [f" ip ospf hello-interval {config.wire_hello}", f" ip ospf dead-interval {config.wire_dead}"]
    else:
        multiplier = min(10, max(2, round(1 / config.hello_interval)))
        lines.append(f" ip ospf dead-interval minimal hello-multiplier {multiplier}")
    if config.passive:
        lines.append(" ip ospf passive")
    if config.mtu_ignore:
        lines.append(" ip ospf mtu-ignore")
    if profile is not None and not config.passive:
        lines += [" ip ospf bfd", f" ip ospf bfd profile {profile}"]
    lines += _authentication(config)
    return [*lines, "exit"]


def _authentication(config: OspfInterfaceConfig) -> list[str]:
    authentication = config.authentication
    if authentication.algorithm == "none":
        return []
    key = authentication.key.decode("ascii", "strict")
    if authentication.algorithm == "simple":
        return [" ip ospf authentication", f" ip ospf authentication-key {key}"]
    if authentication.algorithm == "md5":
        return [
            " ip ospf authentication message-digest",
            f" ip ospf message-digest-key {authentication.key_id} md5 {key}",
        ]
    raise UnsupportedError(f"cannot configure FRR for authentication by {authentication.algorithm}: it has MD5")


def _router(config: OspfConfig) -> list[str]:
    spf, lsa = config.spf_throttle, config.lsa_throttle
    lines = [
        "router ospf",
        f" ospf router-id {config.router_id}",
        f" timers throttle spf {_ms(spf.initial)} {_ms(spf.hold)} {_ms(spf.maximum)}",
        f" timers throttle lsa all {_ms(lsa.hold)}",
        f" timers lsa min-arrival {_ms(config.min_ls_arrival)}",
        f" maximum-paths {config.max_paths}",
    ]
    for area in config.areas:
        if area.type != "normal":
            lines.append(f" area {area.area} stub" + (" no-summary" if area.type == "totally-stub" else ""))
            lines.append(f" area {area.area} default-cost {area.default_cost}")
        for each in area.ranges:
            cost = f" cost {each.cost}" if each.cost is not None else ""
            lines.append(f" area {area.area} range {each.prefix}" + (cost if each.advertise else " not-advertise"))
    if config.default_originate:
        lines.append(f" default-information originate always metric 1 metric-type {config.metric_type}")
    return lines


def _rip_interface(config: RipInterfaceConfig) -> list[str]:
    lines = [f"interface {config.name}"]
    if config.split_horizon == "poisoned-reverse":
        lines.append(" ip rip split-horizon poisoned-reverse")
    elif config.split_horizon == "off":
        lines.append(" no ip rip split-horizon")
    authentication = config.authentication
    if authentication.algorithm in ("simple", "md5"):
        mode = "text" if authentication.algorithm == "simple" else "md5 auth-length rfc"
        lines += [f" ip rip authentication mode {mode}", f" ip rip authentication string {authentication.key.decode()}"]
    elif authentication.algorithm != "none":
        raise UnsupportedError(f"cannot configure FRR for authentication by {authentication.algorithm}: it has MD5")
    return [*lines, "exit"]


def _rip(config: RipConfig) -> list[str]:
    """FRR takes whole seconds of 5 and more."""
    times = (config.update_interval, config.timeout_interval, config.garbage_interval)
    lines = ["router rip", " version 2", " timers basic " + " ".join(str(max(5, round(each))) for each in times)]
    lines += [f" network {each.name}" for each in config.interfaces]
    lines += [f" passive-interface {each.name}" for each in config.interfaces if each.passive]
    return lines


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
