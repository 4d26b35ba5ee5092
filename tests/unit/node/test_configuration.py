"""Variables and files of containers: what refers to what, what is missing, what changes at once."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from weft.api.gvr import CONFIGMAPS, SECRETS
from weft.node.environment import environment, expand, service_variables
from weft.node.fields import ConfigError, Facts
from weft.node.images import credentials_for, default_policy
from weft.node.pods import specs
from weft.node.references import Reference, references_of
from weft.node.volumes import atomic_writer, config_map, downward_api, projected, secret
from weft.node.volumes.manager import Volumes
from weft.node.volumes.payload import File, Source, VolumeError

FACTS = Facts("192.0.2.1", "10.9.0.2", {"cpu": "2", "memory": "1Gi"})
OBJECTS = {
    Reference(CONFIGMAPS, "default", "settings"): {"kind": "ConfigMap", "data": {"colour": "red", "size": "7"}},
    Reference(SECRETS, "default", "password"): {
        "kind": "Secret",
        "data": {"word": base64.b64encode(b"hush").decode()},
    },
}


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "default", "uid": "u-1", "labels": {"app": "web", "a": 'b"c'}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", **(container or {})}], **spec}}


def variables(container: dict[str, Any], services: Any = ()) -> dict[str, str]:
    whole = pod(container)
    return environment(whole, whole["spec"]["containers"][0], FACTS, OBJECTS.get, services)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("a$", "a$"), ("$(A", "$(A"), ("$A", "$A"),
        ("$$$(A)", "$1"), ("$()", "$()"), ("x$(A)y$(A)", "x1y1"),
    ],
)  # fmt: skip
def test_expansion(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


def test_variables_from_everywhere() -> None:
    found = variables(
        {
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "password"}}],
            "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MILLI", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "password", "key": "word"}}},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": True}}},
                {"name": "P_size", "value": "$(P_size)$(IP)"},
            ],
            "resources": {"requests": {"cpu": "250m"}},
        }
    )
    assert found == {
        "P_colour": "red", "P_size": "710.9.0.2", "word": "hush", "IP": "10.9.0.2", "APP": "web", "CPU": "2",
        "MILLI": "250", "KEY": "hush",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "x"}}]}, 'configmap "x" not found'),
        ({"envFrom": [{"secretRef": {"name": "x"}}]}, 'secret "x" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}}]},
            "couldn't find key k in ConfigMap default/settings",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "password", "key": "k"}}}]},
            "couldn't find key k in Secret default/password",
        ),
    ],
)
def test_missing_references_are_named_as_kubernetes_names_them(container: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        variables(container)
    assert str(error.value) == message


def test_services_become_link_variables() -> None:
    port = {"name": "http-alt", "port": 80, "protocol": "TCP"}
    own = {"metadata": {"name": "my-shop", "namespace": "default"}, "spec": {"clusterIP": "10.1.0.9", "ports": [port]}}
    other = {"metadata": {"name": "far", "namespace": "other"}, "spec": {"clusterIP": "10.1.0.8", "ports": [port]}}
    headless = {"metadata": {"name": "none", "namespace": "default"}, "spec": {"clusterIP": "None", "ports": [port]}}
    api = {
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.1.0.1", "ports": [port]},
    }
    found = service_variables(pod(), [own, other, headless])
    assert found == {
        "MY_SHOP_SERVICE_HOST": "10.1.0.9", "MY_SHOP_SERVICE_PORT": "80", "MY_SHOP_SERVICE_PORT_HTTP_ALT": "80",
        "MY_SHOP_PORT": "tcp://10.1.0.9:80", "MY_SHOP_PORT_80_TCP": "tcp://10.1.0.9:80",
        "MY_SHOP_PORT_80_TCP_PROTO": "tcp", "MY_SHOP_PORT_80_TCP_PORT": "80", "MY_SHOP_PORT_80_TCP_ADDR": "10.1.0.9",
    }  # fmt: skip
    assert set(service_variables(pod(enableServiceLinks=False), [own, api])) >= {"KUBERNETES_SERVICE_HOST"}
    assert "MY_SHOP_PORT" not in service_variables(pod(enableServiceLinks=False), [own, api])


def source(whole: dict[str, Any]) -> Source:
    return Source(whole, FACTS, OBJECTS.get)


def test_payloads() -> None:
    some = source(pod({"resources": {"limits": {"cpu": "1"}}}))
    assert config_map.payload({"name": "settings"}, some, 0o644)["colour"] == File(b"red", 0o644)
    picked = {"name": "settings", "items": [{"key": "size", "path": "deep/er", "mode": 0o600}]}
    assert config_map.payload(picked, some, 0o644) == {"deep/er": File(b"7", 0o600)}
    assert secret.payload({"secretName": "password"}, some, 0o400) == {"word": File(b"hush", 0o400)}
    labels = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    assert downward_api.payload(labels, some, 0o644)["labels"].data == b'a="b\\"c"\napp="web"'
    limit = {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}}
    together = {"sources": [{"configMap": {"name": "settings"}}, {"downwardAPI": {"items": [limit]}}]}
    assert set(projected.payload(together, some, 0o644)) == {"colour", "size", "cpu"}
    for path in ("/etc/passwd", "../up", "a/../../b", "..data", ""):
        with pytest.raises(VolumeError):
            config_map.payload({"name": "settings", "items": [{"key": "size", "path": path}]}, some, 0o644)
    with pytest.raises(VolumeError, match="references non-existent config key: k"):
        config_map.payload({"name": "settings", "items": [{"key": "k", "path": "k"}]}, some, 0o644)
    with pytest.raises(VolumeError, match='configmap "none" not found'):
        config_map.payload({"name": "none"}, some, 0o644)
    assert config_map.payload({"name": "none", "optional": True}, some, 0o644) == {}
    token = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
    with pytest.raises(VolumeError, match="serviceAccountToken is not supported"):
        projected.payload(token, some, 0o644)


def test_files_change_all_at_once(tmp_path: Path) -> None:
    assert atomic_writer.write(tmp_path, {"a": File(b"1", 0o640), "dir/b": File(b"2", 0o644)})
    assert (tmp_path / "a").read_bytes() == b"1"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "dir/b").read_bytes() == b"2"
    before = os.readlink(tmp_path / "..data")
    assert not atomic_writer.write(tmp_path, {"a": File(b"1", 0o640), "dir/b": File(b"2", 0o644)})
    assert os.readlink(tmp_path / "..data") == before, "nothing changed, nothing is written"
    assert atomic_writer.write(tmp_path, {"a": File(b"3", 0o640), "c": File(b"4", 0o644)})
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("..")) == ["a", "c"]
    assert (tmp_path / "a").read_bytes() == b"3"
    assert len([entry for entry in tmp_path.iterdir() if entry.name.startswith("..")]) == 2, "the old ones are gone"


def test_volumes_on_disk(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path / "pods")
    whole = pod(
        volumes=[
            {"name": "scratch", "emptyDir": {}},
            {"name": "files", "configMap": {"name": "settings"}},
            {"name": "host", "hostPath": {"path": str(tmp_path / "made"), "type": "DirectoryOrCreate"}},
        ]
    )
    volumes.mount(source(whole))
    assert volumes.path(whole, "host") == tmp_path / "made"
    assert (volumes.path(whole, "files") / "colour").read_text() == "red"
    (volumes.path(whole, "scratch") / "kept").write_text("x")
    volumes.mount(source(whole))
    assert (volumes.path(whole, "scratch") / "kept").exists(), "again without harm"
    for volume, message in (
        ({"hostPath": {"path": str(tmp_path / "none"), "type": "File"}}, "hostPath type check failed"),
        ({"configMap": {"name": "none"}}, 'MountVolume.SetUp failed for volume "v" : configmap "none" not found'),
        ({"nfs": {"server": "x"}}, "volumes of type nfs are not supported"),
    ):
        with pytest.raises(VolumeError, match=message):
            volumes.mount(source(pod(volumes=[{"name": "v", **volume}])))
    volumes.remove("u-1", everything=True)
    assert volumes.uids() == []
    assert (tmp_path / "made").exists(), "a path of the host is not ours to remove"


def test_references_are_found_wherever_they_stand() -> None:
    whole = pod(
        {
            "envFrom": [{"secretRef": {"name": "s1"}}],
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c1"}}}],
        },
        volumes=[
            {"name": "a", "secret": {"secretName": "s2"}},
            {"name": "b", "projected": {"sources": [{"secret": {"name": "s3"}}, {"configMap": {"name": "c2"}}]}},
        ],
        imagePullSecrets=[{"name": "s4"}],
    )
    assert sorted(each.name for each in references_of(whole)) == ["c1", "c2", "s1", "s2", "s3", "s4"]


def test_pull_policy_and_credentials() -> None:
    images = {
        "a": "Always",
        "a:latest": "Always",
        "a:1": "IfNotPresent",
        "h:5000/a": "Always",
        "a@sha256:0": "IfNotPresent",
    }
    assert {name: default_policy(name) for name in images} == images
    auth = base64.b64encode(b"me:secret").decode()
    config = f'{{"auths": {{"https://h:5000/v2/": {{"auth": "{auth}"}}}}}}'.encode()
    found = credentials_for("h:5000/a:1", [{".dockerconfigjson": b"rubbish"}, {".dockerconfigjson": config}])
    assert found is not None
    assert (found.username, found.password) == ("me", "secret")
    assert credentials_for("busybox", [{".dockerconfigjson": config}]) is None


def around(**more: Any) -> specs.Surroundings:
    values: dict[str, Any] = {
        "image": "a", "image_user": "", "attempt": 2, "failures": 1, "env": {"A": "1"}, "mounts": (),
        "netns_path": "/run/ns", "hostname": "web", "nameserver": "10.9.0.1", "cluster_domain": "cluster.local",
        "machine_memory": 2**30,
    }  # fmt: skip
    return specs.Surroundings(**(values | more))


def test_container_specs() -> None:
    whole = pod(
        {
            "command": ["run", "$(A)"], "args": ["$$(A)"],
            "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}},
            "securityContext": {"runAsUser": 7, "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False},
        },
        securityContext={"runAsUser": 5, "runAsGroup": 6, "fsGroup": 9},
    )  # fmt: skip
    whole["status"] = {"qosClass": "Burstable"}
    spec = specs.container_spec(whole, whole["spec"]["containers"][0], around())
    assert (spec.entrypoint, spec.command) == (("run", "1"), ("$(A)",))
    assert (spec.user, spec.groups, spec.cap_drop, spec.no_new_privileges) == ("7:6", (9,), ("ALL",), True)
    assert (spec.network, spec.hostname) == ("netns:/run/ns", "web")
    assert (spec.resources.cpu_quota, spec.resources.cpu_shares) == (50_000, 102)
    assert (spec.resources.memory, spec.resources.memory_swap, spec.resources.oom_score_adj) == (2**26, 2**26, 969)
    assert spec.name == "k8s_main_web_default_u-1_2"
    assert spec.dns_search == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    whole["spec"]["securityContext"] = {"runAsNonRoot": True}
    whole["spec"]["containers"][0].pop("securityContext")
    for user, message in (("", "image will run as root"), ("bob", "non-numeric user")):
        with pytest.raises(ConfigError, match=message):
            specs.container_spec(whole, whole["spec"]["containers"][0], around(image_user=user))


def test_dns_policies() -> None:
    host = around(host_resolver=(("192.0.2.53",), ("lan",), ("edns0",)))
    assert specs.dns(pod(dnsPolicy="Default"), host) == (("192.0.2.53",), ("lan",), ("edns0",))
    assert specs.dns(pod(hostNetwork=True), host)[0] == ("192.0.2.53",)
    config = {"nameservers": ["1.1.1.1"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}]}
    assert specs.dns(pod(dnsPolicy="None", dnsConfig=config), host) == (("1.1.1.1",), ("x",), ("ndots:2",))
    assert specs.dns(pod(dnsConfig=config), host)[2] == ("ndots:2",)
