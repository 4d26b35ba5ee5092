"""JSON values: copying them."""

from typing import Any, TypeVar

import orjson

T = TypeVar("T")

# Only what JSON itself has is copied by way of JSON: anything else would come back as something else.
_STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def clone(value: T) -> T:
    """A deep copy of a JSON value: what `copy.deepcopy` does, many times as fast."""
    if not isinstance(value, (dict, list)):
        return value
    try:
        copied: T = orjson.loads(orjson.dumps(value, option=_STRICT))
    except TypeError:  # numbers of more than 64 bits, half characters, great depth
        copied = _by_hand(value)
    return copied


def _by_hand(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _by_hand(each) if isinstance(each, (dict, list)) else each for key, each in value.items()}
    return [_by_hand(each) if isinstance(each, (dict, list)) else each for each in value]
