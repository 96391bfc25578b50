"""The audit trail: chained, sealed outside the database, and every way of changing it found."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from cloud.config import settings
from cloud.kit import seal, seal_file, verify
from cloud.kit.audit import record
from cloud.kit.db import begin
from cloud.kit.ids import new_id

pytestmark = pytest.mark.req("SEC-2")


@pytest.fixture
def place(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XINGLIN_AUDIT_DIR", str(tmp_path / "audit"))
    settings.cache_clear()
    return tmp_path / "audit"


@pytest.fixture
def trail(place: Path) -> Path:
    """Two chains of five entries, sealed twice, one entry after the last seal."""
    _act("report", "A", times=3)
    _act("report", "B", times=5)
    seal.seal(begin)
    _act("report", "A", times=2)
    seal.seal(begin)
    _act("staff", "C", times=1)
    return place


def _act(kind: str, aggregate: str, *, times: int) -> None:
    for each in range(times):
        with begin() as session:
            record(session, actor="staff:1", action="changed", aggregate=(kind, aggregate), after={"step": each})


def _tamper(*statements: str) -> None:
    """As an administrator of the database, who can switch the trigger off."""
    with begin() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            session.execute(text(statement))


def _found() -> list[tuple[str, str]]:
    return [(finding.what, finding.where) for finding in verify.verify(begin).findings]


def test_an_untouched_trail_is_intact(trail: Path) -> None:
    verdict = verify.verify(begin)
    assert verdict.findings == []
    assert (verdict.entries, verdict.chains, verdict.seals, verdict.unsealed) == (11, 3, 2, 1)


def test_what_was_recorded_survives_the_way_through_the_database(place: Path) -> None:
    odd = {
        "decimal": Decimal("1.50"),
        "float": 1e22,
        "moment": datetime(2026, 3, 1, 8, tzinfo=UTC),
        "day": date(1990, 5, 1),
        "id": new_id(),
        "nested": [{"b": 1, "a": None}, {"中文": True}],
        "set": {"z", "a"},
        "big": 2**70,
    }
    with begin() as session:
        record(session, actor="system", action="a", aggregate=("x", new_id()), before=odd, after={}, reason="理由\n二")
    assert verify.verify(begin).intact


def test_the_database_itself_refuses_to_change_or_delete_an_entry(trail: Path) -> None:
    for statement in ("UPDATE audit_entry SET actor = 'x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"):
        with pytest.raises(ProgrammingError, match="never changed"), begin() as session:
            session.execute(text(statement))


def test_an_entry_of_a_unit_of_work_that_failed_is_not_in_the_trail(trail: Path) -> None:
    with pytest.raises(RuntimeError), begin() as session:  # noqa: PT012
        record(session, actor="staff:1", action="changed", aggregate=("report", "A"))
        raise RuntimeError("rolled back")
    _act("report", "A", times=1)
    assert verify.verify(begin).intact


A = "kind = 'report' AND aggregate_id = 'A'"
HEAD_FITS = (
    "UPDATE audit_chain SET number = 3, sealed_number = 3,"
    f" hash = (SELECT hash FROM audit_entry WHERE {A} AND number = 3) WHERE {A}"
)
TAMPERINGS = {
    "an edited value": ([f"UPDATE audit_entry SET after = '{{}}' WHERE {A} AND number = 2"], "edited"),
    "another actor": ([f"UPDATE audit_entry SET actor = 'staff:2' WHERE {A} AND number = 5"], "edited"),
    "another time": ([f"UPDATE audit_entry SET at = at - interval '1 hour' WHERE {A} AND number = 1"], "edited"),
    "an invented reason": ([f"UPDATE audit_entry SET reason = 'asked' WHERE {A} AND number = 1"], "edited"),
    "a deleted entry": ([f"DELETE FROM audit_entry WHERE {A} AND number = 2"], "deleted"),
    "a deleted first entry": ([f"DELETE FROM audit_entry WHERE {A} AND number = 1"], "deleted"),
    "a cut tail": ([f"DELETE FROM audit_entry WHERE {A} AND number > 3"], "cut_tail"),
    "a cut tail whose head fits": ([f"DELETE FROM audit_entry WHERE {A} AND number > 3", HEAD_FITS], "cut_tail"),
    "a chain gone": ([f"DELETE FROM audit_entry WHERE {A}", f"DELETE FROM audit_chain WHERE {A}"], "cut_tail"),
    "a chain gone with its seals": (
        [f"DELETE FROM {table} WHERE {A}" for table in ("audit_entry", "audit_chain", "audit_seal_head")],
        "seal_changed",
    ),
    "a missing head": ([f"DELETE FROM audit_chain WHERE {A}"], "head_changed"),
    "a changed root": (["UPDATE audit_seal SET root = sha256('x') WHERE number = 1"], "seal_changed"),
    "seals gone from the database": (
        ["DELETE FROM audit_seal_head WHERE seal_number = 2", "DELETE FROM audit_seal WHERE number = 2"],
        "seal_cut",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_in_the_database_is_found(trail: Path, name: str) -> None:
    statements, expected = TAMPERINGS[name]
    _tamper(*statements)
    assert expected in [what for what, _ in _found()]


def test_a_sealed_chain_rewritten_whole_with_fitting_hashes_is_found(trail: Path) -> None:
    _tamper(*(f"DELETE FROM {table} WHERE {A}" for table in ("audit_entry", "audit_chain")))
    _act("report", "A", times=5)
    assert ("edited", "report/A entry 5") in _found()


def _rewrite(place: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = place / seal_file.SEALS
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines[:1], "seal_file_cut"),
        (lambda lines: [], "seal_file_cut"),
        (lambda lines: lines[1:], "seal_file_cut"),
        (lambda lines: [lines[0].replace('"heads":2', '"heads":3'), lines[1]], "seal_file_edited"),
        (lambda lines: [*lines, "not a seal\n"], "seal_file_edited"),
        (lambda lines: [*lines, lines[-1]], "seal_file_cut"),
    ],
    ids=["last line cut", "emptied", "first line cut", "edited", "junk added", "line repeated"],
)
def test_tampering_with_the_signed_file_is_found(
    trail: Path, change: Callable[[list[str]], list[str]], expected: str
) -> None:
    _rewrite(trail, change)
    assert expected in [what for what, _ in _found()]


def test_seals_signed_with_another_key_are_found(trail: Path, tmp_path: Path) -> None:
    (trail / seal_file.KEY).unlink()
    (trail / seal_file.PUBLIC_KEY).unlink()
    seal_file.signing_key(trail, make=True)
    assert ("seal_file_edited", "seal file line 1") in _found()


def test_nothing_is_sealed_with_a_new_key_where_seals_exist(trail: Path) -> None:
    shutil.rmtree(trail)
    with pytest.raises(seal_file.SealFileBroken, match="XINGLIN_AUDIT_DIR"):
        seal.seal(begin)


@pytest.mark.parametrize("kept", [0, 1, 40, -1, None], ids=["none", "one byte", "half", "all but line end", "whole"])
def test_a_crash_between_database_and_file_is_finished_by_the_next_run(trail: Path, kept: int | None) -> None:
    path = trail / seal_file.SEALS
    lines = path.read_bytes().splitlines(keepends=True)
    torn = lines[-1] if kept is None else lines[-1][:kept]
    path.write_bytes(b"".join(lines[:-1]) + torn)
    _tamper("UPDATE audit_seal SET written_at = NULL WHERE number = 2")
    seal.seal(begin)
    assert len(path.read_bytes().splitlines()) == 3
    assert verify.verify(begin).intact


def test_writers_of_one_chain_do_not_fork_it_and_the_sealer_beside_them_does_not_hinder(place: Path) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            _act("report", "shared", times=40)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seal.seal(begin)
    seal.seal(begin)
    verdict = verify.verify(begin)
    assert failures == []
    assert (verdict.intact, verdict.entries, verdict.unsealed) == (True, 160, 0)


def test_only_the_owner_reads_the_sealing_key(trail: Path) -> None:
    assert (trail / seal_file.KEY).stat().st_mode & 0o077 == 0


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cloud", *arguments], capture_output=True, text=True, check=False)


def test_the_command_names_what_it_found_and_exits_1(trail: Path) -> None:
    intact = _command("verify-audit")
    assert (intact.returncode, "intact" in intact.stdout) == (0, True)
    _tamper(f"DELETE FROM audit_entry WHERE {A} AND number = 2")
    found = _command("verify-audit")
    assert found.returncode == 1
    assert "deleted: report/A: entries 2 to 2 are gone" in found.stderr
