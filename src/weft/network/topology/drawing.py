"""A lab as text: a drawing for terminals, each node with the links that it is the first end of; and Graphviz's DOT.

In: a topology, with the links that are cut. Out: lines.
"""

from weft.network.topology.model import Link, Router, Topology
from weft.network.topology.units import format_rate, format_share, format_time


def draw(topology: Topology, cut: frozenset[str] = frozenset()) -> list[str]:
    """Routers first, then switches and hosts; each link once, where it was first met. Then who routes otherwise."""
    width = max((len(name) for name in topology.node_names), default=0)
    links_of: dict[str, list[Link]] = {name: [] for name in topology.node_names}
    for link in topology.links:
        links_of[link.a.node].append(link)
        links_of[link.b.node].append(link)
    drawn: set[str] = set()
    lines = []
    for node in topology.node_names:
        links = [link for link in links_of[node] if link.name not in drawn]
        drawn |= {link.name for link in links}
        for index, link in enumerate(links):
            fork = "──" if len(links) == 1 else ("┬─" if index == 0 else "└─" if index == len(links) - 1 else "├─")
            name = node if index == 0 else ""
            lines.append(f"{name:<{width}} ─{fork} " if index == 0 else f"{'':<{width}}  {fork} ")
            lines[-1] += _describe(topology, link, node, width, link.name in cut)
        if not links_of[node]:
            lines.append(node)
    return lines + _routing(topology)


def _describe(topology: Topology, link: Link, node: str, width: int, cut: bool) -> str:
    other = link.other(node).node
    capacity = format_rate(link.capacity) if link.capacity else "-"
    text = f"{other:<{width}}  {link.name:<{2 * width + 1}}  {capacity:>8}  cost {link.cost}"
    text = "  ".join([text, *_extras(topology, link)])
    return f"{text}  ╳ cut" if cut else text


def _extras(topology: Topology, link: Link) -> list[str]:
    """What a link has beside capacity and cost."""
    parts = []
    if link.delay:
        jitter = f"±{format_time(link.jitter / 1e6)}" if link.jitter else ""
        parts.append(f"{format_time(link.delay / 1e6)}{jitter}")
    if link.loss:
        parts.append(f"loss {format_share(link.loss)}")
    if link.mtu is not None:
        parts.append(f"mtu {link.mtu}")
    if len(topology.ospf_areas) > 1:
        for end in (link.a, link.b):
            if end.node in topology.router_names and topology.router_by_name[end.node].routing == "ospf":
                parts.append(f"area {topology.area_of(link, end.node)}")
                break
    if link.shared_risk_groups:
        parts.append(f"shares {', '.join(link.shared_risk_groups)}")
    return parts


def _routing(topology: Topology) -> list[str]:
    """One line for each way of routing; nothing where the controller does it all."""
    ways: dict[str, list[str]] = {}
    for router in topology.routers:
        ways.setdefault(describe_router(router), []).append(router.name)
    if list(ways) in ([], ["spf"]):
        return []
    if len(ways) == 1:
        return [f"all routers: {next(iter(ways))}"]
    return [f"{way}: {' '.join(names)}" for way, names in ways.items()]


def describe_router(router: Router) -> str:
    """`ospf by frr`."""
    settings = router.settings
    text: str = settings.protocol
    if settings.protocol in ("ospf", "rip"):
        text += f" by {settings.daemon}"
    if settings.backups != "none":
        text += f" with {settings.backups}"
    return f"{text}, bfd" if settings.bfd is not None else text


def describe_link(topology: Topology, link: Link) -> str:
    """All that is known of a link but its ends."""
    capacity = [format_rate(link.capacity)] if link.capacity else []
    return ", ".join([*capacity, f"cost {link.cost}", *_extras(topology, link)])


def draw_dot(topology: Topology, cut: frozenset[str] = frozenset()) -> str:
    """The lab in Graphviz's language, for its layouts: `neato -Tsvg`."""
    lines = [f"graph {_quote(topology.name)} {{", "  layout=neato; overlap=false; splines=true;"]
    for kind, shape, nodes in (
        ("router", "ellipse", topology.routers),
        ("switch", "box", topology.switches),
        ("host", "plaintext", topology.hosts),
    ):
        lines += [f"  {_quote(node.name)} [shape={shape}, class={kind}];" for node in nodes]
    for link in topology.links:
        label = describe_link(topology, link)
        down = ", style=dashed, color=red" if link.name in cut else ""
        lines.append(f"  {_quote(link.a.node)} -- {_quote(link.b.node)} [label={_quote(label)}{down}];")
    return "\n".join([*lines, "}"]) + "\n"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
