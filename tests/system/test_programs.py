"""The programs under examples/, as a user runs them, and the demo from its first line to its last."""

import subprocess
import sys
from pathlib import Path

import pytest
from instances import Instance

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def image(instance: Instance) -> str:
    """A busybox in Weft's own registry, to be pulled from there."""
    instance.weft("image", "bootstrap", "busybox")
    name = f"{instance.registry}/busybox:latest"
    instance.docker("tag", "busybox", name)
    instance.docker("push", name)
    instance.docker("rmi", name)
    return name


def test_docker_py_pulls_and_runs_detached_and_in_the_foreground(instance: Instance, image: str) -> None:
    output = instance.run(sys.executable, str(EXAMPLES / "docker_run.py"), image).stdout
    assert "answers on port" in output
    assert "foreground: hello from the foreground" in output
    assert instance.docker("ps", "-aq").stdout == ""


def test_the_kubernetes_client_deploys_into_a_namespace_of_its_own(instance: Instance, image: str) -> None:
    output = instance.run(sys.executable, str(EXAMPLES / "deployment.py"), image).stdout
    assert output.count("is Running and answers on http://") == 2
    instance.kubectl("wait", "--for=delete", "namespace/deployment-example", "--timeout=60s")


@pytest.mark.parametrize("program", ["route_table.py", "scheduler.py"])
def test_a_pure_program_runs(program: str) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_demo_runs_from_first_to_last(instance: Instance) -> None:
    output = instance.run(sys.executable, str(EXAMPLES / "demo.py"), "--root", str(instance.root), timeout=540).stdout
    for part in ("read from", "version v2", "version v1", "Stop it:", "the demo took"):
        assert part in output, output
    assert output.count(" 0% packet loss") == 2, output
    again = instance.run(sys.executable, str(EXAMPLES / "demo.py"), "--root", str(instance.root), timeout=540).stdout
    assert "the demo took" in again
