"""Reads the whole audit trail back and says what was done to it: edited, deleted, cut; in the database or in the file.

What it cannot see: a tail cut from the database, its seals and the signed file alike (keep the file where that takes
another person), and entries younger than the last seal whose chain was rewritten whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import seal_file
from cloud.kit.audit import AuditSeal, body, chained_hash
from cloud.kit.jobs import Begin
from cloud.kit.seal import LOCK, Head, root_of
from cloud.kit.seal_file import SealLine

BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `what`: edited, deleted, cut_tail, head_changed, seal_changed, seal_cut, seal_file_cut, ..."""

    what: str
    where: str
    detail: str

    def sentence(self) -> str:
        return f"{self.what}: {self.where}: {self.detail}"


@dataclass
class Verdict:
    findings: list[Finding] = field(default_factory=list)
    entries: int = 0
    chains: int = 0
    seals: int = 0
    unsealed: int = 0
    key_fingerprint: str = "-"

    @property
    def intact(self) -> bool:
        return not self.findings

    def add(self, what: str, where: str, detail: str) -> None:
        self.findings.append(Finding(what, where, detail))


def verify(begin: Begin) -> Verdict:
    """Check everything, in one snapshot, beside running writers and the sealer."""
    place = seal_file.folder(settings())
    verdict = Verdict(key_fingerprint=seal_file.fingerprint(seal_file.public_key(place)))
    with begin() as session:
        with begin() as guard:  # while we hold it no sealer stands between its two writes
            guard.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            seals = list(session.scalars(select(AuditSeal).order_by(AuditSeal.number)))
            lines = list(seal_file.read_lines(place))
        _check_lines(lines, verdict)
        _check_seals(seals, lines, verdict)
        _check_roots(session, seals, verdict)
        _check_chains(session, verdict)
    return verdict


def _check_lines(lines: list[SealLine], verdict: Verdict) -> None:
    """The file by itself: signatures, numbers, each line naming the one before."""
    previous = ""
    for expected, line in enumerate(lines, start=1):
        where = f"seal file line {expected}"
        if not line.trusted:
            verdict.add("seal_file_edited", where, "unreadable or its signature is wrong")
        elif line.number != expected:
            verdict.add("seal_file_cut", where, f"number {line.number} where {expected} belongs")
        elif line.previous != previous:
            verdict.add("seal_file_edited", where, "does not follow the line before it")
        previous = seal_file.digest(line.text)


def _check_seals(seals: list[AuditSeal], lines: list[SealLine], verdict: Verdict) -> None:
    """The file against the database's copy of it."""
    verdict.seals = len(seals)
    in_file = {line.number: line for line in lines}
    for expected, stored in enumerate(seals, start=1):
        if stored.number != expected:
            verdict.add("seal_cut", f"seal {expected}", "is gone from the database")
            break
        line = in_file.get(stored.number)
        unfinished = stored.written_at is None and stored is seals[-1]
        if line is None and not unfinished:
            verdict.add("seal_file_cut", f"seal {stored.number}", "is gone from the signed file")
        elif line is not None and (line.text != stored.line or line.root != stored.root.hex()):
            verdict.add("seal_changed", f"seal {stored.number}", "database and signed file differ")
    known = {stored.number for stored in seals}
    for number in sorted(in_file.keys() - known - {0}):
        verdict.add("seal_cut", f"seal {number}", "stands in the signed file but is gone from the database")


def _check_roots(session: Session, seals: list[AuditSeal], verdict: Verdict) -> None:
    """The list of heads of each seal against its root."""
    rows = _stream(
        session,
        "SELECT seal_number, kind, aggregate_id, number, hash FROM audit_seal_head"
        ' ORDER BY seal_number, kind COLLATE "C", aggregate_id COLLATE "C"',
    )
    roots = {
        number: root_of(_head(row) for row in group) for number, group in groupby(rows, key=lambda row: row.seal_number)
    }
    for stored in seals:
        if roots.get(stored.number) != stored.root:
            verdict.add("seal_changed", f"seal {stored.number}", "its list of chains does not give its root")


def _head(row: Row[Any]) -> Head:
    return (row.kind, row.aggregate_id, row.number, row.hash)


def _check_chains(session: Session, verdict: Verdict) -> None:
    """Entries, heads of chains and sealed heads, side by side in the order of the chains."""
    order = ' ORDER BY kind COLLATE "C", aggregate_id COLLATE "C", number'
    entries = "SELECT 'entry' AS source, * FROM audit_entry"
    sealed = "SELECT 'sealed' AS source, * FROM audit_seal_head"
    chains = "SELECT 'chain' AS source, * FROM audit_chain"
    streams = [_stream(session, query + order) for query in (entries, sealed, chains)]
    for key, rows in groupby(merge(*streams, key=_key), key=_key):
        _check_chain("/".join(part.decode() for part in key), rows, verdict)


def _key(row: Row[Any]) -> tuple[bytes, bytes]:
    return row.kind.encode(), row.aggregate_id.encode()


def _stream(session: Session, query: str) -> Iterator[Row[Any]]:
    return iter(session.execute(text(query).execution_options(yield_per=BATCH)))


def _check_chain(name: str, rows: Iterable[Row[Any]], verdict: Verdict) -> None:
    verdict.chains += 1
    hashes: dict[int, bytes] = {}
    sealed: dict[int, bytes] = {}
    chain: Row[Any] | None = None
    for row in rows:
        if row.source == "entry":
            _check_entry(name, row, hashes, verdict)
        elif row.source == "sealed":
            sealed[row.number] = row.hash
        else:
            chain = row
    last = max(hashes, default=0)
    verdict.entries += len(hashes)
    verdict.unsealed += max(0, last - max(sealed, default=0))
    expected_last = max(chain.number if chain is not None else 0, *sealed, 0)
    if expected_last > last:
        verdict.add("cut_tail", name, f"entries {last + 1} to {expected_last} are gone")
    if chain is None:
        verdict.add("head_changed", name, "the chain's head is gone")
    elif chain.number < last or (chain.number == last and chain.hash != hashes[last]):
        verdict.add("head_changed", name, f"the chain's head does not fit entry {last}")
    for number, digest in sorted(sealed.items()):
        if number in hashes and hashes[number] != digest:
            verdict.add("edited", f"{name} entry {number}", "is not what was sealed")


def _check_entry(name: str, row: Row[Any], hashes: dict[int, bytes], verdict: Verdict) -> None:
    """Numbers without a hole, and each hash from the entry's content and the hash before it."""
    last = max(hashes, default=0) if row.number - 1 not in hashes else row.number - 1
    if row.number != last + 1:
        verdict.add("deleted", name, f"entries {last + 1} to {row.number - 1} are gone")
    previous = b"" if row.number == 1 else hashes.get(row.number - 1)
    if previous is not None:
        content = body(row.kind, row.aggregate_id, row.at, row.actor, row.action, row.before, row.after, row.reason)
        if chained_hash(previous, row.number, content) != row.hash:
            verdict.add("edited", f"{name} entry {row.number}", "content and hash do not fit")
    hashes[row.number] = row.hash
