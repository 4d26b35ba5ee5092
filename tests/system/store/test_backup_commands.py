"""`weft backup` of a running server under load, and `weft restore` into a new root and into an etcd."""

import subprocess
import sys
from pathlib import Path

import pytest
from etcd_process import etcd
from load import Load
from server_process import Server

from weft.api.gvr import CONFIGMAPS
from weft.client.base import Client


def weft(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "weft.cli.main", "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def objects(client: Client) -> dict[str, tuple[str, int]]:
    found = await client.list(CONFIGMAPS, "default")
    return {o["metadata"]["name"]: (o["metadata"]["uid"], int(o["metadata"]["resourceVersion"])) for o in found.items}


async def test_from_sqlite_to_sqlite_to_etcd_and_back(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    first = Server(tmp_path / "first")
    first.start()
    client = await first.ready()
    load = Load([client])
    await load.start()
    await load.acknowledge(100)
    before = dict(load.acknowledged)
    done = weft(first.root, "backup", str(file))
    assert done.returncode == 0, done.stderr
    await load.acknowledge(50)
    await load.finish()
    await client.close()
    assert first.stop() == 0

    second = Server(tmp_path / "second")
    assert weft(second.root, "restore", str(file)).returncode == 0
    assert second.settings.service_subnet == first.settings.service_subnet
    second.start()
    client = await second.ready()
    restored = await objects(client)
    assert before.items() <= {name: uid for name, (uid, _) in restored.items()}.items()
    newest = int((await client.list(CONFIGMAPS)).resource_version)
    again = await client.create(CONFIGMAPS, {"metadata": {"name": "again"}}, "default")
    assert int(again["metadata"]["resourceVersion"]) > newest >= max(version for _, version in restored.values())
    done = weft(second.root, "backup", str(file))
    assert done.returncode == 0, done.stderr
    there = await objects(client)
    newest = int((await client.list(CONFIGMAPS)).resource_version)
    await client.close()
    assert second.stop() == 0

    with etcd() as member:
        await member.answers()
        url = f"etcd://{member.endpoint}"
        third = Server(tmp_path / "third", "--store", url)
        done = weft(third.root, "restore", str(file), "--store", url)
        assert done.returncode == 0, done.stderr
        done = weft(third.root, "restore", str(file), "--store", url)
        assert (done.returncode, "not empty" in done.stderr) == (1, True)
        third.start()
        client = await third.ready()
        present = await objects(client)
        assert {name: uid for name, (uid, _) in present.items()} == {name: uid for name, (uid, _) in there.items()}
        assert min(version for _, version in present.values()) > newest
        changed = await client.patch(
            CONFIGMAPS, "again", {"data": {"a": "b"}}, "application/merge-patch+json", "default"
        )
        assert int(changed["metadata"]["resourceVersion"]) > max(version for _, version in present.values())
        present = await objects(client)
        last = weft(third.root, "backup", str(file))
        assert last.returncode == 0, last.stderr
        await client.close()
        assert third.stop() == 0

    fourth = Server(tmp_path / "fourth")
    assert weft(fourth.root, "restore", str(file)).returncode == 0
    fourth.start()
    client = await fourth.ready()
    assert await objects(client) == present
    await client.close()
    assert fourth.stop() == 0


@pytest.mark.parametrize("damage", ["cut", "none"])
def test_a_bad_file_changes_nothing(tmp_path: Path, damage: str) -> None:
    file, root = tmp_path / "backup", tmp_path / "root"
    if damage == "cut":
        file.write_text('{"format": "weft-backup", "version": 1, "revision": 5, "store": "sqlite"}\n{"key": ')
    done = weft(root, "restore", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith(f"weft: cannot restore {file}: ")
    assert not root.exists()
