"""Certificates of the tests' own: an authority, what it signed, and what it took back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Authority:
    """Signs into `folder`: `<name>.crt` and `<name>.key`; its own certificate is `<name of the authority>.crt`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = self._write(name, self._key, self._made(self._name, self._key, -_DAY, 3650 * _DAY, None))

    def sign(
        self,
        name: str,
        *,
        starts: timedelta = -_DAY,
        ends: timedelta = 90 * _DAY,
        host: str = "127.0.0.1",
    ) -> Path:
        """The certificate's file; `starts` and `ends` are counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(name, key, self._made(subject, key, starts, ends, host))

    def revoke(self, certificate: Path) -> Path:
        """A list of what was taken back: this one."""
        now = datetime.now(UTC)
        taken_back = x509.load_pem_x509_certificate(certificate.read_bytes())
        entry = (
            x509.RevokedCertificateBuilder().serial_number(taken_back.serial_number).revocation_date(now - _DAY).build()
        )
        revoked = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - _DAY)
            .next_update(now + _DAY)
            .add_revoked_certificate(entry)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / "revoked.crl"
        file.write_bytes(revoked.public_bytes(serialization.Encoding.PEM))
        return file

    def _made(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, starts: timedelta, ends: timedelta, host: str | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            known = x509.IPAddress(IPv4Address(host)) if host[0].isdigit() else x509.DNSName(host)
            builder = builder.add_extension(x509.SubjectAlternativeName([known]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Path:
        file = self._folder / f"{name}.crt"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        file.with_suffix(".key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return file
