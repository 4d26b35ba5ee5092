"""Dockerfiles as instructions. Pure: text in, instructions with their line numbers out, or an InvalidError.

Source: Dockerfile reference; moby/buildkit `frontend/dockerfile/parser` (directives, continuation, heredocs).
"""

import json
import re
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
    mark_as_written: str  # <<-"EOF"

    @property
    def mark(self) -> str:
        """Without quotes, as it is among the words of COPY."""
        return self.mark_as_written.replace('"', "").replace("'", "")


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
    keyword, *more = text.split(None, 1)
    upper, rest = keyword.upper(), more[0] if more else ""
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
    if upper == "HEALTHCHECK" and not rest:
        raise ParseError(line, 'Missing type for HEALTHCHECK (try "CMD")')
    listed = rest
    if upper == "HEALTHCHECK" and rest.upper().startswith("CMD"):
        listed = rest[3:].strip()
    words = None if heredocs else _json_words(listed)
    if upper == "SHELL" and not words:
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
            text = "".join(f"{each}\n" for each in content)
            return Heredoc(name, text, expand=not match[2], mark_as_written=match[0]), number
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
