"""Builds the table of protobuf field numbers that `weft.api.protobuf` decodes with.

In: clones of kubernetes/api and kubernetes/apimachinery, whose struct tags state each field's JSON name and number.
Out: `src/weft/api/data/protobuf-fields.json.gz`: definition -> number -> field, for the definitions of the shipped
schema and for the structs that are inlined in them. A field is its JSON name; `*` before it says that a zero is a value
(a pointer in Go, or written without omitempty); `=Definition` is a struct whose fields stand in the outer one in JSON.

    python tools/build_protobuf_table.py API_GIT_DIR APIMACHINERY_GIT_DIR [APIEXTENSIONS_GIT_DIR]
"""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

from weft.api import schema

TARGET = Path(__file__).parent.parent / "src/weft/api/data/protobuf-fields.json.gz"
FIELD = re.compile(r'^\t(?:(\w+)\s+)?(\S+)\s+`(?=.*protobuf:"\w+,(\d+),)(?:.*?json:"([^"]*)")?')
STRUCT = re.compile(r"^type (\w+) struct \{")
ROOTS = (
    (r"(\w+)/(\w+)/types\.go", "io.k8s.api.{}.{}"),
    (r"pkg/apis/(meta)/(v1)/(?:types|micro_time|time)\.go", "io.k8s.apimachinery.pkg.apis.{}.{}"),
    (r"pkg/apis/(apiextensions)/(v1)/(?:types|types_jsonschema)\.go", "io.k8s.apiextensions-apiserver.pkg.apis.{}.{}"),
)
PACKAGES = {"metav1": "io.k8s.apimachinery.pkg.apis.meta.v1", "v1": "io.k8s.api.core.v1"}


def git(directory: str, *arguments: str) -> str:
    return subprocess.run(["git", "-C", directory, *arguments], check=True, capture_output=True, text=True).stdout


def structs(text: str, package: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    fields: dict[str, str] | None = None
    for line in text.splitlines():
        if match := STRUCT.match(line):
            fields = found[f"{package}.{match[1]}"] = {}
        elif line == "}":
            fields = None
        elif fields is not None and (match := FIELD.match(line)):
            _, go_type, number, tag = match.groups()
            name, *options = (tag or "").split(",")
            if name:
                keep = go_type.startswith("*") or "omitempty" not in options
                fields[number] = ("*" if keep else "") + name
            else:
                alias, dot, inner = go_type.lstrip("*").rpartition(".")
                fields[number] = f"={PACKAGES[alias] if dot else package}.{inner}"
    return found


def main(*directories: str) -> None:
    found: dict[str, dict[str, str]] = {}
    for directory in directories:
        for path in git(directory, "ls-tree", "-r", "HEAD", "--name-only").splitlines():
            for pattern, package in ROOTS:
                if match := re.fullmatch(pattern, path):
                    found |= structs(git(directory, "show", f"HEAD:{path}"), package.format(*match.groups()))
    kept = {name: fields for name, fields in found.items() if fields and schema.is_shipped(name)}
    wanted = [value[1:] for fields in kept.values() for value in fields.values() if value.startswith("=")]
    for name in wanted:  # grows meanwhile
        if name in found and name not in kept:
            kept[name] = found[name]
            wanted += [value[1:] for value in kept[name].values() if value.startswith("=")]
    data = (
        "{\n" + ",\n".join(f'"{k}":{json.dumps(v, separators=(",", ":"))}' for k, v in sorted(kept.items())) + "\n}\n"
    )
    with gzip.GzipFile(TARGET, "wb", compresslevel=9, mtime=0) as file:
        file.write(data.encode())
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, {len(kept)} messages")


if __name__ == "__main__":
    main(*sys.argv[1:])
