"""docker-py, and the protocol's edges by hand."""

import http.client
import json
import socket
import time
from typing import Any

import docker
import pytest

EngineProcess = Any
# docker-py leaves the sockets of its streams to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(engine: EngineProcess) -> Any:
    client = docker.DockerClient(base_url=f"unix://{engine.socket}")
    yield client
    client.close()


def request(engine: EngineProcess, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("docker")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(engine.socket))
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, json.loads(data) if data else None


def test_run_and_exec(client: Any) -> None:
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    with pytest.raises(docker.errors.ContainerError) as failure:
        client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 2"], remove=True)
    assert failure.value.exit_status == 2
    container = client.containers.run("busybox", ["sleep", "1000"], detach=True, name="py")
    try:
        code, output = container.exec_run(["sh", "-c", "echo in; exit 5"])
        assert (code, output) == (5, b"in\n")
        code, output = container.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
        assert output == (b"o\n", b"e\n")
        container.reload()
        assert container.status == "running"
        assert container.attrs["NetworkSettings"]["IPAddress"]
        assert container.stats(stream=False)["pids_stats"]["current"] == 1
    finally:
        container.remove(force=True)
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("py")


def test_attach_stream_and_wait(client: Any) -> None:
    container = client.containers.create("busybox", ["sh", "-c", "echo one; sleep 0.1; echo two; exit 3"])
    stream = container.attach(stream=True)
    container.start()
    assert b"".join(stream) == b"one\ntwo\n"
    assert container.wait()["StatusCode"] == 3
    assert container.logs(tail=1) == b"two\n"
    container.remove()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/containers/create", b"{", 400, "invalid JSON"),
        ("POST", "/containers/create", b"[]", 400, "must be an object"),
        ("POST", "/containers/create", b'{"Image": "nosuch"}', 404, "No such image: nosuch"),
        ("POST", "/containers/create", b'{"Image": "busybox", "HostConfig": {"Binds": ["x"]}}', 400, "invalid volume"),
        ("POST", "/containers/create", b'{"Image": "busybox", "HostConfig": 7}', 400, "invalid container"),
        ("POST", "/containers/create", b'{"Image": "busybox", "Cmd": 7}', 400, "invalid container"),
        ("POST", "/containers/create", b'{"Image":"busybox","HostConfig":{"CapAdd":["X"]}}', 400, "capability"),
        ("POST", "/containers/create", b'{"Image":"busybox","HostConfig":{"NetworkMode":"n"}}', 404, "network n not"),
        ("POST", "/containers/nosuch/start", b"", 404, "No such container: nosuch"),
        ("GET", "/containers/json?filters=%7B", b"", 400, "invalid filter"),
        ("GET", "/containers/json?filters=%7B%22x%22:%5B%5D%7D", b"", 400, "invalid filter 'x'"),
        ("GET", "/containers/json?limit=many", b"", 400, "limit"),
        ("POST", "/exec/nosuch/start", b"{}", 404, "No such exec instance"),
        ("GET", "/volumes/nosuch", b"", 404, "no such volume"),
        ("GET", "/volumes/..%2F..", b"", 400, "invalid characters"),
        ("GET", "/nosuch", b"", 404, "page not found"),
        ("GET", "/v9.99/info", b"", 400, "too new"),
        ("GET", "/v1.2/info", b"", 400, "too old"),
    ],
)
def test_errors_are_dockers(
    engine: EngineProcess, method: str, path: str, body: bytes, status: int, message: str
) -> None:
    found, answer = request(engine, method, path, body)
    assert found == status, answer
    assert message in answer["message"]
    assert request(engine, "GET", "/v1.47/containers/json?all=1") == (200, [])


def test_plain_hijack_without_upgrade(client: Any, engine: EngineProcess) -> None:
    """Older clients do not ask for an upgrade: 200, then raw bytes both ways with a half-close."""
    container = client.containers.create("busybox", ["cat"], stdin_open=True, tty=False)
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(10)
    peer.connect(str(engine.socket))
    path = f"/v1.40/containers/{container.id}/attach?stream=1&stdin=1&stdout=1&stderr=1"
    peer.sendall(f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n".encode())
    head = peer.recv(4096)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    container.start()
    peer.sendall(b"raw bytes")
    framed = b""
    while len(framed) < 17:
        framed += peer.recv(4096)
    assert framed == b"\x01\0\0\0\0\0\0\x09raw bytes"
    container.kill()
    assert peer.recv(4096) == b""
    peer.close()
    container.remove(force=True)


def test_a_client_that_goes_away_leaves_the_container(client: Any, engine: EngineProcess) -> None:
    container = client.containers.create("busybox", ["sh", "-c", "while :; do echo x; sleep 0.01; done"])
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(engine.socket))
    path = f"/containers/{container.id}/attach?stream=1&stdout=1"
    peer.sendall(f"POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
    assert peer.recv(4096).startswith(b"HTTP/1.1 101 ")
    container.start()
    peer.recv(10)
    peer.close()
    time.sleep(0.1)
    container.reload()
    assert container.status == "running"
    container.remove(force=True)
