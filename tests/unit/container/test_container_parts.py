"""The engine's pure parts: seccomp, users, logs, names, restarts, records, events."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from weft.container import logs, restart
from weft.container.base import LogLine
from weft.container.events import EventBus
from weft.container.index import Index
from weft.container.records import Record, RecordFiles, decode
from weft.container.runtime import rootfs
from weft.container.runtime.seccomp import kernel_version, linux_seccomp
from weft.container.runtime.users import User, resolve
from weft.container.spec import Container, ContainerSpec, Mount, Resources, RestartPolicy, State
from weft.core.errors import ConflictError, InvalidError, NotFoundError
from weft.core.sandbox import PortBinding

PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\nbroken\n:::::\n"
GROUP = "root:x:0:\nbob:x:1001:\nweavers:x:2000:bob,root\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", User(0, 0, (2000,), "/root")),
        ("bob", User(1000, 1001, (2000,), "/home/bob")),
        ("1000", User(1000, 1001, (2000,), "/home/bob")),
        ("1000:5", User(1000, 5, (), "/home/bob")),
        ("bob:weavers", User(1000, 2000, (), "/home/bob")),
        ("4242", User(4242, 0, (), "/")),
        ("4242:4343", User(4242, 4343, (), "/")),
    ],
)
def test_users(text: str, wanted: User) -> None:
    assert resolve(text, PASSWD, GROUP) == wanted


@pytest.mark.parametrize("text", ["nobody", "bob:nogroup", "99999999999", "²"])
def test_unknown_users(text: str) -> None:
    with pytest.raises(InvalidError):
        resolve(text, PASSWD, GROUP)


PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.5"}},
    ],
}


@pytest.mark.parametrize(
    ("held", "machine", "kernel", "wanted"),
    [
        ((), "x86_64", (6, 1), ["read", "clone"]),
        (("CAP_SYS_ADMIN",), "x86_64", (6, 10), ["read", "mount", "new"]),
        ((), "aarch64", (5, 15), ["read", "clone", "arm"]),
    ],
)
def test_seccomp(held: tuple[str, ...], machine: str, kernel: tuple[int, int], wanted: list[str]) -> None:
    found = linux_seccomp(PROFILE, held, machine, kernel)
    assert [rule["names"][0] for rule in found["syscalls"]] == wanted
    assert found["defaultErrnoRet"] == 1
    assert ("SCMP_ARCH_X86" in found.get("architectures", [])) == (machine == "x86_64")


def test_seccomp_must_be_a_profile() -> None:
    with pytest.raises(InvalidError):
        linux_seccomp({}, (), "x86_64", (6, 1))
    assert kernel_version("6.1.0-13-amd64") == (6, 1)
    assert kernel_version("odd") == (0, 0)


def entry(second: int, stream: str, flag: str, text: str) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000000+00:00 {stream} {flag} {text}\n"


BASE = 1767225600.0


async def lines(path: Path, **selection: Any) -> list[bytes]:
    return [line.data async for line in logs.read(path, logs.Selection(**selection))]


async def test_logs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    text = entry(0, "stdout", "F", "a") + entry(1, "stderr", "F", "b") + "garbage\n" + entry(2, "stdout", "P", "c")
    path.write_text(text + entry(3, "stdout", "F", "d") + entry(4, "stdout", "F", ""))
    assert await lines(path) == [b"a\n", b"b\n", b"c", b"d\n", b"\n"]
    assert await lines(path, stdout=False) == [b"b\n"]
    assert await lines(path, tail=0) == []
    assert await lines(path, tail=2) == [b"c", b"d\n", b"\n"]
    assert await lines(path, tail=1, stdout=False) == [b"b\n"]
    assert await lines(path, tail=100) == [b"a\n", b"b\n", b"c", b"d\n", b"\n"]
    assert await lines(path, since=BASE + 3) == [b"d\n", b"\n"]
    assert await lines(path, until=BASE + 1) == [b"a\n", b"b\n"]
    assert await lines(tmp_path / "none") == []
    assert logs.parse_line(b"2026-01-01T00:00:00.5Z stderr F x") == LogLine("stderr", BASE + 0.5, b"x\n")


async def test_tail_over_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(entry(number % 60, "stdout", "F", str(number)) for number in range(5000)))
    for count in (1, 7, 1500, 4999, 5000, 6000):
        assert await lines(path, tail=count) == [f"{n}\n".encode() for n in range(max(0, 5000 - count), 5000)]


async def test_follow_ends_with_the_container(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(entry(0, "stdout", "F", "a"))
    end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    found = logs.read(path, logs.Selection(), end)
    assert (await anext(found)).data == b"a\n"
    waiting = asyncio.ensure_future(anext(found))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    with open(path, "a") as file:
        file.write(entry(1, "stdout", "F", "b"))
    assert (await asyncio.wait_for(waiting, 5)).data == b"b\n"
    with open(path, "a") as file:
        file.write(entry(2, "stdout", "F", "last"))
    end.set_result(0)
    assert [line.data async for line in found] == [b"last\n"]


def container(id: str, name: str) -> Container:
    spec = ContainerSpec(
        "image",
        name=name,
        command=("a", "b"),
        mounts=(Mount("/t", "v", "volume", True),),
        ports=(PortBinding(80, "udp", "1.2.3.4", 81),),
        resources=Resources(ulimits=(("nofile", 1, 2),), oom_score_adj=5),
        restart=RestartPolicy("on-failure", 3),
        labels={"a": "b"},
        devices=(("/dev/fuse", "", "rwm"),),
        docker={"HostConfig": {"X": [1, None]}},
    )
    return Container(id, name, spec, "sha256:0", 1.5, State.EXITED, exit_code=3)


def test_records_survive_and_half_made_ones_go(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path / "containers")
    made = Record(container("a" * 64, "one"), manually_stopped=True)
    files.save(made)
    (tmp_path / "containers/halfmade").mkdir()
    (tmp_path / "containers/empty").mkdir()
    (tmp_path / "containers/empty/container.json").write_text("")
    (found,) = files.load()
    assert (found.container, found.life, found.manually_stopped) == (made.container, made.life, True)
    assert [entry.name for entry in (tmp_path / "containers").iterdir()] == ["a" * 64]
    files.delete(found.id)
    assert files.load() == []


def test_decode_refuses_what_does_not_fit() -> None:
    value = json.loads(json.dumps(asdict(container("a", "b"))))
    assert decode(Container, value) == container("a", "b")
    with pytest.raises(ValueError):
        decode(Container, value | {"state": "dreaming"})
    with pytest.raises(TypeError):
        decode(Container, {"id": "a"})


def test_index() -> None:
    index = Index()
    first, second = Record(container("ab" * 32, "one")), Record(container("ac" * 32, "two"))
    index.add(first)
    index.add(second)
    assert index.find("one") is index.find("/one") is index.find("abab") is first
    for key, kind in (("a", InvalidError), ("", NotFoundError), ("zzz", NotFoundError)):
        with pytest.raises(kind):
            index.find(key)
    with pytest.raises(ConflictError, match='"/two" is already in use by container'):
        index.rename(first, "two")
    for name in ("", "x", "-x", "a b", "a/b", "é1"):
        with pytest.raises(InvalidError):
            index.check_name(name)
    index.rename(first, "three")
    assert index.find("three") is first
    index.check_name("one")
    index.discard(first)
    with pytest.raises(NotFoundError):
        index.find("three")


@pytest.mark.parametrize(
    ("policy", "code", "count", "stopped", "wanted"),
    [
        (RestartPolicy("no"), 1, 0, False, False),
        (RestartPolicy("always"), 0, 99, False, True),
        (RestartPolicy("always"), 0, 0, True, False),
        (RestartPolicy("unless-stopped"), 0, 0, False, True),
        (RestartPolicy("on-failure"), 0, 0, False, False),
        (RestartPolicy("on-failure"), 1, 50, False, True),
        (RestartPolicy("on-failure", 2), 1, 1, False, True),
        (RestartPolicy("on-failure", 2), 1, 2, False, False),
    ],
)
def test_restart_policy(policy: RestartPolicy, code: int, count: int, stopped: bool, wanted: bool) -> None:
    assert restart.should_restart(policy, code, count, manually_stopped=stopped) is wanted


def test_restart_at_boot_and_delays() -> None:
    assert restart.should_start_at_boot(RestartPolicy("always"), 0, manually_stopped=True)
    assert not restart.should_start_at_boot(RestartPolicy("unless-stopped"), 0, manually_stopped=True)
    delays, delay = [], 0.0
    for _ in range(12):
        delay = restart.next_delay(delay, 0)
        delays.append(delay)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60
    assert restart.next_delay(60, 11) == 0.1


async def test_events() -> None:
    bus = EventBus()
    bus.publish("container", "create", "1")
    live, since = bus.subscribe(), bus.subscribe(0)
    bus.publish("container", "start", "1", {"name": "x"})
    assert (await anext(live)).action == "start"
    assert [(await anext(since)).action, (await anext(since)).action] == ["create", "start"]


def test_rootfs_never_leads_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "passwd").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "etc").symlink_to("../outside")
    (root / "abs").symlink_to(outside)
    assert rootfs.read_text(root, "/etc/passwd") == ""
    assert rootfs.read_text(root, "/abs/passwd") == ""
    (root / "outside").mkdir()
    (root / "outside/passwd").write_text("inside")
    assert rootfs.read_text(root, "/etc/passwd") == "inside"
