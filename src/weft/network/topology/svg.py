"""A lab as a picture, in SVG: circles are routers, squares switches, small boxes hosts; wide links are fast.

In: a topology, the links that are cut, the nodes that are down. Out: text, the same for the same input; pointing at a
node or link shows all that is known of it. Who is next: `weft lab graph`, and the web pages.
"""

from collections.abc import Iterator, Mapping
from html import escape
from math import hypot, log10

from weft.network.topology.drawing import describe_link, describe_router
from weft.network.topology.layout import Layout, Point, choose_layout, lay_out
from weft.network.topology.model import Link, Topology
from weft.network.topology.units import format_rate

_MARGIN = 56
_TITLE = 40
# Pixels between the two ends of a link of usual length; less where there are many nodes.
_UNIT, _SMALLEST_UNIT = 130.0, 60.0
_MOST_LABELS = 60
_STYLE = """
  svg { background: #fff; font: 12px system-ui, 'DejaVu Sans', sans-serif; fill: #1f2933; }
  .title { font-size: 16px; font-weight: 600; } .counts { fill: #616e7c; }
  .link { fill: none; stroke: #9aa5b1; stroke-linecap: round; }
  .down .link { stroke: #d64545; stroke-dasharray: 5 5; } .cross { stroke: #d64545; stroke-width: 3; }
  .name, .label { text-anchor: middle; paint-order: stroke; stroke: #fff; stroke-width: 4px; stroke-linejoin: round; }
  .label { font-size: 10px; fill: #52606d; } .down .label { fill: #ab091e; }
  .back { fill: #fff; }
  .router { fill: #2f6fb2; stroke: #1a4971; } .switch { fill: #3f9142; stroke: #1f5123; }
  .host { fill: #f0b429; stroke: #8d5f08; } .failed { fill: #fff; stroke: #d64545; stroke-dasharray: 3 3; }
  .arrows { stroke: #fff; stroke-width: 1.6; fill: none; stroke-linecap: round; }
"""
# From the left and the right inwards, up and down outwards; there and back.
_ROUTER_ARROWS = (
    "M-8 0H-3M-5.5 -2.5L-3 0L-5.5 2.5M8 0H3M5.5 -2.5L3 0L5.5 2.5"
    "M0 -3V-8M-2.5 -5.5L0 -8L2.5 -5.5M0 3V8M-2.5 5.5L0 8L2.5 5.5"
)
_SWITCH_ARROWS = "M-7 -4H6M3 -7L6 -4L3 -1M7 4H-6M-3 1L-6 4L-3 7"
_ROUTER = f'<circle class="CLASS" r="13"/><path class="arrows" d="{_ROUTER_ARROWS}"/>'
_SWITCH = (
    f'<rect class="CLASS" x="-12" y="-12" width="24" height="24" rx="3"/><path class="arrows" d="{_SWITCH_ARROWS}"/>'
)
_HOST = '<rect class="CLASS" x="-9" y="-7" width="18" height="12" rx="2"/><path class="host" d="M-5 8H5"/>'


def draw_svg(
    topology: Topology,
    cut: frozenset[str] = frozenset(),
    failed: frozenset[str] = frozenset(),
    layout: Layout | None = None,
) -> str:
    """`cut` are names of links, `failed` of nodes; without `layout`, the one that suits the lab."""
    layout = layout or choose_layout(topology)
    points, width, height = _scale(topology, lay_out(topology, layout), layout)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(topology.name)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="16" y="26">{escape(topology.name)}</text>',
        f'<text class="counts" x="16" y="44">{escape(_counts(topology, cut))}</text>',
        *_links(topology, points, cut),
        *_nodes(topology, points, failed),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _scale(topology: Topology, raw: Mapping[str, Point], layout: Layout) -> tuple[dict[str, Point], int, int]:
    """To pixels: a link of median length is a unit, and the whole has room for names at its edges."""
    if not raw:
        return {}, 2 * _MARGIN, 2 * _MARGIN
    unit = max(_SMALLEST_UNIT, _UNIT * min(1.0, (60 / len(raw)) ** 0.5))
    if layout == "layers":
        # Names of one row must stand beside each other.
        longest = max(len(name) for name in raw)
        unit = max(unit, longest * 7.5 / 0.8) if len(raw) <= 200 else _SMALLEST_UNIT
    low_x, low_y = min(x for x, _ in raw.values()), min(y for _, y in raw.values())
    points = {
        name: (round((x - low_x) * unit + _MARGIN, 1), round((y - low_y) * unit + _MARGIN + _TITLE, 1))
        for name, (x, y) in raw.items()
    }
    title = 32 + 8 * max(len(topology.name), len(_counts(topology, frozenset())))
    width = max(title, round(max(x for x, _ in points.values()) + _MARGIN))
    return points, width, round(max(y for _, y in points.values()) + _MARGIN)


