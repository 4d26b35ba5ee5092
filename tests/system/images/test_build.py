"""docker build, the classic builder: the real CLI, real containers, and nothing left of what fails."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

Daemon = Any

MULTI_STAGE = """\
# syntax=docker/dockerfile:1
ARG BASE=busybox
FROM ${BASE} AS make
ARG WHO=nobody
ENV GREETING="hello  there" \\
    PLACE=/out
WORKDIR $PLACE
COPY src/ ./src/
# a comment between
RUN mkdir -p bin && \\
    echo "$GREETING $WHO" > bin/greeting && \\
    cat src/*.txt >> bin/greeting
RUN ["/bin/sh", "-c", "ln -s greeting bin/link && touch -d @1000 bin/old"]

FROM busybox
LABEL org.example.name="the shop" version=1
COPY --from=make --chown=1000:2000 /out/bin/ /srv/
COPY --chmod=600 src/a.txt /secret
ADD pack.tar.gz /unpacked/
EXPOSE 80 53/udp
VOLUME /data
USER 1000
WORKDIR /srv
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=3 CMD cat /srv/greeting
ENTRYPOINT ["cat"]
CMD ["greeting"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    (directory / "src").mkdir(parents=True)
    (directory / "src/a.txt").write_text("from a\n")
    (directory / "src/b.txt").write_text("from b\n")
    (directory / "packed").mkdir()
    (directory / "packed/inside").write_text("packed\n")
    subprocess.run(["tar", "-C", str(directory / "packed"), "-czf", str(directory / "pack.tar.gz"), "."], check=True)
    (directory / "Dockerfile").write_text(MULTI_STAGE)
    return directory


def build(daemon: Daemon, context: Path, *options: str, check: bool = True) -> Any:
    return daemon.docker("build", *options, str(context), check=check)


def test_multi_stage(daemon: Daemon, context: Path) -> None:
    out = build(
        daemon, context, "-t", "shop:v1", "-t", "shop:latest", "--build-arg", "WHO=world", "--label", "k=v"
    ).stdout
    assert out.startswith("Sending build context") or "Step 1/" in out
    assert "Step 1/21 : ARG BASE=busybox\n" in out
    assert "Step 2/21 : FROM ${BASE} AS make\n ---> " in out
    assert " ---> Running in " in out
    assert "Successfully built " in out
    assert "Successfully tagged shop:v1\nSuccessfully tagged shop:latest\n" in out
    assert daemon.docker("run", "--rm", "shop:v1").stdout == "hello  there world\nfrom a\nfrom b\n"
    script = "stat -c '%u:%g %a %F' /srv/greeting /srv/link /secret; stat -c %Y /srv/old; cat /unpacked/inside"
    shell = daemon.docker("run", "--rm", "-u", "0", "--entrypoint", "sh", "shop:v1", "-c", script)
    assert shell.stdout.splitlines() == [
        "1000:2000 644 regular file",
        "1000:2000 777 symbolic link",
        "0:0 600 regular file",
        "1000",
        "packed",
    ]
    gone = daemon.docker("run", "--rm", "--entrypoint", "ls", "shop:v1", "/out", check=False)
    assert "No such file" in gone.stderr
    assert json.loads(daemon.docker("inspect", "shop:v1").stdout)[0]["Config"]["Labels"]["k"] == "v"
    assert not daemon.mounts()


def test_config(daemon: Daemon, context: Path) -> None:
    build(daemon, context, "-t", "shop:config")
    image = json.loads(daemon.docker("inspect", "shop:config").stdout)[0]
    config = image["Config"]
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert config["Volumes"] == {"/data": {}}
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("1000", "/srv", "SIGINT")
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "cat /srv/greeting"], "Interval": 5 * 10**9, "Retries": 3}
    assert (config["Entrypoint"], config["Cmd"]) == (["cat"], ["greeting"])
    assert config["Labels"] == {"org.example.name": "the shop", "version": "1"}
    history = daemon.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", "shop:config").stdout
    assert history.splitlines()[0].endswith('CMD ["greeting"]')


def test_cache(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nARG A=1\nCOPY src /src\nRUN echo run $A\nCMD true\n")
    first = build(daemon, context, "-t", "cache:1").stdout
    assert "Using cache" not in first
    second = build(daemon, context, "-t", "cache:2").stdout
    assert second.count(" ---> Using cache") == 4
    assert "Running in" not in second
    ids = {json.loads(daemon.docker("inspect", name).stdout)[0]["Id"] for name in ("cache:1", "cache:2")}
    assert len(ids) == 1
    # Times do not count, contents do; from there on nothing comes from the cache.
    os.utime(context / "src/a.txt", (1, 1))
    assert build(daemon, context).stdout.count("Using cache") == 4
    (context / "src/a.txt").write_text("changed\n")
    changed = build(daemon, context).stdout
    assert changed.count("Using cache") == 1
    assert "run 1" in changed
    other = build(daemon, context, "--build-arg", "A=2").stdout
    assert other.count("Using cache") == 2
    assert "run 2" in other
    assert "Using cache" not in build(daemon, context, "--no-cache").stdout
    # The proxies that docker passes by itself change nothing.
    assert build(daemon, context, "--build-arg", "http_proxy=http://127.0.0.1:1").stdout.count("Using cache") == 4


def test_a_failed_step(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox\nRUN echo before\nRUN echo out; echo err >&2; exit 7\nRUN never\n"
    )
    done = build(daemon, context, "-t", "failed", check=False)
    assert done.returncode == 7
    assert "The command '/bin/sh -c echo out; echo err >&2; exit 7' returned a non-zero code: 7" in done.stderr
    assert "out\n" in done.stdout
    assert "err\n" in done.stdout + done.stderr
    assert "never" not in done.stdout
    assert daemon.docker("ps", "-aq").stdout == ""
    assert not daemon.temporary()
    assert not daemon.mounts()
    assert daemon.docker("inspect", "failed", check=False).returncode == 1


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM busybox\nFOO bar\n", "dockerfile parse error on line 2: unknown instruction: FOO"),
        ("RUN true\n", "no build stage in current context"),
        ("", "file with no instructions"),
        ("FROM busybox\nCOPY nothing /x\n", "COPY failed: file not found in build context or excluded"),
        ("FROM busybox\nCOPY ../../etc/passwd /x\n", "COPY failed: file not found in build context"),
        ("FROM busybox\nCOPY out /x\n", "COPY failed: file not found in build context"),
        ("FROM busybox\nCOPY a b c\n", "COPY failed: file not found"),
        ("FROM busybox\nCOPY src/a.txt src/b.txt /x\n", "the destination must be a directory"),
        ("FROM busybox\nCOPY --chown=nobody-here src /x\n", "can't find user nobody-here"),
        ("FROM busybox\nCOPY --chmod=worse src /x\n", "invalid chmod parameter"),
        ("FROM busybox\nCOPY --wrong=1 src /x\n", "dockerfile parse error on line 2: unknown flag: wrong"),
        ("FROM busybox\nADD http://127.0.0.1:1/x /x\n", "ADD failed: this builder fetches nothing from URLs"),
        ("FROM busybox\n\nENV A\n", "dockerfile parse error on line 3: ENV must have two arguments"),
        ("FROM busybox\nENV A='x\n", "unexpected end of statement while looking for matching single-quote"),
        ("FROM busybox\nEXPOSE 80/icmp\n", "invalid containerPort: 80/icmp"),
        ("FROM busybox\nRUN --mount=type=cache,target=/x true\n", "requires BuildKit"),
        ("FROM busybox AS\n", "FROM requires either one or three arguments"),
        ("FROM 127.0.0.1:1/nothing\n", "connection refused"),
        ("FROM busybox\nCOPY --from=127.0.0.1:1/nothing /x /x\n", "connection refused"),
    ],
)
def test_errors(daemon: Daemon, context: Path, dockerfile: str, message: str) -> None:
    (context / "Dockerfile").write_text(dockerfile)
    (context / "out").unlink(missing_ok=True)
    (context / "outside").unlink(missing_ok=True)
    (context / "outside").symlink_to("/etc")
    dockerfile = dockerfile.replace("COPY out ", "COPY outside/passwd ")
    (context / "Dockerfile").write_text(dockerfile)
    done = build(daemon, context, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert not daemon.temporary()
    assert not daemon.mounts()


def test_cancelled(daemon: Daemon, context: Path) -> None:
    """The client goes away in the middle of a step: the container ends, nothing stays."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN sleep 1000\n")
    client = subprocess.Popen(
        ["docker", "build", str(context)], env=daemon.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: daemon.docker("ps", "-q").stdout != "")
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    wait_until(lambda: daemon.docker("ps", "-aq").stdout == "" and not daemon.temporary() and not daemon.mounts())


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed(daemon: Daemon, context: Path) -> None:
    """The engine itself is killed: its next start clears what the builder had in hand."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo kept\nRUN sleep 1000\n")
    client = subprocess.Popen(
        ["docker", "build", str(context)], env=daemon.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: daemon.docker("ps", "-q").stdout != "")
        daemon.end(signal.SIGKILL)
    finally:
        client.kill()
        client.wait()
    daemon.start()
    if left := daemon.docker("ps", "-aq").stdout.split():
        daemon.docker("rm", "-f", *left)
    assert not daemon.temporary()
    assert not daemon.mounts()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo kept\n")
    assert "Using cache" in build(daemon, context).stdout


def test_dockerignore(daemon: Daemon, context: Path) -> None:
    """Docker's CLI applies it already; other clients send all, so the builder does too."""
    (context / ".dockerignore").write_text("**/*.txt\n!src/b.txt\npacked\n")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN find /all -type f | sort\n")
    tar = subprocess.run(["tar", "-C", str(context), "-c", "."], capture_output=True, check=True).stdout
    done = subprocess.run(
        ["docker", "build", "-"], env=daemon.env, input=tar, capture_output=True, timeout=60, check=True
    )
    found = {line for line in done.stdout.decode().splitlines() if line.startswith("/all")}
    assert found == {"/all/.dockerignore", "/all/Dockerfile", "/all/pack.tar.gz", "/all/src/b.txt"}


