"""Drawings: every node and link once, no node on another, text that cannot break out, the same each time."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from math import hypot
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.cli.lab_graph import convert, generate, graph
from weft.core.errors import WeftError
from weft.network.topology import generators
from weft.network.topology.building import Options
from weft.network.topology.drawing import draw, draw_dot
from weft.network.topology.layout import LAYOUTS, Layout, choose_layout, lay_out
from weft.network.topology.model import BfdSettings, Endpoint, Link, Router, RoutingSettings, Switch, Topology
from weft.network.topology.reader import read_topology
from weft.network.topology.svg import draw_svg

LABS = Path(__file__).parents[4] / "examples/labs"
SVG = "{http://www.w3.org/2000/svg}"
MADE = {
    "ring": generators.ring(9, Options(hosts=1)),
    "fat-tree": generators.fat_tree(4),
    "tree": generators.tree(3, 2, Options(hosts=2)),
    "waxman": generators.waxman(40, Options(hosts=1)),
    "scale-free": generators.scale_free(40, 2),
    "torus": generators.torus(4, 5),
}


@pytest.mark.parametrize("name", MADE)
def test_no_two_nodes_are_in_one_place(name: str) -> None:
    points = lay_out(MADE[name])
    assert set(points) == set(MADE[name].node_names)
    nearest = min(hypot(a[0] - b[0], a[1] - b[1]) for a, b in combinations(points.values(), 2))
    assert nearest > 0.15


def test_the_layout_suits_the_lab() -> None:
    chosen = {name: choose_layout(topology) for name, topology in MADE.items()}
    assert chosen == {
        "ring": "force",
        "fat-tree": "layers",
        "tree": "layers",
        "waxman": "map",
        "scale-free": "force",
        "torus": "force",
    }


def test_layers_are_rows_with_hosts_below() -> None:
    points = lay_out(MADE["fat-tree"])
    rows = {
        kind: {y for name, (_, y) in points.items() if name.startswith(kind)} for kind in ("core", "agg", "edge", "h")
    }
    assert all(len(row) == 1 for row in rows.values())
    assert max(rows["core"]) < max(rows["agg"]) < max(rows["edge"]) < max(rows["h"])
    # Without crossings in a tree: the leaves are in the order of their parents.
    tree = lay_out(MADE["tree"])
    xs = [tree[f"r{number}"][0] for number in range(8, 16)]
    assert xs == sorted(xs) or xs == sorted(xs, reverse=True)


def test_a_map_has_north_above_and_east_on_the_right() -> None:
    routers = tuple(Router(name) for name in ("oslo", "rome", "lisbon"))
    places = {"oslo": (10.7, 59.9), "rome": (12.5, 41.9), "lisbon": (-9.1, 38.7)}
    links = (Link("a", Endpoint("oslo"), Endpoint("rome")), Link("b", Endpoint("rome"), Endpoint("lisbon")))
    points = lay_out(Topology("x", routers, links=links, places=places))
    assert points["oslo"][1] < points["rome"][1] < points["lisbon"][1]
    assert points["lisbon"][0] < points["oslo"][0] < points["rome"][0]


def test_a_ring_is_drawn_round() -> None:
    points = [lay_out(generators.ring(12))[f"r{number}"] for number in range(1, 13)]
    x, y = sum(p[0] for p in points) / 12, sum(p[1] for p in points) / 12
    radii = [hypot(p[0] - x, p[1] - y) for p in points]
    assert max(radii) < 1.15 * min(radii)


def titles(text: str) -> Counter[str]:
    root = ElementTree.fromstring(text)
    return Counter(element.findtext(f"{SVG}title") or "" for element in root.iter(f"{SVG}g"))


@pytest.mark.parametrize("name", MADE)
def test_everything_is_in_the_picture_once(name: str) -> None:
    topology = MADE[name]
    cut = frozenset([topology.links[0].name])
    failed = frozenset([topology.routers[0].name])
    text = draw_svg(topology, cut, failed)
    found = titles(text)
    assert len(found) == len(topology.links) + len(topology.node_names)
    assert set(found.values()) == {1}
    assert sum(title.endswith(", cut") for title in found) == 1
    assert sum(title.endswith(", down") for title in found) == 1
    root = ElementTree.fromstring(text)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root.iter(f"{SVG}g"):
        if "transform" in element.attrib:
            x, y = map(float, element.attrib["transform"][len("translate(") : -1].split())
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_a_drawing_is_the_same_in_another_process() -> None:
    code = (
        "from weft.network.topology import generators as g; from weft.network.topology.svg import draw_svg; import sys;"
        "sys.stdout.write(draw_svg(g.scale_free(30, 2)) + draw_svg(g.waxman(20)) + draw_svg(g.fat_tree(4)))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(LAYOUTS))
def test_no_name_breaks_out_of_the_picture(one: str, other: str, layout: Layout) -> None:
    """The reader takes labels only; the picture does not lean on it."""
    one = "".join(c for c in one if c.isprintable()) + '<script>"&'
    other = "".join(c for c in other if c.isprintable()) + "</text>]]>'"
    topology = Topology(one, (Router(one), Router(other)), links=(Link(other, Endpoint(one), Endpoint(other)),))
    root = ElementTree.fromstring(draw_svg(topology, layout=layout))
    assert {element.text for element in root.iter(f"{SVG}text")} >= {one, other}
    assert not list(root.iter(f"{SVG}script"))


@given(
    st.integers(0, 7), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12), st.sampled_from(LAYOUTS)
)
@settings(max_examples=60)
def test_any_graph_can_be_drawn(count: int, pairs: list[tuple[int, int]], layout: Layout) -> None:
    routers = tuple(Router(f"r{index}") for index in range(count))
    links = tuple(
        Link(f"l{index}", Endpoint(f"r{a}"), Endpoint(f"r{b}"))
        for index, (a, b) in enumerate(pairs)
        if a != b and max(a, b) < count
    )
    topology = Topology("x", routers, (Switch("s"),), (), links)
    for each in (layout, None):
        assert len(titles(draw_svg(topology, layout=each))) == count + 1 + len(links)


def test_the_terminal_drawing_says_what_links_and_routers_have() -> None:
    ospf = RoutingSettings(protocol="ospf", daemon="frr", bfd=BfdSettings())
    a, b = Router("a", settings=ospf), Router("b", settings=replace(ospf, protocol="rip", daemon="weft", bfd=None))
    link = Link("a-b", Endpoint("a"), Endpoint("b"), 10**9, 5000, 0.001, 7, "up", 1000, 9000, None, ("duct",))
    lines = draw(Topology("x", (a, b), links=(link,)), frozenset(["a-b"]))
    assert lines == [
        "a ─── b  a-b     1Gbit  cost 7  5ms±1ms  loss 0.1%  mtu 9000  shares duct  ╳ cut",
        "ospf by frr, bfd: a",
        "rip by weft: b",
    ]
    assert draw(generators.line(2)) == ["r1 ─── r2  r1-r2         -  cost 1"]


def test_dot_has_all_and_quotes_it() -> None:
    text = draw_dot(Topology("x", (Router('a"b'),), links=()), frozenset())
    assert '"a\\"b" [shape=ellipse, class=router];' in text
    assert draw_dot(MADE["ring"]).count(" -- ") == len(MADE["ring"].links)


def run(command: object, *arguments: str) -> str:
    done = CliRunner().invoke(command, list(arguments), catch_exceptions=False)  # type: ignore[arg-type]
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_commands_draw_generate_and_convert(tmp_path: Path) -> None:
    made = tmp_path / "made.yaml"
    run(generate, "fat-tree", "4", "--capacity", "1Gbit", "--protocol", "ospf", "--daemon", "frr", "-o", str(made))
    topology = read_topology(yaml.safe_load(made.read_text()))
    assert (len(topology.routers), len(topology.hosts), topology.routing.daemon) == (20, 16, "frr")
    assert len(titles(run(graph, str(made), "--format", "svg"))) == 36 + 48
    picture = tmp_path / "made.svg"
    run(graph, str(made), "-o", str(picture))
    assert picture.read_text().startswith("<svg")
    assert run(graph, str(made), "--format", "dot").startswith('graph "fat-tree-4"')
    assert "all routers: ospf by frr" in run(graph, str(made))
    gml = tmp_path / "two.gml"
    gml.write_text('graph [ node [ id 0 label "A" ] node [ id 1 label "B" ] edge [ source 0 target 1 ] ]')
    text = run(convert, str(gml), "--hosts", "1", "--delay", "2ms")
    assert text.startswith("# Made by `weft lab convert two.gml`.\n")
    assert [router.name for router in read_topology(yaml.safe_load(text)).routers] == ["a", "b"]
    assert "a ─┬─ b" in run(graph, str(gml)) or "a ─── b" in run(graph, str(gml))


def test_the_hosts_of_a_fat_tree_are_as_many_as_asked_for() -> None:
    assert len(read_topology(yaml.safe_load(run(generate, "fat-tree", "4", "--hosts", "0"))).hosts) == 0


@pytest.mark.parametrize(
    "arguments",
    ["line 3", "ring 4", "star 4", "tree 2 2", "grid 2 3", "torus 3 3", "random 8 0.5", "waxman 8", "scale-free 8 2"],
)
def test_each_rule_has_a_command(arguments: str) -> None:
    text = run(generate, *arguments.split())
    assert text.startswith(f"# Made by `weft lab generate {arguments}")
    assert read_topology(yaml.safe_load(text)).routers


def test_wrong_options_are_said() -> None:
    with pytest.raises(WeftError, match="--capacity: Invalid value"):
        run(generate, "ring", "4", "--capacity", "much")
    with pytest.raises(WeftError, match="cannot read"):
        run(convert, "/nowhere/at/all.gml")
    with pytest.raises(WeftError, match="cannot write"):
        run(generate, "ring", "4", "-o", "/nowhere/at/all.yaml")
    with pytest.raises(WeftError, match="both a file and a lab"):
        run(graph, "x.yaml", "--lab", "y")


def test_the_fat_tree_among_the_examples_is_what_the_generator_makes() -> None:
    topology = read_topology(yaml.safe_load((LABS / "fattree.yaml").read_text()))
    made = generators.fat_tree(4)
    ends = [(link.a.node, link.b.node) for link in topology.links]
    assert ends == [(link.a.node, link.b.node) for link in made.links]
    assert topology.node_names == made.node_names
