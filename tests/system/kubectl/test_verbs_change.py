"""kubectl's verbs that change or remove what is there, by the real kubectl."""

import re

import pytest
from verbs import Kubectl

from weft.testing.cluster import Cluster

pytest_plugins = ["weft.testing.pytest_plugin"]


@pytest.fixture
def kubectl(weft_shared_cluster: Cluster, weft_namespace: str) -> Kubectl:
    return Kubectl(weft_shared_cluster, weft_namespace)


@pytest.fixture
def web(kubectl: Kubectl) -> Kubectl:
    kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2")
    kubectl("rollout", "status", "deployment/web")
    return kubectl


def test_edit(web: Kubectl) -> None:
    web("edit", "deployment/web", env={"KUBE_EDITOR": "sed -i s/replicas:.2/replicas:\\ 1/"})
    assert web.path("deploy/web", ".spec.replicas") == "1"
    unchanged = web.run("edit", "deployment/web", env={"KUBE_EDITOR": "true"})
    assert "no changes made" in unchanged.stderr
    web("edit", "deployment/web", "--subresource=status", env={"KUBE_EDITOR": "true"})


@pytest.mark.parametrize(
    ("kind", "patch", "path", "wanted"),
    [
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"b"}]}]}}}}',
         ".spec.template.spec.containers[0]['image','env']", 'web:1 [{"name":"A","value":"b"}]'),
        ("merge", '{"metadata":{"labels":{"app":null,"x":"y"}}}', ".metadata.labels", '{"x":"y"}'),
        ("json", '[{"op":"replace","path":"/spec/replicas","value":1}]', ".spec.replicas", "1"),
    ],
)  # fmt: skip
def test_patch(web: Kubectl, kind: str, patch: str, path: str, wanted: str) -> None:
    assert web("patch", "deployment", "web", f"--type={kind}", "-p", patch) == "deployment.apps/web patched\n"
    assert web.path("deploy/web", path) == wanted
    assert (
        web("patch", "deployment", "web", f"--type={kind}", "-p", patch) == "deployment.apps/web patched (no change)\n"
    )


