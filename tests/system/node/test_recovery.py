"""The node dies, the API dies, containers die: what runs goes on, what is missing comes back, nothing comes twice."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from node_helpers import pod  # type: ignore[import-not-found]


@pytest.fixture(autouse=True)
def _clean(cluster: Any) -> Any:
    yield
    for part in ("server", "node"):
        if part not in cluster.processes:
            cluster.start(part)
    cluster.remove_pods()


def pid_of(cluster: Any, container_id: str) -> int:
    bundle = cluster.settings.paths.run / "containers" / container_id.removeprefix("weft://")
    return int((bundle / "pid").read_text())


def test_a_killed_container_is_replaced_within_about_a_second(cluster: Any) -> None:
    cluster.apply(pod("victim", "sleep", "1000"))
    cluster.wait_ready("victim")
    before = cluster.status("victim")
    began = time.monotonic()
    os.kill(pid_of(cluster, before["containerID"]), signal.SIGKILL)
    cluster.until(
        lambda: cluster.status("victim")["restartCount"] == 1 and cluster.status("victim")["ready"], "replaced"
    )
    assert time.monotonic() - began < 2.5
    after = cluster.status("victim")
    assert after["lastState"]["terminated"]["exitCode"] == 137
    assert after["lastState"]["terminated"]["containerID"] == before["containerID"]


def test_a_killed_node_finds_its_containers_again(cluster: Any) -> None:
    ready = {"exec": {"command": ["true"]}}
    cluster.apply(pod("steady", "sleep", "1000", readinessProbe=ready), pod("doomed", "sleep", "1000"))
    cluster.wait_ready("steady", "doomed")
    steady, doomed = cluster.status("steady"), cluster.status("doomed")
    pid = pid_of(cluster, steady["containerID"])
    transition = [each for each in cluster.get("pod", "steady")["status"]["conditions"] if each["type"] == "Ready"]
    cluster.end("node", signal.SIGKILL)
    os.kill(pid_of(cluster, doomed["containerID"]), signal.SIGKILL)
    cluster.kubectl("delete", "pod", "doomed", "--wait=false")
    cluster.start("node")
    cluster.kubectl("wait", "--for=delete", "pod/doomed", "--timeout=15s")
    now = cluster.status("steady")
    assert (now["containerID"], now["restartCount"], now["ready"]) == (steady["containerID"], 0, True)
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    assert len(cluster.containers()) == 1
    conditions = cluster.get("pod", "steady")["status"]["conditions"]
    assert [each for each in conditions if each["type"] == "Ready"] == transition, "it was ready all the time"
    assert cluster.kubectl("exec", "steady", "--", "echo", "still here").stdout == "still here\n"


def test_pods_deleted_while_the_node_was_away_are_cleared_away(cluster: Any) -> None:
    cluster.apply(pod("orphan", "sleep", "1000"))
    cluster.wait_ready("orphan")
    uid = cluster.get("pod", "orphan")["metadata"]["uid"]
    cluster.end("node", signal.SIGKILL)
    cluster.kubectl("delete", "pod", "orphan", "--force", "--grace-period=0")
    cluster.start("node")
    cluster.until(lambda: not cluster.containers(), "the orphan's end")
    cluster.until(lambda: not (cluster.settings.paths.lib / "pods" / uid).exists(), "its files")
    cluster.until(lambda: not (cluster.settings.paths.run / "sandboxes" / f"{uid}.json").exists(), "its sandbox")


def test_containers_run_on_while_the_api_is_away(cluster: Any) -> None:
    cluster.apply(pod("alone", "sleep", "1000"))
    cluster.wait_ready("alone")
    before = cluster.status("alone")
    cluster.end("server", signal.SIGKILL)
    os.kill(pid_of(cluster, before["containerID"]), signal.SIGKILL)
    cluster.until(lambda: any(each.name not in before["containerID"] for each in cluster.containers()), "a new one")
    cluster.start("server")
    cluster.until(lambda: cluster.status("alone")["restartCount"] == 1, "the status after the outage")
    assert cluster.status("alone")["ready"]
