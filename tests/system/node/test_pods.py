"""Pods as kubectl's user meets them: real containers, a real API server, real controllers."""

import json
import time
from typing import Any

import pytest
from node_helpers import pod, request, serve  # type: ignore[import-not-found]


@pytest.fixture(autouse=True)
def _clean(cluster: Any) -> Any:
    yield
    cluster.remove_pods()
    cluster.kubectl("delete", "configmap,secret,deployment", "--all", "--timeout=20s")


def test_a_pod_is_soon_ready_and_reports_as_kubernetes_does(cluster: Any) -> None:
    cluster.apply(pod("warm", "sleep", "1000"))
    cluster.wait_ready("warm")
    began = time.monotonic()
    cluster.apply(pod("hello", "sh", "-c", "echo hello from $HOSTNAME; cat /etc/resolv.conf /etc/hosts; sleep 1000"))
    cluster.wait_ready("hello")
    assert time.monotonic() - began < 4, "two runs of kubectl and one pod"
    found = cluster.get("pod", "hello")
    status = found["status"]
    assert (status["phase"], status["qosClass"]) == ("Running", "BestEffort")
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert conditions == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    container = status["containerStatuses"][0]
    assert container["ready"]
    assert container["started"]
    assert container["restartCount"] == 0
    assert container["containerID"].startswith("weft://")
    assert container["imageID"].startswith("sha256:")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIPs"] == [{"ip": status["hostIP"]}]
    logs = cluster.kubectl("logs", "hello").stdout
    assert logs.startswith("hello from hello\n")
    assert "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5" in logs
    assert f"{status['podIP']}\thello" in logs
    stamped = cluster.kubectl("logs", "hello", "--timestamps", "--tail=1").stdout
    assert stamped.split(" ", 1)[0].endswith("Z")
    events = cluster.kubectl("get", "events", "--field-selector=involvedObject.name=hello", "-o", "json").stdout
    assert {each["reason"] for each in json.loads(events)["items"]} >= {"Scheduled", "Pulled", "Created", "Started"}


