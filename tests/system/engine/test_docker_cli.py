"""The docker CLI, unchanged, against the engine."""

import json
import os
import pty
import select
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

EngineProcess = Any


def test_negotiates_and_tells_what_it_is(engine: EngineProcess) -> None:
    versions = json.loads(engine.docker("version", "--format", "{{json .}}").stdout)
    assert versions["Server"]["Platform"]["Name"] == "Weft"
    assert versions["Client"]["ApiVersion"] == versions["Server"]["ApiVersion"]
    assert engine.docker("info", "--format", "{{.Driver}} {{.DefaultRuntime}}").stdout.split()[0] == "overlay2"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_run_gives_output_and_exit_code(engine: EngineProcess, code: int) -> None:
    done = engine.docker("run", "--rm", "busybox", "sh", "-c", f"echo out; echo err >&2; exit {code}", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "err\n")
    assert engine.docker("ps", "-aq").stdout == ""


def test_program_that_is_not_there_or_not_executable(engine: EngineProcess) -> None:
    done = engine.docker("run", "--rm", "busybox", "nosuch", check=False)
    assert done.returncode == 127
    assert "nosuch" in done.stderr
    done = engine.docker("run", "--rm", "busybox", "/etc/passwd", check=False)
    assert done.returncode == 126
    assert engine.docker("ps", "-aq").stdout == ""
    engine.docker("run", "--name", "broken", "busybox", "nosuch", check=False)
    shown = engine.docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "broken").stdout
    assert shown == "created 127\n"
    engine.docker("rm", "broken")


def test_stdin_is_piped_and_ends(engine: EngineProcess) -> None:
    done = engine.docker("run", "--rm", "-i", "busybox", "cat", stdin="hi\n")
    assert done.stdout == "hi\n"
    text = "".join(f"line {number}\n" for number in range(100_000))
    done = engine.docker("run", "--rm", "-i", "busybox", "cat", stdin=text)
    assert done.stdout == text


def converse(engine: EngineProcess, argv: list[str], sent: bytes, wanted: bytes) -> tuple[int, bytes]:
    """Runs docker on a pseudo-terminal of 100x30, types `sent` once there is a prompt."""
    parent, child = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen(
        ["docker", *argv], env=engine.env, stdin=child, stdout=child, stderr=child, start_new_session=True
    )
    os.close(child)
    output, typed, deadline = b"", False, time.monotonic() + 20
    while time.monotonic() < deadline:
        ready, _, _ = select.select([parent], [], [], 0.2)
        if ready:
            try:
                output += os.read(parent, 65536)
            except OSError:
                break
        if not typed and b"# " in output:
            os.write(parent, sent)
            typed = True
        if process.poll() is not None and not ready:
            break
    os.close(parent)
    code = process.wait(timeout=10)
    assert wanted in output, output
    return code, output


def test_terminal(engine: EngineProcess) -> None:
    code, output = converse(
        engine, ["run", "-it", "--rm", "busybox", "sh"], b"sleep 0.3; stty size; tty; exit 5\r", b"/dev/pts/0"
    )
    assert code == 5
    assert b"30 100" in output


