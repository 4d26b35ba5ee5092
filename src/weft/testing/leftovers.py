"""What a run of Weft may leave behind on a machine, as sets that can be compared before and after.

    python -m weft.testing.leftovers save before.json
    weft up --detach; ...; weft down
    python -m weft.testing.leftovers compare before.json      # lists what is new, exit code 1 if anything is

Looked at: network namespaces, links, mounts, cgroups, nft tables, processes (by pid and command) and the files
under run directories. Other work on the machine shows up too, unless `only` narrows the view to one instance.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Snapshot = dict[str, set[str]]


def _namespaces() -> set[str]:
    pinned = Path("/run/netns")
    return {entry.name for entry in pinned.iterdir()} if pinned.is_dir() else set()


def _links() -> set[str]:
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def _mounts() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {f"{line.split()[4]} ({line.split(' - ')[1].split()[0]})" for line in lines}


def _cgroups() -> set[str]:
    found = set()
    for directory, children, _ in os.walk("/sys/fs/cgroup"):
        found |= {os.path.join(directory, child) for child in children}
    return found


def _nft_tables() -> set[str]:
    try:
        output = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return set()
    return set(output.stdout.split("\n")) - {""}


def _processes() -> set[str]:
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if command and int(entry.name) != os.getpid():
            found.add(f"{entry.name} {command}")
    return found


def _run_files(run: Path) -> Callable[[], set[str]]:
    def files() -> set[str]:
        found = {str(run)} if run.exists() else set()
        for directory, children, names in os.walk(run):
            found |= {os.path.join(directory, name) for name in [*children, *names]}
        return found

    return files


def snapshot(run: Path = Path("/run/weft")) -> Snapshot:
    """Everything that there is now, by kind."""
    sources: dict[str, Callable[[], set[str]]] = {
        "namespaces": _namespaces,
        "links": _links,
        "mounts": _mounts,
        "cgroups": _cgroups,
        "nft tables": _nft_tables,
        "processes": _processes,
        "run files": _run_files(run),
    }
    return {kind: read() for kind, read in sources.items()}


def new(before: Snapshot, after: Snapshot, only: tuple[str, ...] = ()) -> list[str]:
    """What `after` has and `before` had not, as lines; with `only`, just what mentions one of these texts."""
    lines = []
    for kind, entries in after.items():
        for entry in sorted(entries - before.get(kind, set())):
            if not only or any(text in entry for text in only):
                lines.append(f"{kind}: {entry}")
    return lines


def main(argv: list[str]) -> int:
    if len(argv) != 3 or argv[1] not in ("save", "compare"):
        print("usage: python -m weft.testing.leftovers save|compare FILE", file=sys.stderr)
        return 2
    file = Path(argv[2])
    now = snapshot()
    if argv[1] == "save":
        file.write_text(json.dumps({kind: sorted(entries) for kind, entries in now.items()}, indent=1))
        return 0
    before = {kind: set(entries) for kind, entries in json.loads(file.read_text()).items()}
    mine = f"{os.getppid()} "
    left = [line for line in new(before, now) if not line.startswith(f"processes: {mine}")]
    print("\n".join(left) if left else "nothing is left behind")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
