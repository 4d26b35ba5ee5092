"""Writes docs/conformance.md: every conformance behaviour of Kubernetes, and which of our tests holds Weft to it.

In: `conformance_names.txt` (the behaviours), `conformance_tests.txt` (name => tests). Out: the page. A test that is
not there, or a name that is not in the list, is an error. `--check` writes nothing and fails where the page is stale;
`--names FILE` first takes the names from a conformance.yaml of Kubernetes.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
NAMES, TESTS, PAGE = HERE / "conformance_names.txt", HERE / "conformance_tests.txt", ROOT / "docs/conformance.md"


def lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]


def take_names(conformance: Path) -> None:
    found = {
        " ".join(each["codename"].replace("[Conformance]", "").split())
        for each in yaml.safe_load(conformance.read_text())
    }
    head = f"# Names of conformance behaviours of Kubernetes, one a line. Source: its own {conformance.name}.\n"
    NAMES.write_text(head + "\n".join(sorted(found)) + "\n")


def read_tests(names: list[str]) -> dict[str, list[str]]:
    """The tests of each behaviour; exits where one or the other does not exist."""
    known = set(names)
    found: dict[str, list[str]] = {}
    wrong = []
    for line in lines(TESTS):
        name, _, tests = (part.strip() for part in line.partition("=>"))
        found[name] = tests.split()
        if name not in known:
            wrong.append(f"no such behaviour: {name}")
        for test in found[name]:
            path, _, function = test.partition("::")
            file = ROOT / "tests" / path
            if not file.exists() or not re.search(rf"^(async )?def {function}\(", file.read_text(), re.MULTILINE):
                wrong.append(f"no such test: {test}")
    if wrong:
        sys.exit("\n".join(wrong))
    return found


def page(names: list[str], tests: dict[str, list[str]]) -> str:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        group, _, rest = name.removeprefix("[").partition("] ")
        groups[group].append(rest)
    out = [
        "# Conformance: Kubernetes's behaviours, and our tests of them",
        "",
        "Written by `tools/conformance.py` from the names in `tools/conformance_names.txt` (their source stands",
        "there). A behaviour counts as covered when a test of ours, below `tests/`, holds Weft to it; this is",
        "not a run of Kubernetes's own suite.",
        "",
        "| group | behaviours | covered |",
        "|---|---|---|",
    ]
    for group, rest in sorted(groups.items()):
        out.append(f"| {group} | {len(rest)} | {sum(f'[{group}] {name}' in tests for name in rest)} |")
    out.append(f"| all | {len(names)} | {len(tests)} |")
    for group, rest in sorted(groups.items()):
        out += ["", f"## {group}", "", "| behaviour | test |", "|---|---|"]
        for name in rest:
            of_it = tests.get(f"[{group}] {name}")
            cell = "<br>".join(f"`{test}`" for test in of_it) if of_it else "not yet"
            out.append(f"| {name.replace('|', chr(92) + '|')} | {cell} |")
    return "\n".join(out) + "\n"


def main(arguments: list[str]) -> None:
    if "--names" in arguments:
        take_names(Path(arguments[arguments.index("--names") + 1]))
    names = sorted(lines(NAMES))
    text = page(names, read_tests(names))
    if "--check" not in arguments:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        sys.exit(f"{PAGE} is not what tools/conformance.py writes: run it")


if __name__ == "__main__":
    main(sys.argv[1:])
