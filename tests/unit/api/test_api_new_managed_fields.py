"""The short way to a new object's managed fields comes to what the general one does."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from weft.api.kinds import Kinds
from weft.api.patch import fieldset
from weft.api.schema import Schema

SCHEMAS = [kind.schema for kind in Kinds.builtin().all()]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["", "a", "ü", 'q"']))


@st.composite
def values(draw: st.DrawFn, schema: Schema | None, depth: int) -> Any:
    """Mostly what the schema says, sometimes not."""
    if schema is None or depth == 0 or draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(SCALARS, st.just({}), st.just([]), st.dictionaries(st.sampled_from("ab"), SCALARS)))
    if schema.properties:
        names = draw(st.lists(st.sampled_from([*sorted(schema.properties), "unknown"]), max_size=5, unique=True))
        return {name: draw(values(schema.properties.get(name), depth - 1)) for name in names}
    if schema.type == "object":
        return {key: draw(values(schema.values, depth - 1)) for key in draw(st.sets(st.sampled_from("abc")))}
    if schema.type == "array":
        return [draw(values(schema.items, depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    return draw(SCALARS)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_of_new_is_the_difference_from_nothing(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from(SCHEMAS))
    obj = data.draw(values(schema, 6).filter(lambda value: isinstance(value, dict)))
    added: set[fieldset.Path] = set()
    fieldset.difference({}, obj, schema, (), added, set(), set())
    expected: fieldset.Trie = {}
    for path in sorted(added):
        fieldset.insert(expected, path)
    found = fieldset.of_new(obj, schema)
    assert found == expected
    assert repr(found) == repr(expected)  # the same order too
