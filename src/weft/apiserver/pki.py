"""Certificates and kubeconfigs of an instance, made when missing, and made anew when they no longer fit.

In: settings (addresses, ports, directories). Out: `Pki`, the paths of CA, serving and client certificates, and the two
kubeconfigs on disk. Who is next: `server` (TLS), the node agent (`kubelet.crt`), kubectl.
Users and groups stand in a client certificate's CN and O, as Kubernetes has it (kubernetes.io, "X.509 client
certificates"). Keys are EC P-256.
"""

import base64
import ipaddress
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft.core.files import write_atomic
from weft.core.settings import Settings

_CA_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=365)
_RENEW = timedelta(days=30)


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


class _Authority:
    def __init__(self, certificate: x509.Certificate, key_file: Path) -> None:
        self.certificate = certificate
        self._key_file = key_file

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


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


def ensure(settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Pki:
    """Makes what is missing, close to its end, signed by another CA, or for other names; writes the kubeconfigs."""
    pki = Pki(settings.paths.pki)
    pki.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _ensure_authority(pki, now())
    for profile in profiles(settings):
        if not _fits(pki, profile, authority, now()):
            _issue(pki, profile, authority, now())
    _write_kubeconfig(settings, pki, settings.paths.kubeconfig, "admin")
    _write_kubeconfig(settings, pki, settings.paths.node_kubeconfig, "node")
    return pki


def _ensure_authority(pki: Pki, now: datetime) -> _Authority:
    try:
        certificate = x509.load_pem_x509_certificate(pki.ca.read_bytes())
        if certificate.not_valid_after_utc - _LIFE > now and pki.key("ca").exists():
            return _Authority(certificate, pki.key("ca"))
    except (FileNotFoundError, ValueError):
        pass
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weft-ca")])
    usage = x509.KeyUsage(True, False, True, False, False, True, False, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(pki, "ca", certificate, key)
    return _Authority(certificate, pki.key("ca"))


def _fits(pki: Pki, profile: Profile, authority: _Authority, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pki.certificate(profile.file).read_bytes())
        certificate.verify_directly_issued_by(authority.certificate)
    except (FileNotFoundError, ValueError, TypeError):
        return False
    except Exception as error:
        if type(error).__name__ != "InvalidSignature":
            raise
        return False
    names: tuple[str, ...] = ()
    if profile.names:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(name.value) for name in extension)
    return (
        pki.key(profile.file).exists()
        and certificate.not_valid_after_utc - _RENEW > now
        and certificate.subject == _subject(profile)
        and names == profile.names
    )


def _subject(profile: Profile) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name)]
    if profile.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, profile.organization))
    return x509.Name(attributes)


def _issue(pki: Pki, profile: Profile, authority: _Authority, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if profile.server:
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    issuer_key = x509.SubjectKeyIdentifier.from_public_key(authority.key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(profile))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
    )
    if profile.names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in profile.names])
        builder = builder.add_extension(names, critical=False)
    _write(pki, profile.file, builder.sign(authority.key, hashes.SHA256()), key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(pki: Pki, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_atomic(pki.key(name), pem, 0o600)
    write_atomic(pki.certificate(name), certificate.public_bytes(serialization.Encoding.PEM), 0o644)


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