def _counts(topology: Topology, cut: frozenset[str]) -> str:
    parts = []
    for count, one, many in (
        (len(topology.routers), "router", "routers"),
        (len(topology.switches), "switch", "switches"),
        (len(topology.hosts), "host", "hosts"),
        (len(topology.links), "link", "links"),
    ):
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    if down := sum(link.name in cut for link in topology.links):
        parts.append(f"{down} cut")
    return ", ".join(parts)


def _links(topology: Topology, points: Mapping[str, Point], cut: frozenset[str]) -> Iterator[str]:
    """Links side by side are bent, each another way."""
    beside: dict[frozenset[str], list[str]] = {}
    for link in topology.links:
        beside.setdefault(frozenset((link.a.node, link.b.node)), []).append(link.name)
    costs = {link.cost for link in topology.links}
    areas = len(topology.ospf_areas) > 1
    labels = len(topology.links) <= _MOST_LABELS
    for link in topology.links:
        siblings = beside[frozenset((link.a.node, link.b.node))]
        bend = siblings.index(link.name) - (len(siblings) - 1) / 2
        first, second = sorted((link.a.node, link.b.node))
        (x1, y1), (x2, y2) = points[first], points[second]
        length = hypot(x2 - x1, y2 - y1) or 1.0
        # The control point of the curve is twice as far from the line as its middle is.
        push_x, push_y = -(y2 - y1) / length * bend * 26, (x2 - x1) / length * bend * 26
        mx, my = (x1 + x2) / 2 + push_x, (y1 + y2) / 2 + push_y
        down = link.name in cut
        yield f'<g class="down">{_title(topology, link, down)}' if down else f"<g>{_title(topology, link, down)}"
        yield (
            f'<path class="link" stroke-width="{_stroke(link)}" d="M{x1:g} {y1:g}Q{mx + push_x:.1f} {my + push_y:.1f}'
            f' {x2:g} {y2:g}"/>'
        )
        if down:
            yield f'<path class="cross" d="M{mx - 6:.1f} {my - 6:.1f}l12 12m0 -12l-12 12"/>'
        text = _label(link, with_cost=len(costs) > 1, with_area=areas, topology=topology)
        if text and labels:
            # A line behind would show between the words; text has no width here, but digits are about this wide.
            half, below = 3 * len(text) + 2, 18 if down else 3.5
            yield f'<rect class="back" x="{mx - half:.1f}" y="{my + below - 9:.1f}" width="{2 * half}" height="11"/>'
            yield f'<text class="label" x="{mx:.1f}" y="{my + below:.1f}">{escape(text)}</text>'
        yield "</g>"


def _title(topology: Topology, link: Link, down: bool) -> str:
    said = describe_link(topology, link)
    text = f"{link.name}: {link.a.node} to {link.b.node}, {said}" + (", cut" if down else "")
    return f"<title>{escape(text)}</title>"


def _stroke(link: Link) -> str:
    """1.5 pixels for 10 Mbit/s and less, 6 for 100 Gbit/s and more; 2 where there is no limit."""
    if not link.capacity:
        return "2"
    return f"{max(1.5, min(6.0, 1.5 + (log10(link.capacity) - 7) * 1.125)):.1f}"


def _label(link: Link, *, with_cost: bool, with_area: bool, topology: Topology) -> str:
    parts = [format_rate(link.capacity)] if link.capacity else []
    ends = {end.node for end in (link.a, link.b)}
    if with_cost and not ends & {host.name for host in topology.hosts}:
        parts.append(str(link.cost))
    if with_area and (router := next(iter(sorted(ends & topology.router_names)), None)):
        parts.append(f"area {topology.area_of(link, router)}")
    return " · ".join(parts)


def _nodes(topology: Topology, points: Mapping[str, Point], failed: frozenset[str]) -> Iterator[str]:
    small = len(points) > 150

    def node(name: str, kind: str, title: str, shape: str, below: int) -> str:
        x, y = points[name]
        style = f"{kind} failed" if name in failed else kind
        title += ", down" if name in failed else ""
        shown = "" if small and kind == "host" else f'<text class="name" y="{below}">{escape(name)}</text>'
        return (
            f'<g transform="translate({x:g} {y:g})"><title>{escape(title)}</title>'
            f"{shape.replace('CLASS', style)}{shown}</g>"
        )

    for router in topology.routers:
        yield node(router.name, "router", f"router {router.name}, {describe_router(router)}", _ROUTER, 28)
    for switch in topology.switches:
        yield node(switch.name, "switch", f"switch {switch.name}", _SWITCH, 27)
    for host in topology.hosts:
        yield node(host.name, "host", f"host {host.name}", _HOST, 22)
