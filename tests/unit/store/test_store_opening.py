"""Which store an instance uses, and what is said of an address that is none."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.cli.main import main
from weft.core.settings import Settings
from weft.store.etcd import EtcdStore
from weft.store.opening import database, is_shared, open_store
from weft.store.sqlite import SqliteStore


def test_by_settings(tmp_path: Path) -> None:
    own = Settings.load_or_create(tmp_path)
    assert isinstance(open_store(own), SqliteStore)
    assert not is_shared(own)
    assert database(own) == tmp_path / "var/lib/weft/store.db"
    shared = Settings.load_or_create(tmp_path, store="etcd://127.0.0.1:2379")
    assert isinstance(open_store(shared), EtcdStore)
    assert is_shared(shared)
    assert Settings.load(tmp_path).store == "etcd://127.0.0.1:2379"


@pytest.mark.parametrize("command", [["server"], ["restore", "FILE"]])
def test_a_bad_address_is_refused_before_anything_is_kept(tmp_path: Path, command: list[str]) -> None:
    done = CliRunner().invoke(main, ["--root", str(tmp_path / "root"), *command, "--store", "mysql://here"])
    assert done.exit_code == 1
    assert done.stderr.startswith("weft: cannot use the store 'mysql://here'")
    assert not (tmp_path / "root").exists()


def test_a_cluster_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weft.store import etcd_link

    monkeypatch.setattr(etcd_link, "_SEARCH_SECONDS", 0.2)
    Settings.load_or_create(tmp_path, store="etcd://127.0.0.1:1")
    done = CliRunner().invoke(main, ["--root", str(tmp_path), "backup", str(tmp_path / "file")])
    assert done.exit_code == 1
    assert done.stderr.startswith("weft: cannot reach etcd: ")
    assert not (tmp_path / "file").exists()
