"""Dockerfiles as instructions. Pure: text in, instructions with their line numbers out, or an InvalidError.

Source: Dockerfile reference; moby/buildkit `frontend/dockerfile/parser` (directives, continuation, heredocs).
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.core.errors import InvalidError

KNOWN = frozenset(
    (
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
        *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
    )
)
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = re.compile(r"<<(-?)(['\"]?)([a-zA-Z_][a-zA-Z0-9_]*)\2")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?")
_TAKES_FLAGS = {
    "FROM": {"platform"},
    "COPY": {"from", "chown", "chmod", "link", "parents", "exclude"},
    "ADD": {"chown", "chmod", "link", "checksum", "keep-git-dir", "exclude"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
    "RUN": {"mount", "network", "security"},
}


class ParseError(InvalidError):
    """ "dockerfile parse error on line N: ...", as Docker words it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"dockerfile parse error on line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document of an instruction; `expand` tells whether variables in it are replaced."""

    name: str
    content: str
    expand: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """`keyword` in capitals, `text` its arguments as written (joined), `words` where it is in JSON (exec) form."""

    keyword: str
    text: str
    line: int
    flags: Mapping[str, str]
    words: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def original(self) -> str:
        """As the builder shows it."""
        flags = "".join(f"--{name}={value} " if value else f"--{name} " for name, value in self.flags.items())
        return f"{self.keyword} {flags}{self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class Dockerfile:
    instructions: tuple[Instruction, ...]
    escape: str = "\\"


def parse(text: str) -> Dockerfile:
    """Raises ParseError."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape, start = _directives(lines)
    instructions: list[Instruction] = []
    number = start
    while number < len(lines):
        line = lines[number]
        if not line.strip() or line.lstrip().startswith("#"):
            number += 1
            continue
        first = number + 1
        joined, number = _join(lines, number, escape)
        instruction, number = _instruction(joined.strip(), first, lines, number)
        instructions.append(instruction)
    if not instructions:
        raise InvalidError("file with no instructions")
    _check_order(instructions)
    return Dockerfile(tuple(instructions), escape)


def _directives(lines: Sequence[str]) -> tuple[str, int]:
    escape, index = "\\", 0
    for index, line in enumerate(lines):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            return escape, index
        if match[1].lower() == "escape":
            if match[2] not in ("\\", "`"):
                raise ParseError(index + 1, f"invalid escape token {match[2]!r} does not match ` or \\")
            escape = match[2]
    return escape, index + 1 if lines else 0


def _join(lines: Sequence[str], number: int, escape: str) -> tuple[str, int]:
    """A logical line: continued ones joined, comments and blank lines between them left out."""
    parts: list[str] = []
    while number < len(lines):
        line = lines[number]
        number += 1
        if parts and (not line.strip() or line.lstrip().startswith("#")):
            continue
        stripped = line.rstrip()
        if stripped.endswith(escape):
            parts.append(stripped[:-1])
            continue
        parts.append(line)
        break
    return "".join(parts), number


def _instruction(text: str, line: int, lines: Sequence[str], number: int) -> tuple[Instruction, int]:
    keyword, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    upper = keyword.upper()
    if upper not in KNOWN:
        raise ParseError(line, f"unknown instruction: {keyword}")
    rest = rest.strip()
    flags: dict[str, str] = {}
    while upper in _TAKES_FLAGS and rest.startswith("--"):
        word, _, after = rest.partition(" ")
        match = _FLAG.fullmatch(word)
        if match is None or match[1] not in _TAKES_FLAGS[upper]:
            raise ParseError(line, f"unknown flag: {word.split('=')[0].removeprefix('--')}")
        flags[match[1]] = match[2] or ""
        rest = after.strip()
    heredocs: list[Heredoc] = []
    if upper in ("RUN", "COPY", "ADD"):
        for match in _HEREDOC.finditer(rest):
            document, number = _heredoc(match, lines, number, line)
            heredocs.append(document)
    if not rest and upper != "HEALTHCHECK":
        raise ParseError(line, f"{upper} requires at least one argument")
    words = None if heredocs else _json_words(rest)
    if words is not None and upper in ("SHELL", "VOLUME", "COPY", "ADD") and not words and upper == "SHELL":
        raise ParseError(line, "SHELL requires at least one argument")
    if upper == "SHELL" and words is None:
        raise ParseError(line, f"SHELL requires the arguments to be in JSON form: {rest}")
    if upper == "ONBUILD":
        trigger = rest.split()[0].upper()
        if trigger in ("ONBUILD", "FROM", "MAINTAINER"):
            raise ParseError(line, f"{trigger} isn't allowed as an ONBUILD trigger")
        _instruction(rest, line, (), 0)
    return Instruction(upper, rest, line, flags, words, tuple(heredocs)), number


def _heredoc(match: "re.Match[str]", lines: Sequence[str], number: int, line: int) -> tuple[Heredoc, int]:
    name = match[3]
    content: list[str] = []
    while number < len(lines):
        text = lines[number].lstrip("\t") if match[1] else lines[number]
        number += 1
        if text == name:
            return Heredoc(name, "".join(f"{each}\n" for each in content), expand=not match[2]), number
        content.append(text)
    raise ParseError(line, f"unterminated heredoc {name}")


def _json_words(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    return None


def _check_order(instructions: Sequence[Instruction]) -> None:
    for instruction in instructions:
        if instruction.keyword == "FROM":
            return
        if instruction.keyword != "ARG":
            raise ParseError(instruction.line, "no build stage in current context")
    raise ParseError(instructions[-1].line, "no build stage in current context")


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Replaces $NAME, ${NAME}, ${NAME:-word}, ${NAME:+word}; single quotes keep what is in them.

    Raises InvalidError.
    """
    out: list[str] = []
    index, single, double = 0, False, False
    while index < len(text):
        letter = text[index]
        if letter == escape and index + 1 < len(text) and not single:
            if text[index + 1] == "$":
                out.append("$")
            else:
                out.append(letter + text[index + 1])
            index += 2
            continue
        if letter == "'" and not double:
            single = not single
        elif letter == '"' and not single:
            double = not double
        if letter != "$" or single or index + 1 == len(text):
            out.append(letter)
            index += 1
            continue
        value, index = _variable(text, index + 1, variables, escape)
        out.append(value)
    return "".join(out)