def test_exec(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "sleeper", "-e", "A=from-run", "busybox", "sleep", "1000")
    done = engine.docker("exec", "sleeper", "sh", "-c", "echo $A; echo e >&2; exit 9", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (9, "from-run\n", "e\n")
    assert engine.docker("exec", "-i", "sleeper", "cat", stdin="typed").stdout == "typed"
    done = engine.docker(
        "exec", "-u", "bob", "-w", "/tmp", "-e", "A=b", "sleeper", "sh", "-c", "id; pwd; echo $A $HOME"
    )
    assert done.stdout == "uid=1000(bob) gid=1000(bob) groups=1000(bob),2000(weavers)\n/tmp\nb /home/bob\n"
    code, output = converse(engine, ["exec", "-it", "sleeper", "sh"], b"sleep 0.3; stty size; exit 3\r", b"30 100")
    assert code == 3, output
    assert engine.docker("exec", "sleeper", "nosuch", check=False).returncode == 127
    engine.docker("exec", "-d", "sleeper", "sh", "-c", "echo was here > /tmp/mark")
    for _ in range(50):
        done = engine.docker("exec", "sleeper", "cat", "/tmp/mark", check=False)
        if done.returncode == 0:
            break
    assert done.stdout == "was here\n"
    engine.docker("stop", "-t", "0", "sleeper")
    done = engine.docker("exec", "sleeper", "true", check=False)
    assert done.returncode == 1
    assert "is not running" in done.stderr
    engine.docker("rm", "sleeper")


def test_logs(engine: EngineProcess) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2; printf unfinished"
    engine.docker("run", "-d", "--name", "talker", "busybox", "sh", "-c", script)
    assert engine.docker("wait", "talker").stdout == "0\n"
    done = engine.docker("logs", "talker")
    assert done.stdout == "".join(f"line {number}\n" for number in range(1, 6)) + "unfinished"
    assert done.stderr == "oops\n"
    assert engine.docker("logs", "--tail", "1", "talker").stderr == "oops\n"
    assert "line 5" not in engine.docker("logs", "--tail", "0", "talker").stdout
    stamped = engine.docker("logs", "-t", "talker").stdout.splitlines()[0]
    assert stamped.endswith("Z line 1")
    assert engine.docker("logs", "--until", "2000-01-01T00:00:00Z", "talker").stdout == ""
    assert engine.docker("logs", "nosuch", check=False).stderr.strip() == (
        "Error response from daemon: No such container: nosuch"
    )
    engine.docker("rm", "talker")


def test_logs_follow_to_the_end(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "slow", "busybox", "sh", "-c", "echo a; sleep 0.5; echo b; sleep 0.2")
    assert engine.docker("logs", "-f", "slow").stdout == "a\nb\n"
    engine.docker("rm", "-f", "slow")


def test_attach_to_a_running_one(engine: EngineProcess) -> None:
    engine.docker("run", "-di", "--name", "echo", "busybox", "sh", "-c", "read x; echo got $x; exit 6")
    done = engine.docker("attach", "--sig-proxy=false", "echo", stdin="word\n", check=False)
    assert (done.returncode, done.stdout) == (6, "got word\n")
    engine.docker("rm", "echo")


def test_stop_kill_restart_pause(engine: EngineProcess) -> None:
    trap = "trap 'echo bye; exit 4' TERM; while :; do sleep 0.05; done"
    engine.docker("run", "-d", "--name", "trapper", "busybox", "sh", "-c", trap)
    engine.docker("stop", "trapper")
    state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"
    assert engine.docker("inspect", "-f", state, "trapper").stdout == "exited 4 0\n"
    engine.docker("start", "trapper")
    engine.docker("kill", "trapper")
    engine.docker("wait", "trapper")
    assert engine.docker("inspect", "-f", state, "trapper").stdout == "exited 137 0\n"
    assert "is not running" in engine.docker("kill", "trapper", check=False).stderr
    engine.docker("restart", "trapper")
    engine.docker("pause", "trapper")
    assert "(Paused)" in engine.docker("ps", "--format", "{{.Status}}").stdout
    assert "paused" in engine.docker("exec", "trapper", "true", check=False).stderr
    engine.docker("unpause", "trapper")
    assert engine.docker("top", "trapper").stdout.count("trap ") >= 1
    assert "cannot remove container" in engine.docker("rm", "trapper", check=False).stderr
    engine.docker("rename", "trapper", "renamed")
    engine.docker("rm", "-f", "renamed")


def test_names_are_unique(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "taken", "busybox")
    done = engine.docker("create", "--name", "taken", "busybox", check=False)
    assert 'Conflict. The container name "/taken" is already in use by container' in done.stderr
    assert "Invalid container name" in engine.docker("create", "--name", "a/b", "busybox", check=False).stderr
    engine.docker("rm", "taken")


def test_environment_user_workdir_hostname(engine: EngineProcess) -> None:
    script = "id; pwd; hostname; echo $A; cat /proc/sys/kernel/hostname; grep -c probe /etc/hosts; cat /etc/resolv.conf"
    done = engine.docker(
        "run", "--rm", "-e", "A=b c", "-u", "1000:2000", "-w", "/made/for/me", "-h", "probe",
        "--add-host", "other:10.9.8.7", "--dns", "10.1.1.1", "busybox", "sh", "-c", script,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "uid=1000(bob) gid=2000(weavers) groups=2000(weavers)", "/made/for/me", "probe", "b c", "probe", "1",
        "nameserver 10.1.1.1",
    ]  # fmt: skip


def test_binds_volumes_tmpfs(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host\n")
    script = "cat /b/given; cat /data/seed; echo kept > /data/more; echo no > /ro/x; df /t | grep -c tmpfs"
    arguments = ["-v", f"{tmp_path}:/b", "-v", "threads:/data", "-v", f"{tmp_path}:/ro:ro", "--tmpfs", "/t:size=1m"]
    done = engine.docker("run", "--rm", *arguments, "busybox", "sh", "-c", script)
    assert done.stdout == "from the host\nfrom the image\n1\n"
    assert "Read-only file system" in done.stderr
    assert engine.docker("run", "--rm", "-v", "threads:/v", "busybox", "cat", "/v/more").stdout == "kept\n"
    engine.docker("create", "--name", "user", "-v", "threads:/v", "busybox")
    assert "volume is in use" in engine.docker("volume", "rm", "threads", check=False).stderr
    engine.docker("rm", "user")
    engine.docker("volume", "rm", "threads")
    engine.docker("run", "--rm", "-v", "/anonymous", "busybox", "true")
    assert engine.docker("volume", "ls", "-q").stdout == ""


def test_published_ports(engine: EngineProcess) -> None:
    serve = "echo woven > /index.html; exec httpd -f -p 80 -h /"
    engine.docker("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", serve)
    address = engine.docker("port", "web", "80").stdout.strip()
    for _ in range(50):
        try:
            body = urllib.request.urlopen(f"http://{address}/index.html", timeout=2).read()
            break
        except OSError:
            time.sleep(0.05)
    assert body == b"woven\n"
    done = engine.docker("run", "--name", "late", "-p", f"{address}:80", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "port is already allocated" in done.stderr
    engine.docker("rm", "-f", "web", "late")


def test_isolation(engine: EngineProcess) -> None:
    script = (
        "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /proc/1/fd >/dev/null && echo own-pid-1; mount -t tmpfs x /tmp"
    )
    done = engine.docker("run", "--rm", "busybox", "sh", "-c", script, check=False)
    assert "CapEff:\t00000000a80425fb" in done.stdout
    assert "Seccomp:\t2" in done.stdout
    assert done.returncode != 0
    assert engine.docker("run", "--rm", "--privileged", "busybox", "mount", "-t", "tmpfs", "x", "/tmp").returncode == 0
    script = "grep CapEff /proc/self/status"
    done = engine.docker("run", "--rm", "--cap-drop", "ALL", "--cap-add", "CHOWN", "busybox", "sh", "-c", script)
    assert done.stdout == "CapEff:\t0000000000000001\n"
    assert engine.docker("run", "--rm", "--read-only", "busybox", "touch", "/x", check=False).returncode == 1
    assert "uid=0" in engine.docker("run", "--rm", "--init", "busybox", "id").stdout


def test_limits(engine: EngineProcess) -> None:
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ulimit -n"
    limits = ["-m", "64m", "--pids-limit", "50", "--cpus", "0.5", "--ulimit", "nofile=512:1024"]
    done = engine.docker("run", "--rm", *limits, "busybox", "sh", "-c", script)
    assert done.stdout.splitlines()[-1] == "512"
    name = engine.docker("run", "-d", *limits, "busybox", "sleep", "1000").stdout.strip()
    used = engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", name).stdout
    assert used.strip().endswith("/ 64MiB")
    engine.docker("rm", "-f", name)


def test_shared_namespaces(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "first", "busybox", "sleep", "1000")
    inner = engine.docker("exec", "first", "readlink", "/proc/self/ns/net").stdout
    joined = engine.docker("run", "--rm", "--network", "container:first", "busybox", "readlink", "/proc/self/ns/net")
    assert joined.stdout == inner
    host = engine.docker("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net").stdout
    assert host.strip() == os.readlink("/proc/self/ns/net")
    seen = engine.docker("run", "--rm", "--pid", "container:first", "busybox", "ps").stdout
    assert "sleep 1000" in seen
    engine.docker("rm", "-f", "first")


def test_restart_policy(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 3")
    for _ in range(100):
        shown = engine.docker("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "again").stdout
        if shown == "exited 2\n":
            break
        time.sleep(0.05)
    assert shown == "exited 2\n"
    engine.docker("rm", "again")


def test_copy_and_diff(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("carried\n")
    engine.docker("create", "--name", "box", "busybox", "cat", "/tmp/in/file")
    engine.docker("cp", str(tmp_path / "in"), "box:/tmp/")
    assert engine.docker("start", "-a", "box").stdout == "carried\n"
    engine.docker("cp", "box:/tmp/in/file", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "carried\n"
    assert "A /tmp/in/file" in engine.docker("diff", "box").stdout
    assert "Could not find the file" in engine.docker("cp", "box:/nosuch", str(tmp_path), check=False).stderr
    engine.docker("rm", "box")


def test_events(engine: EngineProcess) -> None:
    began = time.time()
    engine.docker("run", "--rm", "--name", "noted", "-l", "k=v", "busybox", "true")
    arguments = ["--since", str(began), "--until", str(time.time() + 0.5), "--filter", "container=noted"]
    done = engine.docker("events", *arguments, "--format", "{{.Action}}")
    assert [line for line in done.stdout.split() if line != "attach"] == ["create", "start", "die", "destroy"]


def test_lists_and_prunes(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "old", "-l", "team=weft", "busybox")
    assert engine.docker("ps", "-q").stdout == ""
    assert engine.docker("ps", "-a", "-f", "label=team=weft", "--format", "{{.Names}}").stdout == "old\n"
    assert engine.docker("ps", "-a", "-f", "label=team=other", "-q").stdout == ""
    assert (
        engine.docker("ps", "-a", "-f", "name=old", "-f", "status=created", "--format", "{{.Names}}").stdout == "old\n"
    )
    assert set(engine.docker("network", "ls", "--format", "{{.Name}}").stdout.split()) == {"bridge", "host", "none"}
    assert engine.docker("container", "prune", "-f").returncode == 0
    assert engine.docker("ps", "-aq").stdout == ""
