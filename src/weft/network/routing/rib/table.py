"""A table of routes with longest prefix match (RFC 1812, 5.2.4.3), for IPv4 and IPv6.

In: destinations (prefixes, or any other hashable key) with next hops. Out: the next hop for a destination. Texts and
ipaddress objects are for people; `load_numbers`, `lookup_int` and `lookup_packed` take addresses as numbers or bytes,
and are what to use for many. `prefixes` does the matching.
"""

import re
from collections.abc import Hashable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface
from socket import AF_INET, inet_pton
from typing import Generic, Literal, TypeVar

from weft.core.errors import InvalidError
from weft.network.routing.rib.prefixes import PrefixMap

H = TypeVar("H")
Prefix = IPv4Network | IPv6Network
Version = Literal[4, 6]
_BITS = {4: 32, 6: 128}
# Only such texts are addresses or prefixes: a cheap check, as many keys are plain names.
_LIKE_ADDRESS = re.compile(r"[0-9a-fA-F]*[.:][0-9a-fA-F:.]*(%[^/]*)?(/\d+)?")


class RouteTable(Generic[H]):
    """`add_route("10.0.0.0/8", hop)`; then `lookup("10.1.2.3")` is `hop`, unless a longer prefix says otherwise."""

    def __init__(self) -> None:
        self._exact: dict[Hashable, H] = {}
        self._v4: PrefixMap[H] = PrefixMap(32)
        self._v6: PrefixMap[H] = PrefixMap(128)

    def add_route(self, dest: Hashable, next_hop: H) -> None:
        """Adds a route, in place of one to the same destination. Host bits of a prefix are ignored."""
        prefix = _prefix(dest)
        if prefix is None:
            self._exact[dest] = next_hop
            return
        version, length, value = prefix
        self._map(version).insert(value, length, next_hop)

    def load(self, routes: Iterable[tuple[Hashable, H]]) -> None:
        """Adds many routes."""
        for dest, next_hop in routes:
            self.add_route(dest, next_hop)

    def load_numbers(self, routes: Iterable[tuple[int, int, H]], version: Version = 4) -> None:
        """Adds many routes of one family, as (network as a number without host bits, prefix length, next hop)."""
        self._map(version).load(routes)

    def add_number(self, network: int, length: int, next_hop: H, version: Version = 4) -> None:
        """As `add_route`, of a network as a number without host bits."""
        (self._v4 if version == 4 else self._v6).insert(network, length, next_hop)

    def remove_number(self, network: int, length: int, version: Version = 4) -> bool:
        """As `remove_route`, of a network as a number without host bits."""
        return (self._v4 if version == 4 else self._v6).remove(network, length)

    def lookup(self, dest: Hashable) -> H | None:
        """The next hop for a key, an address, or a whole prefix; None where there is no route."""
        if isinstance(dest, str):
            try:
                return self._v4.match(int.from_bytes(inet_pton(AF_INET, dest)))
            except (OSError, ValueError):
                pass  # no plain IPv4 address
        prefix = _prefix(dest)
        if prefix is None:
            return self._exact.get(dest)
        version, longest, value = prefix
        table = self._map(version)
        if longest == _BITS[version]:
            return table.match(value)
        return next((hop for _, hop in table.matches(value, longest)), None)

    def lookup_int(self, address: int, version: Version = 4) -> H | None:
        """The next hop for an address as a number."""
        return (self._v4 if version == 4 else self._v6).match(address)

    def lookup_packed(self, address: bytes) -> H | None:
        """The next hop for an address as it stands in a packet, 4 or 16 bytes."""
        if len(address) == 4:
            return self._v4.match(int.from_bytes(address))
        if len(address) == 16:
            return self._v6.match(int.from_bytes(address))
        raise InvalidError(f"cannot look up an address of {len(address)} bytes: it must have 4 or 16")

    def remove_route(self, dest: Hashable) -> bool:
        """Removes the route to exactly this destination; whether there was one."""
        prefix = _prefix(dest)
        if prefix is None:
            return self._exact.pop(dest, _NOTHING) is not _NOTHING
        version, length, value = prefix
        return self._map(version).remove(value, length)

    def __len__(self) -> int:
        return len(self._exact) + len(self._v4) + len(self._v6)

    def __iter__(self) -> Iterator[tuple[Hashable, H]]:
        """All routes: plain keys, then prefixes from the shortest."""
        yield from self._exact.items()
        for value, length, hop in self._v4:
            yield IPv4Network((value, length)), hop
        for value, length, hop in self._v6:
            yield IPv6Network((value, length)), hop

    def _map(self, version: int) -> PrefixMap[H]:
        return self._v4 if version == 4 else self._v6


_NOTHING = object()


def _prefix(dest: Hashable) -> tuple[int, int, int] | None:
    """(IP version, length, network as a number) of an address or prefix; None for any other key."""
    if isinstance(dest, IPv4Network | IPv6Network):
        return dest.version, dest.prefixlen, int(dest.network_address)
    if isinstance(dest, IPv4Interface | IPv6Interface):
        return dest.version, dest.network.prefixlen, int(dest.network.network_address)
    if isinstance(dest, IPv4Address | IPv6Address):
        return dest.version, _BITS[dest.version], int(dest)
    if not isinstance(dest, str) or not _LIKE_ADDRESS.fullmatch(dest):
        return None
    try:
        network = ip_interface(dest).network
    except ValueError:
        return None
    return network.version, network.prefixlen, int(network.network_address)
