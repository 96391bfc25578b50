"""Many specimens at once: beforehand exactly what will be done and why not the rest, then one transaction for each.

A batch takes only what needs no eye: nothing critical, nothing held, nothing missing, nothing under rerun.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.db import among, begin
from cloud.kit.errors import Conflict, Forbidden, NotFound, XinglinError
from cloud.lis.authority.service import missing_authority
from cloud.lis.catalog.model import Test
from cloud.lis.reports import service as reports
from cloud.lis.results import guards, review, sheets
from cloud.lis.results.model import OPEN_STATES, Result, ResultSheet
from cloud.lis.results.queue import Waiting, waiting_of
from cloud.lis.results.signatory import Signatory, authorise
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.web.i18n import mark as N_

REVIEW, RELEASE = "review", "release"


@dataclass(frozen=True, slots=True)
class Outlook:
    """A specimen of the queue and why a batch would leave it out (None: it would be done)."""

    row: Waiting
    refusal: XinglinError | None


@dataclass(frozen=True, slots=True)
class Done:
    """One row of a batch that was run."""

    accession: str
    specimen_id: uuid.UUID
    refusal: XinglinError | None
    report_id: uuid.UUID | None = None


def outlook(session: Session, rows: Sequence[Waiting], *, by: Signatory, act: str) -> list[Outlook]:
    """What a batch of `act` would do with each specimen now. Changes nothing, logs no refusal as one."""
    codes = _open_codes(session, [row.specimen_id for row in rows])
    right = "result.release" if act == RELEASE else "result.review"
    lacking = missing_authority(session, by.id, right, {code for each in codes.values() for code in each})
    return [
        Outlook(row, _refusal(session, row, codes.get(row.specimen_id, set()) & lacking.keys(), by=by, act=act))
        for row in rows
    ]


def _open_codes(session: Session, specimen_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, set[str]]:
    """The tests that a batch would touch, by specimen."""
    codes: dict[uuid.UUID, set[str]] = {}
    for specimen_id, code in session.execute(
        select(Result.specimen_id, Test.code)
        .join(Test, Test.id == Result.test_id)
        .where(among(Result.specimen_id, specimen_ids), Result.chosen, Result.state.in_(OPEN_STATES))
    ):
        codes.setdefault(specimen_id, set()).add(code)
    return codes


def _refusal(session: Session, row: Waiting, lacking: set[str], *, by: Signatory, act: str) -> XinglinError | None:
    """A missing authority is told beforehand without being logged: nobody has tried anything yet."""
    if lacking:
        return Forbidden("batch.authority", N_("没有“{tests}”的有效授权"), tests="、".join(sorted(lacking)[:5]))
    try:
        _check(session, row, by=by, act=act)
    except XinglinError as refusal:
        return refusal
    return None


def _check(session: Session, row: Waiting, *, by: Signatory, act: str) -> None:
    if row.hold_reason is not None:
        guards.not_held(session.get_one(ResultSheet, row.specimen_id))
    if row.critical:
        raise Conflict("batch.critical", N_("含危急值，须单独核对"))
    if row.held:
        raise Conflict("batch.held", N_("有需核对的提示，须单独核对"))
    if row.missing:
        raise Conflict("batch.missing", N_("缺 {count} 项结果"), count=row.missing)
    if row.rerun:
        raise Conflict("batch.rerun", N_("有 {count} 项等待复检"), count=row.rerun)
    if act == RELEASE:
        reports.check_release(session, row.specimen_id, by=by, version=row.version)
    elif not row.to_review:
        raise Conflict("review.nothing", N_("没有等待初审的结果。"))


def run(ticked: Sequence[tuple[uuid.UUID, int]], *, by: Signatory, act: str) -> list[Done]:
    """Each specimen in a transaction of its own, from the version that the page showed; what each came to."""
    authorise(by, "result.release" if act == RELEASE else "result.review")
    return [_one(specimen_id, version, by=by, act=act) for specimen_id, version in dict.fromkeys(ticked)]


def _one(specimen_id: uuid.UUID, version: int, *, by: Signatory, act: str) -> Done:
    accession = ""
    try:
        with begin() as session:
            specimen = session.get(Specimen, specimen_id)
            if specimen is None:
                raise NotFound("specimen.unknown", N_("没有这份标本。"))
            accession = specimen.accession
            row = waiting_of(session, Subject.staff(by), specimen_id)
            if row is None or row.version != version:
                raise Conflict("sheet.stale", sheets.STALE)
            _check(session, row, by=by, act=act)
            if act == RELEASE:
                report = reports.release(session, specimen_id, by=by, version=version)
                return Done(accession, specimen_id, None, report.id)
            review.mark_reviewed(session, specimen_id, by=by, version=version)
    except XinglinError as refusal:
        return Done(accession or str(specimen_id), specimen_id, refusal)
    return Done(accession, specimen_id, None)
