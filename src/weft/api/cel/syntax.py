"""The syntax of the Common Expression Language: text to tree.

In: an expression. Out: `Node`s with macros recognised, or CelSyntaxError. The tree is bounded in depth, because those
who walk it recurse. Who is next: `check`. Source: cel-spec `doc/langdef.md`, cel-go `parser/gen/CEL.g4`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from weft.api.cel.errors import CelSyntaxError

MAX_DEPTH = 120
MAX_NESTING = 50
MAX_LENGTH = 100_000
MACROS = {"all": (2,), "exists": (2,), "exists_one": (2,), "map": (2, 3), "filter": (2,)}
OPTIONAL_MACROS = {"optMap": (2,), "optFlatMap": (2,)}
_RESERVED = frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"),
        *("namespace", "return", "var", "void", "while"),
    )
)

_PRECEDENCE = {"||": 0, "&&": 1, "+": 3, "-": 3, "*": 4, "/": 4, "%": 4}
_PRECEDENCE |= dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 2)

_TOKEN = re.compile(
    r"""
    (?P<space>(?:[ \t\n\f\r]+|//[^\n]*)+)
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<int>0x[0-9a-fA-F]+[uU]?|\d+[uU]?)
  | (?P<string>[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
  | (?P<quoted>`[a-zA-Z0-9_.\-/ ]+`)
  | (?P<op>&&|\|\||==|!=|<=|>=|\.\?|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_RAW = re.compile(r"""(?:[rR][bB]?|[bB][rR])(?:\"\"\".*?\"\"\"|'''.*?'''|"[^"\n]*"|'[^'\n]*')""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Node:
    """`kind` is one of: literal ident select index call list map message macro and or cond.

    `name` is a field, function, operator or macro; `args` are the parts; `flags` say which list elements or map
    entries are optional, and, for select, `test` that it is has(), `optional` that it is `.?`.
    """

    kind: str
    position: int
    name: str = ""
    value: Any = None
    target: "Node | None" = None
    args: tuple["Node", ...] = ()
    variable: str = ""
    optional: bool = False
    test: bool = False
    optional_at: frozenset[int] = frozenset()
    depth: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(text: str) -> Node:
    """Raises CelSyntaxError."""
    if len(text) > MAX_LENGTH:
        raise CelSyntaxError("", 0, f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_LENGTH}")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0
        self._nesting = 0

    def whole(self) -> Node:
        node = self._expression()
        if self._now.kind != "end":
            self._unexpected()
        return node

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _fail(self, message: str, position: int | None = None) -> NoReturn:
        raise CelSyntaxError(self._text, self._now.position if position is None else position, message)

    def _unexpected(self) -> NoReturn:
        shown = "<EOF>" if self._now.kind == "end" else self._now.text
        self._fail(f"Syntax error: mismatched input '{shown}'")

    def _node(self, kind: str, position: int, **rest: Any) -> Node:
        parts = [*rest.get("args", ()), rest.get("target")]
        depth = 1 + max((part.depth for part in parts if part is not None), default=0)
        if depth > MAX_DEPTH:
            self._fail(f"expression recursion limit exceeded: {MAX_DEPTH}", position)
        return Node(kind, position, depth=depth, **rest)

    def _is(self, *texts: str) -> bool:
        token = self._now
        return token.kind in ("op", "name") and token.text in texts

    def _accept(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            self._unexpected()

    def _take(self) -> _Token:
        token = self._now
        self._at += 1
        return token

    def _expression(self) -> Node:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self._fail(f"expression recursion limit exceeded: {MAX_NESTING}")
        condition = self._climb(0)
        if self._is("?"):
            position = self._take().position
            then = self._climb(0)
            self._expect(":")
            condition = self._node("cond", position, args=(condition, then, self._expression()))
        self._nesting -= 1
        return condition

    def _climb(self, lowest: int) -> Node:
        """Binary operators that bind at least as tightly as `lowest`."""
        left = self._unary()
        while True:
            token = self._now
            level = _PRECEDENCE.get(token.text, -1) if token.kind in ("op", "name") else -1
            if level < lowest:
                return left
            if level < 2:
                terms = [left]
                while self._accept(token.text):
                    terms.append(self._climb(level + 1))
                left = self._node("and" if level else "or", token.position, args=tuple(terms))
                continue
            self._at += 1
            name = "@in" if token.text == "in" else f"_{token.text}_"
            left = self._node("call", token.position, name=name, args=(left, self._climb(level + 1)))

    def _unary(self) -> Node:
        if not self._is("!", "-"):
            return self._member()
        token = self._take()
        count = 1
        while self._is(token.text):
            self._at += 1
            count += 1
        if token.text == "-" and count % 2 and self._now.kind in ("int", "float"):
            # The sign belongs to the literal, so that the least int can be written.
            literal = self._literal(negative=True, position=token.position)
            return self._postfix(literal)
        operand = self._member()
        if count % 2 == 0:
            return operand
        return self._node("call", token.position, name="!_" if token.text == "!" else "-_", args=(operand,))

    def _member(self) -> Node:
        return self._postfix(self._primary())

    def _postfix(self, node: Node) -> Node:
        while True:
            token = self._now
            if token.kind != "op":
                return node
            if token.text in (".", ".?"):
                self._at += 1
                node = self._select(node, token)
            elif token.text == "[":
                self._at += 1
                optional = self._accept("?")
                index = self._expression()
                self._expect("]")
                node = self._node("index", token.position, args=(node, index), optional=optional)
            else:
                return node

    def _select(self, node: Node, dot: _Token) -> Node:
        optional = dot.text == ".?"
        name = self._take()
        if name.kind not in ("name", "quoted"):
            self._at -= 1
            self._unexpected()
        if name.text in _RESERVED and not self._is("("):
            self._fail(f"reserved identifier: {name.text}", name.position)
        if not optional and self._is("("):
            parenthesis = self._take()
            return self._call(name.text, node, self._arguments(")"), parenthesis.position)
        return self._node("select", dot.position, name=name.text.strip("`"), target=node, optional=optional)

    def _arguments(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._accept(end):
            if found:
                self._expect(",")
                if end != ")" and self._accept(end):
                    break
            found.append(self._expression())
        return tuple(found)

    def _call(self, name: str, target: Node | None, args: tuple[Node, ...], position: int) -> Node:
        if target is None and name == "has" and len(args) == 1:
            if args[0].kind != "select":
                self._fail("invalid argument to has() macro", args[0].position)
            inner = args[0]
            return self._node(
                "select", position, name=inner.name, target=inner.target, optional=inner.optional, test=True
            )
        if target is not None:
            if target.kind == "ident" and target.name == "cel" and name == "bind" and len(args) == 3:
                variable = self._variable(args[0])
                return self._node("macro", position, name="bind", variable=variable, args=args[1:])
            arities = MACROS.get(name) or OPTIONAL_MACROS.get(name) or ()
            if len(args) in arities:
                variable = self._variable(args[0])
                return self._node("macro", position, name=name, variable=variable, target=target, args=args[1:])
        return self._node("call", position, name=name, target=target, args=args)

    def _variable(self, node: Node) -> str:
        if node.kind != "ident":
            self._fail("argument must be a simple name", node.position)
        return node.name

    def _primary(self) -> Node:
        token = self._now
        if token.kind in ("int", "float", "string"):
            return self._literal()
        if token.kind == "name":
            return self._name()
        if self._accept("("):
            node = self._expression()
            self._expect(")")
            return node
        if self._accept("["):
            return self._list(token.position)
        if self._accept("{"):
            return self._map(token.position)
        if self._is(".") and self._tokens[self._at + 1].kind == "name":
            self._at += 1
            return self._name()
        return self._unexpected()

    def _name(self) -> Node:
        token = self._take()
        if token.text in ("true", "false"):
            return self._node("literal", token.position, value=token.text == "true")
        if token.text == "null":
            return self._node("literal", token.position, value=None)
        if token.text in _RESERVED or token.text == "in":
            self._fail(f"reserved identifier: {token.text}", token.position)
        if self._is("("):
            parenthesis = self._take()
            return self._call(token.text, None, self._arguments(")"), parenthesis.position)
        return self._node("ident", token.position, name=token.text)

    def _list(self, position: int) -> Node:
        found: list[Node] = []
        optional = set()
        while not self._accept("]"):
            if found:
                self._expect(",")
                if self._accept("]"):
                    break
            if self._accept("?"):
                optional.add(len(found))
            found.append(self._expression())
        return self._node("list", position, args=tuple(found), optional_at=frozenset(optional))

    def _map(self, position: int) -> Node:
        found: list[Node] = []
        optional = set()
        while not self._accept("}"):
            if found:
                self._expect(",")
                if self._accept("}"):
                    break
            if self._accept("?"):
                optional.add(len(found) // 2)
            found.append(self._expression())
            self._expect(":")
            found.append(self._expression())
        return self._node("map", position, args=tuple(found), optional_at=frozenset(optional))

    def _literal(self, negative: bool = False, position: int | None = None) -> Node:
        token = self._take()
        position = token.position if position is None else position
        sign = -1 if negative else 1
        if token.kind == "float":
            return self._node("literal", position, value=sign * float(token.text))
        if token.kind == "string":
            return self._node("literal", position, value=self._string(token))
        digits = token.text.rstrip("uU")
        value = sign * int(digits, 16 if digits.lower().startswith("0x") else 10)
        if digits != token.text:
            if not 0 <= value < 2**64:
                self._fail("invalid uint literal", position)
            return self._node("literal", position, value=UInt(value))
        if not -(2**63) <= value < 2**63:
            self._fail("invalid int literal", position)
        return self._node("literal", position, value=value)

    def _string(self, token: _Token) -> str | bytes:
        prefix = re.match(r"[rRbB]*", token.text)
        assert prefix is not None
        marks, body = prefix[0].lower(), token.text[prefix.end() :]
        quote = body[:3] if body[:3] in ('"""', "'''") else body[:1]
        body = body[len(quote) : -len(quote)]
        binary = "b" in marks
        if "r" in marks:
            return body.encode() if binary else body
        try:
            return _unescape(body, binary)
        except ValueError as error:
            self._fail(str(error), token.position)


class UInt(int):
    """CEL's uint, which is another type than int."""

    __slots__ = ()


def _tokens(text: str) -> list[_Token]:
    found = []
    at = 0
    while at < len(text):
        match = _RAW.match(text, at) or _TOKEN.match(text, at)
        if match is None:
            raise CelSyntaxError(text, at, f"Syntax error: token recognition error at: '{text[at]}'")
        kind = match.lastgroup or "string"
        if match.re is _RAW:
            kind = "string"
        if kind != "space":
            found.append(_Token(kind, match[0], at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_SIMPLE |= {mark: ord(mark) for mark in "\\?\"'`"}
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.|$))",
    re.DOTALL,
)


def _unescape(body: str, binary: bool) -> str | bytes:
    out = bytearray()
    at = 0
    for match in _ESCAPE.finditer(body):
        out += body[at : match.start()].encode()
        at = match.end()
        simple, two, four, eight, octal, wrong = match.groups()
        if wrong is not None or (binary and (four or eight)):
            raise ValueError(f"invalid escape sequence: {match[0]}")
        code = _SIMPLE[simple] if simple else int(octal, 8) if octal else int(two or four or eight, 16)
        if binary:
            out.append(code)
        elif code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("invalid unicode code point")
        else:
            out += chr(code).encode()
    out += body[at:].encode()
    return bytes(out) if binary else out.decode()
