"""The words of an instruction: split, unquoted, their variables replaced. Pure; InvalidError for what does not end.

Source: Dockerfile reference, "Environment replacement"; moby/buildkit `frontend/dockerfile/shell/lex.go`.
"""

import re
from collections.abc import Mapping

from weft.core.errors import InvalidError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!-]")
_DEEPEST = 50  # nested substitutions


class WordError(InvalidError):
    """The text of an instruction is malformed; the builder adds its line."""


def split(text: str, escape: str = "\\") -> list[str]:
    """At white space outside of quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    word, quote, index = "", "", 0
    while index < len(text):
        letter = text[index]
        if letter == escape and quote != "'" and index + 1 < len(text):
            word += text[index : index + 2]
            index += 2
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        if letter.isspace() and not quote:
            words += [word] if word else []
            word = ""
        else:
            word += letter
        index += 1
    if quote:
        kind = "single" if quote == "'" else "double"
        raise WordError(f"unexpected end of statement while looking for matching {kind}-quote")
    return [*words, word] if word else words


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Removes quotes and escapes, and replaces $NAME, ${NAME}, ${NAME:-word}, ${NAME:+word}, ${NAME:?word}."""
    return _Expansion(variables, escape).run(text, 0)


class _Expansion:
    def __init__(self, variables: Mapping[str, str], escape: str) -> None:
        self._variables, self._escape = variables, escape

    def run(self, text: str, depth: int) -> str:
        if depth > _DEEPEST:
            raise WordError("syntax error: substitutions are nested too deeply")
        out: list[str] = []
        index, double = 0, False
        while index < len(text):
            letter = text[index]
            following = text[index + 1 : index + 2]
            if letter == self._escape and following:
                # Within double quotes it escapes only what would mean something there.
                out.append(following if not double or following in ('"', "$", self._escape) else letter + following)
                index += 2
            elif letter == "'" and not double:
                end = text.find("'", index + 1)
                if end < 0:
                    raise WordError("unexpected end of statement while looking for matching single-quote")
                out.append(text[index + 1 : end])
                index = end + 1
            elif letter == '"':
                double = not double
                index += 1
            elif letter == "$":
                value, index = self._dollar(text, index + 1, depth)
                out.append(value)
            else:
                out.append(letter)
                index += 1
        if double:
            raise WordError("unexpected end of statement while looking for matching double-quote")
        return "".join(out)

    def _dollar(self, text: str, index: int, depth: int) -> tuple[str, int]:
        """The value after a `$`, and where the text goes on."""
        if text[index : index + 1] != "{":
            match = _NAME.match(text, index)
            return (self._variables.get(match[0], ""), match.end()) if match else ("$", index)
        end, level = index + 1, 1
        while end < len(text) and level:
            if text[end] == self._escape:
                end += 1
            elif text[end] in "{}":
                level += 1 if text[end] == "{" else -1
            end += 1
        if level:
            raise WordError("syntax error: missing '}'")
        return self._substitute(text[index + 1 : end - 1], depth), end

    def _substitute(self, body: str, depth: int) -> str:
        match = _NAME.match(body)
        if match is None:
            raise WordError(f"syntax error: bad substitution ${{{body}}}")
        name, rest = match[0], body[match.end() :]
        value = self._variables.get(name)
        if not rest:
            return value or ""
        colon = rest.startswith(":")
        operator, word = rest[int(colon) : int(colon) + 1], rest[int(colon) + 1 :]
        is_set = bool(value) if colon else value is not None
        match operator:
            case "-":
                return (value or "") if is_set else self.run(word, depth + 1)
            case "+":
                return self.run(word, depth + 1) if is_set else ""
            case "?":
                if not is_set:
                    raise WordError(f"{name}: {self.run(word, depth + 1) or 'is not allowed to be unset'}")
                return value or ""
        raise WordError(f"unsupported modifier ({rest[:2]}) in substitution")


def pairs(text: str, keyword: str, variables: Mapping[str, str], escape: str = "\\") -> list[tuple[str, str]]:
    """`KEY=value ...`, or the old `KEY value` of ENV and LABEL."""
    found = split(text, escape)
    if not found:
        raise WordError(f"{keyword} requires at least one argument")
    if "=" not in found[0]:
        key, *rest = text.split(None, 1)
        if not rest:
            raise WordError(f"{keyword} must have two arguments")
        return [(_key(key, keyword, variables, escape), expand(rest[0].strip(), variables, escape))]
    result = []
    for word in found:
        key, equals, value = word.partition("=")
        if not equals:
            raise WordError(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        result.append((_key(key, keyword, variables, escape), expand(value, variables, escape)))
    return result


def _key(text: str, keyword: str, variables: Mapping[str, str], escape: str) -> str:
    key = expand(text, variables, escape)
    if not key:
        raise WordError(f"{keyword} names can not be blank")
    return key
