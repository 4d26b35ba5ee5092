"""An instance's settings: read, checked, refused."""

import json
from pathlib import Path

import pytest

from weft.core.errors import InvalidError
from weft.core.settings import Settings, free_port


def test_a_new_instance_is_saved_and_read_again(tmp_path: Path) -> None:
    made = Settings.load_or_create(tmp_path, api_port=0, registry_port=0, kubelet_port=0)
    assert made == Settings.load(tmp_path)
    assert len({made.api_port, made.registry_port, made.kubelet_port}) == 3
    assert made.gateway.endswith(".0.1")
    assert made.dns_service_address.endswith(".0.10")


def test_kernel_names_are_short_and_differ_by_root(tmp_path: Path) -> None:
    first, second = Settings.load_or_create(tmp_path / "a"), Settings.load_or_create(tmp_path / "b")
    assert Settings().instance == "weft"
    assert len({"weft", first.instance, second.instance}) == 3
    assert all(len(each.instance) <= 5 for each in (first, second))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "cannot read"),
        ("[]", "not an object"),
        ('{"colour": 1}', "unknown settings: colour"),
        ('{"api_port": 70000}', "api_port"),
        ('{"api_port": "x"}', "api_port"),
        ('{"pod_subnet": "10.0.0.0/33"}', "pod_subnet"),
        ('{"pod_subnet": "10.0.0.0/28"}', "too small"),
        ('{"node_port_min": 40000, "node_port_max": 30000}', "node_port"),
        ('{"pod_subnet": "10.9.0.0/16", "service_subnet": "10.9.1.0/24"}', "overlap"),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path: Path, content: str, what: str) -> None:
    file = tmp_path / "etc/weft/config.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(InvalidError, match=what):
        Settings.load(tmp_path)
    assert file.read_text() == content


def test_overrides_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    Settings.load_or_create(tmp_path)
    before = (tmp_path / "etc/weft/config.json").read_text()
    with pytest.raises(InvalidError):
        Settings.load_or_create(tmp_path, service_subnet="nonsense")
    assert (tmp_path / "etc/weft/config.json").read_text() == before
    assert json.loads(before)["node_name"] == "weft"


def test_a_free_port_can_be_bound() -> None:
    assert 1024 <= free_port() < 65536
