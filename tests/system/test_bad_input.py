"""Bad input through the front doors: the protocol's own error, and nothing half made."""

import json
from pathlib import Path

import pytest
from instances import Instance

GOOD_POD = """
apiVersion: v1
kind: Pod
metadata: {name: pod}
spec: {containers: [{name: main, image: busybox}]}
"""


@pytest.mark.parametrize(
    ("manifest", "error"),
    [
        (GOOD_POD.replace("name: main", "nam: main"), 'unknown field "spec.containers[0].nam"'),
        (GOOD_POD.replace("{name: pod}", "{name: Pod_X}"), "metadata.name"),
        (GOOD_POD.replace("image: busybox", "image: [a]"), "image"),
        (GOOD_POD.replace("kind: Pod", "kind: Pid"), 'no matches for kind "Pid"'),
        ("apiVersion: v1\nkind: Pod\nmetadata: [", "yaml"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {matchLabels: {a: b}}, "
            "template: {metadata: {labels: {a: c}}, spec: {containers: [{name: m, image: i}]}}}",
            "spec.template.metadata.labels",
        ),
    ],
)
def test_a_manifest_that_does_not_fit(instance: Instance, manifest: str, error: str) -> None:
    done = instance.kubectl("apply", "-f", "-", stdin=manifest, check=False)
    assert done.returncode == 1
    assert error in done.stderr
    assert instance.kubectl("get", "pods,deployments", "-o", "name").stdout == ""


def test_an_image_that_does_not_exist(instance: Instance) -> None:
    done = instance.docker("run", f"{instance.registry}/nothing:v1", check=False)
    assert done.returncode == 125
    assert "nothing:v1" in done.stderr
    assert instance.docker("ps", "-aq").stdout == ""
    instance.kubectl("run", "lost", f"--image={instance.registry}/nothing:v1")
    instance.kubectl(
        "wait", "pod/lost", "--timeout=30s",
        "--for=jsonpath={.status.containerStatuses[0].state.waiting.message}",
        check=False,
    )  # fmt: skip
    pod = json.loads(instance.kubectl("get", "pod", "lost", "-o", "json").stdout)
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff")
    instance.kubectl("delete", "pod", "lost")


def test_a_published_port_that_is_taken(instance: Instance) -> None:
    instance.weft("image", "bootstrap", "busybox")
    port = str(instance.settings.api_port)
    done = instance.docker("run", "--name", "late", "-p", f"{port}:80", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "port is already allocated" in done.stderr or "address already in use" in done.stderr
    instance.docker("rm", "late")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", "", 404),
        ("POST", "/v1.47/containers/create", "{", 400),
        ("POST", "/v1.47/containers/create", '{"Image": "no/such:image"}', 404),
        ("GET", "/v1.47/containers/nobody/json", "", 404),
        ("POST", "/v1.47/images/no-such/tag?repo=x", "", 404),
        ("POST", "/v1.47/containers/create", '{"Image": "UPPER CASE"}', 400),
    ],
)
def test_docker_api_answers_errors_with_a_message(
    instance: Instance, method: str, path: str, body: str, status: int
) -> None:
    socket = str(instance.settings.paths.docker_socket)
    done = instance.run(
        "curl", "-s", "--unix-socket", socket, "-X", method, "-H", "Content-Type: application/json",
        "-w", "\n%{http_code}", "-d", body, f"http://localhost{path}",
    )  # fmt: skip
    text, code = done.stdout.rsplit("\n", 1)
    assert int(code) == status, done.stdout
    assert json.loads(text)["message"]


def test_a_lab_file_with_a_link_to_nowhere(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    ring = (Path(__file__).parent.parent.parent / "examples/labs/ring.yaml").read_text()
    file.write_text(ring.replace("r2]", "r99]", 1))
    assert "r99" in file.read_text()
    done = instance.weft("lab", "up", str(file), check=False)
    assert done.returncode == 1
    assert "r99" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    applied = instance.kubectl("apply", "-f", str(file), check=False)
    assert applied.returncode == 1
    assert "r99" in applied.stderr
    assert instance.kubectl("get", "topologies,routers,links", "-A", "-o", "name").stdout == ""
