"""GraphML, GML and SNDlib: what other programs write is read, what is wrong is refused with its file and line."""

import io
from typing import Any

import networkx as nx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.topology.building import Options
from weft.network.topology.fields import LABEL
from weft.network.topology.formats import FORMATS, FormatError, parse, read_graph, to_topology
from weft.network.topology.labels import Labels, as_label
from weft.network.topology.model import Topology
from weft.network.topology.reader import read_topology
from weft.network.topology.writer import write_topology

# As files of the Topology Zoo are, with what is unusual in them: one label twice, a place that is not known, a link
# twice and a loop.
ZOO_GML = """graph [
  Creator "Topology Zoo Toolset"
  directed 0
  Network "Test Net"
  label "TestNet"
  node [
    id 0
    label "São Paulo &#38; Co"
    Country "Brazil"
    Longitude -46.63611
    Internal 1
    Latitude -23.5475
  ]
  node [ id 1 label "None" Longitude 13.41053 Latitude 52.52437 ]
  node [ id 2 label "None" hyperedge 1 ]
  # a comment
  edge [ source 0 target 1 LinkLabel "STM-64 [10G]" LinkSpeed "10" LinkSpeedUnits "G" LinkSpeedRaw 10000000000.0 ]
  edge [ source 1 target 2 LinkSpeedRaw 45000000.0 ]
  edge [ source 1 target 2 ]
  edge [ source 2 target 2 ]
]
"""
ZOO_GRAPHML = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d32" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d30" />
  <key attr.name="Latitude" attr.type="double" for="node" id="d31" />
  <key attr.name="label" attr.type="string" for="node" id="d33" />
  <key attr.name="Network" attr.type="string" for="graph" id="d1" />
  <graph edgedefault="undirected">
    <data key="d1">Test Net</data>
    <node id="0"><data key="d30">-46.63611</data><data key="d31">-23.5475</data>
      <data key="d33">São Paulo &amp; Co</data></node>
    <node id="1"><data key="d30">13.41053</data><data key="d31">52.52437</data><data key="d33">None</data></node>
    <node id="2"><data key="d33">None</data></node>
    <edge source="0" target="1"><data key="d32">10000000000.0</data></edge>
    <edge source="1" target="2"><data key="d32">45000000.0</data></edge>
    <edge source="1" target="2" />
    <edge source="2" target="2" />
  </graph>
</graphml>
"""
SNDLIB_NATIVE = """?SNDlib native format; type: network; version: 1.0
# network polska
META (
  granularity = 1day ( with ( brackets ) )
)
NODES (
  Gdansk ( 18.60 54.20 )
  Bydgoszcz ( 17.90 53.10 ) # behind
)
LINKS (
  Link_0_10 ( Gdansk Bydgoszcz ) 0.00 0.00 12.40 156.00 ( 155.00 156.00 622.00 468.00 )
  L2 ( Bydgoszcz Gdansk ) 9920 0 0 0 ( )
)
DEMANDS (
  D1 ( Gdansk Bydgoszcz ) 1 195.00 UNLIMITED
  D2 ( Bydgoszcz Gdansk ) 1 158.00 UNLIMITED
)
"""
SNDLIB_XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <networkStructure>
  <nodes coordinatesType="geographical">
   <node id="Gdansk"><coordinates><x>18.60</x><y>54.20</y></coordinates></node>
   <node id="Bydgoszcz"><coordinates><x>17.90</x><y>53.10</y></coordinates></node>
  </nodes>
  <links>
   <link id="Link_0_10"><source>Gdansk</source><target>Bydgoszcz</target><routingCost>12.4</routingCost>
    <additionalModules><addModule><capacity>155.0</capacity><cost>156.0</cost></addModule></additionalModules>
   </link>
   <link id="L2"><source>Bydgoszcz</source><target>Gdansk</target>
    <preInstalledModule><capacity>9920.0</capacity><cost>0.0</cost></preInstalledModule></link>
  </links>
 </networkStructure>
 <demands><demand id="D1"><source>Gdansk</source><target>Bydgoszcz</target></demand>
          <demand id="D2"><source>Bydgoszcz</source><target>Gdansk</target></demand></demands>
</network>
"""


def lab(text: str, **options: Any) -> tuple[Topology, list[str]]:
    return to_topology(parse(text.encode(), "some/file"), Options(**options))


