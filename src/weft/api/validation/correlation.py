"""What stood before where a value stands now: elements of lists are told apart by keys, or not at all."""

from typing import Any

from weft.api.schema import Schema

ABSENT: Any = object()


def old_elements(old: Any, schema: Schema) -> list[tuple[list[Any], Any]]:
    """The former elements of a list of the map type, by their keys; of other lists nothing can be told."""
    if schema.list_type != "map" or not isinstance(old, list):
        return []
    return [([each.get(key) for key in schema.list_map_keys], each) for each in old if isinstance(each, dict)]


def old_element(value: Any, olds: list[tuple[list[Any], Any]], schema: Schema) -> Any:
    if not olds or not isinstance(value, dict):
        return ABSENT
    wanted = [value.get(key) for key in schema.list_map_keys]
    return next((each for key, each in olds if key == wanted), ABSENT)
