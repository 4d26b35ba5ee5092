"""Builds the schema files that Weft ships from the PyPI package `kubernetes-validate` (Apache-2.0).

In: `_definitions.json` of one Kubernetes version, as that package carries it. Out: two gzip files in
`src/weft/api/data`: the structure (types, references, patch and list extensions) and the descriptions, which only
OpenAPI documents need. Both are JSON with one definition a line, so that `weft.api.schema` can decode each alone, when
it is first needed.
What the package changed is undone: null as a type of every optional field, IntOrString and Quantity as oneOf, and
enums of apiVersion and kind.

    python tools/build_schema.py            # Kubernetes 1.32
"""

import gzip
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "src/weft/api/data"
PREFIX = "#/$defs/"
KEPT = (
    "type",
    "format",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy",
    "x-kubernetes-group-version-kind",
)
SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "format": "quantity"},
}


def structure(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition without prose, its types as Kubernetes' own OpenAPI document has them."""
    kept: dict[str, Any] = {key: definition[key] for key in KEPT if key in definition}
    if isinstance(kept.get("type"), list):
        (kept["type"],) = (each for each in kept["type"] if each != "null")
    if "$ref" in definition:
        kept["$ref"] = definition["$ref"].removeprefix(PREFIX)
    if "properties" in definition:
        kept["properties"] = {key: structure(value) for key, value in definition["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in definition:
            kept[key] = structure(definition[key])
    return kept


def descriptions(definition: dict[str, Any]) -> dict[str, Any]:
    """`{"": of the definition itself, field: of the field, ...}`."""
    found = {"": definition.get("description", "")}
    found |= {key: value.get("description", "") for key, value in definition.get("properties", {}).items()}
    return {key: text for key, text in found.items() if text}


def write(path: Path, entries: dict[str, Any]) -> None:
    lines = [f'"{name}":{json.dumps(value, separators=(",", ":"))}' for name, value in sorted(entries.items())]
    with gzip.GzipFile(path, "wb", compresslevel=9, mtime=0) as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())
    print(f"{path}: {path.stat().st_size} bytes, {len(lines)} definitions")


def main(version: str) -> None:
    spec = find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        sys.exit("cannot build the schema: pip install kubernetes-validate")
    source = Path(spec.origin).parent / f"kubernetes-json-schema/v{version}.0-local/_definitions.json"
    definitions = json.loads(source.read_text())["$defs"]
    structures = {name: SPECIAL.get(name) or structure(each) for name, each in definitions.items()}
    write(DATA / f"kubernetes-{version}.json.gz", structures)
    write(DATA / f"kubernetes-{version}-descriptions.json.gz", {k: descriptions(v) for k, v in definitions.items()})


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["1.32"]))
