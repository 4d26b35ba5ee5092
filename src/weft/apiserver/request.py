"""One call on a resource, whichever way it came: who asks, for what, with which options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weft.api.kinds import ResourceType
from weft.api.status import ApiError, bad_request

Validation = Literal["Strict", "Warn", "Ignore"]
_VALIDATIONS: dict[str, Validation] = {"": "Warn", "Strict": "Strict", "Warn": "Warn", "Ignore": "Ignore"}


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: certificate's CN and O."""

    name: str
    groups: tuple[str, ...] = ()


IN_PROCESS = User("system:weft", ("system:masters",))


@dataclass(slots=True)
class Request:
    """`warnings` is filled on the way and goes out as Warning headers."""

    rtype: ResourceType
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    user: User = IN_PROCESS
    dry_run: bool = False
    field_manager: str = ""
    validation: Validation = "Ignore"
    force: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def resource(self) -> str:
        return self.rtype.gvr.resource

    @property
    def group(self) -> str:
        return self.rtype.gvr.group

    def read_options(self, query: Mapping[str, str]) -> None:
        """dryRun, fieldManager, fieldValidation, force; raises ApiError 400."""
        dry_run = query.get("dryRun", "")
        if dry_run not in ("", "All"):
            raise bad_request(f'invalid value for dryRun: "{dry_run}", must be All')
        validation = query.get("fieldValidation", "")
        if validation not in _VALIDATIONS:
            raise bad_request(f'invalid value for fieldValidation: "{validation}", must be one of Ignore, Strict, Warn')
        self.dry_run = dry_run == "All"
        self.validation = _VALIDATIONS[validation]
        self.field_manager = query.get("fieldManager", "")
        if len(self.field_manager) > 128:
            raise bad_request("fieldManager may not be longer than 128 characters")
        self.force = flag(query, "force")


def flag(query: Mapping[str, str], name: str, default: bool = False) -> bool:
    """A boolean of a query, as Go's strconv.ParseBool reads it."""
    value = query.get(name)
    if value is None or value == "":
        return default if value is None else True
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise bad_request(f'invalid value for {name}: "{value}" is not a boolean')


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number >= 0 of a query; None where it is not given."""
    value = query.get(name, "")
    if not value:
        return None
    if not value.isascii() or not value.isdigit():
        raise bad_request(f'invalid value for {name}: "{value}" is not a number')
    return int(value)


def revision(text: str, name: str = "resourceVersion") -> int:
    """A resourceVersion as a number; raises ApiError 400."""
    if not text.isascii() or not text.isdigit():
        raise ApiError("BadRequest", f'invalid {name}: Invalid value: "{text}": a number is expected')
    return int(text)
