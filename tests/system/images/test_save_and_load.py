"""docker save and load, both layouts, against skopeo and podman's archives; import, export, commit, history, rmi."""

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

Daemon = Any


def image_id(daemon: Daemon, name: str) -> str:
    return str(json.loads(daemon.docker("inspect", name).stdout)[0]["Id"])


def test_round_trip(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker("tag", "busybox", "saved:one")
    daemon.docker("tag", "busybox", "saved:two")
    id = image_id(daemon, "busybox")
    daemon.docker("save", "-o", str(tmp_path / "s.tar"), "saved")
    with tarfile.open(tmp_path / "s.tar") as saved:
        names = saved.getnames()
    assert {"manifest.json", "index.json", "oci-layout"} <= set(names)
    assert len(names) == len(set(names))
    daemon.docker("rmi", "saved:one", "saved:two")
    out = daemon.docker("load", "-i", str(tmp_path / "s.tar")).stdout
    assert set(out.splitlines()) == {"Loaded image: saved:one", "Loaded image: saved:two"}
    assert (image_id(daemon, "saved:one"), image_id(daemon, "saved:two")) == (id, id)
    daemon.docker("rmi", "saved:one", "saved:two")
    daemon.docker("save", "-o", str(tmp_path / "id.tar"), id)
    assert daemon.docker("load", "-i", str(tmp_path / "id.tar")).stdout == f"Loaded image ID: {id}\n"
    assert not daemon.temporary()


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_of_skopeo(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    name = f"{daemon.registry}/saved/box:v1"
    daemon.docker("tag", "busybox", name)
    daemon.docker("push", name)
    suffix = ":other/box:v2"
    archive = tmp_path / "a.tar"
    daemon.skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"{kind}:{archive}{suffix}")
    out = daemon.docker("load", "-i", str(archive)).stdout
    assert out == "Loaded image: other/box:v2\n"
    assert daemon.docker("run", "--rm", "other/box:v2", "echo", "ok").stdout == "ok\n"
    daemon.docker("push", name)
    daemon.docker("rmi", "-f", name, "other/box:v2")


def test_skopeo_reads_what_was_saved(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker("save", "-o", str(tmp_path / "s.tar"), "busybox")
    config = json.loads(
        daemon.skopeo("inspect", "--config", f"docker-archive:{tmp_path}/s.tar:docker.io/library/busybox:latest").stdout
    )
    assert config["rootfs"]["diff_ids"] == json.loads(daemon.docker("inspect", "busybox").stdout)[0]["RootFS"]["Layers"]
    found = json.loads(daemon.skopeo("inspect", f"oci-archive:{tmp_path}/s.tar").stdout)
    assert len(found["Layers"]) == 1


def archive(**files: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


CONFIG = json.dumps({"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}, "config": {}}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no archive at all", "invalid archive"),
        (archive(some_txt=b"x"), "neither manifest.json nor index.json"),
        (archive(manifest_json=b"{"), "invalid archive: manifest.json"),
        (archive(manifest_json=b"[7]"), "not a list of images"),
        (archive(manifest_json=b'[{"Config":"../../etc/passwd"}]'), "invalid archive"),
        (archive(manifest_json=b'[{"Config":"c.json"}]'), "it has no file 'c.json'"),
        (archive(manifest_json=b'[{"Config":"c.json","Layers":["l"]}]', c_json=b"{}"), "image config invalid"),
        (archive(manifest_json=b'[{"Config":"c.json","Layers":[]}]', c_json=CONFIG), "layers of manifest.json and"),
        (
            archive(manifest_json=b'[{"Config":"c.json","Layers":["l"],"RepoTags":["evil:1"]}]', c_json=CONFIG,
                    l=archive(x=b"y")),
            "invalid layer: its content is",
        ),
        (archive(index_json=b'{"schemaVersion":2}', oci_layout=b"{}"), "manifest invalid"),
    ],
)  # fmt: skip
def test_damaged_archives(daemon: Daemon, data: bytes, message: str) -> None:
    done = subprocess.run(["docker", "load"], env=daemon.env, input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert message in done.stderr.decode()
    assert not daemon.temporary()
    assert daemon.docker("inspect", "evil:1", check=False).returncode == 1


def test_commit_export_import_history(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker(
        "run", "--name", "base", "-e", "COLOUR=red", "busybox", "sh", "-c", "echo committed > /made; rm /etc/group"
    )
    daemon.docker("commit", "-m", "a note", "-c", "CMD cat /made", "-c", "ENV SIZE=big", "base", "committed:1")
    assert daemon.docker("run", "--rm", "committed:1").stdout == "committed\n"
    assert "red big" in daemon.docker("run", "--rm", "committed:1", "sh", "-c", "echo $COLOUR $SIZE").stdout
    assert daemon.docker("run", "--rm", "committed:1", "ls", "/etc/group", check=False).returncode != 0
    history = daemon.docker("history", "--format", "{{.Comment}}|{{.Size}}", "committed:1").stdout.splitlines()
    assert history[0] == "a note|10B"
    assert len(history) == 2
    daemon.docker("export", "-o", str(tmp_path / "e.tar"), "base")
    daemon.docker("rm", "base")
    out = daemon.docker("import", "-c", "CMD ls /made", str(tmp_path / "e.tar"), "imported:1").stdout
    assert out.startswith("sha256:")
    assert daemon.docker("run", "--rm", "imported:1").stdout == "/made\n"
    daemon.docker("rmi", "committed:1", "imported:1")


def test_removal(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "change", "busybox", "touch", "/x")
    daemon.docker("commit", "change", "gone:1")
    daemon.docker("rm", "change")
    id = image_id(daemon, "gone:1")
    daemon.docker("tag", "gone:1", "gone:2")
    out = daemon.docker("rmi", "gone:1").stdout
    assert out == "Untagged: gone:1\n"
    daemon.docker("run", "--name", "user", "gone:2", "true")
    done = daemon.docker("rmi", "gone:2", check=False)
    assert 'conflict: unable to remove repository reference "gone:2" (must force) - container' in done.stderr
    done = daemon.docker("rmi", id[7:19], check=False)
    assert "conflict: unable to delete" in done.stderr
    assert daemon.docker("rmi", "-f", "gone:2").stdout == "Untagged: gone:2\n"
    assert daemon.docker("start", "-a", "user").returncode == 0
    daemon.docker("rm", "user")
    assert f"Deleted: {id}" in daemon.docker("rmi", id).stdout
    done = daemon.docker("rmi", "gone:1", check=False)
    assert "No such image: gone:1" in done.stderr
    assert daemon.docker("run", "--rm", "busybox", "echo", "still here").stdout == "still here\n"


def test_listing_and_pruning(daemon: Daemon) -> None:
    daemon.docker("tag", "busybox", "list/box:v1")
    assert "list/box:v1" in daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    assert daemon.docker("images", "-q", "-f", "reference=list/*").stdout != ""
    assert daemon.docker("images", "-q", "-f", "reference=no/*").stdout == ""
    daemon.docker("run", "--name", "dangling", "busybox", "touch", "/y")
    id = daemon.docker("commit", "dangling").stdout.strip()
    daemon.docker("rm", "dangling")
    assert id[7:19] in daemon.docker("images", "-q", "-f", "dangling=true").stdout
    out = daemon.docker("image", "prune", "-f").stdout
    assert f"deleted: {id}" in out
    assert "Total reclaimed space: " in out
    assert daemon.docker("images", "-q", "-f", "dangling=true").stdout == ""
    daemon.docker("rmi", "list/box:v1")
