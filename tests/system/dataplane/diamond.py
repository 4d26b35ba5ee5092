"""Two hosts and four routers: h1 - r1 - (r2 | r3) - r4 - h2, in the kernel, with pings that count what is lost.

From h1 packets go by r2 (or as a test says), and come back by r3: so a test that cuts r1 - r2 sees one turn only.
"""

import asyncio
import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

from weft.network.dataplane.linux import DataLink, End, Hop, LinuxDataplane, Namespace, NetworkState, NodeRoute

LINKS = {("h1", "r1"): 1, ("r1", "r2"): 2, ("r1", "r3"): 3, ("r2", "r4"): 4, ("r3", "r4"): 5, ("r4", "h2"): 6}
H1, H2 = "10.1.0.0/24", "10.6.0.0/24"
H1_6, H2_6 = "fd00:1::/64", "fd00:6::/64"


def hop(node: str, neighbour: str, *, version: int = 4, segments: tuple[str, ...] = ()) -> Hop:
    """From one node straight to another."""
    first = (node, neighbour) in LINKS
    number = LINKS[(node, neighbour) if first else (neighbour, node)]
    side = 2 if first else 1
    via: IPv4Address | IPv6Address | None = ip_address(
        f"10.{number}.0.{side}" if version == 4 else f"fd00:{number}::{side}"
    )
    if segments:
        via = None
    return Hop(f"to_{neighbour}", via, segments=tuple(IPv6Address(each) for each in segments))


def route(destination: str, *hops: Hop, backup: tuple[Hop, ...] = ()) -> NodeRoute:
    return NodeRoute(ip_network(destination), hops, backup=backup)


def straight(*, version: int = 4) -> dict[str, tuple[NodeRoute, ...]]:
    """Routes of all nodes: there by r2 with r3 as the backup, back by r3."""
    to_h1, to_h2 = (H1, H2) if version == 4 else (H1_6, H2_6)
    zero = "0.0.0.0/0" if version == 4 else "::/0"

    def by(node: str, neighbour: str) -> Hop:
        return hop(node, neighbour, version=version)

    return {
        "h1": (route(zero, by("h1", "r1")),),
        "h2": (route(zero, by("h2", "r4")),),
        "r1": (route(to_h2, by("r1", "r2"), backup=(by("r1", "r3"),)),),
        "r2": (route(to_h2, by("r2", "r4")), route(to_h1, by("r2", "r1"))),
        "r3": (route(to_h2, by("r3", "r4")), route(to_h1, by("r3", "r1"))),
        "r4": (route(to_h1, by("r4", "r3")),),
    }


def state(routes: dict[str, tuple[NodeRoute, ...]], **changes: Namespace) -> NetworkState:
    """The whole; `changes` take the place of nodes."""
    nodes = {name: Namespace(name, forward=name[0] == "r", routes=routes[name]) for name in routes} | changes
    links = []
    for (first, second), number in LINKS.items():
        ends = [
            End(
                name,
                f"to_{other}",
                (ip_interface(f"10.{number}.0.{side}/24"), ip_interface(f"fd00:{number}::{side}/64")),
            )
            for name, other, side in ((first, second, 1), (second, first, 2))
        ]
        links.append(DataLink(f"{first}-{second}", (ends[0], ends[1])))
    return NetworkState(tuple(nodes.values()), tuple(links))


def with_routes(desired: NetworkState, node: str, *routes: NodeRoute) -> NetworkState:
    """The same with other routes of one node."""
    spaces = tuple(replace(each, routes=routes) if each.name == node else each for each in desired.namespaces)
    return replace(desired, namespaces=spaces)


@dataclass
class Diamond:
    plane: LinuxDataplane

    async def apply(self, desired: NetworkState) -> int:
        """How many changes it took; no errors."""
        report = await self.plane.apply(desired)
        assert not report.errors, report.errors
        return report.changes

    async def run(self, node: str, *argv: str, check: bool = True) -> str:
        command = ("ip", "netns", "exec", self.plane.path(node).name, *argv)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        assert not check or process.returncode == 0, f"{' '.join(argv)}: {out.decode()}"
        return out.decode()

    async def lost(self, count: int = 20, *, to: str = "10.6.0.2") -> int:
        """How many of `count` pings from h1, 5 ms apart, are lost."""
        return count - await self._answered(count, to)

    def pinging(self, count: int = 200, *, to: str = "10.6.0.2") -> "asyncio.Task[int]":
        """The same, while something else is done."""
        return asyncio.create_task(self.lost(count, to=to))

    async def _answered(self, count: int, to: str) -> int:
        out = await self.run("h1", "ping", "-q", "-i", "0.005", "-c", str(count), "-W", "1", to, check=False)
        found = re.search(r"(\d+) received", out)
        assert found, out
        return int(found[1])

    async def silence(self, node: str, interface: str) -> None:
        """Drops all that comes in there, though the link stays up."""
        hook = f'type filter hook ingress device "{interface}" priority 0; policy drop;'
        await self.run(node, "nft", f"table netdev silence {{ chain c {{ {hook} }}; }}")

    async def speak(self, node: str) -> None:
        await self.run(node, "nft", "delete", "table", "netdev", "silence")
