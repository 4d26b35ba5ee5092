"""Certificates: made once, made anew when they no longer fit, never readable by others."""

import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from cryptography import x509

from weft.apiserver import pki
from weft.core.settings import Paths, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(paths=Paths(tmp_path), api_address="127.0.0.1")


def read(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_made_once(settings: Settings) -> None:
    pki.ensure(settings)
    before = read(settings.paths.pki)
    pki.ensure(settings)
    assert read(settings.paths.pki) == before
    names = {"ca", "apiserver", "admin", "node", "kubelet", "apiserver-kubelet-client"}
    assert set(before) == {f"{name}.{kind}" for name in names for kind in ("crt", "key")} | {"checked.json"}


def test_secrets_are_secret(settings: Settings) -> None:
    made = pki.ensure(settings)
    for file in [made.key(profile.file) for profile in pki.profiles(settings)]:
        assert file.stat().st_mode & 0o777 == 0o600
    for file in (settings.paths.kubeconfig, settings.paths.node_kubeconfig):
        assert file.stat().st_mode & 0o777 == 0o600


def test_names_of_the_server(settings: Settings) -> None:
    made = pki.ensure(settings)
    certificate = x509.load_pem_x509_certificate(made.certificate("apiserver").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} >= {
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "10.128.0.1",
    }


def test_made_anew_for_another_address(settings: Settings) -> None:
    before = read(pki.ensure(settings).directory)
    after = read(pki.ensure(replace(settings, api_address="10.1.2.3", api_port=7443)).directory)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"apiserver.crt", "apiserver.key", "checked.json"}
    cluster = orjson.loads(settings.paths.kubeconfig.read_bytes())["clusters"][0]["cluster"]
    assert cluster["server"] == "https://10.1.2.3:7443"


def test_made_anew_when_close_to_the_end(settings: Settings) -> None:
    before = read(pki.ensure(settings).directory)
    after = read(pki.ensure(settings, lambda: time.time() + 340 * 86400).directory)
    assert {name for name in before if before[name] == after[name]} == {"ca.crt", "ca.key"}


def test_a_lost_or_broken_file_is_replaced(settings: Settings) -> None:
    made = pki.ensure(settings)
    made.key("node").unlink()
    made.certificate("kubelet").write_text("not a certificate")
    pki.ensure(settings)
    assert made.key("node").exists()
    x509.load_pem_x509_certificate(made.certificate("kubelet").read_bytes())
    old = made.certificate("admin").read_bytes()
    made.ca.unlink()
    pki.ensure(settings)
    assert made.certificate("admin").read_bytes() != old
