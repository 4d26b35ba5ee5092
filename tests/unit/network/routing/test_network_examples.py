"""The two pure programs under examples/, run as a user runs them."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[4] / "examples"


def output(program: str) -> list[str]:
    done = subprocess.run([sys.executable, str(EXAMPLES / program)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_route_table() -> None:
    lines = output("route_table.py")
    assert lines[:3] == ["A by B", "C by D", "A by None"]
    assert "10.1.2.3 by 192.0.2.2" in lines
    assert "172.16.0.1 by None" in lines


def test_scheduler() -> None:
    lines = output("scheduler.py")
    assert lines[:4] == ["p1 by fast", "p2 by fast", "p3 by slow", "p4 by None"]
    assert lines[-1] == "1000 bytes by None"
