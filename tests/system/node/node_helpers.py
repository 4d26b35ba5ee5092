"""Pods for tests."""

from typing import Any

_OF_CONTAINER = {
    "env", "envFrom", "ports", "volumeMounts", "resources", "lifecycle", "livenessProbe", "readinessProbe",
    "startupProbe", "args", "image", "imagePullPolicy", "terminationMessagePolicy", "stdin", "tty",
}  # fmt: skip


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """A pod of one busybox container `main`; keywords of a container go there, the others to the pod."""
    container = {key: spec.pop(key) for key in list(spec) if key in _OF_CONTAINER}
    container = {"name": "main", "image": "busybox:1"} | container | ({"command": list(command)} if command else {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def serve(text: str, port: int) -> str:
    """A shell's command: a web server that always says `text`."""
    return f"mkdir /www; echo {text} > /www/index.html; exec httpd -f -p {port} -h /www"


def request(address: str, port: int) -> str:
    """A shell's command: one HTTP request, its answer on standard output."""
    return f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address} {port}"
