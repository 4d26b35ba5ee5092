"""BIRD's configuration (bird.conf) for what an `OspfConfig` or `RipConfig` says.

In: a configuration. Out: the text. Source: bird.network.cz, User's Guide, OSPF.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from weft.core.errors import UnsupportedError
from weft.network.routing.authentication import Authentication
from weft.network.routing.ospf import OspfConfig, OspfInterfaceConfig
from weft.network.routing.peers.bird_policy import redistribution
from weft.network.routing.peers.frr import BfdTimers
from weft.network.routing.policy import Policy
from weft.network.routing.rip import RipConfig

_TYPES = {"point-to-point": "ptp", "broadcast": "bcast", "loopback": "bcast"}


def configuration(
    router_id: IPv4Address,
    ospf: OspfConfig | None = None,
    bfd: BfdTimers | None = None,
    static: Iterable[str] = (),
    rip: RipConfig | None = None,
    announced: Policy | None = None,
    bfd_on: Mapping[str, BfdTimers | None] | None = None,
) -> str:
    """`static` are routes such as `192.0.2.0/24 blackhole`; OSPF or RIP announces of other sources what `announced`
    permits; `bfd_on` is what holds for single interfaces."""
    lines = [
        "log stderr { error, fatal, bug };",
        f"router id {router_id};",
        "protocol device { scan time 1; }",
        "protocol direct { ipv4; }",
        "protocol kernel { ipv4 { import none; export where source != RTS_DEVICE; }; merge paths on; }",
        "protocol static { ipv4; " + "".join(f"route {route}; " for route in static) + "}",
    ]
    timers = {**(bfd_on or {}), "*": bfd}  # the first that fits counts
    if any(timers.values()):
        lines.append("protocol bfd {")
        lines += [f'  interface "{name}" {{ {_times(each)} }};' for name, each in timers.items() if each is not None]
        lines.append("}")
    if ospf is not None:
        lines += _ospf(ospf, timers, redistribution("ospf", announced))
    if rip is not None:
        lines += _rip(rip, redistribution("rip", announced))
    return "\n".join([*lines, ""])


def _rip(config: RipConfig, announced: str) -> list[str]:
    own = "if source ~ [ RTS_DEVICE, RTS_RIP ] then accept;"
    lines = ["protocol rip {", f"  ipv4 {{ import all; export filter {{ {own} {announced} reject; }}; }};"]
    times = f"update time {max(2, round(config.update_interval))}; timeout time {round(config.timeout_interval)}; "
    times += f"garbage time {round(config.garbage_interval)};"
    for each in config.interfaces:
        split = "no" if each.split_horizon == "off" else "yes"
        poison = "yes" if each.split_horizon == "poisoned-reverse" else "no"
        options = [f"version 2; split horizon {split}; poison reverse {poison}; {times}"]
        if each.passive:
            options.append("passive yes;")
        options += [f"{option};" for option in _authentication(each.authentication, "plaintext")]
        lines.append(f'  interface "{each.name}" {{ {" ".join(options)} }};')
    return [*lines, "}"]


def _authentication(authentication: Authentication, simple: str) -> list[str]:
    """BIRD's options for a key; `simple` is what the protocol calls a password in the clear."""
    if authentication.algorithm == "none":
        return []
    key = authentication.key.decode("ascii", "strict")
    if authentication.algorithm == "simple":
        return [f"authentication {simple}", f'password "{key}"']
    algorithm = {"md5": "keyed md5"}.get(authentication.algorithm, authentication.algorithm.replace("sha-", "sha"))
    detail = f"{{ id {authentication.key_id}; algorithm {algorithm.replace('hmac-', 'hmac ')}; }}"
    return ["authentication cryptographic", f'password "{key}" {detail}']


def _times(bfd: BfdTimers) -> str:
    return f"min rx interval {bfd.interval} ms; min tx interval {bfd.interval} ms; multiplier {bfd.multiplier};"


def _ospf(config: OspfConfig, bfd: Mapping[str, BfdTimers | None], announced: str) -> list[str]:
    lines = [
        "protocol ospf v2 ospf1 {",
        f"  ipv4 {{ import all; export filter {{ {announced} reject; }}; }};",
        f"  tick 1; ecmp yes limit {config.max_paths};",
    ]
    for area in sorted({each.area for each in config.interfaces}):
        kind = config.area(area)
        lines.append(f"  area {area} {{")
        if kind.type != "normal":
            lines.append(f"    stub yes; default cost {kind.default_cost};")
            if kind.type == "totally-stub":
                lines.append("    summary no;")
        if any(each.cost is not None for each in kind.ranges):
            raise UnsupportedError(f"cannot tell BIRD of a cost of ranges of area {area}: it takes the largest within")
        if kind.ranges:
            ranges = (f"{each.prefix}{'' if each.advertise else ' hidden'};" for each in kind.ranges)
            lines.append(f"    networks {{ {' '.join(ranges)} }};")
        for each in config.interfaces:
            if each.area == area:
                lines.append(_interface(each, bfd.get(each.name, bfd["*"]) is not None))
        lines.append("  };")
    return [*lines, "}"]


def _interface(config: OspfInterfaceConfig, bfd: bool) -> str:
    options = [f"type {_TYPES[config.network_type]}", f"cost {config.cost}", f"priority {config.priority}"]
    options += [f"hello {max(1, round(config.hello_interval))}", f"dead {config.wire_dead}"]
    options += [f"retransmit {max(1, round(config.retransmit_interval))}", f"wait {config.wire_dead}"]
    if config.passive or config.network_type == "loopback":
        options.append("stub yes")
    elif bfd:
        options.append("bfd yes")
    options += _authentication(config.authentication, "simple")
    return f'    interface "{config.name}" {{ ' + "; ".join(options) + "; };"