def test_exec_carries_streams_and_the_exit_code(cluster: Any) -> None:
    cluster.apply(pod("shell", "sleep", "1000"))
    cluster.wait_ready("shell")
    done = cluster.kubectl("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.returncode) == ("out\n", 7)
    assert done.stderr.startswith("err\n")
    assert "exit code 7" in done.stderr
    big = "x" * 300_000
    assert cluster.kubectl("exec", "-i", "shell", "--", "cat", stdin=big).stdout == big
    missing = cluster.kubectl("exec", "shell", "--", "no-such-program", check=False)
    assert missing.returncode != 0
    assert "no-such-program" in missing.stderr


def test_a_crashing_container_backs_off_and_keeps_its_last_log(cluster: Any) -> None:
    cluster.apply(pod("crash", "sh", "-c", "echo attempt; echo gone > /dev/termination-log; exit 3"))

    def looping() -> Any:
        found = cluster.status("crash")
        return found.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff" and found

    found = cluster.until(looping, "CrashLoopBackOff")
    assert found["restartCount"] == 1
    last = found["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (3, "Error", "gone\n")
    assert "back-off 10s restarting failed container=main" in found["state"]["waiting"]["message"]
    assert cluster.kubectl("logs", "crash", "--previous").stdout == "attempt\n"
    assert "CrashLoopBackOff" in cluster.kubectl("get", "pod", "crash").stdout


@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("Never", 0, "Succeeded"), ("OnFailure", 0, "Succeeded"), ("Never", 4, "Failed")]
)
def test_a_pod_that_ends_stays_ended(cluster: Any, policy: str, code: int, phase: str) -> None:
    cluster.apply(pod("once", "sh", "-c", f"echo done; exit {code}", restartPolicy=policy))
    cluster.kubectl("wait", f"--for=jsonpath={{.status.phase}}={phase}", "pod/once", "--timeout=20s")
    terminated = cluster.status("once")["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (code, "Completed" if code == 0 else "Error")
    assert cluster.kubectl("logs", "once").stdout == "done\n"


def test_init_containers_run_in_order_before_the_others(cluster: Any) -> None:
    mount = [{"name": "scratch", "mountPath": "/scratch"}]
    init = [
        {"name": name, "image": "busybox:1", "volumeMounts": mount, "command": ["sh", "-c", command]}
        for name, command in (("one", "echo 1 > /scratch/log"), ("two", "cat /scratch/log; echo 2 >> /scratch/log"))
    ]
    cluster.apply(
        pod(
            "ordered", "sh", "-c", "cat /scratch/log; sleep 1000",
            volumeMounts=mount, initContainers=init, volumes=[{"name": "scratch", "emptyDir": {}}],
        )
    )  # fmt: skip
    cluster.wait_ready("ordered")
    assert cluster.kubectl("logs", "ordered", "-c", "main").stdout == "1\n2\n"
    assert cluster.kubectl("logs", "ordered", "-c", "two").stdout == "1\n"
    statuses = cluster.get("pod", "ordered")["status"]["initContainerStatuses"]
    assert [each["state"]["terminated"]["reason"] for each in statuses] == ["Completed", "Completed"]


def test_configuration_reaches_variables_and_files_and_follows_changes(cluster: Any) -> None:
    cluster.kubectl("create", "configmap", "settings", "--from-literal=colour=red", "--from-literal=size=7")
    cluster.kubectl("create", "secret", "generic", "password", "--from-literal=word=hush")
    reference = {"name": "settings", "key": "colour"}
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    cluster.apply(
        pod(
            "configured", "sh", "-c", "echo $COLOUR $P_size $WHO $KUBERNETES_SERVICE_PORT $MEMORY; sleep 1000",
            env=[
                {"name": "COLOUR", "valueFrom": {"configMapKeyRef": reference}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "WHO", "value": "$(NAME)-$$(NAME)-$(NOBODY)"},
                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            ],
            envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}],
            resources={"limits": {"memory": "64Mi", "cpu": "500m"}},
            volumeMounts=[
                {"name": "files", "mountPath": "/files"},
                {"name": "files", "mountPath": "/one", "subPath": "size"},
                {"name": "secret", "mountPath": "/secret"},
                {"name": "me", "mountPath": "/me"},
            ],
            volumes=[
                {"name": "files", "configMap": {"name": "settings"}},
                {"name": "secret", "secret": {"secretName": "password", "defaultMode": 0o400}},
                {"name": "me", "downwardAPI": {"items": [labels]}},
            ],
        )
    )  # fmt: skip
    cluster.wait_ready("configured")
    assert cluster.kubectl("logs", "configured").stdout == "red 7 configured-$(NAME)-$(NOBODY) 443 64\n"
    shown = cluster.kubectl(
        "exec",
        "configured",
        "--",
        "sh",
        "-c",
        "cat /files/colour /one /secret/word /me/labels; stat -c %a /secret/..data/word; "
        "mount | grep -c ' /secret type tmpfs'",
    ).stdout
    assert shown == 'red7hushapp="configured"400\n1\n'
    cluster.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"colour":"blue"}}')
    cluster.until(
        lambda: cluster.kubectl("exec", "configured", "--", "cat", "/files/colour").stdout == "blue", "the new file", 10
    )


def test_a_missing_configmap_is_named_and_waited_for(cluster: Any) -> None:
    source = [{"configMapRef": {"name": "later"}}]
    cluster.apply(pod("patient", "sh", "-c", "echo $word; sleep 1000", envFrom=source))

    def waiting() -> Any:
        return (
            cluster.status("patient").get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"
        )

    cluster.until(waiting, "CreateContainerConfigError")
    assert cluster.status("patient")["state"]["waiting"]["message"] == 'configmap "later" not found'
    cluster.kubectl("create", "configmap", "later", "--from-literal=word=here")
    cluster.wait_ready("patient")
    assert cluster.kubectl("logs", "patient").stdout == "here\n"


def test_an_image_that_cannot_be_had_backs_off(cluster: Any) -> None:
    cluster.apply(pod("imageless", "true", image="localhost:1/none:v1"))
    reasons = set()

    def backed_off() -> bool:
        reasons.add(cluster.status("imageless").get("state", {}).get("waiting", {}).get("reason"))
        return "ImagePullBackOff" in reasons

    cluster.until(backed_off, "ImagePullBackOff")
    never = pod("never", "true", image="localhost:1/none:v1", imagePullPolicy="Never")
    cluster.apply(never)
    cluster.until(
        lambda: cluster.status("never").get("state", {}).get("waiting", {}).get("reason") == "ErrImageNeverPull",
        "never",
    )
    text = cluster.kubectl("logs", "imageless", check=False).stderr
    assert 'container "main" in pod "imageless" is waiting to start: trying and failing to pull image' in text


