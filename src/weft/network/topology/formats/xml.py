"""XML of strangers: elements, their attributes, text and line; nothing else of what XML can do.

In: bytes. Out: the root element, with names without their namespaces. A document type is refused as a whole: with it
go entities, which can grow without end or name files, and all that a DTD could fetch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from weft.network.topology.formats.graph import FormatError

_MAX_DEPTH = 64


@dataclass(slots=True)
class Element:
    tag: str
    attributes: dict[str, str]
    line: int
    children: "list[Element]" = field(default_factory=list)
    text: str = ""

    def find_all(self, *path: str) -> "Iterator[Element]":
        """Children by tag, their children by the next, and so on."""
        for child in self.children:
            if child.tag == path[0]:
                if len(path) == 1:
                    yield child
                else:
                    yield from child.find_all(*path[1:])

    def find_text(self, *path: str) -> str:
        """The text of the first such element; nothing where there is none."""
        return next((element.text.strip() for element in self.find_all(*path)), "")


def parse_xml(data: bytes, file: str) -> Element:
    """Raises FormatError only."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    open_elements: list[Element] = []
    roots: list[Element] = []
    texts: list[list[str]] = []

    def refuse(why: str) -> FormatError:
        return FormatError(file, parser.CurrentLineNumber, why)

    def doctype(*_: object) -> None:
        raise refuse("cannot take XML with a document type (DOCTYPE)")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(open_elements) >= _MAX_DEPTH:
            raise refuse(f"cannot take XML of more than {_MAX_DEPTH} elements within each other")
        names = {_local(key): value for key, value in attributes.items()}
        element = Element(_local(tag), names, parser.CurrentLineNumber)
        (open_elements[-1].children if open_elements else roots).append(element)
        open_elements.append(element)
        texts.append([])

    def end(_: str) -> None:
        open_elements.pop().text = "".join(texts.pop())

    def characters(text: str) -> None:
        texts[-1].append(text)

    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise FormatError(file, error.lineno, f"not XML: {expat.ErrorString(error.code)}") from error
    except (ValueError, LookupError) as error:
        raise FormatError(file, 1, f"not XML: {error}") from error
    return roots[0]


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
