"""JSON values: copying them."""

from typing import Any, TypeVar

T = TypeVar("T")


def clone(value: T) -> T:
    """A deep copy of a JSON value: what `copy.deepcopy` does, several times as fast."""
    copied: Any = value
    if isinstance(value, dict):
        copied = {key: clone(each) if isinstance(each, (dict, list)) else each for key, each in value.items()}
    elif isinstance(value, list):
        copied = [clone(each) if isinstance(each, (dict, list)) else each for each in value]
    result: T = copied
    return result
