"""The instance's table as text: what is always there, published ports, and services. Pure.

Pods have addresses of their own length (/32) and reach everything through the node, so that connection tracking sees
both ways of a connection and a service's answer comes from the service's address, without rewriting its source.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from weft.core.ids import short_hash
from weft.core.sandbox import PortBinding
from weft.core.settings import Settings

Protocol = Literal["tcp", "udp"]
CHAIN_PREFIX = "svc-"


def base(settings: Settings) -> str:
    """Makes the table and its fixed chains; run again it changes nothing else."""
    table, bridge, pods = settings.instance, settings.bridge, settings.pod_subnet
    gateway, dns = settings.gateway, settings.dns_service_address
    maps = ""
    for protocol in ("tcp", "udp"):
        maps += f"map {protocol}_any {{ type inet_service : ipv4_addr . inet_service; }}\n"
        maps += f"map {protocol}_at {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; }}\n"
    return f"""table inet {table} {{
{maps}map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
map node_ports {{ type inet_proto . inet_service : verdict; }}
set without_endpoints {{ type ipv4_addr . inet_proto . inet_service; }}
set hairpin {{ type ipv4_addr . ipv4_addr; }}
chain dispatch {{ }}
chain prerouting {{ type nat hook prerouting priority -100; }}
chain output {{ type nat hook output priority -100; }}
chain postrouting {{ type nat hook postrouting priority 100; }}
chain refuse {{ }}
chain forward {{ type filter hook forward priority 0; }}
chain local {{ type filter hook output priority 0; }}
}}
flush chain inet {table} dispatch
flush chain inet {table} prerouting
flush chain inet {table} output
flush chain inet {table} postrouting
flush chain inet {table} refuse
flush chain inet {table} forward
flush chain inet {table} local
add rule inet {table} dispatch ip daddr {dns} udp dport 53 dnat ip to {gateway}:53
add rule inet {table} dispatch ip daddr {dns} tcp dport 53 dnat ip to {gateway}:53
add rule inet {table} dispatch ip daddr . meta l4proto . th dport vmap @services
add rule inet {table} dispatch fib daddr type != local return
add rule inet {table} dispatch meta l4proto . th dport vmap @node_ports
add rule inet {table} dispatch meta l4proto tcp dnat ip to ip daddr . tcp dport map @tcp_at
add rule inet {table} dispatch meta l4proto tcp dnat ip to tcp dport map @tcp_any
add rule inet {table} dispatch meta l4proto udp dnat ip to ip daddr . udp dport map @udp_at
add rule inet {table} dispatch meta l4proto udp dnat ip to udp dport map @udp_any
add rule inet {table} prerouting jump dispatch
add rule inet {table} output jump dispatch
add rule inet {table} postrouting ip saddr {pods} oifname != "{bridge}" masquerade
add rule inet {table} postrouting ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade
add rule inet {table} postrouting ct status dnat ip saddr . ip daddr @hairpin masquerade
add rule inet {table} refuse meta l4proto tcp reject with tcp reset
add rule inet {table} refuse reject with icmpx port-unreachable
add rule inet {table} forward ip daddr . meta l4proto . th dport @without_endpoints goto refuse
add rule inet {table} local ip daddr . meta l4proto . th dport @without_endpoints goto refuse
"""


def _port_element(binding: PortBinding) -> tuple[str, str]:
    """(map, key) of a published port."""
    if binding.host_ip in ("", "0.0.0.0"):
        return f"{binding.protocol}_any", str(binding.host_port)
    return f"{binding.protocol}_at", f"{binding.host_ip} . {binding.host_port}"


def publish(table: str, address: str, ports: Iterable[PortBinding]) -> str:
    """Adds the published ports of a sandbox."""
    text = f"add element inet {table} hairpin {{ {address} . {address} }}\n"
    for port in ports:
        name, key = _port_element(port)
        text += f"add element inet {table} {name} {{ {key} : {address} . {port.container_port} }}\n"
    return text


def withdraw(table: str, ports: Iterable[PortBinding]) -> str:
    """Takes published ports away; the element is added first, as deleting one that is not there is an error."""
    text = ""
    for port in ports:
        name, key = _port_element(port)
        text += f"delete element inet {table} {name} {{ {key} }}\n"
    return text


def clear_ports(table: str) -> str:
    return "".join(f"flush map inet {table} {p}_{kind}\n" for p in ("tcp", "udp") for kind in ("any", "at"))


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a service: where it is reached, and the (address, port) pairs that answer."""

    namespace: str
    name: str
    port_name: str
    cluster_ip: str
    protocol: Protocol
    port: int
    node_port: int = 0
    endpoints: tuple[tuple[str, int], ...] = ()
    client_affinity: bool = False

    @property
    def chain(self) -> str:
        return CHAIN_PREFIX + short_hash(f"{self.namespace}/{self.name}/{self.protocol}/{self.port}", 12)

    @property
    def key(self) -> str:
        return f"{self.cluster_ip} . {self.protocol} . {self.port}"

    @property
    def rule(self) -> str:
        """Spreads new connections evenly; with affinity by the client's address."""
        if len(self.endpoints) == 1:
            address, port = self.endpoints[0]
            return f"meta l4proto {self.protocol} dnat ip to {address}:{port}"
        choices = ", ".join(f"{index} : {address} . {port}" for index, (address, port) in enumerate(self.endpoints))
        pick = "jhash ip saddr" if self.client_affinity else "numgen random"
        return f"meta l4proto {self.protocol} dnat ip to {pick} mod {len(self.endpoints)} map {{ {choices} }}"


def change(table: str, before: Mapping[str, ServicePort], after: Sequence[ServicePort]) -> str:
    """The commands from one set of services to another, in one transaction; empty where nothing differs.

    A chain keeps its name while its endpoints change, so connections that are tracked already go on.
    """
    wanted = {each.chain: each for each in after}
    text = ""
    for chain, old in before.items():
        new = wanted.get(chain)
        if new == old:
            continue
        keep = new is not None and bool(new.endpoints)
        if old.endpoints:
            if not keep or new is None or new.key != old.key:
                text += f"delete element inet {table} services {{ {old.key} }}\n"
            if old.node_port and (not keep or new is None or new.node_port != old.node_port):
                text += f"delete element inet {table} node_ports {{ {old.protocol} . {old.node_port} }}\n"
            if not keep:
                text += f"flush chain inet {table} {chain}\ndelete chain inet {table} {chain}\n"
        elif new is None or new.endpoints or new.key != old.key:
            text += f"delete element inet {table} without_endpoints {{ {old.key} }}\n"
    for chain, new in wanted.items():
        previous = before.get(chain)
        if new == previous:
            continue
        had = previous is not None and bool(previous.endpoints)
        if not new.endpoints:
            if previous is None or had or previous.key != new.key:
                text += f"add element inet {table} without_endpoints {{ {new.key} }}\n"
            continue
        text += f"add chain inet {table} {chain}\nflush chain inet {table} {chain}\n"
        text += f"add rule inet {table} {chain} {new.rule}\n"
        if not had or previous is None or previous.key != new.key:
            text += f"add element inet {table} services {{ {new.key} : goto {chain} }}\n"
        if new.node_port and (not had or previous is None or previous.node_port != new.node_port):
            key = f"{new.protocol} . {new.node_port}"
            text += f"add element inet {table} node_ports {{ {key} : goto {chain} }}\n"
    pairs = {f"{address} . {address}" for each in after for address, _ in each.endpoints}
    if text and pairs:
        text += f"add element inet {table} hairpin {{ {', '.join(sorted(pairs))} }}\n"
    return text
