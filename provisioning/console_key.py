"""The key of the local page: what the engineer types, and its hash in the box's configuration.

A hash is ``scrypt$N$r$p$salt$digest``, the last two in hexadecimal digits (RFC 7914). The key itself is kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_N, _R, _P = 2**13, 8, 1
"""8 MB for the moment of a sign-in."""
_MOST_N = 2**16
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without the characters that look like others on a label."""


def new_key() -> str:
    """About 79 random bits in groups of four."""
    drawn = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return "-".join(drawn[place : place + 4] for place in range(0, 16, 4))


def hash_of(key: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${_digest(key, salt, _N, _R, _P).hex()}"


def complaint(text: str) -> str:
    """Why `text` is no hash; "" if it is one."""
    try:
        _parts(text)
    except ValueError:
        return "it is no hash of a key; make one with `edge console-key`"
    return ""


def is_key(key: str, hashed: str) -> bool:
    """Takes some 30 ms: not for the event loop."""
    n, r, p, salt, digest = _parts(hashed)
    return hmac.compare_digest(_digest(key, salt, n, r, p), digest)


def _parts(text: str) -> tuple[int, int, int, bytes, bytes]:
    name, *rest = text.split("$")
    if name != "scrypt" or len(rest) != 5:
        raise ValueError("no scrypt hash")
    n, r, p = (int(each) for each in rest[:3])
    salt, digest = bytes.fromhex(rest[3]), bytes.fromhex(rest[4])
    if not (1 < n <= _MOST_N and n & (n - 1) == 0 and 0 < r <= 16 and 0 < p <= 4) or len(salt) < 8 or len(digest) != 32:
        raise ValueError("no scrypt hash of ours")
    return n, r, p, salt, digest


def _digest(key: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    typed = key.strip().lower().encode()
    return hashlib.scrypt(typed, salt=salt, n=n, r=r, p=p, maxmem=256 * 1024 * 1024, dklen=32)