@pytest.mark.parametrize("text", [ZOO_GML, ZOO_GRAPHML])
def test_a_network_of_the_topology_zoo(text: str) -> None:
    topology, notes = lab(text)
    assert topology.name == "test-net"
    assert [router.name for router in topology.routers] == ["sao-paulo-co", "none", "none-2"]
    links = [(link.name, link.capacity, link.delay) for link in topology.links]
    # São Paulo to Berlin is about 10230 km.
    assert links[0][:2] == ("sao-paulo-co-none", 10**10)
    assert 50_700 < links[0][2] < 51_700
    assert links[1:] == [("none-none-2", 45_000_000, 0), ("none-none-2-2", 0, 0)]
    assert any("1 link from a node to itself" in note for note in notes)
    assert any("1 of 3 nodes have no place" in note for note in notes)
    assert read_topology(write_topology(topology)) == topology


@pytest.mark.parametrize("text", [SNDLIB_NATIVE, SNDLIB_XML])
def test_a_network_of_sndlib(text: str) -> None:
    topology, notes = lab(text)
    assert topology.name == "file"
    assert [router.name for router in topology.routers] == ["gdansk", "bydgoszcz"]
    assert [(link.capacity, link.cost) for link in topology.links] == [(155_000_000, 12), (9_920_000_000, 1)]
    assert topology.links[0].delay == pytest.approx(654, abs=3)  # 131 km
    assert notes == ["2 demands were left out: labs have none"]


def test_pixels_are_no_places() -> None:
    topology, notes = lab(SNDLIB_XML.replace('"geographical"', '"pixel"'))
    assert not topology.places
    assert "coordinates are not longitude and latitude" in notes[0]


def test_a_node_without_coordinates_is_nowhere() -> None:
    without = SNDLIB_XML.replace("<coordinates><x>17.90</x><y>53.10</y></coordinates>", "")
    topology, notes = lab(without)
    assert topology.places == {"gdansk": (18.6, 54.2)}
    assert "1 of 2 nodes have no place; their links have no delay by distance" in notes


def test_links_there_and_back_of_a_directed_graph_are_one() -> None:
    text = "graph [ directed 1 node [ id 1 ] node [ id 2 ] edge [ source 1 target 2 ] edge [ source 2 target 1 ] ]"
    assert len(lab(text)[0].links) == 1
    assert len(lab(text.replace("directed 1", "directed 0"))[0].links) == 2


def test_what_a_link_may_say() -> None:
    text = """graph [ node [ id 1 ] node [ id 2 ]
      edge [ source 1 target 2 capacity "2.5Gbit" delay 7.5 weight 2.6 ]
      edge [ source 1 target 2 bandwidth 10 ]
      edge [ source 1 target 2 delay "250us" cost -4 ]
      edge [ source 1 target 2 LinkSpeed "10" LinkSpeedUnits "G" ] ]"""
    topology, notes = lab(text, hosts=1, capacity=10**6)
    links = [(link.capacity, link.delay, link.cost) for link in topology.links[:4]]
    assert links == [(2_500_000_000, 7500, 3), (10**6, 0, 1), (10**6, 250, 1), (10**10, 0, 1)]
    assert notes == ["2 of 4 links say a capacity, delay or cost that no link can have"]
    assert len(topology.hosts) == 2


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><graphml><graph>&b;</graph></graphml>'
FETCH = '<!DOCTYPE x SYSTEM "file:///etc/passwd"><graphml><graph/></graphml>'
GRAPHML = '<graphml>\n<graph>\n<node id="1"/>\n%s</graph></graphml>'
NATIVE = SNDLIB_NATIVE.partition("LINKS")[0]
MISTAKES = [
    (BOMB, "x.xml:1: cannot take XML with a document type"),
    (FETCH, "x.xml:1: cannot take XML with a document type"),
    ("<graphml>" + "<a>" * 100, "within each other"),
    ("<graphml><graph>\n</grph>", "x.xml:2: not XML: mismatched tag"),
    ("<graphml/>", "x.xml:1: not GraphML"),
    ("<html/>", "x.xml:1: not SNDlib: no network structure in <html>"),
    ('<?xml version="1.0" encoding="klingon"?><graphml/>', "x.xml:1: not XML"),
    (GRAPHML % '<node id="1"/>', "x.xml:4: there are two nodes '1'"),
    (GRAPHML % "<node/>", "x.xml:4: a node has no id"),
    (GRAPHML % '\n<edge source="1" target="7"/>', "x.xml:5: there is no node '7'"),
    (GRAPHML % '<edge source="1"/>', "x.xml:4: an edge has no source or no target"),
    (GRAPHML % "<hyperedge/>", "x.xml:4: cannot take hyperedges"),
    ("<graphml><graph/></graphml>", "x.xml:1: cannot make lab x: it has no nodes"),
    ("graph [\n node [ id 1 ]\n ] ]", "x.xml:3: not GML: ']' where it does not belong"),
    ("graph [\n node [ id ] ]", "x.xml:2: not GML: ']' where it does not belong"),
    ("graph [\n node [ 1 id ] ]", "x.xml:2: not GML: '1' where a key should be"),
    ("graph [\n node [ id 1 ]", "x.xml:2: not GML: the file ends within a list"),
    ("graph [\n\n ; ]", "x.xml:3: not GML: '; ]'"),
    ('graph [\n label "\n\n ] ', "x.xml:2: not GML: '\"'"),
    ("a [ " * 100, "cannot take GML of more than 64 lists within each other"),
    ("graph [ ] graph [ ]", "there must be one graph, and there are 2"),
    ("", "there must be one graph, and there are 0"),
    ("?SNDlib solution format\n", "x.xml:1: not SNDlib: the first line"),
    (NATIVE + "LINKS (\n L1 ( Gdansk ) 0 0 0 0 ( ) )", "x.xml:11: ')' where a name or number should be"),
    (NATIVE + "LINKS (\n L1 ( Gdansk Nowhere ) 0 0 0 0 ( ) )", "x.xml:11: there is no node 'Nowhere'"),
    (NATIVE + "LINKS (\n L1 ( Gdansk Bydgoszcz ) 0 x 0 0 ( ) )", "x.xml:11: 'x' is not a number"),
    (NATIVE + "LINKS (\n L1 ( Gdansk Bydgoszcz ) nan 0 0 0 ( ) )", "x.xml:11: 'nan' is not a number"),
    (NATIVE + "DEMANDS (\n D1 (", "x.xml:11: the file ends within a section"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_named_by_file_and_line(text: str, message: str) -> None:
    with pytest.raises(FormatError) as raised:
        to_topology(parse(text.encode(), "x.xml"), Options())
    assert message in str(raised.value)


def test_too_many_nodes_are_refused() -> None:
    with pytest.raises(FormatError, match="more than 1000 nodes"):
        lab("graph [" + "".join(f"node [ id {number} ]" for number in range(1001)) + "]")


def test_a_file_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(InvalidError, match="cannot read"):
        read_graph(tmp_path / "none.gml")


SAMPLES = [ZOO_GML, ZOO_GRAPHML, SNDLIB_NATIVE, SNDLIB_XML]


@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), max_size=4))
def test_damaged_files_raise_nothing_else(text: str, damages: list[tuple[int, bytes]]) -> None:
    data = text.encode()
    for position, damage in damages:
        data = data[:position] + damage + data[position + len(damage) + 1 :]
    for form in ("", *FORMATS):
        try:
            topology, _ = to_topology(parse(data, "x", form), Options())
        except FormatError:
            continue
        assert read_topology(write_topology(topology)) == topology


