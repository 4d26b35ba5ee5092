"""Certificates and kubeconfigs of an instance, made when missing, and made anew when they no longer fit.

In: settings (addresses, ports, directories). Out: `Pki`, the paths of CA, serving and client certificates, and the two
kubeconfigs on disk. Who is next: `server` (TLS), the node agent (`kubelet.crt`), kubectl. `certificates` signs.
Users and groups stand in a client certificate's CN and O, as Kubernetes has it (kubernetes.io, "X.509 client
certificates"). Keys are EC P-256.
"""

import base64
import hashlib
import ipaddress
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from weft.core.files import write_atomic
from weft.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate is for. `names` are DNS names or addresses; it is made anew when they change."""

    file: str
    common_name: str
    organization: str = ""
    names: tuple[str, ...] = ()
    server: bool = False


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the certificates are."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"


def profiles(settings: Settings) -> Sequence[Profile]:
    """All certificates of the instance but the CA's."""
    service = str(ipaddress.ip_network(settings.service_subnet)[1])
    domain = settings.cluster_domain
    names = ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += [f"kubernetes.default.svc.{domain}", service, settings.api_address, settings.node_name]
    node = f"system:node:{settings.node_name}"
    return (
        Profile("apiserver", "kube-apiserver", names=tuple(dict.fromkeys(names)), server=True),
        Profile("admin", "kubernetes-admin", "system:masters"),
        Profile("node", node, "system:nodes"),
        Profile("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Profile("kubelet", node, "system:nodes", names=("127.0.0.1", "localhost", settings.node_name), server=True),
    )


def ensure(settings: Settings, now: Callable[[], float] = time.time) -> Pki:
    """Makes or renews certificates and writes the kubeconfigs; does little where all is well."""
    pki = Pki(settings.paths.pki)
    pki.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = profiles(settings)
    stamp = pki.directory / "checked.json"
    if not _checked(pki, wanted, stamp, now()):
        from weft.apiserver.certificates import issue

        good_until = issue(pki, wanted, now())
        content = {"digest": _digest(pki, wanted), "good_until": good_until}
        write_atomic(stamp, json.dumps(content).encode(), 0o600)
    _write_kubeconfig(settings, pki, settings.paths.kubeconfig, "admin")
    _write_kubeconfig(settings, pki, settings.paths.node_kubeconfig, "node")
    return pki


def _checked(pki: Pki, wanted: Sequence[Profile], stamp: Path, now: float) -> bool:
    """Whether these very files were found good before: loading the library to look again takes a tenth of a second."""
    try:
        content = json.loads(stamp.read_bytes())
        return bool(content["digest"] == _digest(pki, wanted) and now < content["good_until"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _digest(pki: Pki, wanted: Sequence[Profile]) -> str:
    digest = hashlib.sha256(json.dumps([asdict(profile) for profile in wanted]).encode())
    for name in ("ca", *(profile.file for profile in wanted)):
        for file in (pki.certificate(name), pki.key(name)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _write_kubeconfig(settings: Settings, pki: Pki, path: Path, client: str) -> None:
    """JSON is YAML, so kubectl reads it, and no YAML library is needed to write or read it."""

    def inline(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    address = "127.0.0.1" if settings.api_address == "0.0.0.0" else settings.api_address
    cluster = {
        "server": f"https://{address}:{settings.api_port}",
        "certificate-authority-data": inline(pki.ca),
    }
    user = {
        "client-certificate-data": inline(pki.certificate(client)),
        "client-key-data": inline(pki.key(client)),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "weft", "cluster": cluster}],
        "users": [{"name": "weft", "user": user}],
        "contexts": [{"name": "weft", "context": {"cluster": "weft", "user": "weft"}}],
        "current-context": "weft",
    }
    data = (json.dumps(config, indent=2) + "\n").encode()
    try:
        if path.read_bytes() == data and path.stat().st_mode & 0o777 == 0o600:
            return
    except FileNotFoundError:
        pass
    write_atomic(path, data, 0o600)