def _variable(text: str, index: int, variables: Mapping[str, str], escape: str) -> tuple[str, int]:
    if text[index] != "{":
        match = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").match(text, index)
        if match is None:
            return "$", index
        return variables.get(match[0], ""), match.end()
    end, depth = index + 1, 1
    while end < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    if depth:
        raise InvalidError("syntax error: missing '}'")
    body = text[index + 1 : end - 1]
    match = re.match(r"[A-Za-z_][A-Za-z0-9_]*", body)
    if match is None:
        raise InvalidError(f"syntax error: bad substitution ${{{body}}}")
    name, rest = match[0], body[match.end() :]
    value = variables.get(name)
    if not rest:
        return value or "", end
    colon = rest.startswith(":")
    operator, word = rest[int(colon) : int(colon) + 1], rest[int(colon) + 1 :]
    is_set = bool(value) if colon else value is not None
    if operator == "-":
        return value or "" if is_set else expand(word, variables, escape), end
    if operator == "+":
        return expand(word, variables, escape) if is_set else "", end
    if operator == "?":
        if not is_set:
            raise InvalidError(f"{name}: {word or 'is not set'}")
        return value or "", end
    raise InvalidError(f"unsupported modifier ({rest[:1]}) in substitution")


def split(text: str) -> list[str]:
    """Words as a shell splits them; raises InvalidError for quotes that do not end."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidError(f"unexpected end of statement: {error}") from None


def pairs(text: str, keyword: str) -> list[tuple[str, str]]:
    """`KEY=value ...` or the old `KEY value` of ENV and LABEL."""
    words = split(text)
    if not words:
        raise InvalidError(f"{keyword} requires at least one argument")
    if "=" not in words[0]:
        key, _, value = text.partition(" ")
        if not value.strip() or (keyword == "LABEL" and len(words) < 2):
            raise InvalidError(f"{keyword} must have two arguments")
        return [(key, value.strip())]
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidError(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        if not key:
            raise InvalidError(f"{keyword} names can not be blank")
        found.append((key, value))
    return found
