"""BGPPeer and BGPAdvertisement objects, with the fields that MetalLB's kinds of these names have.

In: any JSON value. Out: `BgpPeer`, `Advertisement`, or everything that is wrong, by its path. Who is next: `announce`,
and the API server, which calls `validate_peer` and `validate_advertisement`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal, TypeVar

from weft.api.selectors import LabelSelector
from weft.api.validation import FieldError
from weft.core.errors import InvalidError, WeftError
from weft.network.topology.fields import Fields, Object

AddressKind = Literal["LoadBalancer", "ExternalIP", "ClusterIP"]
ADDRESS_KINDS: tuple[AddressKind, ...] = ("LoadBalancer", "ExternalIP", "ClusterIP")
_NOWHERE = IPv4Address(0)
_MAX_ASN = 0xFFFFFFFF
# What ExaBGP takes as a word of its configuration; RFC 2385 has keys of at most 80 bytes.
_PASSWORD = re.compile(r"[A-Za-z0-9._~@%+=:,/!?*^-]{1,80}")
_COMMUNITY = re.compile(r"(\d{1,5}):(\d{1,5})")
_DURATION = re.compile(r"(?:(\d+)m)?(?:(\d+)s)?")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BgpPeer:
    """A router to which nodes announce. `source` and `router_id` None: the address from which it is reached."""

    name: str
    my_asn: int
    peer_asn: int
    address: IPv4Address
    port: int = 179
    source: IPv4Address | None = None
    router_id: IPv4Address | None = None
    hold_time: int = 90
    password: str = ""
    multi_hop: bool = False
    nodes: tuple[LabelSelector, ...] = ()

    def concerns(self, labels: Mapping[str, str]) -> bool:
        """Whether a node of these labels speaks to it."""
        return not self.nodes or any(each.matches(labels) for each in self.nodes)


@dataclass(frozen=True, slots=True)
class Advertisement:
    """Which addresses of which services go to which peers, and how; no selector and no peer mean all."""

    name: str
    addresses: tuple[AddressKind, ...] = ("LoadBalancer", "ExternalIP")
    services: tuple[LabelSelector, ...] = ()
    nodes: tuple[LabelSelector, ...] = ()
    peers: tuple[str, ...] = ()
    aggregation_length: int = 32
    local_pref: int | None = None
    communities: tuple[str, ...] = ()


def validate_peer(obj: object) -> list[FieldError]:
    fields = _Fields()
    fields.peer(obj)
    return fields.errors


def validate_advertisement(obj: object) -> list[FieldError]:
    fields = _Fields()
    fields.advertisement(obj)
    return fields.errors


def read_peer(obj: object) -> BgpPeer:
    """Raises InvalidError with the first thing that is wrong."""
    fields = _Fields()
    return _or_raise(fields, fields.peer(obj))


def read_advertisement(obj: object) -> Advertisement:
    """Raises InvalidError with the first thing that is wrong."""
    fields = _Fields()
    return _or_raise(fields, fields.advertisement(obj))


def _or_raise(fields: Fields, read: T | None) -> T:
    if fields.errors:
        raise InvalidError(str(fields.errors[0]))
    assert read is not None
    return read


class _Fields(Fields):
    def peer(self, obj: object) -> BgpPeer | None:
        name, spec = self._open(obj)
        address = self._address("spec.peerAddress", spec.get("peerAddress"))
        if not spec.get("peerAddress"):
            self.required("spec.peerAddress", "the router's IPv4 address")
        peer = BgpPeer(
            name,
            self._asn("spec.myASN", spec.get("myASN")),
            self._asn("spec.peerASN", spec.get("peerASN")),
            address or _NOWHERE,
            self.integer("spec.peerPort", spec.get("peerPort"), 179, 1, 65535),
            self._address("spec.sourceAddress", spec.get("sourceAddress")),
            self._address("spec.routerID", spec.get("routerID")),
            self.text("spec.holdTime", spec.get("holdTime"), _seconds, 90),
            self.text("spec.password", spec.get("password"), _password, ""),
            self.typed("spec.ebgpMultiHop", spec.get("ebgpMultiHop"), bool, False),
            self._selectors("spec.nodeSelectors", spec.get("nodeSelectors")),
        )
        return peer if address is not None else None

    def advertisement(self, obj: object) -> Advertisement:
        name, spec = self._open(obj)
        kinds: list[AddressKind] = []
        for index, each in enumerate(self.typed("spec.addresses", spec.get("addresses"), list, [])):
            kinds.append(self.choice(f"spec.addresses[{index}]", each or "", ADDRESS_KINDS, "LoadBalancer"))
        communities = [
            self.text(f"spec.communities[{index}]", each or "?", _community, "")
            for index, each in enumerate(self.typed("spec.communities", spec.get("communities"), list, []))
        ]
        local_pref = None
        if spec.get("localPref") is not None:
            local_pref = self.integer("spec.localPref", spec["localPref"], 100, 0, 0xFFFFFFFF)
        return Advertisement(
            name,
            tuple(kinds) or ("LoadBalancer", "ExternalIP"),
            self._selectors("spec.serviceSelectors", spec.get("serviceSelectors")),
            self._selectors("spec.nodeSelectors", spec.get("nodeSelectors")),
            self.labels("spec.peers", spec.get("peers")),
            self.integer("spec.aggregationLength", spec.get("aggregationLength"), 32, 8, 32),
            local_pref,
            tuple(sorted(communities)),
        )

    def _open(self, obj: object) -> tuple[str, Object]:
        whole = self.typed("object", obj, dict, {})
        metadata = self.typed("metadata", whole.get("metadata"), dict, {})
        return self.name("metadata.name", metadata.get("name")), self.typed("spec", whole.get("spec"), dict, {})

    def _asn(self, path: str, value: object) -> int:
        if value is None:
            self.required(path, "the number of an autonomous system")
            return 1
        return self.integer(path, value, 1, 1, _MAX_ASN)

    def _address(self, path: str, value: object) -> IPv4Address | None:
        return self.text(path, value, _ipv4, None)

    def _selectors(self, path: str, value: object) -> tuple[LabelSelector, ...]:
        found = []
        for at, entry in self.objects(path, value):
            try:
                found.append(LabelSelector.from_json(entry))
            except (WeftError, ValueError, TypeError, AttributeError, KeyError) as error:
                self.invalid(at, "selector", str(error))
        return tuple(found)


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError("must be an IPv4 address such as 10.0.0.1") from None


def _seconds(text: str) -> int:
    """RFC 4271, 4.2: none, or at least 3 seconds, in 16 bits."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError("must be a time such as 90s")
    seconds = int(match[1] or 0) * 60 + int(match[2] or 0)
    if not 3 <= seconds <= 65535:
        raise ValueError("must be between 3s and 65535s")
    return seconds


def _password(text: str) -> str:
    if not _PASSWORD.fullmatch(text):
        raise ValueError("must be at most 80 letters, digits and ._~@%+=:,/!?*^-")
    return text


def _community(text: str) -> str:
    match = _COMMUNITY.fullmatch(text)
    if match is None or max(int(match[1]), int(match[2])) > 65535:
        raise ValueError("must be two numbers of 16 bits such as 65535:65282")
    return text
