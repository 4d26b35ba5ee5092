"""CEL's types, and the type of a value that an OpenAPI schema describes.

In: a `Schema`. Out: `Type`s for the checker, and values as an expression sees them: times and durations instead of
text, lists that are sets. Source: cel-spec, apiserver `pkg/cel/common/schemas.go`, `pkg/cel/escaping.go`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from weft.api.cel.errors import CelError
from weft.api.schema import Schema


@dataclass(frozen=True, eq=False)
class Type:
    """`args` are the types of elements; a kind of one capital letter is a parameter of a function's signature."""

    kind: str
    args: tuple["Type", ...] = ()
    fields: "dict[str, Type]" = field(default_factory=dict, repr=False)
    nullable: bool = False
    convert: Callable[[Any], Any] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.kind == "optional":
            return f"optional_type({self.args[0]})"
        return f"{self.kind}({', '.join(map(str, self.args))})" if self.args else self.kind


DYN, BOOL, INT, UINT, DOUBLE = (Type(kind) for kind in ("dyn", "bool", "int", "uint", "double"))
STRING, BYTES, NULL, TYPE = (Type(kind) for kind in ("string", "bytes", "null_type", "type"))
TIMESTAMP, DURATION = Type("google.protobuf.Timestamp"), Type("google.protobuf.Duration")
QUANTITY, URL, IP, CIDR = (Type(kind) for kind in ("kubernetes.Quantity", "kubernetes.URL", "net.IP", "net.CIDR"))
A, B = Type("A"), Type("B")


def list_of(item: Type) -> Type:
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", (key, value))


def optional_of(inner: Type) -> Type:
    return inner if inner.kind == "optional" else Type("optional", (inner,))


LIST, MAP = list_of(DYN), map_of(DYN, DYN)
_NAMED = {type_.kind: type_ for type_ in (BOOL, INT, DOUBLE, STRING)}


def bind(wanted: Type, given: Type, known: dict[str, Type]) -> bool:
    """Whether a value of type `given` may stand where `wanted` is asked for; fills in parameters."""
    if len(wanted.kind) == 1:
        before = known.get(wanted.kind)
        if before is None or before.kind in ("dyn", "null_type"):
            known[wanted.kind] = given
            return True
        return bind(before, given, known)
    if wanted.kind == "dyn" or given.kind == "dyn":
        for part in wanted.args:
            bind(part, DYN, known)
        return True
    if given.kind == "null_type" and (wanted.nullable or wanted.kind in ("object", "optional")):
        return True
    if wanted.kind == "null_type":
        return given.kind == "null_type" or given.nullable or given.kind == "object"
    if wanted.kind != given.kind or len(wanted.args) != len(given.args):
        return False
    if wanted.kind == "object" and wanted.fields != given.fields and wanted.fields:
        return set(wanted.fields) == set(given.fields)
    return all(bind(mine, theirs, known) for mine, theirs in zip(wanted.args, given.args, strict=True))


def resolve(type_: Type, known: dict[str, Type]) -> Type:
    """The type with its parameters filled in."""
    if len(type_.kind) == 1:
        return known.get(type_.kind, DYN)
    if not type_.args:
        return type_
    return Type(type_.kind, tuple(resolve(part, known) for part in type_.args))


def join(one: Type, other: Type) -> Type | None:
    """The type of what may be either; None where nothing is both."""
    for wanted, given in ((one, other), (other, one)):
        if bind(wanted, given, {}):
            return given if wanted.kind == "null_type" else wanted
    return None


# Schemas.


@lru_cache(4096)
def type_of(schema: Schema, *, root: bool = False) -> Type | None:
    """None for what an expression cannot see: values without a type whose content is just preserved."""
    match schema.type:
        case "int-or-string":
            return DYN
        case "quantity":
            return STRING
        case "integer":
            base = INT
        case "number":
            base = DOUBLE
        case "boolean":
            base = BOOL
        case "string":
            return _string(schema)
        case "array":
            return _array(schema)
        case "object":
            return _object(schema, root)
        case _:
            return DYN if not schema.custom else None
    return Type(base.kind, nullable=True, convert=_number(base)) if schema.nullable else _plain(base)


