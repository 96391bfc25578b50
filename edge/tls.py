"""TLS to the broker: what is checked, also while the box does not trust its clock, and refusals in words.

A box that woke up in 1970 (or ten years ahead) finds no certificate valid yet (or any more). Then OpenSSL checks
all but the dates, and the dates are checked here against the earliest time it can be (`edge/decisions/0006`).
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from typing import Any

from edge.certificate import Validity, read_validity
from edge.config import CloudSection

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h; Python's ssl has no name for it and takes it."""
_HAS_EXPIRED, _NOT_YET_VALID, _HOST_MISMATCH, _ADDRESS_MISMATCH, _REVOKED = 10, 9, 62, 64, 23
_UNTRUSTED = (2, 18, 19, 20, 21, 24)
_REFUSALS = {
    "CERTIFICATE_EXPIRED": "the broker says that the box's certificate has expired",
    "CERTIFICATE_REVOKED": "the broker says that the box's certificate is revoked",
    "UNKNOWN_CA": "the broker does not know the authority that signed the box's certificate",
    "CERTIFICATE_REQUIRED": "the broker wants a certificate of the box: set certificate_file and key_file",
    "BAD_CERTIFICATE": "the broker does not accept the box's certificate",
    "CERTIFICATE_UNKNOWN": "the broker does not accept the box's certificate",
    "HANDSHAKE_FAILURE": "the broker and the box agree on no way to encrypt, or the broker misses a certificate",
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS: is it the right port?",
    "KEY_VALUES_MISMATCH": "certificate_file and key_file do not belong together",
}


class FloorContext(ssl.SSLContext):
    """A client's context; with `floor` the dates of the peer's certificate are checked against it, not the clock."""

    floor: datetime | None = None
    fault: ssl.SSLError | None = None
    """What broke the connection after the handshake: there a broker of TLS 1.3 refuses the box's certificate."""


class FloorSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        """Closed when it fails: paho leaves a socket that it could not wrap to the garbage collector."""
        try:
            super().do_handshake(block)
            if isinstance(self.context, FloorContext) and self.context.floor is not None:
                self._check_dates(self.context.floor)
        except OSError:
            self.close()
            raise

    def _check_dates(self, floor: datetime) -> None:
        """Before anything is sent over it."""
        found: Any = self.getpeercert()
        not_after = datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)
        if not_after < floor:
            raise ssl.SSLCertVerificationError(
                f"the broker's certificate expired on {not_after:%Y-%m-%d}, before {floor:%Y-%m-%d},"
                " and it is later than that whatever the clock says"
            )

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if isinstance(self.context, FloorContext):
                self.context.fault = error
            raise


def client_context(settings: CloudSection, floor: datetime | None) -> FloorContext:
    """`floor`: None while the clock is trusted. Raises OSError (files that cannot be read) or ssl.SSLError."""
    context = FloorContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = FloorSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is not None:
        context.load_verify_locations(str(settings.ca_file))
    else:
        context.load_default_certs()
    if settings.certificate_file is not None:
        context.load_cert_chain(str(settings.certificate_file), str(settings.key_file))
    context.floor = floor
    if floor is not None:
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def own_validity(settings: CloudSection) -> Validity | None:
    """Of the box's certificate; None where it has none that can be read."""
    if settings.certificate_file is None:
        return None
    try:
        return read_validity(settings.certificate_file)
    except (OSError, ValueError):
        return None


def explain(error: OSError, settings: CloudSection) -> str:
    """Why there is no connection, for the person who can change it."""
    place = f"{settings.host}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_broker(error, settings)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        found = [text for word, text in _REFUSALS.items() if word in reason]
        return found[0] if found else f"TLS with {place} failed: {reason}"
    if isinstance(error, socket.gaierror):
        return f"the name {settings.host} is not known: {error.strerror}"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"{error.filename or 'a file of [cloud]'} cannot be read: {error.strerror}"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {place}"
    return f"{place}: {error}"


def _explain_broker(error: ssl.SSLCertVerificationError, settings: CloudSection) -> str:
    code = getattr(error, "verify_code", 0)
    if code in (_HOST_MISMATCH, _ADDRESS_MISMATCH):
        return f"the broker's certificate is not for {settings.host}"
    if code == _HAS_EXPIRED:
        return "the broker's certificate has expired (or the box's clock is wrong)"
    if code == _NOT_YET_VALID:
        return "the broker's certificate is not valid yet (or the box's clock is wrong)"
    if code == _REVOKED:
        return "the broker's certificate is revoked"
    if code in _UNTRUSTED:
        return "the broker's certificate is not signed by an authority of ca_file"
    return getattr(error, "verify_message", "") or str(error)
