"""Jobs and sets whose pods are real containers, on a whole Weft."""

import json
from typing import Any

from instances import Instance


def apply(instance: Instance, kind: str, name: str, spec: dict[str, Any]) -> None:
    version = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    instance.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def pod(command: str, restart: str) -> dict[str, Any]:
    container = {
        "name": "m",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", command],
    }
    return {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": [container]}


def test_jobs_and_sets_run_as_containers(instance: Instance) -> None:
    instance.weft("image", "bootstrap", "busybox")
    indexed = {"completionMode": "Indexed", "completions": 2, "parallelism": 2}
    template = {"spec": pod("echo index $JOB_COMPLETION_INDEX", "Never")}
    apply(instance, "Job", "parts", {**indexed, "template": template})
    exits = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    template = {"spec": pod("exit 42", "Never")}
    apply(instance, "Job", "sad", {"template": template, "podFailurePolicy": {"rules": [exits]}})
    apply(instance, "Job", "long", {"template": {"spec": pod("sleep 10000", "Never")}})
    for kind, name in (("StatefulSet", "db"), ("DaemonSet", "log")):
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": pod("trap exit TERM; while :; do sleep 1; done", "Always")}
        apply(instance, kind, name, {"selector": {"matchLabels": labels}, "template": template})
    instance.kubectl("wait", "job/parts", "--for=condition=complete", "--timeout=30s")
    instance.kubectl("wait", "job/sad", "--for=condition=failed", "--timeout=30s")
    said = instance.kubectl("logs", "-l", "job-name=parts", "--prefix=false").stdout
    assert sorted(said.splitlines()) == ["index 0", "index 1"]
    message = instance.kubectl("get", "job/sad", "-o=jsonpath={.status.conditions[*].message}").stdout
    assert "failed with exit code 42 matching FailJob rule at index 0" in message
    instance.kubectl("rollout", "status", "sts/db", "--timeout=30s")
    instance.kubectl("rollout", "status", "ds/log", "--timeout=30s")
    hostname = instance.kubectl("exec", "db-0", "--", "hostname").stdout
    assert hostname.strip() == "db-0"
    # A running Job that is deleted leaves no pod behind, though its pods have a finalizer.
    instance.kubectl("wait", "job/long", "--for=jsonpath={.status.ready}=1", "--timeout=30s")
    instance.kubectl("delete", "job/long", "--cascade=foreground", "--timeout=30s")
    assert instance.kubectl("get", "pods", "-l", "job-name=long", "-o=name").stdout == ""
    instance.kubectl("delete", "sts/db", "ds/log", "job/parts", "job/sad", "--cascade=foreground", "--timeout=30s")
    assert instance.kubectl("get", "pods", "-o=name").stdout == ""
