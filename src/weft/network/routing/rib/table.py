"""A table of routes with longest prefix match (RFC 1812, 5.2.4.3), for IPv4 and IPv6.

In: destinations (prefixes, or any other hashable key) with next hops. Out: the next hop for a destination.
Prefixes are kept in one hash table for each length, so that a look-up costs one probe a length in use, longest first.
"""

import re
from bisect import insort
from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface
from typing import Generic, TypeVar

H = TypeVar("H")
Prefix = IPv4Network | IPv6Network
_BITS = {4: 32, 6: 128}
# Only such texts are addresses or prefixes: a cheap check, as many keys are plain names.
_LIKE_ADDRESS = re.compile(r"[0-9a-fA-F]*[.:][0-9a-fA-F:.]*(%[^/]*)?(/\d+)?")


class RouteTable(Generic[H]):
    """`add_route("10.0.0.0/8", hop)`; then `lookup("10.1.2.3")` is `hop`, unless a longer prefix says otherwise."""

    def __init__(self) -> None:
        self._exact: dict[Hashable, H] = {}
        self._hops: dict[tuple[int, int], dict[int, H]] = {}
        self._lengths: dict[int, list[int]] = {4: [], 6: []}

    def add_route(self, dest: Hashable, next_hop: H) -> None:
        """Adds a route, in place of one to the same destination. Host bits of a prefix are ignored."""
        prefix = _prefix(dest)
        if prefix is None:
            self._exact[dest] = next_hop
            return
        version, length, value = prefix
        hops = self._hops.get((version, length))
        if hops is None:
            hops = self._hops[version, length] = {}
            insort(self._lengths[version], length)
        hops[value] = next_hop

    def lookup(self, dest: Hashable) -> H | None:
        """The next hop for a key, an address, or a whole prefix; None where there is no route."""
        prefix = _prefix(dest)
        if prefix is None:
            return self._exact.get(dest)
        version, longest, value = prefix
        for length in reversed(self._lengths[version]):
            if length <= longest:
                shift = _BITS[version] - length
                hops = self._hops[version, length]
                key = value >> shift << shift
                if key in hops:
                    return hops[key]
        return None

    def remove_route(self, dest: Hashable) -> bool:
        """Removes the route to exactly this destination; whether there was one."""
        prefix = _prefix(dest)
        if prefix is None:
            return self._exact.pop(dest, _NOTHING) is not _NOTHING
        version, length, value = prefix
        hops = self._hops.get((version, length), {})
        if value not in hops:
            return False
        del hops[value]
        if not hops:
            del self._hops[version, length]
            self._lengths[version].remove(length)
        return True

    def __len__(self) -> int:
        return len(self._exact) + sum(map(len, self._hops.values()))

    def __iter__(self) -> Iterator[tuple[Hashable, H]]:
        """All routes: plain keys, then prefixes from the shortest."""
        yield from self._exact.items()
        for version, lengths in self._lengths.items():
            for length in lengths:
                for value, hop in self._hops[version, length].items():
                    network = IPv4Network if version == 4 else IPv6Network
                    yield network((value, length)), hop


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