@given(st.binary(max_size=200), st.sampled_from(FORMATS))
@example(b'<?xml version="1.0" encoding="utf-7"?><graphml/>', "graphml")
@example(b"graph [ node [ id 1e ] ]", "gml")
@example(b"\xff\xfe<\x00a\x00/\x00>\x00", "sndlib")
def test_no_bytes_raise_anything_else(data: bytes, form: str) -> None:
    try:
        parse(data, "x", form)
    except FormatError:
        pass


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.data())
def test_what_networkx_writes_is_read_as_it_was(names: list[str], data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=12))
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(names)
    for index, (a, b) in enumerate(pairs):
        if a != b:
            graph.add_edge(a, b, capacity=index * 10**6 + 10**6, weight=index + 1)
    wanted = sorted(
        (*sorted((names.index(a), names.index(b))), d["capacity"], d["weight"]) for a, b, d in graph.edges(data=True)
    )
    graphml = io.BytesIO()
    nx.write_graphml_xml(graph, graphml)
    for written in ("\n".join(nx.generate_gml(graph)).encode(), graphml.getvalue()):
        topology, notes = to_topology(parse(written, "x"), Options())
        order = {router.name: index for index, router in enumerate(topology.routers)}
        found = [(*sorted((order[x.a.node], order[x.b.node])), x.capacity, x.cost) for x in topology.links]
        assert sorted(found) == wanted
        assert notes == []


@given(st.lists(st.text(max_size=70), max_size=20))
def test_labels_are_labels_and_unique(texts: list[str]) -> None:
    labels = Labels()
    found = [labels.unique(text) for text in texts]
    assert len(set(found)) == len(found)
    assert all(LABEL.fullmatch(label) and len(label) <= 63 for label in found)


def test_labels_are_near_their_texts() -> None:
    assert [as_label(text) for text in ("São Paulo", "Łódź", "Straße 7", "--a--", "東京")] == [
        "sao-paulo", "lodz", "strasse-7", "a", "",
    ]  # fmt: skip
    labels = Labels()
    assert [labels.unique("a") for _ in range(3)] + [labels.unique("a-2")] == ["a", "a-2", "a-3", "a-2-2"]
    assert len(labels.unique("x" * 80)) == len(labels.unique("x" * 80)) == 63