def test_words(daemon: Daemon, context: Path) -> None:
    """Quotes and variables, as the Dockerfile reference has them."""
    (context / "Dockerfile").write_text(
        "FROM busybox\n"
        "ENV A=\"one two\" B='$A' C=a\\ b\n"
        'ENV D=$A E=${A:+yes} F="${NONE:-fall back}" OLD=1\n'
        "ENV OLDER the rest  of it\n"
        "WORKDIR /${E}/sub\n"
        "WORKDIR deeper\n"
        'RUN echo "[$A][$B][$C][$D][$E][$F][$OLDER]"; pwd\n'
        "RUN <<EOF\necho here $E\nEOF\n"
        "COPY <<EOF /doc\ninside $E\nEOF\n"
        "RUN cat /doc\n"
    )
    out = build(daemon, context).stdout
    assert "[one two][$A][a b][one two][yes][fall back][the rest  of it]" in out
    assert "\n/yes/sub/deeper\n" in out
    assert "here yes\n" in out
    assert "inside yes\n" in out


def test_links_are_followed_inside_of_where_they_are(daemon: Daemon, context: Path) -> None:
    """In the context, and in another stage, whose absolute links are meant from its own root."""
    (context / "link").symlink_to("src/a.txt")
    (context / "Dockerfile").write_text(
        "FROM busybox AS make\n"
        "RUN mkdir /real && echo deep > /real/file && ln -s /real /absolute && ln -s /real/file /pointer\n"
        "FROM busybox\n"
        "COPY link /copied/\n"
        "COPY --from=make /absolute/file /pointer /two/\n"
        "COPY --from=make /absolute /whole\n"
        "RUN cd / && cat copied/link two/file two/pointer whole/file && test ! -L two/pointer\n"
    )
    assert "from a\ndeep\ndeep\ndeep\n" in build(daemon, context).stdout