def test_probes_decide_readiness_and_restarts(cluster: Any) -> None:
    ready = {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1}
    alive = {"exec": {"command": ["test", "!", "-e", "/tmp/dead"]}, "periodSeconds": 1, "failureThreshold": 2}
    web = {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1}
    cluster.apply(
        pod("probed", "sleep", "1000", readinessProbe=ready, livenessProbe=alive),
        pod(
            "web", "sh", "-c", "mkdir /www; echo hi > /www/index.html; sleep 0.3; exec httpd -f -p 80 -h /www",
            readinessProbe=web, startupProbe={"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 20},
            ports=[{"name": "web", "containerPort": 80}],
        ),
    )  # fmt: skip
    cluster.wait_ready("web")
    cluster.until(lambda: "running" in cluster.status("probed").get("state", {}), "running")
    assert not cluster.status("probed")["ready"]
    cluster.kubectl("exec", "probed", "--", "touch", "/tmp/ready")
    cluster.wait_ready("probed")
    cluster.kubectl("exec", "probed", "--", "rm", "/tmp/ready")
    cluster.until(lambda: not cluster.status("probed")["ready"], "unready")
    cluster.kubectl("exec", "probed", "--", "touch", "/tmp/dead")
    cluster.until(lambda: cluster.status("probed")["restartCount"] == 1, "restart by the liveness probe")
    events = cluster.kubectl("get", "events", "--field-selector=involvedObject.name=probed").stdout
    assert "Unhealthy" in events
    assert "failed liveness probe, will be restarted" in events


def test_what_takes_more_memory_than_its_limit_is_killed(cluster: Any) -> None:
    hungry = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}"
    cluster.apply(pod("hungry", "sh", "-c", hungry, restartPolicy="Never", resources={"limits": {"memory": "16Mi"}}))
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/hungry", "--timeout=20s")
    terminated = cluster.status("hungry")["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


def test_containers_of_a_pod_share_its_network(cluster: Any) -> None:
    both = pod("pair", "sh", "-c", serve("found", 7000))
    ask = f"until {request('127.0.0.1', 7000)} | grep found; do sleep 0.1; done; sleep 1000"
    both["spec"]["containers"].append({"name": "other", "image": "busybox:1", "command": ["sh", "-c", ask]})
    cluster.apply(both)
    logs = ("logs", "pair", "-c", "other")
    cluster.until(lambda: "found" in cluster.kubectl(*logs, check=False).stdout, "the word")


def test_a_service_is_found_by_name_and_answers(cluster: Any) -> None:
    probe = {"tcpSocket": {"port": 8080}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    server = pod("server", "sh", "-c", serve("served", 8080), readinessProbe=probe)
    cluster.apply(service, server, pod("client", "sleep", "1000"))
    cluster.wait_ready("server", "client")
    address = cluster.get("service", "shop")["spec"]["clusterIP"]
    # Programs of a static busybox cannot use the C library's resolver: nslookup brings its own.
    found = cluster.kubectl("exec", "client", "--", "nslookup", "shop.default.svc.cluster.local")
    assert address in found.stdout
    ask = ("exec", "client", "--", "sh", "-c", request(address, 80))
    cluster.until(lambda: "served" in cluster.kubectl(*ask, check=False).stdout, "an answer", 10)
    cluster.kubectl("delete", "service", "shop")


def test_deleting_gives_time_and_takes_everything_away(cluster: Any) -> None:
    trap = "trap 'echo bye; sleep 0.5; exit 0' TERM; echo up; while true; do sleep 0.1; done"
    cluster.apply(pod("polite", "sh", "-c", trap, terminationGracePeriodSeconds=20))
    cluster.wait_ready("polite")
    uid = cluster.get("pod", "polite")["metadata"]["uid"]
    began = time.monotonic()
    cluster.kubectl("delete", "pod", "polite")
    assert 0.4 < time.monotonic() - began < 5
    assert not (cluster.settings.paths.lib / "pods" / uid).exists()
    assert not (cluster.settings.paths.run / "sandboxes" / f"{uid}.json").exists()
    cluster.apply(
        pod("stubborn", "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done", terminationGracePeriodSeconds=60)
    )
    cluster.wait_ready("stubborn")
    cluster.kubectl("delete", "pod", "stubborn", "--wait=false")
    cluster.kubectl("delete", "pod", "stubborn", "--force", "--grace-period=0")
    cluster.until(lambda: not cluster.containers(), "the container's end", 6)
