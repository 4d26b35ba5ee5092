"""Dockerfiles as text: instructions, lines, words, and errors that are the parser's own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.container.images.build import configuration, words
from weft.container.images.build.configuration import Scope
from weft.container.images.build.parser import parse
from weft.core.errors import InvalidError


def test_lines_comments_and_continuation() -> None:
    text = (
        "\ufeff# escape=\\\n"
        "# a comment\n"
        "from busybox as Base\n"
        "\n"
        "RUN one && \\\n"
        "  # in the middle\n"
        "\n"
        "    two \\  \n"
        "    three\r\n"
        'CMD ["a", "b c"]\n'
        'ENTRYPOINT ["broken"\n'
        "RUN\techo tab\n"
    )
    found = parse(text).instructions
    assert [(each.keyword, each.line) for each in found] == [
        ("FROM", 3), ("RUN", 5), ("CMD", 10), ("ENTRYPOINT", 11), ("RUN", 12)
    ]  # fmt: skip
    assert found[0].text == "busybox as Base"
    assert found[1].text.split() == ["one", "&&", "two", "three"]
    assert found[2].words == ("a", "b c")
    assert (found[3].words, found[3].text) == (None, '["broken"')  # the shell form, as Docker takes it
    assert found[4].text == "echo tab"


def test_escape_directive() -> None:
    dockerfile = parse("# escape=`\nFROM x\nRUN a `\n  b c:\\\nRUN d\n")
    assert dockerfile.escape == "`"
    assert [each.text for each in dockerfile.instructions] == ["x", "a   b c:\\", "d"]


def test_flags_and_heredocs() -> None:
    text = (
        "FROM --platform=linux/amd64 x\nCOPY --from=0 --chown=1:2 a b\nRUN <<A cat <<-'B'\none\nA\n\ttwo\nB\nUSER z\n"
    )
    platform, copy, run, user = parse(text).instructions
    assert (platform.flags, platform.text) == ({"platform": "linux/amd64"}, "x")
    assert copy.original == "COPY --from=0 --chown=1:2 a b"
    assert [(each.name, each.content, each.expand) for each in run.heredocs] == [
        ("A", "one\n", True), ("B", "two\n", False)
    ]  # fmt: skip
    assert (user.text, user.line) == ("z", 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file with no instructions"),
        ("# only\n", "file with no instructions"),
        ("RUN x", "line 1: no build stage in current context"),
        ("ARG x", "no build stage in current context"),
        ("FROM x\nnope", "dockerfile parse error on line 2: unknown instruction: nope"),
        ("FROM x\n\n\nRUN", "line 4: RUN requires at least one argument"),
        ("FROM x\nCOPY --fom=y a b", "line 2: unknown flag: fom"),
        ("FROM x\nSHELL /bin/sh", "SHELL requires the arguments to be in JSON form"),
        ("FROM x\nSHELL []", "SHELL requires"),
        ("FROM x\nONBUILD FROM y", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM x\nONBUILD ONBUILD RUN y", "ONBUILD isn't allowed"),
        ("FROM x\nONBUILD nope", "unknown instruction: nope"),
        ("FROM x\nRUN <<EOF\nx\n", "unterminated heredoc EOF"),
        ("# escape=x\nFROM x", "invalid escape token"),
        ("FROM x\nHEALTHCHECK", "HEALTHCHECK"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(InvalidError) as error:
        parse(text)
    assert message in str(error.value)


VARIABLES = {"A": "one", "EMPTY": "", "SPACE": "x y"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "one"), ("${A}", "one"), ("a$A.b", "aone.b"), ("$A$A", "oneone"), ("$NONE", ""), ("$", "$"),
        ("$.", "$."),
        ("\\$A", "$A"), ("'$A'", "$A"), ('"$A"', "one"), ('"\\$A"', "$A"), ('"\\n"', "\\n"), ("\\n", "n"),
        ("${A:-x}", "one"), ("${NONE:-x}", "x"), ("${EMPTY:-x}", "x"), ("${EMPTY-x}", ""), ("${NONE-x}", "x"),
        ("${A:+x}", "x"), ("${EMPTY:+x}", ""), ("${EMPTY+x}", "x"), ("${NONE:-${A}}", "one"), ("${NONE:-'$A'}", "$A"),
        ("${A:?no}", "one"), ('a"b c"d', "ab cd"), ("a\\ b", "a b"), ("$1", ""), ("'it''s'", "its"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    assert words.expand(text, VARIABLES) == expected


@pytest.mark.parametrize(
    "text", ["'", '"', "${", "${A", "${}", "${-}x${", "${A:=x}", "${NONE:?gone}", "${" * 10, "${A:-" * 200 + "}" * 200]
)
def test_expansion_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        words.expand(text, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", [("A", "b")]),
        ('A="b c" D=e\\ f', [("A", "b c"), ("D", "e f")]),
        ("A=$SPACE B=${A}x", [("A", "x y"), ("B", "onex")]),
        ("A b  c", [("A", "b  c")]),
        ("A=", [("A", "")]),
        ("A=b=c", [("A", "b=c")]),
    ],
)
def test_pairs(text: str, expected: list[tuple[str, str]]) -> None:
    assert words.pairs(text, "ENV", VARIABLES) == expected


@pytest.mark.parametrize("text", ["A", "=b", "A=b C", "'A=b", "$NONE=b"])
def test_pairs_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        words.pairs(text, "ENV", {})


def applied(line: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    config = {} if config is None else config
    configuration.apply(config, parse(f"FROM x\n{line}").instructions[1], Scope(VARIABLES))
    return config


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        ("ENV A=2 B=$A", "Env", ["A=2", "B=one"]),
        ("LABEL a.b=c", "Labels", {"a.b": "c"}),
        ("EXPOSE 80 90-91/UDP", "ExposedPorts", {"80/tcp": {}, "90/udp": {}, "91/udp": {}}),
        ("CMD a $A", "Cmd", ["/bin/sh", "-c", "a $A"]),
        ('ENTRYPOINT ["a"]', "Entrypoint", ["a"]),
        ('VOLUME ["/a", "/$A"]', "Volumes", {"/a": {}, "/one": {}}),
        ("USER $A", "User", "one"),
        ('HEALTHCHECK --interval=1m30s --timeout=1.5s CMD ["a"]', "Healthcheck",
         {"Test": ["CMD", "a"], "Interval": 90 * 10**9, "Timeout": 1_500_000_000}),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
    ],
)  # fmt: skip
def test_configuration(line: str, key: str, expected: Any) -> None:
    assert applied(line)[key] == expected


@pytest.mark.parametrize(
    "line",
    [
        "EXPOSE 0", "EXPOSE 70000", "EXPOSE 9-8", "EXPOSE x", "EXPOSE 80/tcp/udp", "VOLUME $NONE", "HEALTHCHECK MAYBE",
        "HEALTHCHECK --interval=soon CMD x", "HEALTHCHECK --retries=few CMD x", "ENV A", "LABEL =x",
    ],
)  # fmt: skip
def test_configuration_refused(line: str) -> None:
    with pytest.raises(InvalidError):
        applied(line)


KEYWORDS = st.sampled_from([*sorted(configuration.KEYWORDS), "FROM", "RUN", "COPY", "ARG", "nope", "#", "# escape=`"])
TEXT = st.text(alphabet="ab$ {}:-+?='\"\\`[],<\n\t#/0", max_size=20) | st.text(max_size=8)


@given(st.lists(st.tuples(KEYWORDS, TEXT), max_size=6))
def test_nothing_but_its_own_error(lines: list[tuple[str, str]]) -> None:
    text = "FROM x\n" + "\n".join(f"{keyword} {rest}" for keyword, rest in lines)
    try:
        dockerfile = parse(text)
    except InvalidError:
        return
    for instruction in dockerfile.instructions:
        if instruction.keyword in configuration.KEYWORDS:
            try:
                configuration.apply({}, instruction, Scope(VARIABLES, dockerfile.escape))
            except InvalidError:
                pass


@given(TEXT)
def test_words_raise_nothing_else(text: str) -> None:
    for function in (lambda: words.split(text), lambda: words.expand(text, VARIABLES)):
        try:
            function()
        except InvalidError:
            pass
