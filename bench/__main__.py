"""Runs all benchmarks, or those named, and writes their rows into docs/benchmarks.md."""

import importlib
import os
import platform
import sys
from pathlib import Path

from bench.measure import Row

MODULES = (
    "startup",
    "docker_run",
    "apply_to_ready",
    "convergence",
    "lab_up",
    "kernel_routes",
    "route_table",
    "api",
    "spf",
    "simulation",
    "openflow",
)
HEAD = ["what", "unit", "Weft", "peer", "peer's", "ratio", "note"]
PAGE = Path(__file__).parent.parent / "docs/benchmarks.md"


def section(name: str, rows: list[Row]) -> str:
    summary = (importlib.import_module(f"bench.{name}").__doc__ or "").strip()
    table = ["| " + " | ".join(cells) + " |" for cells in (HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows))]
    return f"<!-- {name} -->\n## {name}\n{summary}\n\n" + "\n".join(table) + f"\n<!-- /{name} -->\n"


def write(name: str, text: str) -> None:
    """Replaces the section of one benchmark and keeps the others."""
    intro = (
        "# Benchmarks\nWritten by `make bench`; medians, peers run in the same run on the same machine, "
        "a ratio below 1 means that Weft takes less.\n\n"
    )
    page = PAGE.read_text() if PAGE.exists() else intro
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->\n"
    if begin in page:
        page = page[: page.index(begin)] + text + page[page.index(end) + len(end) :]
    else:
        page += text + "\n"
    PAGE.write_text(page)


def main() -> None:
    names = sys.argv[1:] or list(MODULES)
    print(f"machine: {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}")
    for name in names:
        rows = list(importlib.import_module(f"bench.{name}").run())
        for row in rows:
            print("  ".join(cell for cell in row.cells() if cell))
        write(name, section(name, rows))


if __name__ == "__main__":
    main()
