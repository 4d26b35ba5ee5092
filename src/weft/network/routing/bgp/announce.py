"""What a node announces to a peer: the addresses of services that somebody answers for.

In: Services, EndpointSlices, advertisements, and who the node is. Out: a set of `Announcement`. A service counts while
an endpoint of it is ready; with externalTrafficPolicy Local only on nodes that have one. Who is next: `exabgp`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from weft.api.selectors import LabelSelector
from weft.network.routing.bgp.config import AddressKind, Advertisement, BgpPeer

_SERVICE_NAME = "kubernetes.io/service-name"
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Announcement:
    """A prefix, with the node as its next hop. `local_pref` counts only within one autonomous system."""

    prefix: IPv4Network
    local_pref: int | None = None
    communities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    labels: Mapping[str, str]


def announcements(
    peer: BgpPeer,
    node: Node,
    advertisements: Iterable[Advertisement],
    services: Iterable[Object],
    slices: Iterable[Object],
) -> frozenset[Announcement]:
    """Where several advertisements name one prefix it has all their communities and the highest preference."""
    if not peer.concerns(node.labels):
        return frozenset()
    ready = _ready(slices)
    found: dict[IPv4Network, Announcement] = {}
    mine = [
        each
        for each in advertisements
        if (not each.peers or peer.name in each.peers) and _selected(each.nodes, node.labels)
    ]
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        answering = ready.get((metadata["namespace"], metadata["name"]), set())
        if not answering or (spec.get("externalTrafficPolicy") == "Local" and node.name not in answering):
            continue
        for each in mine:
            if not _selected(each.services, metadata.get("labels") or {}):
                continue
            for address in _addresses(service, each.addresses):
                prefix = IPv4Network((address, each.aggregation_length), strict=False)
                found[prefix] = _joined(found.get(prefix), Announcement(prefix, each.local_pref, each.communities))
    return frozenset(found.values())


def _ready(slices: Iterable[Object]) -> dict[tuple[str, str], set[str]]:
    """By service, the nodes of its ready endpoints; an endpoint that names none counts as being nowhere."""
    found: dict[tuple[str, str], set[str]] = {}
    for each in slices:
        name = (each["metadata"].get("labels") or {}).get(_SERVICE_NAME)
        for endpoint in each.get("endpoints") or []:
            if name and (endpoint.get("conditions") or {}).get("ready") is not False:
                nodes = found.setdefault((each["metadata"]["namespace"], name), set())
                nodes.add(endpoint.get("nodeName") or "")
    return found


def _selected(selectors: tuple[LabelSelector, ...], labels: Mapping[str, str]) -> bool:
    return not selectors or any(each.matches(labels) for each in selectors)


def _addresses(service: Object, kinds: tuple[AddressKind, ...]) -> Iterator[IPv4Address]:
    spec = service["spec"]
    texts: list[str | None] = []
    if "LoadBalancer" in kinds and spec.get("type") == "LoadBalancer":
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        texts += [each.get("ip") for each in ingress]
    if "ExternalIP" in kinds:
        texts += spec.get("externalIPs") or []
    if "ClusterIP" in kinds:
        texts += spec.get("clusterIPs") or [spec.get("clusterIP")]
    for text in texts:
        try:
            yield IPv4Address(text or "")
        except ValueError:
            continue  # headless, or IPv6


def _joined(one: Announcement | None, other: Announcement) -> Announcement:
    if one is None:
        return other
    preferences = [each.local_pref for each in (one, other) if each.local_pref is not None]
    communities = tuple(sorted({*one.communities, *other.communities}))
    return Announcement(other.prefix, max(preferences, default=None), communities)