def test_patches_that_cannot_be(web: Kubectl) -> None:
    failed = web.fails("patch", "deploy/web", "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":9}]')
    assert "testing value /spec/replicas failed" in failed or "test failed" in failed
    assert "spec.replicas" in web.fails("patch", "deploy/web", "-p", '{"spec":{"replicas":-1}}')
    immutable = '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}'
    assert "field is immutable" in web.fails("patch", "deploy/web", "-p", immutable)
    web("patch", "deploy/web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}')
    assert web.path("deploy/web", ".spec.replicas") == "1"


def test_replace(kubectl: Kubectl) -> None:
    kubectl("create", "cm", "c", "--from-literal=a=b")
    shown = kubectl("get", "cm", "c", "-o", "yaml")
    assert kubectl("replace", "-f", "-", stdin=shown.replace("a: b", "a: c")) == "configmap/c replaced\n"
    stale = kubectl.fails("replace", "-f", "-", stdin=shown.replace("a: b", "a: d"))
    assert "the object has been modified; please apply your changes to the latest version" in stale
    before = kubectl.path("cm/c", ".metadata.uid")
    forced = kubectl("replace", "--force", "-f", "-", stdin=kubectl("get", "cm", "c", "-o", "yaml"))
    assert forced == 'configmap "c" deleted\nconfigmap/c replaced\n'
    assert kubectl.path("cm/c", ".metadata.uid") != before


def test_label_and_annotate(kubectl: Kubectl) -> None:
    kubectl("create", "cm", "c")
    for verb, field in (("label", ".metadata.labels"), ("annotate", ".metadata.annotations")):
        kubectl(verb, "cm", "c", "a=1", "b=2")
        assert kubectl.path("cm/c", field) == '{"a":"1","b":"2"}'
        assert "already has a value" in kubectl.fails(verb, "cm", "c", "a=3")
        kubectl(verb, "cm", "--all", "a=3", "b-", "--overwrite")
        assert kubectl.path("cm/c", f"{field}.a") == "3"
        assert kubectl.path("cm/c", f"{field}.b") == ""
    assert "a valid label must be" in kubectl.fails("label", "cm", "c", "a=b c", "--overwrite")


def test_scale(web: Kubectl) -> None:
    assert web("scale", "deployment/web", "--replicas=3", "--current-replicas=2") == "deployment.apps/web scaled\n"
    web("rollout", "status", "deployment/web")
    assert web("get", "pods", "-o", "name").count("pod/") == 3
    assert "Expected replicas to be 9, was 3" in web.fails(
        "scale", "deploy/web", "--replicas=2", "--current-replicas=9"
    )
    web("scale", "rs", "--all", "--replicas=3")


@pytest.mark.parametrize(
    ("arguments", "path", "wanted"),
    [
        ("image deployment/web web=web:2", ".spec.template.spec.containers[0].image", "web:2"),
        ("env deployment/web A=b", ".spec.template.spec.containers[0].env[0].value", "b"),
        ("resources deployment/web --limits=cpu=1 --requests=memory=1Mi",
         ".spec.template.spec.containers[0].resources", '{"limits":{"cpu":"1"},"requests":{"memory":"1Mi"}}'),
        ("serviceaccount deployment/web default", ".spec.template.spec.serviceAccountName", "default"),
    ],
)  # fmt: skip
def test_set(web: Kubectl, arguments: str, path: str, wanted: str) -> None:
    web("set", *arguments.split())
    assert web.path("deploy/web", path) == wanted
    assert "successfully rolled out" in web("rollout", "status", "deployment/web")


def test_set_selector(web: Kubectl) -> None:
    web("expose", "deployment", "web", "--port=80")
    web("set", "selector", "svc/web", "app=other")
    assert web.path("svc/web", ".spec.selector") == '{"app":"other"}'


def test_rollout(web: Kubectl) -> None:
    web("set", "image", "deployment/web", "web=web:2")
    web("annotate", "deployment/web", "kubernetes.io/change-cause=second", "--overwrite")
    web("rollout", "status", "deployment/web")
    assert re.search(r"1 +<none>\n2 +second", web("rollout", "history", "deployment/web"))
    assert "web:1" in web("rollout", "history", "deployment/web", "--revision=1")
    web("rollout", "undo", "deployment/web")
    web("rollout", "status", "deployment/web")
    assert web.path("deploy/web", ".spec.template.spec.containers[0].image") == "web:1"
    web("rollout", "pause", "deployment/web")
    assert "already paused" in web.fails("rollout", "pause", "deployment/web")
    assert "can't restart paused" in web.fails("rollout", "restart", "deployment/web")
    web("rollout", "resume", "deployment/web")
    web("rollout", "restart", "deployment/web")
    assert "successfully rolled out" in web("rollout", "status", "deployment/web")


def test_delete_with_each_cascade(web: Kubectl) -> None:
    replica_set = web("get", "rs", "-o", "name").strip()
    web("delete", "deployment", "web", "--cascade=orphan")
    assert web.path(replica_set, ".metadata.ownerReferences") == ""
    pods = web("get", "pods", "-o", "name").split()
    assert len(pods) == 2
    web("delete", replica_set, "--cascade=foreground")
    assert web("get", "pods", "-o", "name") == ""  # dependents went before it did
    web("create", "deployment", "web", "--image=i")
    web("rollout", "status", "deployment/web")
    web("delete", "deployment", "web", "--cascade=background")
    web("wait", "--for=delete", "pods", "-l", "app=web", "--timeout=10s")


def test_delete_of_pods_that_are_made_anew(web: Kubectl) -> None:
    stateful = """{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"db"},"spec":{"serviceName":"db",
    "replicas":3,"selector":{"matchLabels":{"app":"db"}},"template":{"metadata":{"labels":{"app":"db"}},
    "spec":{"containers":[{"name":"c","image":"i"}]}}}}"""
    web("apply", "-f", "-", stdin=stateful)
    for _ in range(3):
        web("rollout", "status", "statefulset/db")
        before = web.get("pods", "-l", "app=db")["items"]
        # kubectl waits until each is gone, or is another one of the same name.
        web("delete", "pod/db-0", "pod/db-1", "pod/db-2", timeout=20)
        web("rollout", "status", "statefulset/db")
        after = web.get("pods", "-l", "app=db")["items"]
        assert len(after) == 3
        assert not {each["metadata"]["uid"] for each in before} & {each["metadata"]["uid"] for each in after}


def test_delete_what_is_not_there(kubectl: Kubectl) -> None:
    assert "NotFound" in kubectl.fails("delete", "pod", "none")
    assert kubectl("delete", "pod", "none", "--ignore-not-found") == ""
    assert "No resources found" in kubectl("delete", "cm", "-l", "none=1")
    kubectl("create", "cm", "a")
    kubectl("create", "cm", "b")
    kubectl("delete", "cm", "a", "--dry-run=server")
    assert "configmap/a\nconfigmap/b\n" in kubectl("get", "cm", "-o", "name")
    kubectl("delete", "cm", "a", "b")
    assert "configmap/a" not in kubectl("get", "cm", "-o", "name")


def test_wait(web: Kubectl) -> None:
    assert (
        web("wait", "--for=condition=Available", "deployment/web", "--timeout=10s")
        == "deployment.apps/web condition met\n"
    )
    assert web("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=10s")
    assert web("wait", "--for=condition=Ready", "pods", "--all", "--timeout=10s").count("condition met") == 2
    web("wait", "--for=delete", "pod/none", "--timeout=10s")
    assert "timed out" in web.fails("wait", "--for=condition=Available=false", "deployment/web", "--timeout=0.2s")


def test_cordon_taint_and_drain(weft_cluster_factory: object) -> None:
    assert callable(weft_cluster_factory)
    cluster = weft_cluster_factory(nodes=("a", "b"))
    kubectl = Kubectl(cluster, "default")
    kubectl("create", "deployment", "web", "--image=i", "--replicas=4")
    kubectl("rollout", "status", "deployment/web")
    kubectl("cordon", "a")
    assert "SchedulingDisabled" in kubectl("get", "node", "a")
    kubectl("run", "bare", "--image=i", "--overrides", '{"spec":{"nodeName":"a"}}')
    assert "cannot delete Pods that declare no controller" in kubectl.fails("drain", "a", "--timeout=5s")
    assert "node/a drained" in kubectl("drain", "a", "--force", "--timeout=20s")
    kubectl("rollout", "status", "deployment/web")
    assert set(kubectl.path("pods", ".items[*].spec.nodeName").split()) == {"b"}
    kubectl("uncordon", "a")
    kubectl("taint", "node", "b", "k=v:NoExecute")
    assert kubectl.path("node/b", ".spec.taints[0].effect") == "NoExecute"
    assert "already has" in kubectl.fails("taint", "node", "b", "k=v:NoExecute")
    kubectl("taint", "node", "b", "k-")
    assert kubectl.path("node/b", ".spec.taints") == ""
