"""CEL: what expressions mean, which are refused, that none of them can hurt; and a library that agrees."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.api.cel import DYN, STEPS, Budget, CelError, CelSyntaxError, CostError, as_value, compile_cel, type_of, uses
from weft.api.cel.types import INT, STRING, Type, list_of, map_of
from weft.api.schema import custom_schema

SELF = Type(
    "object",
    fields={"a": INT, "name": STRING, "list": list_of(INT), "map": map_of(STRING, INT), "any": DYN, "missing": STRING,
            "with-dash": INT, "if": INT},
)  # fmt: skip
VALUE = {"a": 3, "name": "bob", "list": [1, 2, 3], "map": {"k": 1}, "any": {"x": [1, "two"]}, "with-dash": 7, "if": 8}


def run(text: str, **variables: Any) -> Any:
    types = {"self": SELF, **dict.fromkeys(variables, DYN)}
    return compile_cel(text, types).evaluate({"self": VALUE, **variables})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 - 4 / 3 % 5", 6),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7u - 2u == 5u", True),
        ("0x1F", 31),
        ("-9223372036854775808", -(2**63)),
        ("1.5e3", 1500.0),
        (".5 + .5", 1.0),
        ("1.0 / 0.0", math.inf),
        ("'a' + \"b\" + '''c'd'''", "abc'd"),
        (r"'\n\x41\u00e9\U0001F600\101'", "\nAé😀A"),
        (r"r'\d' + R\"\n\"".replace('\\"', '"'), r"\d\n"),
        (r"b'\xff\u00'".replace(r"\u00", ""), b"\xff"),
        ("self.a > 2 && self.name == 'bob' // why", True),
        ("has(self.missing)", False),
        ("has(self.a) ? self.a : 0", 3),
        ("self.list.all(x, x > 0)", True),
        ("self.list.exists(x, x > 2)", True),
        ("self.list.exists_one(x, x > 1)", False),
        ("self.list.filter(x, x > 1).map(x, x * 2)", [4, 6]),
        ("self.list.map(x, x > 1, x * 2)", [4, 6]),
        ("self.map.all(k, self.map[k] == 1)", True),
        ("self.list.map(x, self.list.map(y, x * y)).size()", 3),
        ("'k' in self.map && !('z' in self.map) && 2 in self.list", True),
        ("self.list[1]", 2),
        ("self.any.x[1]", "two"),
        ("self.with__dash__dash", 7),
        ("self.__if__", 8),
        ("{'a': 1, 'b': 2}['b']", 2),
        ("{1: 'x'}[1]", "x"),
        ("false && self.list[9] == 1 || true", True),
        ("self.list[9] == 1 || true", True),
        ("self.list.exists(x, 1 / (x - 2) == 1)", True),
        ("1 == dyn(1.0) && dyn(1) != '1'", True),
        ("1 < 1.5 && 2u > 1", True),
        ("type(self.a) == int && type('') == string", True),
        ("int('42') + int(2.9) + int(3u)", 47),
        ("double('1.5')", 1.5),
        ("string(1.0) + string(true) + string(b'x')", "1truex"),
        ("bool('true')", True),
        ("size('é😀') + size([1]) + {'a': 1}.size()", 4),
        ("'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')", True),
        ("'abc'.matches('^a.c$') && !'abcd'.matches('^a.c$')", True),
        ("cel.bind(x, 3, x * x)", 9),
        # durations and times
        ("duration('1h30m').getMinutes()", 90),
        ("duration('90s') < duration('2m')", True),
        ("timestamp('2024-02-29T12:00:00Z') + duration('24h') == timestamp('2024-03-01T12:00:00Z')", True),
        ("timestamp('2024-02-29T12:00:00Z').getMonth()", 1),
        ("timestamp('2024-02-29T23:00:00Z').getDate('+02:00')", 1),
        ("string(timestamp('2024-02-29T12:00:00Z') - timestamp('2024-02-29T11:59:58.5Z'))", "1.5s"),
        # Kubernetes's libraries
        ("[1, 2, 2].isSorted() && ![2, 1].isSorted()", True),
        ("[1, 5, 2].max() + [1, 5, 2].min() + [1, 5].sum()", 12),
        ("['a', 'b', 'a'].lastIndexOf('a') + ['a'].indexOf('z')", 1),
        ("'a,b,c'.split(',', 2).join('-')", "a-b,c"),
        ("'hello'.substring(1, 3) + 'ABC'.lowerAscii() + ' x '.trim() + 'abcabc'.replace('b', '', 1)", "elabcxacabc"),
        ("'%s has %d%% of %s'.format(['x', 5, [1, 2]])", "x has 5% of [1, 2]"),
        ("'a1b22'.findAll('[0-9]+')", ["1", "22"]),
        ("url('https://u@example.com:8080/a?b=c').getHost()", "example.com:8080"),
        ("url('https://[::1]/x').getHostname()", "::1"),
        ("quantity('1.5Gi').isGreaterThan(quantity('1500M')) && quantity('50k').sub(20).asInteger() == 49980", True),
        ("isQuantity('20M') && !isQuantity('20Mx')", True),
        ("ip('10.1.2.3').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3')", True),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16')) && !isIP('10.0.0.300')", True),
        ("sets.contains([1, 2, 3], [2]) && sets.intersects([1], [1, 2]) && !sets.equivalent([1], [1, 2])", True),
        ("self.?missing.orValue('none')", "none"),
        ("self.?any.?x[?0].value()", 1),
        ("optional.of(3).optMap(x, x + 1).orValue(0)", 4),
        ("[?optional.none(), 1, ?optional.of(2)]", [1, 2]),
    ],
)
def test_values(text: str, value: Any) -> None:
    found = run(text)
    assert found == value
    assert type(found) is type(value) or isinstance(value, (int, list))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("self.list[3]", "index out of bounds: 3"),
        ("self.map.nope", "no such key: nope"),
        ("self.missing == 'x'", "no such key: missing"),
        ("self.any + 1 > 2", "no such overload"),
        ("self.any.x[1] > 3", "no such overload"),
        ("false || self.list[9] == 1", "index out of bounds: 9"),
        ("quantity('x').sign() > 0", "quantities must match"),
        ("int('x')", "invalid syntax"),
        ("'a'.matches('(')", "error parsing regexp"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('48h') > timestamp('2020-01-01T00:00:00Z')", "overflow"),
        ("optional.none().value()", "optional.none() dereference"),
    ],
)
def test_errors_when_run(text: str, message: str) -> None:
    with pytest.raises(CelError, match=message.replace("(", r"\(").replace(")", r"\)")):
        run(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.nope > 1", "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope > 1\n | ....^"),
        ("self.a == 'x'", "ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.name.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("other", "undeclared reference to 'other' (in container '')"),
        ("nope(1)", "undeclared reference to 'nope' (in container '')"),
        ("1 +", "Syntax error: mismatched input '<EOF>'"),
        ("self.a.b", "type 'int' does not support field selection"),
        ("self.a.all(x, x)", "cannot be range of a comprehension"),
        ("self.list.all(x + 1, x)", "argument must be a simple name"),
        ("self.list.all(x, x)", "found no matching overload for '_&&_' applied to '(bool, int)'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("true ? 1 : 'a'", "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
        ("has(self)", "invalid argument to has() macro"),
        ("self.list && true", "found no matching overload for '_&&_'"),
        ("'abc", "token recognition error"),
        ("9223372036854775808", "invalid int literal"),
        ("let", "reserved identifier: let"),
        ("a\n  .b(", "ERROR: <input>:2:6: Syntax error"),
        ("(" * 60 + "1" + ")" * 60, "expression recursion limit exceeded"),
        ("1" + "+1" * 300, "expression recursion limit exceeded"),
        ("!" * 301 + "self.a", "found no matching overload for '!_'"),
    ],
)
def test_errors_when_compiled(text: str, message: str) -> None:
    with pytest.raises(CelSyntaxError) as caught:
        run(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "l.all(a, l.all(b, l.all(c, a + b + c >= 0)))",
        "l.map(a, l.map(b, l.map(c, [a, b, c])))",
        "".join(f"cel.bind(x{i + 1}, x{i} + x{i}, " for i in range(30)) + "x30" + ")" * 30,
        "[l, l, l].map(x, sets.contains(x, l)).size() == 1 || l.all(a, sets.equivalent(l, l))",
    ],
)
def test_no_expression_runs_for_ever(text: str) -> None:
    program = compile_cel(text, {"l": DYN, "x0": STRING})
    budget = Budget(20_000)
    with pytest.raises(CostError):
        program.evaluate({"l": list(range(200)), "x0": "x" * 100}, budget)
    assert budget.left < 0


def test_types_come_from_schemas() -> None:
    schema = custom_schema(
        {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "at": {"type": "string", "format": "date-time"},
                        "wait": {"type": "string", "format": "duration"},
                        "port": {"x-kubernetes-int-or-string": True},
                        "ratio": {"type": "number"},
                        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                        "free": {"x-kubernetes-preserve-unknown-fields": True},
                        "maybe": {"type": "integer", "nullable": True},
                    },
                }
            },
        }
    )
    root = type_of(schema, root=True)
    assert root is not None
    spec = root.fields["spec"]
    assert {name: str(each) for name, each in spec.fields.items()} == {
        "at": "google.protobuf.Timestamp", "wait": "google.protobuf.Duration", "port": "dyn", "ratio": "double",
        "tags": "list(string)", "maybe": "int",
    }  # fmt: skip
    raw = {"at": "2024-01-01T00:00:00Z", "wait": "1m", "port": "http", "ratio": 1, "tags": ["a", "b"], "maybe": None}
    value = as_value({"metadata": {"name": "n"}, "spec": raw}, root)
    assert value["spec"]["at"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert value["spec"]["wait"] == timedelta(minutes=1)

    def holds(text: str) -> Any:
        return compile_cel(text, {"self": root}).evaluate({"self": value})

    assert holds("self.metadata.name == 'n' && self.spec.ratio == 1.0 && self.spec.port == 'http'")
    assert holds("self.spec.tags == ['b', 'a']"), "sets have no order"
    assert holds("self.spec.maybe == null")
    with pytest.raises(CelSyntaxError, match="undefined field 'labels'"):
        holds("has(self.metadata.labels)")
    with pytest.raises(CelSyntaxError, match="undefined field 'free'"):
        holds("has(self.spec.free)")


def test_which_variables_are_used() -> None:
    assert uses("self.a == oldSelf.a", "oldSelf")
    assert uses("[1].all(x, x == oldSelf)", "oldSelf")
    assert not uses("self.oldSelf == 'oldSelf'", "oldSelf")


# A small grammar of expressions over `a` (int), `s` (string) and `l` (list of int).
_LEAVES = st.sampled_from(["1", "0", "7", "a", "true", "false", "'x'", "s", "l", "[]", "2.5", "size(l)", "null", "{}"])


_OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    form = draw(st.integers(0, 7)) if depth else 0

    def part() -> str:
        return draw(expressions(depth - 1))

    match form:
        case 1 | 2:
            return f"({part()} {draw(st.sampled_from(_OPERATORS))} {part()})"
        case 3:
            return draw(st.sampled_from("!-")) + part()
        case 4:
            return f"({part()} ? {part()} : {part()})"
        case 5:
            return f"{part()}.{draw(st.sampled_from(['all', 'exists', 'exists_one', 'filter', 'map']))}(a, {part()})"
        case 6:
            return f"[{part()}, {part()}][{draw(st.integers(0, 2))}]"
        case 7:
            return f"size({part()})"
    return draw(_LEAVES)


EXPRESSIONS = expressions()
TYPES = {"a": INT, "s": STRING, "l": list_of(INT)}
VALUES = {"a": 3, "s": "bob", "l": [1, 2, 3]}


@settings(deadline=None)
@given(EXPRESSIONS)
def test_what_compiles_agrees_with_a_library(text: str) -> None:
    peer = pytest.importorskip("cel")
    try:
        mine = compile_cel(text, TYPES).evaluate(VALUES)
    except CelSyntaxError:
        return  # the library checks no types
    except CelError:
        with pytest.raises(Exception):  # noqa: B017
            peer.evaluate(text, VALUES)
        return
    assert peer.evaluate(text, VALUES) == mine


@settings(deadline=None)
@given(st.one_of(EXPRESSIONS, st.text(max_size=40), st.text("self.al(x,)[]{}'\"\\+-*/%!<>=&|?: 0b9u.r\n", max_size=60)))
def test_any_text_is_a_program_or_a_clear_error(text: str) -> None:
    try:
        program = compile_cel(text, {"self": SELF, **TYPES})
    except CelSyntaxError:
        return
    try:
        program.evaluate({"self": VALUE, **VALUES}, Budget(STEPS // 100))
    except CelError:
        pass
