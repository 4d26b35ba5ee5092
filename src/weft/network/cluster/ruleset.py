"""The instance's table as text: what is always there, published ports, and services. Pure.

Pods have addresses of their own length (/32) and reach everything through the node, so that connection tracking sees
both ways of a connection and a service's answer comes from the service's address, without rewriting its source.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from weft.core.ids import short_hash
from weft.core.sandbox import PortBinding
from weft.core.settings import Settings

Protocol = Literal["tcp", "udp"]
CHAIN_PREFIX = "svc-"
LOOPBACK = "127.0.0.1"


def base(settings: Settings) -> str:
    """Makes the table and its fixed chains; run again it changes nothing else.

    `guard`: loopback addresses may be routed on the bridge, for answers only: a pod must not reach the host's own.
    `cluster`: ClusterIPs, for this instance's pods and the host. `host`: published ports and node ports, for all.
    `inbound`: what comes in from elsewhere must have been published. What is still for the services' subnet after
    translation is no service, or one without endpoints, and is refused; before it is routed, as a redirect would use
    up what the kernel lets a pod have of ICMP errors. `local`: the host must not tell pods to talk
    past it, as it would where a packet leaves by the link that it came from (RFC 1812, 5.2.7.2).
    """
    table, bridge, pods, services = settings.instance, settings.bridge, settings.pod_subnet, settings.service_subnet
    gateway, dns = settings.gateway, settings.dns_service_address
    maps = ""
    for protocol in ("tcp", "udp"):
        maps += f"map {protocol}_any {{ type inet_service : ipv4_addr . inet_service; }}\n"
        maps += f"map {protocol}_at {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; }}\n"
    return f"""table inet {table} {{
{maps}map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
map node_ports {{ type inet_proto . inet_service : verdict; }}
map external {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
set hairpin_ports {{ type ipv4_addr . ipv4_addr; }}
set hairpin_services {{ type ipv4_addr . ipv4_addr; }}
chain cluster {{ }}
chain host {{ }}
chain inbound {{ }}
chain refuse {{ }}
chain guard {{ type filter hook prerouting priority -300; }}
chain prerouting {{ type nat hook prerouting priority -100; }}
chain output {{ type nat hook output priority -100; }}
chain postrouting {{ type nat hook postrouting priority 100; }}
chain arrived {{ type filter hook prerouting priority -90; }}
chain forward {{ type filter hook forward priority 0; }}
chain local {{ type filter hook output priority 0; }}
}}
flush chain inet {table} cluster
flush chain inet {table} host
flush chain inet {table} inbound
flush chain inet {table} refuse
flush chain inet {table} guard
flush chain inet {table} prerouting
flush chain inet {table} output
flush chain inet {table} postrouting
flush chain inet {table} arrived
flush chain inet {table} forward
flush chain inet {table} local
add rule inet {table} guard iifname "{bridge}" ip daddr 127.0.0.0/8 drop
add rule inet {table} cluster ip daddr {dns} udp dport 53 dnat ip to {gateway}:53
add rule inet {table} cluster ip daddr {dns} tcp dport 53 dnat ip to {gateway}:53
{_api(settings)}add rule inet {table} cluster ip daddr . meta l4proto . th dport vmap @services
add rule inet {table} host fib daddr type != local return
add rule inet {table} host meta l4proto . th dport vmap @node_ports
add rule inet {table} host meta l4proto tcp dnat ip to ip daddr . tcp dport map @tcp_at
add rule inet {table} host meta l4proto tcp dnat ip to tcp dport map @tcp_any
add rule inet {table} host meta l4proto udp dnat ip to ip daddr . udp dport map @udp_at
add rule inet {table} host meta l4proto udp dnat ip to udp dport map @udp_any
add rule inet {table} prerouting iifname "{bridge}" jump cluster
add rule inet {table} prerouting ip daddr . meta l4proto . th dport vmap @external
add rule inet {table} prerouting jump host
add rule inet {table} output jump cluster
add rule inet {table} output ip daddr . meta l4proto . th dport vmap @external
add rule inet {table} output jump host
add rule inet {table} postrouting iifname "{bridge}" ip saddr {pods} oifname != "{bridge}" masquerade
add rule inet {table} postrouting ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade
add rule inet {table} postrouting ct status dnat ip saddr . ip daddr @hairpin_ports masquerade
add rule inet {table} postrouting ct status dnat ip saddr . ip daddr @hairpin_services masquerade
add rule inet {table} inbound ct state established,related return
add rule inet {table} inbound ct status dnat return
add rule inet {table} inbound goto refuse
add rule inet {table} refuse meta l4proto tcp reject with tcp reset
add rule inet {table} refuse reject with icmpx port-unreachable
add rule inet {table} arrived ip daddr {services} goto refuse
add rule inet {table} forward iifname != "{bridge}" oifname "{bridge}" jump inbound
add rule inet {table} local oifname "{bridge}" icmp type redirect drop
add rule inet {table} local ip daddr {services} goto refuse
"""


def _api(settings: Settings) -> str:
    """The way of pods to an API server that listens on loopback only: at the bridge's address, as it tells them."""
    if settings.api_address != LOOPBACK:
        return ""
    port, table = settings.api_port, settings.instance
    return f"add rule inet {table} cluster ip daddr {settings.gateway} tcp dport {port} dnat ip to {LOOPBACK}:{port}\n"


def reachable(settings: Settings, service: "ServicePort") -> "ServicePort":
    """The same for the API's own service: an address is translated once, so straight to loopback."""
    told = (settings.gateway, settings.api_port)
    if settings.api_address != LOOPBACK or told not in service.endpoints:
        return service
    real = tuple(
        (LOOPBACK, port) if (address, port) == told else (address, port) for address, port in service.endpoints
    )
    return replace(service, endpoints=real)


def _port_element(binding: PortBinding) -> tuple[str, str]:
    """(map, key) of a published port."""
    if binding.host_ip in ("", "0.0.0.0"):
        return f"{binding.protocol}_any", str(binding.host_port)
    return f"{binding.protocol}_at", f"{binding.host_ip} . {binding.host_port}"


def publish(table: str, address: str, ports: Iterable[PortBinding]) -> str:
    """Adds the published ports of a sandbox."""
    text = f"add element inet {table} hairpin_ports {{ {address} . {address} }}\n"
    for port in ports:
        name, key = _port_element(port)
        text += f"add element inet {table} {name} {{ {key} : {address} . {port.container_port} }}\n"
    return text


def withdraw(table: str, address: str, ports: Iterable[PortBinding]) -> str:
    """Takes published ports away; an element that is not there fails the transaction."""
    text = f"delete element inet {table} hairpin_ports {{ {address} . {address} }}\n"
    for port in ports:
        name, key = _port_element(port)
        text += f"delete element inet {table} {name} {{ {key} }}\n"
    return text


def clear_ports(table: str) -> str:
    """Takes all published ports away."""
    maps = "".join(f"flush map inet {table} {p}_{kind}\n" for p in ("tcp", "udp") for kind in ("any", "at"))
    return maps + f"flush set inet {table} hairpin_ports\n"


def clear_services(table: str, chains: Iterable[str]) -> str:
    """Takes all services away, `chains` being those that there are."""
    stale = [name for name in chains if name.startswith(CHAIN_PREFIX)]
    text = "".join(f"flush map inet {table} {name}\n" for name in ("services", "node_ports", "external"))
    text += f"flush set inet {table} hairpin_services\n"
    text += "".join(f"flush chain inet {table} {name}\n" for name in stale)
    return text + "".join(f"delete chain inet {table} {name}\n" for name in stale)


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a service: where it is reached, and the (address, port) pairs that answer.

    `external` are addresses by which it is reached also from outside of this machine.
    """

    namespace: str
    name: str
    port_name: str
    cluster_ip: str
    protocol: Protocol
    port: int
    node_port: int = 0
    endpoints: tuple[tuple[str, int], ...] = ()
    client_affinity: bool = False
    external: tuple[str, ...] = ()

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


def change(table: str, before: Mapping[str, ServicePort], after: Mapping[str, ServicePort]) -> str:
    """The commands from one set of services, by chain, to another, in one transaction; empty where nothing differs.

    A chain keeps its name while its endpoints change, so connections that are tracked already go on. All that goes
    is taken away before anything is added: a port may pass from one service to another. A service without endpoints
    has nothing in the table.
    """
    old, new = ({chain: each for chain, each in side.items() if each.endpoints} for side in (before, after))
    gone, fresh = _elements(old, new), _elements(new, old)
    text = "".join(f"delete element inet {table} {name} {{ {key} }}\n" for name, key, _ in gone)
    for chain in old.keys() - new.keys():
        text += f"flush chain inet {table} {chain}\ndelete chain inet {table} {chain}\n"
    for chain, service in new.items():
        if chain not in old or old[chain].rule != service.rule:
            text += f"add chain inet {table} {chain}\nflush chain inet {table} {chain}\n"
            text += f"add rule inet {table} {chain} {service.rule}\n"
    return text + "".join(f"add element inet {table} {name} {{ {key}{value} }}\n" for name, key, value in fresh)


def _elements(side: Mapping[str, ServicePort], other: Mapping[str, ServicePort]) -> list[tuple[str, str, str]]:
    """(map or set, key, value) of all elements that one side needs and the other does not have."""
    wanted, present = _all_elements(side), _all_elements(other)
    return [element for element in wanted if element not in present]


def _all_elements(side: Mapping[str, ServicePort]) -> dict[tuple[str, str, str], None]:
    found: dict[tuple[str, str, str], None] = {}
    for chain, service in side.items():
        found["services", service.key, f" : goto {chain}"] = None
        if service.node_port:
            found["node_ports", f"{service.protocol} . {service.node_port}", f" : goto {chain}"] = None
        for address in service.external:
            found["external", f"{address} . {service.protocol} . {service.port}", f" : goto {chain}"] = None
        for address, _ in service.endpoints:
            found["hairpin_services", f"{address} . {address}", ""] = None
    return found
