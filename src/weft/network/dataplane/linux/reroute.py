"""Fast reroute in one namespace: when a neighbour falls silent though its link is up, moves all of its routes to the
hops that are left, or to their backup, by replacing a handful of next-hop objects.

In: which neighbour (a BFD session says so). Out: one batch to the kernel. All it needs to know stands in the kernel
(`objects`), so that it also works from another process than the one that installed the routes, and that one sees the
mark and does not undo it. On a kernel without next-hop objects it changes nothing: new routes have to come.
"""

from pathlib import Path

from weft.core.errors import UnsupportedError
from weft.network.dataplane.linux import objects
from weft.network.southbound.netlink import Netlink
from weft.network.southbound.nexthops import Object, replace_object
from weft.network.southbound.wire import Address


class FastReroute:
    """Calls block for a millisecond or less."""

    def __init__(self, namespace: Path) -> None:
        self._netlink = Netlink(namespace)

    def close(self) -> None:
        self._netlink.close()

    def __enter__(self) -> "FastReroute":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fail(self, interface: str, via: Address | None = None) -> int:
        """The neighbour `via` (or every one) on `interface` does not answer. Returns how many objects changed."""
        present = self._present()
        return self._replace(objects.fail(present, self._netlink.link(interface).index, via))

    def recover(self, interface: str, via: Address | None = None) -> int:
        """It answers again."""
        present = self._present()
        return self._replace(objects.recover(present, self._netlink.link(interface).index, via))

    def _present(self) -> dict[int, Object]:
        try:
            return self._netlink.objects()
        except UnsupportedError:
            return {}

    def _replace(self, changed: list[Object]) -> int:
        self._netlink.request(*(replace_object(each) for each in changed))
        return len(changed)
