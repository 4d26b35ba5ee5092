"""`weft lab simulate` as a user meets it: a file in, a table or JSON out."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.cli.lab_commands import lab

FILE = """
apiVersion: net.weft.dev/v1
kind: Topology
metadata: {name: square}
spec:
  routing: {protocol: ospf, ospf: {helloInterval: 1, deadInterval: 4}}
  routers: [{name: a}, {name: b}, {name: c}, {name: d}]
  links: [{endpoints: [a, b]}, {endpoints: [b, c]}, {endpoints: [c, d]}, {endpoints: [d, a]}]
  schedule:
  - {at: 5s, action: cut, link: a-b}
"""


@pytest.fixture
def square(tmp_path: Path) -> str:
    file = tmp_path / "square.yaml"
    file.write_text(FILE)
    return str(file)


def test_a_schedule_as_a_table(square: str) -> None:
    done = CliRunner().invoke(lab, ["simulate", square])
    assert done.exit_code == 0, done.output
    assert "lab square: up after" in done.output
    assert "5 s  cut a-b" in done.output
    assert "at the end 12 of 12 flows arrive that can" in done.output


def test_json_says_the_same_each_time(square: str) -> None:
    first, second = (CliRunner().invoke(lab, ["simulate", square, "--seed", "3", "-o", "json"]).output for _ in "12")
    assert first == second
    assert json.loads(first)["effects"][0]["event"] == "cut a-b"


def test_an_end_before_routes_are_found_again_is_told(square: str) -> None:
    done = CliRunner().invoke(lab, ["simulate", square, "--seconds", "5.001"])
    assert done.exit_code == 1
    assert "does not arrive: " in done.output


def test_policies_of_the_file_count(square: str) -> None:
    policy = FILE.replace("routers: [{name: a}", "routers: [{name: a, ospf: {redistribute: [{policy: quiet}]}}")
    done = CliRunner().invoke(lab, ["simulate", square])
    assert done.exit_code == 0
    Path(square).write_text(policy)
    assert "quiet" in str(CliRunner().invoke(lab, ["simulate", square]).exception)
    Path(square).write_text(
        policy + "---\napiVersion: net.weft.dev/v1\nkind: RoutingPolicy\nmetadata: {name: quiet}\n"
        "spec: {statements: [{action: deny}]}\n"
    )
    assert CliRunner().invoke(lab, ["simulate", square]).exit_code == 0


def test_bad_input_is_told_with_its_place(square: str) -> None:
    Path(square).write_text(FILE.replace("link: a-b", "link: a-z"))
    done = CliRunner().invoke(lab, ["simulate", square])
    assert "spec.schedule[0].link" in str(done.exception)
