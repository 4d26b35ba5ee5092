"""The rows of custom resources: their CRD's `additionalPrinterColumns`, or AGE alone.

Source: apiextensions `pkg/registry/customresource/tableconvertor`.
"""

import json
from typing import Any

from weft.api.kinds import PrinterColumn, ResourceType
from weft.api.paths import as_text, compile_path
from weft.api.table.printing import Cells, Column, Object, Print, age, created, name

_NAME = Column("Name", "string", "name")


def printer(rtype: ResourceType) -> tuple[tuple[Column, ...], Print]:
    if not rtype.printer_columns:
        return (_NAME, Column("Age", "date")), lambda obj, now: [name(obj), created(obj, now)]
    columns = tuple(
        Column(column.name, column.type, column.format, column.priority, column.description)
        for column in rtype.printer_columns
    )

    def row(obj: Object, now: float) -> Cells:
        return [name(obj), *(_cell(column, obj, now) for column in rtype.printer_columns)]

    return (_NAME, *columns), row


def _cell(column: PrinterColumn, obj: Object, now: float) -> Any:
    """None, which kubectl prints as nothing, where there is no value of the column's type."""
    try:
        found = compile_path(column.json_path)(obj)
    except ValueError:
        return None
    if not found:
        return None
    first = found[0]
    match column.type:
        case "string":
            return " ".join(map(_text, found))
        case "integer":
            return first if isinstance(first, int) and not isinstance(first, bool) else None
        case "number":
            return first if isinstance(first, (int, float)) and not isinstance(first, bool) else None
        case "boolean":
            return first if isinstance(first, bool) else None
        case "date":
            return age(first, now) if isinstance(first, str) else None
    return None


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (dict, list)) else as_text(value)
