"""Topologies in others' file formats: GraphML, GML and SNDlib's two.

In: bytes. Out: a `Graph` (`graph`), of which `to_topology` makes a lab; FormatError with file and line.
"""

from pathlib import Path

from weft.core.errors import InvalidError
from weft.network.topology.formats import gml, graphml, sndlib
from weft.network.topology.formats.graph import FormatError, Graph, to_topology

__all__ = ["FORMATS", "FormatError", "Graph", "parse", "read_graph", "to_topology"]

FORMATS = ("graphml", "gml", "sndlib")
MAX_BYTES = 64 * 2**20


def parse(data: bytes, file: str, form: str = "") -> Graph:
    """A graph in one of FORMATS; without `form`, in the one that it looks like."""
    form = form or _guess(data)
    if form == "graphml":
        return graphml.parse(data, file)
    if form == "gml":
        return gml.parse(data, file)
    return sndlib.parse(data, file)


def read_graph(path: Path, form: str = "") -> Graph:
    """Raises FormatError; InvalidError where the file cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidError(f"cannot read {path}: it has more than {MAX_BYTES >> 20} MiB")
    return parse(data, str(path), form)


def _guess(data: bytes) -> str:
    beginning = data[:4096]
    if b"<graphml" in beginning:
        return "graphml"
    if b"SNDlib" in beginning or beginning.lstrip().startswith(b"<"):
        return "sndlib"
    return "gml"
