"""kubectl create in all its forms, run, expose and apply, by the real kubectl."""

from pathlib import Path

import pytest
from verbs import Kubectl

from weft.testing.cluster import Cluster

pytest_plugins = ["weft.testing.pytest_plugin"]

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME, labels: {set: a}}\ndata: {k: VALUE}\n"


def config_map(name: str, value: str = "v") -> str:
    return CONFIG_MAP.replace("NAME", name).replace("VALUE", value)


@pytest.fixture
def kubectl(weft_shared_cluster: Cluster, weft_namespace: str) -> Kubectl:
    return Kubectl(weft_shared_cluster, weft_namespace)


@pytest.mark.parametrize(
    ("arguments", "what", "path", "wanted"),
    [
        ("configmap x --from-literal=a=b", "cm/x", ".data.a", "b"),
        ("cronjob x --image=i --schedule=*/5_*_*_*_*", "cj/x", ".spec.schedule", "*/5 * * * *"),
        ("deployment x --image=i --replicas=3 --port=80", "deploy/x", ".spec.replicas", "3"),
        ("ingress x --rule=a.b/c=s:80 --class=k", "ing/x", ".spec.rules[0].http.paths[0].backend.service.name", "s"),
        ("job x --image=i -- echo", "job/x", ".spec.template.spec.containers[0].command[0]", "echo"),
        ("poddisruptionbudget x --selector=a=b --min-available=1", "pdb/x", ".spec.minAvailable", "1"),
        ("quota x --hard=pods=5", "quota/x", ".spec.hard.pods", "5"),
        ("secret generic x --from-literal=a=b", "secret/x", ".data.a", "Yg=="),
        ("secret docker-registry x --docker-username=u --docker-password=p", "secret/x", ".type",
         "kubernetes.io/dockerconfigjson"),
        ("service clusterip x --tcp=80:8080", "svc/x", ".spec.ports[0].targetPort", "8080"),
        ("service clusterip x --clusterip=None", "svc/x", ".spec.clusterIP", "None"),
        ("service nodeport x --tcp=80", "svc/x", ".spec.type", "NodePort"),
        ("service loadbalancer x --tcp=80", "svc/x", ".spec.type", "LoadBalancer"),
        ("service externalname x --external-name=a.b", "svc/x", ".spec.externalName", "a.b"),
        ("serviceaccount x", "sa/x", ".metadata.name", "x"),
    ],
)  # fmt: skip
def test_create(kubectl: Kubectl, arguments: str, what: str, path: str, wanted: str) -> None:
    words = [word.replace("_", " ") for word in arguments.split()]
    assert kubectl("create", *words).endswith("/x created\n")
    assert kubectl.path(what, path) == wanted
    assert "already exists" in kubectl.fails("create", *words)


def test_create_what_has_no_namespace(kubectl: Kubectl) -> None:
    kubectl("create", "priorityclass", "verbs", "--value=7", "--description=d")
    assert kubectl.path("priorityclass/verbs", ".value") == "7"
    kubectl("delete", "priorityclass", "verbs")
    kubectl("create", "namespace", "verbs")
    assert kubectl.path("ns/verbs", ".status.phase") == "Active"
    kubectl("delete", "namespace", "verbs")
    assert "NotFound" in kubectl.fails("get", "ns", "verbs")


def test_create_from_files_and_jobs(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config_map("one") + "---\n" + config_map("two"))
    assert kubectl("create", "-f", str(tmp_path)) == "configmap/one created\nconfigmap/two created\n"
    kubectl("create", "cronjob", "c", "--image=i", "--schedule=0 0 1 1 *")
    kubectl("create", "job", "j", "--from=cronjob/c")
    assert kubectl.path("job/j", ".metadata.ownerReferences[0].name") == "c"
    bad = config_map("bad").replace("data:", "dato:")
    assert 'unknown field "dato"' in kubectl.fails("create", "-f", "-", stdin=bad)
    for mode, made in (("client", False), ("server", False), ("none", True)):
        kubectl("create", "-f", "-", f"--dry-run={mode}", stdin=config_map("dry"))
        assert (kubectl.run("get", "cm", "dry", check=False).returncode == 0) == made


def test_create_tls(kubectl: Kubectl) -> None:
    authority = kubectl.cluster.certificate_authority
    kubectl(
        "create", "secret", "tls", "t", f"--cert={authority.parent}/admin.crt", f"--key={authority.parent}/admin.key"
    )
    assert kubectl.path("secret/t", ".type") == "kubernetes.io/tls"


