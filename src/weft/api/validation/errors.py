"""What is wrong with one field, worded as apimachinery's `util/validation/field` words it; a list to collect such."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from weft.api.status import Cause

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong: `str(error)` is `spec.replicas: Invalid value: -1: must be greater than or equal to 0`."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    @property
    def cause(self) -> Cause:
        return Cause(self.reason, self.message, self.field)


def shown(value: Any) -> str:
    """A value as messages quote it."""
    if isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        inner = ", ".join(f'"{key}":{json.dumps(each, ensure_ascii=False)}' for key, each in sorted(value.items()))
        return f"map[string]string{{{inner}}}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Errors(list[FieldError]):
    """Collects errors; each method is one of Kubernetes's kinds of error."""

    def invalid(self, field: str, value: Any, why: str) -> None:
        self.append(FieldError("FieldValueInvalid", field, f"Invalid value: {shown(value)}: {why}"))

    def wrong_type(self, field: str, value: Any, why: str) -> None:
        self.append(FieldError("FieldValueTypeInvalid", field, f"Invalid value: {shown(value)}: {why}"))

    def required(self, field: str, why: str = "") -> None:
        self.append(FieldError("FieldValueRequired", field, "Required value" + (f": {why}" if why else "")))

    def not_supported(self, field: str, value: Any, supported: Iterable[Any]) -> None:
        known = ", ".join(shown(each) for each in supported)
        message = f"Unsupported value: {shown(value)}: supported values: {known}"
        self.append(FieldError("FieldValueNotSupported", field, message))

    def duplicate(self, field: str, value: Any) -> None:
        self.append(FieldError("FieldValueDuplicate", field, f"Duplicate value: {shown(value)}"))

    def forbidden(self, field: str, why: str) -> None:
        self.append(FieldError("FieldValueForbidden", field, f"Forbidden: {why}"))

    def not_found(self, field: str, value: Any) -> None:
        self.append(FieldError("FieldValueNotFound", field, f"Not found: {shown(value)}"))

    def too_long(self, field: str, most: int) -> None:
        self.append(FieldError("FieldValueTooLong", field, f"Too long: may not be more than {most} bytes"))

    def too_many(self, field: str, count: int, most: int) -> None:
        self.append(FieldError("FieldValueTooMany", field, f"Too many: {count}: must have at most {most} items"))

    # Checks that many kinds share.

    def check(self, field: str, value: str, wrong: str | None) -> None:
        """`wrong` is what a function of `weft.api.names` said of `value`."""
        if wrong is not None:
            self.invalid(field, value, wrong)

    def one_of(self, obj: Object, key: str, path: str, supported: tuple[str, ...]) -> None:
        """The field, where it is there, must be one of these."""
        if key in obj and obj[key] not in supported:
            self.not_supported(f"{path}.{key}" if path else key, obj[key], supported)

    def not_negative(self, obj: Object, path: str, *keys: str) -> None:
        for key in keys:
            value = obj.get(key)
            if value is not None and value < 0:
                self.invalid(f"{path}.{key}", value, "must be greater than or equal to 0")

    def port(self, field: str, value: Any) -> None:
        """A port number."""
        if not isinstance(value, int) or not 1 <= value <= 65535:
            self.invalid(field, value, "must be between 1 and 65535, inclusive")

    def unique(self, items: Any, key: str, path: str) -> None:
        """No two elements have the same value of `key`."""
        seen = set()
        for index, each in enumerate(items or ()):
            value = each.get(key)
            if value:
                if value in seen:
                    self.duplicate(f"{path}[{index}].{key}", value)
                seen.add(value)

    def immutable(self, field: str, new: Any, old: Any) -> None:
        if new != old:
            self.invalid(field, new, "field is immutable")
