"""docs/conformance.md is what its tool writes, and every test that it names is there."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools/conformance.py"


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
