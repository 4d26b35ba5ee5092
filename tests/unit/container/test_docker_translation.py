"""Docker's JSON to the engine's values and back, and its framing."""

from typing import Any

import pytest

from weft.container.spec import Container, ContainerSpec, Mount, RestartPolicy, State
from weft.core.errors import InvalidError, NotFoundError, UnsupportedError, WeftError
from weft.core.sandbox import PortBinding, Sandbox
from weft.dockerapi import shapes, version
from weft.dockerapi.requests import labels_match, point_in_time, rfc3339_nano
from weft.dockerapi.stdcopy import frame
from weft.dockerapi.translate import container_spec


def test_a_full_request() -> None:
    spec = container_spec(
        "web",
        {
            "Image": "nginx",
            "Cmd": "serve",
            "Env": ["A=b"],
            "Volumes": {"/anon": {}, "/data": {}},
            "HostConfig": {
                "Binds": ["/h:/c:ro", "vol:/data:rshared"],
                "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 9}}],
                "Tmpfs": {"/u": "size=2m,ro"},
                "PortBindings": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": None},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
                "NanoCpus": 500_000_000,
                "SecurityOpt": ["seccomp=unconfined", "no-new-privileges"],
                "NetworkMode": "default",
            },
        },
    )
    assert spec.command == ("serve",)
    assert spec.mounts == (
        Mount("/c", "/h", "bind", True),
        Mount("/data", "vol", "volume", False, "rshared"),
        Mount("/t", "", "tmpfs", size=9),
        Mount("/u", "", "tmpfs", True, size=2 << 20),
        Mount("/anon", "", "volume"),
    )
    assert spec.ports == (PortBinding(80, "tcp", "", 8080), PortBinding(53, "udp"))
    assert spec.restart == RestartPolicy("on-failure", 2)
    assert (spec.resources.cpu_quota, spec.resources.cpu_period) == (50_000, 100_000)
    assert (spec.seccomp, spec.no_new_privileges, spec.network) == ("unconfined", True, "bridge")


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ({"Binds": ["nocolon"]}, InvalidError),
        ({"Mounts": [{"Type": "bind", "Source": "rel", "Target": "/x"}]}, InvalidError),
        ({"Mounts": [{"Type": "npipe", "Target": "/x"}]}, UnsupportedError),
        ({"PortBindings": {"http/tcp": []}}, InvalidError),
        ({"PortBindings": {"80/sctp": []}}, UnsupportedError),
        ({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, InvalidError),
        ({"RestartPolicy": {"Name": "sometimes"}}, InvalidError),
        ({"NetworkMode": "mesh"}, NotFoundError),
        ({"Memory": 1000}, InvalidError),
        ({"Memory": 64 << 20, "MemorySwap": 1 << 20}, InvalidError),
        ({"Ulimits": [{"Name": "nofile"}]}, InvalidError),
        ({"Links": ["a:b"]}, UnsupportedError),
        ({"SecurityOpt": ["magic=on"]}, InvalidError),
        ([], InvalidError),
        (7, InvalidError),
    ],
)
def test_bad_requests(host: Any, kind: type[WeftError]) -> None:
    if host == []:
        with pytest.raises(kind):
            container_spec("", {"Image": "", "HostConfig": host})
        return
    with pytest.raises(kind):
        container_spec("", {"Image": "i", "HostConfig": host})


def test_frame() -> None:
    assert frame("stdout", b"hi") == b"\x01\0\0\0\0\0\0\x02hi"
    assert frame("stderr", b"") == b"\x02\0\0\0\0\0\0\0"


def test_shapes() -> None:
    spec = ContainerSpec("i", command=("sh", "-c", "x y"), ports=(PortBinding(80),))
    made = Container("f" * 64, "n", spec, "sha256:0", 100.0, State.RUNNING, pid=5, started_at=100.0, log_path="/l/log")
    sandbox = Sandbox("s", "/netns", "10.0.0.2", 16, "10.0.0.1", "02:", (PortBinding(80, "tcp", "", 8080),))
    row = shapes.summary(made, None, sandbox, None, 190.0)  # type: ignore[arg-type]  # it has no mounts
    assert row["Command"] == 'sh -c "x y"'
    assert row["Ports"] == [{"PrivatePort": 80, "Type": "tcp", "IP": "0.0.0.0", "PublicPort": 8080}]
    assert row["Status"] == "Up About a minute"
    shown = shapes.inspect(made, None, sandbox, None, "crun")  # type: ignore[arg-type]
    assert shown["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "10.0.0.2"
    assert shown["State"]["Running"] is True
    assert shown["HostnamePath"] == "/l/hostname"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (600, "10 minutes"),
        (3700, "About an hour"),
        (7300, "2 hours"),
        (200_000, "2 days"),
        (2_000_000, "3 weeks"),
        (10_000_000, "3 months"),
        (100_000_000, "3 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert shapes.human_duration(seconds) == text


def test_times_and_labels_and_versions() -> None:
    assert rfc3339_nano(0) == "0001-01-01T00:00:00Z"
    assert rfc3339_nano(1.5) == "1970-01-01T00:00:01.500000000Z"
    assert point_in_time("1.5") == point_in_time("1970-01-01T00:00:01.5Z") == 1.5
    with pytest.raises(InvalidError):
        point_in_time("yesterday")
    assert labels_match(frozenset(("a", "b=c")), {"a": "1", "b": "c"})
    assert not labels_match(frozenset(("b=d",)), {"b": "c"})
    version.check("1.24")
    version.check("1.47")
    for text in ("1.23", "1.48", "2.0", "x"):
        with pytest.raises(InvalidError):
            version.check(text)