def test_run_and_expose(kubectl: Kubectl) -> None:
    kubectl("run", "p", "--image=i", "--labels=app=p", "--port=80", "--env=A=b", "--expose")
    assert kubectl.path("svc/p", ".spec.selector.app") == "p"
    kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=10s")
    kubectl("expose", "pod", "p", "--port=90", "--target-port=80", "--name=q", "--type=NodePort")
    assert kubectl.path("svc/q", ".spec.ports[0].targetPort") == "80"
    assert kubectl("run", "r", "--image=i", "--dry-run=server", "-o", "name") == "pod/r\n"
    assert "NotFound" in kubectl.fails("get", "pod", "r")


def test_apply_on_the_client(kubectl: Kubectl) -> None:
    both = config_map("one") + "---\n" + config_map("two")
    assert kubectl("apply", "-f", "-", stdin=both) == "configmap/one created\nconfigmap/two created\n"
    assert kubectl("apply", "-f", "-", stdin=config_map("one")) == "configmap/one unchanged\n"
    assert kubectl("apply", "-f", "-", stdin=config_map("one", "w")) == "configmap/one configured\n"
    gone = config_map("one", "w").replace("k: w", "l: w")
    kubectl("apply", "-f", "-", stdin=gone)
    assert kubectl.get("cm", "one")["data"] == {"l": "w"}
    pruned = kubectl("apply", "--prune", "-l", "set=a", "-f", "-", stdin=gone)
    assert "configmap/two pruned" in pruned
    assert kubectl("get", "cm", "-l", "set=a", "-o", "name") == "configmap/one\n"
    assert '"l":"w"' in kubectl("apply", "view-last-applied", "cm/one", "-o", "json").replace(" ", "").replace("\n", "")
    kubectl("apply", "set-last-applied", "-f", "-", stdin=config_map("one", "w"))
    edit = {"KUBE_EDITOR": "sed -i s/k:.w/k:\\ edited/"}
    kubectl("apply", "edit-last-applied", "cm/one", env=edit)
    assert "edited" in kubectl("apply", "view-last-applied", "cm/one")


def test_apply_on_the_server(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", "--field-manager=a", stdin=config_map("one"))
    refused = kubectl.fails("apply", "--server-side", "-f", "-", "--field-manager=b", stdin=config_map("one", "w"))
    assert 'conflict with "a": .data.k' in refused
    force = ("apply", "--server-side", "--force-conflicts", "-f", "-", "--field-manager=b")
    assert kubectl(*force, stdin=config_map("one", "w")) == "configmap/one serverside-applied\n"
    managers = {each["manager"]: each for each in _managed(kubectl, "one")}
    assert "f:data" not in managers["a"]["fieldsV1"] or "f:k" not in managers["a"]["fieldsV1"]["f:data"]
    assert managers["b"]["operation"] == "Apply"
    assert managers["b"]["fieldsV1"]["f:data"] == {"f:k": {}}
    # What a client-side apply wrote is taken over without a conflict.
    kubectl("apply", "-f", "-", stdin=config_map("two"))
    kubectl("apply", "--server-side", "-f", "-", stdin=config_map("two", "w"))
    assert kubectl.get("cm", "two")["data"] == {"k": "w"}
    # And the other way: what is said to have been applied last has kept up.
    kubectl("apply", "-f", "-", stdin=config_map("two", "w").replace("k: w", "l: w"))
    assert kubectl.get("cm", "two")["data"] == {"l": "w"}


def _managed(kubectl: Kubectl, name: str) -> list[dict[str, object]]:
    import json

    shown = kubectl("get", "cm", name, "--show-managed-fields", "-o", "json")
    found: list[dict[str, object]] = json.loads(shown)["metadata"]["managedFields"]
    return found


def test_kustomize(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]\nnamePrefix: x-\n")
    (tmp_path / "a.yaml").write_text(config_map("one"))
    assert "name: x-one" in kubectl("kustomize", str(tmp_path))
    assert kubectl("apply", "-k", str(tmp_path)) == "configmap/x-one created\n"
    assert kubectl("delete", "-k", str(tmp_path)) == 'configmap "x-one" deleted\n'


def test_diff(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=config_map("one"))
    assert kubectl("diff", "-f", "-", stdin=config_map("one")) == ""
    changed = kubectl.run("diff", "-f", "-", stdin=config_map("one", "w"), check=False)
    assert changed.returncode == 1
    assert "-  k: v\n+  k: w\n" in changed.stdout
    assert kubectl.path("cm/one", ".data.k") == "v"


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (config_map("Bad_Name"), 'ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name"'),
        ("apiVersion: v1\nkind: Nothing\nmetadata: {name: x}\n", 'no matches for kind "Nothing" in version "v1"'),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n", "spec.containers: Required value"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 0}]}\n", "spec.ports[0].port"),
    ],
)
def test_what_is_refused(kubectl: Kubectl, manifest: str, text: str) -> None:
    assert text in kubectl.fails("apply", "-f", "-", stdin=manifest)