def _plain(base: Type) -> Type:
    return _FLOAT if base is DOUBLE else base


def _number(base: Type) -> Callable[[Any], Any] | None:
    return _as_float if base is DOUBLE else None


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int else value


_FLOAT = Type("double", convert=_as_float)


def _string(schema: Schema) -> Type:
    from weft.api.cel import times

    found: dict[str, tuple[Type, Callable[[Any], Any]]] = {
        "date-time": (TIMESTAMP, times.timestamp),
        "date": (TIMESTAMP, times.date_only),
        "duration": (DURATION, times.duration),
        "byte": (BYTES, times.base64_bytes),
    }
    base, convert = found.get(schema.format, (STRING, None))
    if convert is None and not schema.nullable:
        return STRING
    return Type(base.kind, nullable=schema.nullable, convert=convert)


class SetList(list[Any]):
    """A list whose order means nothing (x-kubernetes-list-type: set or map)."""


class MapList(SetList):
    """A list of objects told apart by keys."""

    keys: tuple[str, ...] = ()


def _array(schema: Schema) -> Type | None:
    item = type_of(schema.items) if schema.items is not None else DYN
    if item is None:
        return None
    keys, kind, convert_item = schema.list_map_keys, schema.list_type, item.convert

    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        converted = [convert_item(each) for each in value] if convert_item is not None else value
        if kind == "set":
            return SetList(converted)
        if kind == "map":
            mapped = MapList(converted)
            mapped.keys = keys
            return mapped
        return converted

    needed = convert_item is not None or kind in ("set", "map")
    return Type("list", (item,), nullable=schema.nullable, convert=convert if needed else None)


def _object(schema: Schema, root: bool) -> Type | None:
    values = schema.values
    if values is not None and not schema.properties:
        inner = type_of(values)
        if inner is None:
            return None
        return Type("map", (STRING, inner), nullable=schema.nullable, convert=_map_converter(inner))
    if not schema.custom and not schema.properties:
        return MAP if schema.open else Type("object")
    fields = {}
    for name, child in schema.properties.items():
        inner = _metadata() if name == "metadata" and (root or schema.embedded) else type_of(child)
        if inner is not None:
            fields[name] = inner
    return Type("object", fields=fields, nullable=schema.nullable, convert=_object_converter(fields))


@lru_cache(1)
def _metadata() -> Type:
    """Of metadata, rules may use the name alone."""
    return Type("object", fields={"name": STRING, "generateName": STRING})


def _map_converter(inner: Type) -> Callable[[Any], Any] | None:
    convert = inner.convert
    if convert is None:
        return None
    return lambda value: {key: convert(each) for key, each in value.items()} if isinstance(value, dict) else value


def _object_converter(fields: dict[str, Type]) -> Callable[[Any], Any] | None:
    converts = {name: type_.convert for name, type_ in fields.items() if type_.convert is not None}
    if not converts:
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: converts[key](each) if key in converts else each for key, each in value.items()}

    return convert


def as_value(value: Any, type_: Type) -> Any:
    """A JSON value as an expression sees it; raises CelError where text is not what its format says."""
    try:
        return type_.convert(value) if type_.convert is not None else value
    except (ValueError, TypeError, AttributeError) as error:
        raise CelError(str(error)) from None


_ESCAPED = re.compile(r"__(underscores|dot|dash|slash|[a-z]+)__")
_MARKS = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}
KEYWORDS = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return"),
    )
)


def field_name(text: str) -> str:
    """The property that a name in an expression means: `a__dash__b` is `a-b`, `__if__` is `if`."""
    if "__" not in text:
        return text
    whole = _ESCAPED.fullmatch(text)
    if whole is not None and whole[1] in KEYWORDS:
        return whole[1]
    return _ESCAPED.sub(lambda match: _MARKS.get(match[1], match[0]), text)
