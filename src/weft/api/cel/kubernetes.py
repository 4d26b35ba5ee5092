"""Kubernetes's own types: URLs, quantities, addresses.

Source: apiserver `pkg/cel/library` (urls.go, quantity.go, ip.go, cidr.go).
"""

import ipaddress
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from typing import Any
from urllib.parse import SplitResult, urlsplit

from weft.api import quantity
from weft.api.cel.errors import CelError
from weft.api.cel.functions import function, method
from weft.api.cel.standard import to_string
from weft.api.cel.types import BOOL, CIDR, DOUBLE, INT, IP, QUANTITY, STRING, URL, list_of, map_of

# URLs.


def _url(text: str) -> SplitResult:
    try:
        found = urlsplit(text)
        found.port  # noqa: B018  # raises where it is no number
    except ValueError:
        raise CelError(f"URL parse error during conversion from string: parse {to_string(text)!r}") from None
    if not (found.scheme or text.startswith("/")) or any(mark in text for mark in " \n\t"):
        raise CelError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return found


def _query(url: SplitResult) -> dict[str, list[str]]:
    from urllib.parse import parse_qs

    return parse_qs(url.query, keep_blank_values=True)


def _holds(convert: Callable[[str], Any]) -> Callable[[str], bool]:
    def call(text: str) -> bool:
        try:
            convert(text)
        except CelError:
            return False
        return True

    return call


function("url", STRING, to=URL)(_url)
function("isURL", STRING, to=BOOL)(_holds(_url))
method("getScheme", URL, to=STRING)(lambda url: url.scheme)
method("getHost", URL, to=STRING)(lambda url: url.netloc.rpartition("@")[2])
method("getHostname", URL, to=STRING)(lambda url: url.hostname or "")
method("getPort", URL, to=STRING)(lambda url: "" if url.port is None else str(url.port))
method("getEscapedPath", URL, to=STRING)(lambda url: url.path)
method("getQuery", URL, to=map_of(STRING, list_of(STRING)))(_query)

# Quantities.


def _quantity(text: str) -> Decimal:
    try:
        return quantity.parse(text)
    except ValueError as error:
        raise CelError(str(error)) from None


def _as_integer(value: Decimal) -> int:
    if not _is_integer(value):
        raise CelError("cannot convert value to integer")
    return int(value)


def _is_integer(value: Decimal) -> bool:
    return value == value.to_integral_value(ROUND_CEILING) and abs(value) < 2**63


def _as_quantity(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


function("quantity", STRING, to=QUANTITY)(_quantity)
function("isQuantity", STRING, to=BOOL)(_holds(_quantity))
method("sign", QUANTITY, to=INT)(lambda value: (value > 0) - (value < 0))
method("isInteger", QUANTITY, to=BOOL)(_is_integer)
method("asInteger", QUANTITY, to=INT)(_as_integer)
method("asApproximateFloat", QUANTITY, to=DOUBLE)(float)
method("isGreaterThan", QUANTITY, QUANTITY, to=BOOL)(lambda a, b: a > b)
method("isLessThan", QUANTITY, QUANTITY, to=BOOL)(lambda a, b: a < b)
method("compareTo", QUANTITY, QUANTITY, to=INT)(lambda a, b: (a > b) - (a < b))
for _other in (QUANTITY, INT):
    method("add", QUANTITY, _other, to=QUANTITY)(lambda a, b: a + _as_quantity(b))
    method("sub", QUANTITY, _other, to=QUANTITY)(lambda a, b: a - _as_quantity(b))

# Addresses.
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _ip(text: str) -> _Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise CelError(f"IP Address {text!r} parse error during conversion from string") from None
    if isinstance(found, ipaddress.IPv6Address) and (found.ipv4_mapped is not None or found.scope_id is not None):
        raise CelError("IPv4-mapped IPv6 address and zones are not allowed")
    return found


def _cidr(text: str) -> _Interface:
    try:
        if "/" not in text or not text.rpartition("/")[2].isdigit():
            raise ValueError
        return ipaddress.ip_interface(text)
    except ValueError:
        raise CelError(f"network address parse error during conversion from string: {text!r}") from None


def _contains_ip(network: _Interface, address: Any) -> bool:
    return (_ip(address) if isinstance(address, str) else address) in network.network


def _contains_cidr(network: _Interface, other: Any) -> bool:
    inner = (_cidr(other) if isinstance(other, str) else other).network
    mine = network.network
    return mine.version == inner.version and inner[0] in mine and inner.prefixlen >= mine.prefixlen


function("ip", STRING, to=IP)(_ip)
function("isIP", STRING, to=BOOL)(_holds(_ip))
function("ip.isCanonical", STRING, to=BOOL)(lambda text: str(_ip(text)) == text)
function("string", IP, to=STRING)(str)
method("family", IP, to=INT)(lambda address: address.version)
method("isUnspecified", IP, to=BOOL)(lambda address: address.is_unspecified)
method("isLoopback", IP, to=BOOL)(lambda address: address.is_loopback)
method("isLinkLocalMulticast", IP, to=BOOL)(
    lambda address: address in ipaddress.ip_network("224.0.0.0/24" if address.version == 4 else "ff02::/16")
)
method("isLinkLocalUnicast", IP, to=BOOL)(lambda address: address.is_link_local)
method("isGlobalUnicast", IP, to=BOOL)(
    lambda a: (
        not (a.is_unspecified or a.is_loopback or a.is_multicast or a.is_link_local) and str(a) != "255.255.255.255"
    )
)
function("cidr", STRING, to=CIDR)(_cidr)
function("isCIDR", STRING, to=BOOL)(_holds(_cidr))
function("string", CIDR, to=STRING)(str)
method("ip", CIDR, to=IP)(lambda network: network.ip)
method("masked", CIDR, to=CIDR)(lambda network: ipaddress.ip_interface(network.network))
method("prefixLength", CIDR, to=INT)(lambda network: network.network.prefixlen)
for _kind in (STRING, IP):
    method("containsIP", CIDR, _kind, to=BOOL)(_contains_ip)
for _kind in (STRING, CIDR):
    method("containsCIDR", CIDR, _kind, to=BOOL)(_contains_cidr)
