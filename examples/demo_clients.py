"""The demo's steps on containers and deployments, twice: by the docker and kubectl commands, and by the libraries."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., str]


def say(text: str) -> None:
    print(f"  {text}", flush=True)


class DockerCli:
    """Steps by the docker command."""

    def __init__(self, run: Run) -> None:
        self.run = run
        os.environ["DOCKER_BUILDKIT"] = "0"  # the classic builder, without asking

    def build(self, folder: Path, tag: str, arguments: dict[str, str]) -> None:
        options = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        shown = " ".join(["docker", "build", "-q", "-t", tag, *options, f"examples/guestbook/{folder.name}"])
        self.run("docker", "build", "-q", "-t", tag, *options, str(folder), show=shown)

    def push(self, tag: str) -> None:
        self.run("docker", "push", "-q", tag)

    def kill_one(self, prefix: str) -> None:
        names = subprocess.run(
            ["docker", "ps", "--format", "{{.Names}}", "--filter", f"name={prefix}"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        self.run("docker", "kill", names[0])


class DockerPy:
    """The same by docker-py."""

    package = "docker-py"

    def __init__(self) -> None:
        import docker

        self.client = docker.from_env()

    def build(self, folder: Path, tag: str, arguments: dict[str, str]) -> None:
        image, _ = self.client.images.build(path=str(folder), tag=tag, buildargs=arguments)
        say(f"built {tag} {image.short_id}")

    def push(self, tag: str) -> None:
        for line in self.client.images.push(tag, stream=True, decode=True):
            if "error" in line:
                sys.exit(f"demo: cannot push {tag}: {line['error']}")
        say(f"pushed {tag}")

    def kill_one(self, prefix: str) -> None:
        container = self.client.containers.list(filters={"name": prefix})[0]
        container.kill()
        say(f"killed {container.name}")


class Kubectl:
    """Steps by the kubectl command."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def apply(self, file: str) -> None:
        self.run("kubectl", "apply", "-f", file, show="kubectl apply -f examples/guestbook/guestbook.yaml")

    def rollout_status(self, name: str) -> None:
        self.run("kubectl", "rollout", "status", f"deployment/{name}", "--timeout=180s")

    def scale(self, name: str, replicas: int) -> None:
        self.run("kubectl", "scale", f"deployment/{name}", f"--replicas={replicas}")

    def set_image(self, name: str, container: str, image: str) -> None:
        self.run("kubectl", "set", "image", f"deployment/{name}", f"{container}={image}")

    def undo(self, name: str) -> None:
        self.run("kubectl", "rollout", "undo", f"deployment/{name}")

    def get_pods(self) -> None:
        self.run("kubectl", "get", "pods", "-o", "wide")

    def _json(self, *arguments: str) -> Any:
        done = subprocess.run(["kubectl", "get", *arguments, "-o", "json"], capture_output=True, check=True)
        return json.loads(done.stdout)

    def ready(self, name: str) -> int:
        return int(self._json("deployment", name)["status"].get("readyReplicas", 0))

    def restarts(self, app: str) -> int:
        pods = self._json("pods", "-l", f"app={app}")["items"]
        return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", []))


class KubernetesPy:
    """The same by the kubernetes client."""

    package = "the kubernetes client"
    namespace = "default"

    def __init__(self) -> None:
        from kubernetes import client, config

        config.load_kube_config(os.environ["KUBECONFIG"])
        self.api = client.ApiClient()
        self.apps, self.core = client.AppsV1Api(), client.CoreV1Api()
        self.before: dict[str, Any] = {}

    def apply(self, file: str) -> None:
        from kubernetes import utils

        for created in utils.create_from_yaml(self.api, file, apply=True, force_conflicts=True):
            say(f"created {created[0].kind} {created[0].metadata.name}")

    def rollout_status(self, name: str) -> None:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            found = self.apps.read_namespaced_deployment(name, self.namespace)
            want, status = found.spec.replicas, found.status
            current = (status.observed_generation or 0) >= found.metadata.generation
            if current and status.updated_replicas == status.available_replicas == status.replicas == want:
                say(f"deployment {name} is rolled out: {want} ready")
                return
            time.sleep(0.2)
        sys.exit(f"demo: deployment {name} was not rolled out in 180 s")

    def _patch(self, name: str, spec: dict[str, Any]) -> None:
        self.apps.patch_namespaced_deployment(name, self.namespace, {"spec": spec})

    def scale(self, name: str, replicas: int) -> None:
        self._patch(name, {"replicas": replicas})

    def set_image(self, name: str, container: str, image: str) -> None:
        found = self.apps.read_namespaced_deployment(name, self.namespace)
        self.before[name] = self.api.sanitize_for_serialization(found.spec.template)
        self._patch(name, {"template": {"spec": {"containers": [{"name": container, "image": image}]}}})

    def undo(self, name: str) -> None:
        self._patch(name, {"template": self.before[name]})

    def get_pods(self) -> None:
        for pod in self.core.list_namespaced_pod(self.namespace).items:
            say(f"{pod.metadata.name}  {pod.status.phase}  {pod.status.pod_ip}")

    def ready(self, name: str) -> int:
        return self.apps.read_namespaced_deployment(name, self.namespace).status.ready_replicas or 0

    def restarts(self, app: str) -> int:
        pods = self.core.list_namespaced_pod(self.namespace, label_selector=f"app={app}").items
        return sum(each.restart_count for pod in pods for each in pod.status.container_statuses or [])
