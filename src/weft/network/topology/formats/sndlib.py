"""SNDlib's networks, in its native format and in XML (Orlowski, Pióro, Tomaszewski and Wessäly, INOC 2007).

In: bytes. Out: a `Graph`. Capacities are taken as Mbit/s, as SNDlib's networks of research and carriers have them: what
is installed already, else the first module that could be. Coordinates that are no longitude and latitude are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from weft.network.topology.formats.graph import Edge, FormatError, Graph, Node, as_cost, as_place, as_rate
from weft.network.topology.formats.xml import Element, parse_xml

_TOKEN = re.compile(r"[()]|[^\s()]+")
_MBIT = 1_000_000


def parse(data: bytes, file: str) -> Graph:
    """Either format. Raises FormatError only."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return _parse_xml(data, file)
    return _Native(data, file).graph()


def _number(text: str, file: str, line: int) -> float:
    try:
        number = float(text)
    except ValueError:
        raise FormatError(file, line, f"{text[:20]!r} is not a number") from None
    if number != number or abs(number) == float("inf"):
        raise FormatError(file, line, f"{text[:20]!r} is not a number")
    return number


def _graph(file: str, nodes: list[Node], edges: list[Edge], geographical: bool, demands: int) -> Graph:
    notes = []
    if not geographical:
        nodes = [Node(node.id, node.label, None, node.line) for node in nodes]
        if nodes:
            notes.append("coordinates are not longitude and latitude, and were left out")
    if demands:
        notes.append(f"{demands} demands were left out: labs have none")
    return Graph(file, PurePath(file).stem, tuple(nodes), tuple(edges), False, tuple(notes))


def _edge(source: str, target: str, installed: float, modules: list[float], cost: float, line: int) -> Edge:
    capacity = installed or next((module for module in modules if module), 0.0)
    return Edge(source, target, as_rate(capacity * _MBIT), None, as_cost(cost), line=line)


def _parse_xml(data: bytes, file: str) -> Graph:
    root = parse_xml(data, file)
    structure = next(root.find_all("networkStructure"), None)
    if root.tag != "network" or structure is None:
        raise FormatError(file, root.line, f"not SNDlib: no network structure in <{root.tag}>")

    def number(element: Element, *path: str) -> float:
        text = element.find_text(*path)
        return _number(text, file, element.line) if text else 0.0

    nodes, edges = [], []
    geographical = all(
        each.attributes.get("coordinatesType", "geographical") == "geographical" for each in structure.find_all("nodes")
    )
    for node in structure.find_all("nodes", "node"):
        identifier = node.attributes.get("id", "")
        if not identifier:
            raise FormatError(file, node.line, "a node has no id")
        place = None
        if node.find_text("coordinates", "x") and node.find_text("coordinates", "y"):
            place = as_place(number(node, "coordinates", "x"), number(node, "coordinates", "y"))
            geographical &= place is not None
        nodes.append(Node(identifier, identifier, place, node.line))
    for link in structure.find_all("links", "link"):
        source, target = link.find_text("source"), link.find_text("target")
        if not source or not target:
            raise FormatError(file, link.line, "a link has no source or no target")
        modules = [number(each, "capacity") for each in link.find_all("additionalModules", "addModule")]
        installed = number(link, "preInstalledModule", "capacity")
        edges.append(_edge(source, target, installed, modules, number(link, "routingCost"), link.line))
    return _graph(file, nodes, edges, geographical, sum(1 for _ in root.find_all("demands", "demand")))


@dataclass(slots=True)
class _Token:
    text: str
    line: int


class _Native:
    """Sections of entries: `NODES ( Aachen ( 6.04 50.76 ) ... )`."""

    def __init__(self, data: bytes, file: str) -> None:
        self._file = file
        lines = data.decode("utf-8-sig", "replace").split("\n")
        if not re.match(r"\?SNDlib native format;\s*type:\s*network", lines[0]):
            raise FormatError(file, 1, "not SNDlib: the first line must be `?SNDlib native format; type: network`")
        self._tokens: Iterator[_Token] = (
            _Token(text, index + 2)
            for index, line in enumerate(lines[1:])
            for text in _TOKEN.findall(line.partition("#")[0])
        )
        self._last = len(lines)

    def graph(self) -> Graph:
        nodes: list[Node] = []
        edges: list[Edge] = []
        demands = 0
        for token in self._tokens:
            self._expect("(")
            if token.text == "NODES":
                nodes += self._nodes()
            elif token.text == "LINKS":
                edges += self._links()
            else:
                entries = self._skip()
                demands += entries if token.text == "DEMANDS" else 0
        geographical = all(node.place is not None for node in nodes)
        return _graph(self._file, nodes, edges, geographical, demands)

    def _next(self) -> _Token:
        token = next(self._tokens, None)
        if token is None:
            raise FormatError(self._file, self._last, "the file ends within a section")
        return token

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.text != text:
            raise FormatError(self._file, token.line, f"{token.text[:20]!r} where {text!r} should be")

    def _word(self) -> _Token:
        token = self._next()
        if token.text in "()":
            raise FormatError(self._file, token.line, f"{token.text!r} where a name or number should be")
        return token

    def _number(self) -> float:
        token = self._word()
        return _number(token.text, self._file, token.line)

    def _entries(self) -> Iterator[_Token]:
        """The first word of each entry; its caller reads the rest."""
        while (token := self._next()).text != ")":
            if token.text == "(":
                raise FormatError(self._file, token.line, "'(' where a name should be")
            yield token

    def _nodes(self) -> Iterator[Node]:
        for name in self._entries():
            self._expect("(")
            place = as_place(self._number(), self._number())
            self._expect(")")
            yield Node(name.text, name.text, place, name.line)

    def _links(self) -> Iterator[Edge]:
        for name in self._entries():
            self._expect("(")
            source, target = self._word().text, self._word().text
            self._expect(")")
            installed, _, routing_cost, _ = (self._number() for _ in range(4))
            self._expect("(")
            modules = []
            while (token := self._next()).text != ")":
                modules.append(_number(token.text, self._file, token.line))
            yield _edge(source, target, installed, modules[::2], routing_cost, name.line)

    def _skip(self) -> int:
        """To the end of a section; how many parts in brackets it had at its first level."""
        depth, parts = 1, 0
        while depth:
            token = self._next()
            if token.text == "(":
                parts += depth == 1
                depth += 1
            elif token.text == ")":
                depth -= 1
        return parts
