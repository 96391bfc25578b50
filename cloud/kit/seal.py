"""The single sealer: hashes the heads of all chains that grew into one root and signs it into the file outside.

The seal is committed in the database first, then written to the file, then noted as written: a crash in between is
finished by the next run, which writes the very same line.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock, seal_file
from cloud.kit.audit import AuditSeal
from cloud.kit.jobs import Begin, job

LOCK = 7_310_002
"""Advisory lock of whoever seals; verification holds it while it takes its snapshot."""
MOST_HEADS = 20_000

Head = tuple[str, str, int, bytes]
"""kind, aggregate_id, number, hash"""

_TAKE_HEADS = text(
    """
    WITH grown AS (
        SELECT kind, aggregate_id, sealed_number FROM audit_chain
        WHERE number > sealed_number LIMIT :most FOR UPDATE SKIP LOCKED
    )
    UPDATE audit_chain AS chain SET sealed_number = chain.number
    FROM grown WHERE chain.kind = grown.kind AND chain.aggregate_id = grown.aggregate_id
    RETURNING chain.kind, chain.aggregate_id, chain.number, chain.hash, chain.number - grown.sealed_number
    """
)
"""Chains that a writer holds now are left for the next run: sealer and writers must never wait in a circle."""
_KEEP_HEADS = text(
    """
    INSERT INTO audit_seal_head (seal_number, kind, aggregate_id, number, hash)
    SELECT CAST(:seal AS bigint), * FROM unnest(CAST(:kinds AS text[]), CAST(:aggregate_ids AS text[]),
                                                CAST(:numbers AS bigint[]), CAST(:hashes AS bytea[]))
    """
)


@dataclass(frozen=True, slots=True)
class Sealed:
    number: int
    heads: int
    entries: int


@job("audit.seal", own_transactions=True, every="* * * * * */10")
def seal_regularly(begin: Begin) -> None:
    seal(begin)


def seal(begin: Begin) -> Sealed | None:
    """Seal what grew since the last time; None if nothing did or another process is at it. Raises `SealFileBroken`."""
    place = seal_file.folder(settings())
    with begin() as guard:
        if not guard.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK}).scalar_one():
            return None
        _finish_last(begin, place)
        with begin() as session:
            made = _make_seal(session, place)
        if made is not None:
            _finish_last(begin, place)
        return made


def _finish_last(begin: Begin, place: Path) -> None:
    """Bring a committed seal into the file and note it."""
    with begin() as session:
        last = session.scalar(select(AuditSeal).order_by(AuditSeal.number.desc()).limit(1))
        if last is not None and last.written_at is None:
            seal_file.append(place, last.line)
            last.written_at = clock.now()


def _make_seal(session: Session, place: Path) -> Sealed | None:
    rows = session.execute(_TAKE_HEADS, {"most": MOST_HEADS}).all()
    if not rows:
        return None
    last = session.execute(select(AuditSeal.number, AuditSeal.line).order_by(AuditSeal.number.desc()).limit(1)).first()
    key = seal_file.signing_key(place, make=last is None)
    heads: list[Head] = sorted((row[0], row[1], row[2], row[3]) for row in rows)
    number, at, root = (last.number + 1 if last else 1), clock.now(), root_of(heads)
    entries = sum(row[4] for row in rows)
    line = seal_file.make_line(
        key,
        number=number,
        at=at,
        previous=seal_file.digest(last.line) if last else "",
        root=root,
        heads=len(heads),
        entries=entries,
    )
    session.add(AuditSeal(number=number, at=at, root=root, line=line, written_at=None))
    session.flush()
    kinds, aggregate_ids, numbers, digests = (list(each) for each in zip(*heads, strict=True))
    session.execute(
        _KEEP_HEADS,
        {"seal": number, "kinds": kinds, "aggregate_ids": aggregate_ids, "numbers": numbers, "hashes": digests},
    )
    return Sealed(number, len(heads), entries)


def root_of(heads: Iterable[Head]) -> bytes:
    """SHA-256 over the heads in the order of (kind, aggregate_id) by code points, every part with its length."""
    whole = hashlib.sha256()
    for kind, aggregate_id, number, digest in heads:
        for part in (kind.encode(), aggregate_id.encode(), struct.pack(">q", number), digest):
            whole.update(struct.pack(">I", len(part)) + part)
    return whole.digest()
