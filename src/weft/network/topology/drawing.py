"""A lab as a drawing for terminals: each node with the links that it is the first end of.

In: a topology, with the links that are cut. Out: lines.
"""

from weft.network.topology.model import Link, Topology
from weft.network.topology.units import format_rate


def draw(topology: Topology, cut: frozenset[str] = frozenset()) -> list[str]:
    """Routers first, then switches and hosts; each link once, where it was first met."""
    width = max((len(name) for name in topology.node_names), default=0)
    drawn: set[str] = set()
    lines = []
    for node in topology.node_names:
        links = [link for link in topology.links if link.name not in drawn and node in (link.a.node, link.b.node)]
        drawn |= {link.name for link in links}
        for index, link in enumerate(links):
            fork = "──" if len(links) == 1 else ("┬─" if index == 0 else "└─" if index == len(links) - 1 else "├─")
            name = node if index == 0 else ""
            lines.append(f"{name:<{width}} ─{fork} " if index == 0 else f"{'':<{width}}  {fork} ")
            lines[-1] += _describe(link, node, width, link.name in cut)
        if not links and not any(node in (link.a.node, link.b.node) for link in topology.links):
            lines.append(node)
    return lines


def _describe(link: Link, node: str, width: int, cut: bool) -> str:
    other = link.other(node).node
    capacity = format_rate(link.capacity) if link.capacity else "-"
    text = f"{other:<{width}}  {link.name:<{2 * width + 1}}  {capacity:>8}  cost {link.cost}"
    return f"{text}  ╳ cut" if cut else text
