"""``./xinglin bench audit``: entries a second with two writers; an edit, a deletion, a cut tail: each found or not.

Two processes write entries, one transaction each, to chains of their own and to one chain they share; the sealer runs
beside them. Then the trail is verified, and each kind of tampering is done to it as a database administrator could.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from sqlalchemy import text

from cloud import config
from cloud.kit import db, seal, verify
from cloud.kit.audit import record
from cloud.kit.db import begin
from tests.support.databases import DatabaseServer

SHARED_CHAIN_EVERY = 10
"""One entry in ten goes to the chain that both writers share."""


def write(entries: int, writer: int, together: Barrier) -> None:
    with begin() as session:
        session.execute(text("SELECT 1"))
    together.wait()
    for each in range(entries):
        aggregate = "shared" if each % SHARED_CHAIN_EVERY == 0 else f"{writer}-{each // 20}"
        with begin() as session:
            record(
                session,
                actor=f"staff:{writer}",
                action="report.release",
                aggregate=("report", aggregate),
                before={"state": "reviewed"},
                after={"state": "released", "version": each},
            )


def measure(entries: int) -> float:
    """Seconds that two writers took for `entries` each, the sealer beside them."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    writers = [context.Process(target=write, args=(entries, number, together)) for number in range(2)]
    for writer in writers:
        writer.start()
    together.wait()
    started = time.perf_counter()
    while any(writer.is_alive() for writer in writers):
        seal.seal(begin)
        time.sleep(0.2)
    seconds = time.perf_counter() - started
    if any(writer.exitcode for writer in writers):
        sys.exit("a writer failed")
    seal.seal(begin)
    return seconds


def tamper(*statements: str) -> Callable[[], None]:
    """As an administrator of the database could: triggers switched off, heads of chains made to fit."""

    def run() -> None:
        with begin() as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                session.execute(text(statement))

    return run


CHAIN = "kind = 'report' AND aggregate_id = 'shared'"
LAST = f"(SELECT max(number) FROM audit_entry WHERE {CHAIN})"
TAMPERING = {
    "edit": tamper(f'UPDATE audit_entry SET after = \'{{"state": "reviewed"}}\' WHERE {CHAIN} AND number = 2'),
    "deletion": tamper(f"DELETE FROM audit_entry WHERE {CHAIN} AND number = 3"),
    "cut_tail": tamper(
        f"DELETE FROM audit_entry WHERE {CHAIN} AND number > {LAST} - 3",
        f"UPDATE audit_chain SET number = {LAST}, sealed_number = {LAST},"
        f" hash = (SELECT hash FROM audit_entry WHERE {CHAIN} AND number = {LAST}) WHERE {CHAIN}",
    ),
    "cut_chain": tamper(f"DELETE FROM audit_entry WHERE {CHAIN}", f"DELETE FROM audit_chain WHERE {CHAIN}"),
}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--entries", type=int, default=1500, help="entries of each writer")
    entries = arguments.parse_args().entries
    server = DatabaseServer.start()
    failed = False
    with tempfile.TemporaryDirectory() as folder, server.clone() as url:
        os.environ |= {"XINGLIN_ENVIRONMENT": "test", "XINGLIN_AUDIT_DIR": folder}
        _point_at(url)
        seconds = measure(entries)
        verdict = verify.verify(begin)
        print(f"two writers: {2 * entries} entries in {seconds:.2f} s, {2 * entries / seconds:.0f} entries/s")
        print(f"untouched: {verdict.entries} entries, {verdict.seals} seals: {_shown(verdict)}")
        failed |= not verdict.intact or verdict.entries != 2 * entries
        db.engine().dispose()
        failed |= not _each_is_found(server, url)
        _cut(Path(folder) / "seals.jsonl")
        verdict = verify.verify(begin)
        print(f"cut_seal_file: {_shown(verdict)}")
        failed |= verdict.intact
        db.engine().dispose()
    return 1 if failed else 0


def _each_is_found(server: DatabaseServer, url: str) -> bool:
    """Each kind of tampering on a copy of its own."""
    found = True
    for name, act in TAMPERING.items():
        with server.clone(template=url.rsplit("/", 1)[1].split("?")[0]) as copy:
            _point_at(copy)
            act()
            verdict = verify.verify(db.begin)
            print(f"{name}: {_shown(verdict)}")
            found &= not verdict.intact
            db.engine().dispose()
    _point_at(url)
    return found


def _point_at(url: str) -> None:
    os.environ["XINGLIN_DATABASE_URL"] = url
    config.settings.cache_clear()
    db.engine.cache_clear()
    db._sessions.cache_clear()


def _shown(verdict: verify.Verdict) -> str:
    findings = [finding.sentence() for finding in verdict.findings]
    return f"FOUND {len(findings)}: {findings[0]}" if findings else "intact"


def _cut(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))


if __name__ == "__main__":
    sys.exit(main())
