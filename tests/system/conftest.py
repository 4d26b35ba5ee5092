"""A whole Weft for tests, in a root directory of its own, with a check that it leaves nothing behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from instances import Instance

from weft.testing import leftovers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests make namespaces, mounts and links: without root they cannot run, and must not pass silently."""
    if items and os.geteuid() != 0:
        pytest.exit("tests/system need root", returncode=3)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A Weft of the module's own, up; taken down at the end, and then nothing of it may be left."""
    root = Path(tempfile.mkdtemp(prefix="wt", dir="/tmp")).resolve()
    before = leftovers.snapshot(root / "run/weft")
    weft = Instance(root)
    try:
        weft.up()
        yield weft
    finally:
        name = weft.settings.instance
        weft.down()
        after = leftovers.snapshot(root / "run/weft")
        shutil.rmtree(root)
    left = leftovers.new(before, after, only=(str(root), name))
    assert not left, "left behind:\n" + "\n".join(left)
