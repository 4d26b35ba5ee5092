"""GraphML, as the Topology Zoo, networkx, yEd and Gephi write it (http://graphml.graphdrawing.org).

In: bytes. Out: a `Graph`; nodes of nested graphs count as nodes of the graph, and hyperedges are refused.
"""

from collections.abc import Iterator
from pathlib import PurePath

from weft.network.topology.formats.graph import Attributes, Edge, FormatError, Graph, Node
from weft.network.topology.formats.xml import Element, parse_xml


def parse(data: bytes, file: str) -> Graph:
    """Raises FormatError only."""
    root = parse_xml(data, file)
    graphs = list(root.find_all("graph"))
    if root.tag != "graphml" or not graphs:
        raise FormatError(file, root.line, f"not GraphML: no graph in <{root.tag}>")
    if len(graphs) > 1:
        raise FormatError(file, graphs[1].line, "there is more than one graph")
    keys = {key.attributes.get("id", ""): key for key in root.find_all("key")}
    nodes, edges, directed = [], [], False
    for graph, element in _walk(graphs[0]):
        if element.tag == "node":
            nodes.append(_node(element, keys, file))
        elif element.tag == "edge":
            edges.append(_edge(element, keys, file))
            said = element.attributes.get("directed")
            default = graph.attributes.get("edgedefault") == "directed"
            directed |= default if said is None else said == "true"
        elif element.tag == "hyperedge":
            raise FormatError(file, element.line, "cannot take hyperedges: use a node and edges to it")
    name = Attributes(_data(graphs[0], keys)).text("network", "label", "name")
    return Graph(file, name or PurePath(file).stem, tuple(nodes), tuple(edges), directed)


def _walk(graph: Element) -> Iterator[tuple[Element, Element]]:
    for element in graph.children:
        yield graph, element
        for nested in element.find_all("graph") if element.tag == "node" else ():
            yield from _walk(nested)


def _data(element: Element, keys: dict[str, Element]) -> dict[str, str]:
    """By the names of the keys, with the keys' defaults."""
    found = {}
    for key, definition in keys.items():
        if definition.attributes.get("for", "all") in ("all", element.tag):
            default = definition.find_text("default")
            if default:
                found[definition.attributes.get("attr.name", key)] = default
    for data in element.find_all("data"):
        key = data.attributes.get("key", "")
        name = keys[key].attributes.get("attr.name", key) if key in keys else key
        if text := data.text.strip() or _label_within(data):
            found[name] = text
    return found


def _label_within(data: Element) -> str:
    """yEd keeps a node's label in elements for its drawing."""
    stack = list(data.children)
    while stack:
        element = stack.pop(0)
        if element.tag == "NodeLabel" and element.text.strip():
            return element.text.strip()
        stack += element.children
    return ""


def _node(element: Element, keys: dict[str, Element], file: str) -> Node:
    if not (identifier := element.attributes.get("id", "")):
        raise FormatError(file, element.line, "a node has no id")
    data = _data(element, keys)
    attributes = Attributes(data)
    drawn = next((_label_within(each) for each in element.find_all("data") if _label_within(each)), "")
    label = attributes.text("label", "name") or drawn
    return Node(identifier, label, attributes.place(), element.line)


def _edge(element: Element, keys: dict[str, Element], file: str) -> Edge:
    source, target = (element.attributes.get(end, "") for end in ("source", "target"))
    if not source or not target:
        raise FormatError(file, element.line, "an edge has no source or no target")
    found = Attributes(_data(element, keys))
    return Edge(source, target, found.capacity(), found.delay(), found.cost(), found.unread, element.line)
