"""BIRD's configuration (bird.conf) for what an `OspfConfig` says.

In: a configuration. Out: the text. Source: bird.network.cz, User's Guide, OSPF.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address

from weft.network.routing.ospf import OspfConfig, OspfInterfaceConfig
from weft.network.routing.peers.frr import BfdTimers

_TYPES = {"point-to-point": "ptp", "broadcast": "bcast", "loopback": "bcast"}


def configuration(
    router_id: IPv4Address,
    ospf: OspfConfig | None = None,
    bfd: BfdTimers | None = None,
    static: Iterable[str] = (),
) -> str:
    """`static` are routes such as `192.0.2.0/24 blackhole`, announced by OSPF."""
    lines = [
        "log stderr { error, fatal, bug };",
        f"router id {router_id};",
        "protocol device { scan time 1; }",
        "protocol direct { ipv4; }",
        "protocol kernel { ipv4 { import none; export where source != RTS_DEVICE; }; merge paths on; }",
        "protocol static { ipv4; " + "".join(f"route {route}; " for route in static) + "}",
    ]
    if bfd is not None:
        times = f"min rx interval {bfd.interval} ms; min tx interval {bfd.interval} ms; multiplier {bfd.multiplier};"
        lines.append(f'protocol bfd {{ interface "*" {{ {times} }}; }}')
    if ospf is not None:
        lines += _ospf(ospf, bfd is not None)
    return "\n".join([*lines, ""])


def _ospf(config: OspfConfig, bfd: bool) -> list[str]:
    metric = f"ospf_metric{config.metric_type} = {config.metric};"
    lines = [
        "protocol ospf v2 ospf1 {",
        f"  ipv4 {{ import all; export filter {{ if source = RTS_STATIC then {{ {metric} accept; }} reject; }}; }};",
        f"  tick 1; ecmp yes limit {config.max_paths};",
    ]
    for area in sorted({each.area for each in config.interfaces}):
        kind = config.area(area)
        lines.append(f"  area {area} {{")
        if kind.type != "normal":
            lines.append(f"    stub yes; default cost {kind.default_cost};")
            if kind.type == "totally-stub":
                lines.append("    summary no;")
        lines += [_interface(each, bfd) for each in config.interfaces if each.area == area]
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
    authentication = config.authentication
    if authentication.algorithm != "none":
        kind = "simple" if authentication.algorithm == "simple" else "cryptographic"
        key = authentication.key.decode("ascii", "strict")
        algorithm = {"md5": "keyed md5"}.get(authentication.algorithm, authentication.algorithm.replace("sha-", "sha"))
        algorithm = algorithm.replace("hmac-", "hmac ")
        detail = "" if kind == "simple" else f" {{ id {authentication.key_id}; algorithm {algorithm}; }}"
        options += [f"authentication {kind}", f'password "{key}"{detail}']
    return f'    interface "{config.name}" {{ ' + "; ".join(options) + "; };"
