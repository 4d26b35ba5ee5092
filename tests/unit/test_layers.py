"""Imports may only point down the layers of docs/architecture.md."""

import ast
from pathlib import Path

import weft

ROOT = Path(weft.__file__).parent
# Top to bottom. Packages of one row are siblings and do not import one another; `testing` is outside of the stack.
LAYERS = (
    {"cli", "web"},
    {"apiserver", "dockerapi", "registry", "controllers", "scheduler", "node"},
    {"client", "container", "network"},
    {"store"},
    {"api", "oci"},
    {"core"},
)
RANK = {package: rank for rank, row in enumerate(LAYERS) for package in row}
# Decided in docs/architecture.md beyond the order of the rows.
ONLY = {"store": {"apiserver", "cli", "testing"}}


def imports(file: Path) -> set[str]:
    """The packages of weft that a module imports, wherever in the module the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [node.module or ""]
            if node.module == "weft":
                names = [f"weft.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("weft.")}
    return found


def violations(package: str, imported: set[str]) -> list[str]:
    wrong = []
    for other in imported - {package, "__version__"}:
        if package == "testing":
            continue
        if other == "testing" or RANK[other] <= RANK[package] or package not in ONLY.get(other, {package}):
            wrong.append(f"{package} imports {other}")
    return wrong


def test_imports_point_down() -> None:
    wrong = []
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).parts
        if len(parts) > 1:
            wrong += [f"{file}: {each}" for each in violations(parts[0], imports(file))]
    assert not wrong, "\n".join(wrong)


def test_every_package_has_a_layer() -> None:
    packages = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert packages - set(RANK) == {"testing"}


def test_the_rule_notices_an_import_upwards_and_sideways() -> None:
    assert violations("core", {"api"}) == ["core imports api"]
    assert violations("client", {"container"}) == ["client imports container"]
    assert violations("controllers", {"store"}) == ["controllers imports store"]
    assert not violations("apiserver", {"store", "api", "core"})
