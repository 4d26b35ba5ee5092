"""Makes and checks certificates: the half of `pki` that needs the cryptography library, loaded only when needed."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft.apiserver.pki import Pki, Profile
from weft.core.files import write_atomic

_CA_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=365)
_RENEW = timedelta(days=30)


def issue(pki: Pki, profiles: Sequence[Profile], seconds: float) -> float:
    """Makes what is missing, close to its end at `seconds`, signed by another CA, or for other names.

    Returns the time, in seconds since 1970, up to which all of them need no renewal.
    """
    now = datetime.fromtimestamp(seconds, UTC)
    authority = _ensure_authority(pki, now)
    ends = [authority.certificate.not_valid_after_utc - _LIFE]
    for profile in profiles:
        if not _fits(pki, profile, authority, now):
            _issue(pki, profile, authority, now)
        ends.append(x509.load_pem_x509_certificate(pki.certificate(profile.file).read_bytes()).not_valid_after_utc)
    return min(ends).timestamp() - _RENEW.total_seconds()


class _Authority:
    def __init__(self, certificate: x509.Certificate, key_file: Path) -> None:
        self.certificate = certificate
        self._key_file = key_file

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key


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
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature):
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
