"""What form a client wants its answer in: the Accept header, read as Kubernetes's clients write it.

In: the header. Out: `Accepted`, the first of its alternatives that this server can make; a 406 where there is none.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from weft.api.status import ApiError

As = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList", "APIGroupDiscoveryList"]

_JSON = ("application/json", "application/*", "*/*")
_AS: dict[tuple[str, str], As] = {
    ("Table", "meta.k8s.io"): "Table",
    ("PartialObjectMetadata", "meta.k8s.io"): "PartialObjectMetadata",
    ("PartialObjectMetadataList", "meta.k8s.io"): "PartialObjectMetadataList",
    ("APIGroupDiscoveryList", "apidiscovery.k8s.io"): "APIGroupDiscoveryList",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """`media` is what Content-Type will say; `convert` the form of the object; `version` that of the form."""

    media: str
    convert: As = ""
    version: str = ""
    yaml: bool = False


PLAIN = Accepted("application/json")


@lru_cache(512)
def accept(header: str, *, conversions: bool = True) -> Accepted:
    """Raises ApiError 406."""
    if not header:
        return PLAIN
    alternatives = sorted((_parse(part) for part in header.split(",")), key=lambda pair: -pair[0])
    for quality, (media, parameters) in alternatives:
        if quality == 0:
            continue
        if "as" in parameters:
            form = _AS.get((parameters["as"], parameters.get("g", "")))
            version = parameters.get("v", "")
            known = ("v2",) if form == "APIGroupDiscoveryList" else ("v1", "v1beta1")
            if form and media in _JSON and version in known and conversions:
                echoed = f"application/json;g={parameters['g']};v={version};as={form}"
                plain = "application/json"
                return Accepted(echoed if form == "APIGroupDiscoveryList" else plain, form, version)
            continue
        if media in _JSON:
            return PLAIN
        if media in ("application/yaml", "text/yaml"):
            return Accepted("application/yaml", yaml=True)
    raise ApiError(
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml",
    )


def _parse(part: str) -> tuple[float, tuple[str, dict[str, str]]]:
    media, *rest = (piece.strip() for piece in part.split(";"))
    parameters = dict(piece.split("=", 1) for piece in rest if "=" in piece)
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 0.0
    return quality, (media.lower(), parameters)
