"""kubectl auth, and what users with roles may and may not do, by the real kubectl: with --as, and by certificate."""

import time
from pathlib import Path

import pytest
import yaml
from verbs import Kubectl

from weft.apiserver import certificates
from weft.apiserver.pki import Pki, Profile
from weft.testing.cluster import Cluster

pytest_plugins = ["weft.testing.pytest_plugin"]


@pytest.fixture
def kubectl(weft_shared_cluster: Cluster, weft_namespace: str) -> Kubectl:
    return Kubectl(weft_shared_cluster, weft_namespace)


def test_a_user_without_a_role_may_only_ask_what_he_may(kubectl: Kubectl) -> None:
    refused = kubectl.fails("get", "pods", "--as", "jane")
    assert (
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" '
        f'in the namespace "{kubectl.namespace}"' in refused
    )
    assert kubectl.run("auth", "can-i", "list", "pods", "--as", "jane", check=False).stdout == "no\n"
    assert "jane" in kubectl("auth", "whoami", "--as", "jane", "--as-group", "devs")
    assert "devs" in kubectl("auth", "whoami", "--as", "jane", "--as-group", "devs")
    assert "v1" in kubectl("api-versions", "--as", "jane")


def test_a_role_lets_its_subjects_and_only_in_its_namespace(kubectl: Kubectl) -> None:
    kubectl("create", "role", "reader", "--verb=get,list,watch", "--resource=pods,pods/log,deployments.apps")
    kubectl("create", "rolebinding", "readers", "--role=reader", "--user=jane", "--group=devs",
            f"--serviceaccount={kubectl.namespace}:robot")  # fmt: skip
    robot = f"system:serviceaccount:{kubectl.namespace}:robot"
    for who in (("--as", "jane"), ("--as", "joe", "--as-group", "devs"), ("--as", robot)):
        assert kubectl("auth", "can-i", "list", "pods", *who) == "yes\n"
        assert kubectl("auth", "can-i", "get", "deployments.apps", *who) == "yes\n"
        assert kubectl("get", "pods,deploy", *who) == ""
        assert kubectl.run("auth", "can-i", "delete", "pods", *who, check=False).stdout == "no\n"
        assert kubectl.run("auth", "can-i", "list", "pods", "-n", "default", *who, check=False).stdout == "no\n"
    listed = kubectl("auth", "can-i", "--list", "--as", "jane")
    assert "pods/log" in listed
    assert "selfsubjectreviews.authentication.k8s.io" in listed
    assert "Role/reader" in kubectl("get", "rolebinding", "readers")
    assert "jane" in kubectl("get", "rolebinding", "readers", "-o", "wide")
    kubectl("set", "subject", "rolebinding", "readers", "--user=kim")
    assert kubectl("auth", "can-i", "list", "pods", "--as", "kim") == "yes\n"
    kubectl("delete", "rolebinding", "readers")
    assert kubectl.run("auth", "can-i", "list", "pods", "--as", "jane", check=False).stdout == "no\n"


def test_the_roles_that_every_cluster_has(kubectl: Kubectl) -> None:
    kubectl("create", "rolebinding", "edits", "--clusterrole=edit", "--user=ed")
    kubectl("create", "rolebinding", "views", "--clusterrole=view", "--user=vi")
    kubectl("create", "configmap", "c", "--from-literal=a=b", "--as", "ed")
    assert "c" in kubectl("get", "configmap", "c", "--as", "vi")
    kubectl.fails("create", "configmap", "d", "--as", "vi")
    assert kubectl.run("auth", "can-i", "get", "secrets", "--as", "vi", check=False).stdout == "no\n"
    assert kubectl("auth", "can-i", "get", "secrets", "--as", "ed") == "yes\n"
    assert kubectl("auth", "can-i", "create", "pods/exec", "--as", "ed") == "yes\n"
    assert kubectl("auth", "can-i", "*", "*", "--as", "root", "--as-group", "system:masters") == "yes\n"
    assert "cluster-admin" in kubectl("get", "clusterroles")


def test_nobody_gives_away_what_he_has_not(kubectl: Kubectl) -> None:
    kubectl("create", "rolebinding", "adm", "--clusterrole=admin", "--user=ada")
    kubectl("create", "role", "pods", "--verb=get", "--resource=pods", "--as", "ada")
    kubectl("create", "rolebinding", "mine", "--role=pods", "--user=bob", "--as", "ada")
    refused = kubectl.fails("create", "role", "nodes", "--verb=get", "--resource=nodes", "--as", "ada")
    assert "is attempting to grant RBAC permissions not currently held" in refused
    refused = kubectl.fails("create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=ada", "--as", "ada")
    assert "is attempting to grant RBAC permissions not currently held" in refused
    kubectl.fails("create", "clusterrolebinding", "all", "--clusterrole=view", "--user=ada", "--as", "ada")


def test_who_may_not_impersonate_cannot(kubectl: Kubectl, tmp_path: Path) -> None:
    jane = as_user(kubectl.cluster, tmp_path, "jane", "devs")
    who = kubectl("auth", "whoami", "--kubeconfig", str(jane))
    assert "jane" in who
    assert "devs" in who
    refused = kubectl.fails("get", "pods", "--kubeconfig", str(jane), "--as", "root")
    assert 'users "root" is forbidden: User "jane" cannot impersonate resource "users"' in refused
    kubectl("create", "rolebinding", "devs", "--clusterrole=view", "--group=devs")
    assert kubectl("get", "pods", "--kubeconfig", str(jane)) == ""


def as_user(cluster: Cluster, directory: Path, name: str, group: str) -> Path:
    """A kubeconfig with a certificate of the cluster's CA."""
    own = yaml.safe_load(cluster.kubeconfig.read_text())
    pki = Pki(next(cluster.kubeconfig.parents[2].rglob("ca.key")).parent)
    certificates.issue(pki, [Profile(name, name, group)], time.time())
    user = own["users"][0]["user"]
    user.clear()
    user |= {"client-certificate": str(pki.certificate(name)), "client-key": str(pki.key(name))}
    file = directory / "kubeconfig"
    file.write_text(yaml.safe_dump(own))
    return file


def test_bad_roles_are_refused_with_the_field(kubectl: Kubectl) -> None:
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: x}\nrules: [{verbs: [get]}]\n"
    refused = kubectl.fails("apply", "-f", "-", stdin=role)
    assert "rules[0].apiGroups: Required value: resource rules must supply at least one api group" in refused
    kubectl("create", "role", "x", "--verb=get", "--resource=pods")
    kubectl("create", "rolebinding", "b", "--role=x", "--user=jane")
    changed = kubectl.fails("patch", "rolebinding", "b", "-p", '{"roleRef": {"name": "y"}}')
    assert "cannot change roleRef" in changed


def test_reconcile(kubectl: Kubectl) -> None:
    text = (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"
        f"metadata: {{name: r, namespace: {kubectl.namespace}}}\n"
        "rules: [{verbs: [get], apiGroups: [''], resources: [pods]}]\n"
    )
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", stdin=text)
    assert kubectl.path("role/r", ".rules[0].verbs[0]") == "get"
