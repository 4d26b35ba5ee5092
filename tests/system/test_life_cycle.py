"""Up, kill -9, up again, down: what runs stays, what is acknowledged stays, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from instances import WEFT, Instance

POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleeper}
spec:
  replicas: 2
  selector: {matchLabels: {app: sleeper}}
  template:
    metadata: {labels: {app: sleeper}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "10000"]}
"""


def eventually(probe: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def pids(instance: Instance) -> dict[str, int]:
    """Names and init processes of all running containers."""
    names = instance.docker("ps", "--format", "{{.Names}}").stdout.split()
    return {name: int(instance.docker("inspect", "-f", "{{.State.Pid}}", name).stdout) for name in names}


def state(instance: Instance) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((instance.root / "run/weft/weft.json").read_text())
    return answer


def test_status_tells_that_all_answers(instance: Instance) -> None:
    output = instance.weft("status").stdout
    assert output.count("ready") == 3
    assert "NOT READY" not in output


def test_up_when_up_says_so(instance: Instance) -> None:
    assert "weft is up already" in instance.weft("up", "--detach").stdout


def test_containers_and_pods_survive_the_death_of_both_processes(instance: Instance) -> None:
    instance.weft("image", "bootstrap", "busybox")
    instance.docker("run", "-d", "--name", "survivor", "busybox", "sleep", "10000")
    instance.kubectl("apply", "-f", "-", stdin=POD)
    instance.kubectl("rollout", "status", "deployment/sleeper", "--timeout=60s")
    before = pids(instance)
    assert len(before) == 3

    first = state(instance)
    os.kill(first["server"], signal.SIGKILL)
    os.kill(first["node"], signal.SIGKILL)
    eventually(lambda: state(instance)["server"] != first["server"] and state(instance)["node"] != first["node"])
    eventually(lambda: instance.weft("status", check=False).returncode == 0)
    assert pids(instance) == before

    # The supervisor too: then all of Weft is gone, and the containers run on.
    second = state(instance)
    for part in ("supervisor", "server", "node"):
        os.kill(second[part], signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{second['supervisor']}").exists())
    assert all(Path(f"/proc/{pid}").exists() for pid in before.values())
    instance.up()
    assert pids(instance) == before
    time.sleep(2)  # the agent has had its say by now, and must not have replaced anything
    assert pids(instance) == before
    restarts = instance.kubectl(
        "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    ).stdout.split()
    assert restarts == ["0", "0"]
    assert instance.docker("exec", "survivor", "echo", "still here").stdout == "still here\n"


def test_down_and_up_again_brings_pods_back_and_keeps_images(instance: Instance) -> None:
    instance.down()
    assert not (instance.root / "run/weft").exists()
    instance.up()
    assert "busybox" in instance.docker("images").stdout
    instance.kubectl("rollout", "status", "deployment/sleeper", "--timeout=60s")
    assert len([name for name in eventually(lambda: pids(instance)) if name.startswith("k8s_main_")]) == 2
    assert instance.docker("inspect", "-f", "{{.State.Status}}", "survivor").stdout.strip() == "exited"


def test_a_taken_port_is_told_in_one_line(instance: Instance, tmp_path: Path) -> None:
    port = str(instance.settings.api_port)
    command = [*WEFT, "--root", str(tmp_path), "up", "--detach", "--api-port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run/weft").exists()


def test_without_root_the_error_is_one_line() -> None:
    code = "import os; from weft.cli.main import main; os.setuid(65534); main(['--root', '/tmp/nowhere', 'up'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "weft: cannot start Weft: it needs root, for namespaces, mounts and links"
