"""The signed file of audit roots outside the database: one JSON line a seal, each naming the hash of the one before.

The Ed25519 key lies beside it (`seal-key.pem`, readable by the owner alone). Put the folder where the database's
administrators cannot write, and note the key's fingerprint elsewhere: `verify-audit` prints it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cloud.config import Settings

SEALS = "seals.jsonl"
KEY = "seal-key.pem"
PUBLIC_KEY = "seal-key.pub.pem"


class SealFileBroken(RuntimeError):
    """The file or its key is not what the database says; nothing more is sealed until somebody looks."""


@dataclass(frozen=True, slots=True)
class SealLine:
    """One line as read; `trusted` is False when it cannot be read or its signature is wrong."""

    number: int
    root: str
    previous: str
    text: str
    trusted: bool


def folder(settings: Settings) -> Path:
    return settings.audit_dir or settings.state_dir / "audit"


def digest(line: str) -> str:
    """What the next line calls `previous`; the first line's is empty."""
    return hashlib.sha256(line.encode()).hexdigest()


def signing_key(place: Path, *, make: bool) -> Ed25519PrivateKey:
    """The key; made (0600) only when `make`, i.e. nothing was ever sealed."""
    path = place / KEY
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise SealFileBroken(f"{path} is not an Ed25519 key")
        return key
    if not make:
        raise SealFileBroken(
            f"{path} is missing though seals exist: give every process that seals the same XINGLIN_AUDIT_DIR"
        )
    place.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    no_encryption = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_encryption)
    _write_new(path, pem, 0o600)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(place / PUBLIC_KEY, public, 0o644)
    return key


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def public_key(place: Path) -> Ed25519PublicKey | None:
    try:
        key = serialization.load_pem_public_key((place / PUBLIC_KEY).read_bytes())
    except (OSError, ValueError):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def fingerprint(key: Ed25519PublicKey | None) -> str:
    """Short enough to be read out and noted on paper."""
    if key is None:
        return "-"
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def make_line(
    key: Ed25519PrivateKey, *, number: int, at: datetime, previous: str, root: bytes, heads: int, entries: int
) -> str:
    """The signed line, without line end."""
    content = {
        "number": number,
        "at": at.isoformat(),
        "previous": previous,
        "root": root.hex(),
        "heads": heads,
        "entries": entries,
    }
    return _canonical({**content, "signature": key.sign(_canonical(content).encode()).hex()})


def _canonical(content: dict[str, object]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def read_lines(place: Path) -> Iterator[SealLine]:
    """Every line of the file; an unreadable one comes as number 0, not trusted."""
    key = public_key(place)
    try:
        text = (place / SEALS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        yield _read_line(line, key)


def _read_line(line: str, key: Ed25519PublicKey | None) -> SealLine:
    try:
        content = json.loads(line)
        signature = bytes.fromhex(content.pop("signature"))
        number, root, previous = int(content["number"]), str(content["root"]), str(content["previous"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return SealLine(0, "", "", line, trusted=False)
    trusted = key is not None
    if key is not None:
        try:
            key.verify(signature, _canonical(content).encode())
        except InvalidSignature:
            trusted = False
    return SealLine(number, root, previous, line, trusted)


def append(place: Path, line: str) -> None:
    """Add `line` durably, once: also after a crash that left it whole, half or not at all in the file."""
    path = place / SEALS
    record = line.encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        content = file.read()
        if content.endswith(record):
            os.fsync(file.fileno())
            return
        whole = content[: content.rfind(b"\n") + 1]
        torn = content[len(whole) :]
        if torn and not record.startswith(torn):
            raise SealFileBroken(f"the last line of {path} is not one of ours")
        file.seek(len(whole))
        file.write(record)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(place)


def _sync_folder(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
