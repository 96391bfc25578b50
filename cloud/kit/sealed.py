"""Personal data at rest: text columns encrypted with AES-256-GCM, found again by a keyed hash (blind index).

Keys are derived from ``settings.secret_key`` with HKDF-SHA256, one for each purpose, so that the number of one column
never decrypts in another and an index of phones says nothing about an index of ID numbers. Whoever has only the
database has neither. A stored value starts with a format byte, so that a later key or cipher can stand beside this one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator

from cloud.config import settings

_FORMAT = b"\x01"
_NONCE_BYTES = 12
_STAND_IN = "not a secret: demo and test only, refused in production"


class NoSecretKey(RuntimeError):
    """``XINGLIN_SECRET_KEY`` is missing or short where it protects patients' data."""


class Unreadable(RuntimeError):
    """A stored value does not open: another secret key wrote it, or somebody changed the bytes."""


def _secret() -> bytes:
    given = settings().secret_key.get_secret_value()
    if settings().environment == "production" and len(given) < 32:
        raise NoSecretKey("XINGLIN_SECRET_KEY needs at least 32 characters: it encrypts ID numbers and phones.")
    return (given or _STAND_IN).encode()


@cache
def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)


def seal(text: str, purpose: str) -> bytes:
    """`text` encrypted for `purpose` (for example ``person.phone``); twice the same text gives different bytes."""
    nonce = os.urandom(_NONCE_BYTES)
    key = _derive(_secret(), f"seal:{purpose}")
    return _FORMAT + nonce + AESGCM(key).encrypt(nonce, text.encode(), purpose.encode())


def unseal(stored: bytes, purpose: str) -> str:
    """What `seal` was given; raises `Unreadable`."""
    nonce, body = stored[1 : 1 + _NONCE_BYTES], stored[1 + _NONCE_BYTES :]
    if stored[:1] != _FORMAT:
        raise Unreadable(f"{purpose}: unknown format {stored[:1]!r}")
    try:
        return AESGCM(_derive(_secret(), f"seal:{purpose}")).decrypt(nonce, body, purpose.encode()).decode()
    except InvalidTag:
        raise Unreadable(f"{purpose}: written with another XINGLIN_SECRET_KEY, or changed") from None


def blind_index(text: str, purpose: str) -> str:
    """The same for the same `text` and `purpose`, 64 hex digits; without the key nothing can be tried against it."""
    key = _derive(_secret(), f"index:{purpose}")
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class SealedText(TypeDecorator[str]):
    """A text column that is ciphertext in the database. It cannot be searched: keep a `blind_index` beside it."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, purpose: str) -> None:
        super().__init__()
        self.purpose = purpose

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else seal(value, self.purpose)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else unseal(bytes(value), self.purpose)
