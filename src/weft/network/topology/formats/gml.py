"""GML, the Graph Modelling Language of Himsolt, as the Topology Zoo and networkx write it.

In: bytes. Out: a `Graph`. A GML file is a list of keys and values; a value is a number, a string or a list in brackets.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from weft.network.topology.formats.graph import Attributes, Edge, FormatError, Graph, Node

_MAX_DEPTH = 64
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)
      | (?P<string>"[^"]*")
      | (?P<open>\[) | (?P<close>\])
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![A-Za-z_0-9.]))
      | (?P<word>[+-]?[A-Za-z_][A-Za-z0-9_.]*)""",
    re.VERBOSE,
)


@dataclass(slots=True)
class _List:
    """Keys may stand more than once."""

    line: int
    texts: dict[str, str] = field(default_factory=dict)
    lists: "list[tuple[str, _List]]" = field(default_factory=list)

    def find_all(self, key: str) -> "list[_List]":
        return [each for name, each in self.lists if name == key]


def parse(data: bytes, file: str) -> Graph:
    """Raises FormatError only."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    root = _parse_list(text, file)
    graphs = root.find_all("graph")
    if len(graphs) != 1:
        line = graphs[1].line if graphs else 1
        raise FormatError(file, line, f"not GML: there must be one graph, and there are {len(graphs)}")
    graph = graphs[0]
    nodes = tuple(_node(each, file) for each in graph.find_all("node"))
    edges = tuple(_edge(each, file) for each in graph.find_all("edge"))
    name = Attributes(graph.texts).text("network", "label", "name")
    return Graph(file, name or PurePath(file).stem, nodes, edges, graph.texts.get("directed") == "1")


def _tokens(text: str, file: str) -> Iterator[tuple[str, str, int]]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FormatError(file, line, f"not GML: {text[position : position + 20].splitlines()[0]!r}")
        kind, found = match.lastgroup or "", match[0]
        if kind != "space":
            yield kind, found, line
        line += found.count("\n")
        position = match.end()


def _parse_list(text: str, file: str) -> _List:
    root = _List(1)
    stack = [root]
    key = ""
    line = 1
    for kind, token, line in _tokens(text, file):
        if kind == "close":
            if key or len(stack) == 1:
                raise FormatError(file, line, "not GML: ']' where it does not belong")
            stack.pop()
        elif not key:
            if kind != "word":
                raise FormatError(file, line, f"not GML: {token[:20]!r} where a key should be")
            key = token
        elif kind == "open":
            if len(stack) >= _MAX_DEPTH:
                raise FormatError(file, line, f"cannot take GML of more than {_MAX_DEPTH} lists within each other")
            inner = _List(line)
            stack[-1].lists.append((key, inner))
            stack.append(inner)
            key = ""
        else:
            # The first counts. networkx writes NAN and INF without quotes.
            stack[-1].texts.setdefault(key, html.unescape(token[1:-1]) if kind == "string" else token)
            key = ""
    if key or len(stack) > 1:
        raise FormatError(file, line, "not GML: the file ends within a list" if not key else f"{key} has no value")
    return root


def _node(node: _List, file: str) -> Node:
    if not (identifier := node.texts.get("id", "")):
        raise FormatError(file, node.line, "a node has no id")
    attributes = Attributes(node.texts)
    return Node(identifier, attributes.text("label", "name"), attributes.place(), node.line)


def _edge(edge: _List, file: str) -> Edge:
    source, target = (edge.texts.get(end, "") for end in ("source", "target"))
    if not source or not target:
        raise FormatError(file, edge.line, "an edge has no source or no target")
    found = Attributes(edge.texts)
    return Edge(source, target, found.capacity(), found.delay(), found.cost(), found.unread, edge.line)