def test_onbuild_and_target(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox AS first\nRUN echo one\nFROM first AS second\nRUN echo two\n")
    out = build(daemon, context, "--target", "first").stdout
    assert ("one\n" in out, "two\n" in out) == (True, False)
    done = build(daemon, context, "--target", "third", check=False)
    assert "failed to reach build target third in Dockerfile" in done.stderr
    (context / "Dockerfile").write_text("FROM busybox\nONBUILD RUN echo triggered\n")
    build(daemon, context, "-t", "parent")
    (context / "Dockerfile").write_text("FROM parent\n")
    out = build(daemon, context, "-t", "child").stdout
    assert "# Executing 1 build trigger\n" in out
    assert "triggered\n" in out
    assert not json.loads(daemon.docker("inspect", "child").stdout)[0]["Config"].get("OnBuild")


def test_scratch_holds_only_what_was_copied(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text('FROM scratch\nCOPY src/a.txt /only\nCMD ["/only"]\n')
    before = daemon.docker("images", "-aq").stdout.split()
    build(daemon, context, "-t", "tiny")
    assert len(daemon.docker("images", "-aq").stdout.split()) <= len(before) + 2
    saved = daemon.run(
        "sh", "-c", "docker create tiny >id; docker export $(cat id) | tar -t; docker rm $(cat id)", check=False
    )
    image = json.loads(daemon.docker("inspect", "tiny").stdout)[0]
    assert len(image["RootFS"]["Layers"]) == 1, saved
    assert image["Config"]["Cmd"] == ["/only"]


def test_layers_hold_only_changes(daemon: Daemon, context: Path) -> None:
    """What the engine puts into a container (resolv.conf, mount points) is no change of the step."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo x > /file && rm /etc/group\n")
    build(daemon, context, "-t", "changes")
    daemon.docker("tag", "changes", f"{daemon.registry}/changes:1")
    daemon.docker("push", f"{daemon.registry}/changes:1")
    target = context / "copy"
    daemon.skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{daemon.registry}/changes:1", f"dir:{target}")
    layer = json.loads((target / "manifest.json").read_text())["layers"][-1]["digest"].removeprefix("sha256:")
    names = subprocess.run(["tar", "-tzf", str(target / layer)], capture_output=True, text=True, check=True).stdout
    assert set(names.split()) == {"file", "etc/", "etc/.wh.group"}


def test_hostile_context(daemon: Daemon, tmp_path: Path) -> None:
    import io
    import tarfile

    for name, kind, link in (
        ("../escape", tarfile.REGTYPE, ""),
        ("link/../../escape", tarfile.REGTYPE, ""),
        ("hard", tarfile.LNKTYPE, "../../../../../../../../etc/passwd"),
    ):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            file = tarfile.TarInfo("Dockerfile")
            text = b"FROM busybox\nCOPY . /x\n"
            file.size = len(text)
            archive.addfile(file, io.BytesIO(text))
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            archive.addfile(entry)
        done = subprocess.run(
            ["docker", "build", "-"],
            env=daemon.env,
            input=data.getvalue(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        assert b"invalid archive" in done.stderr
        assert not daemon.temporary()
    assert not list(daemon.root.rglob("escape"))
