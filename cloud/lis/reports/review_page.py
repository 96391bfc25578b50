"""The review page put together: queue and specimen, the part of the queue that is shown, and its words."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query
from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.errors import NotFound, XinglinError
from cloud.lis.authority.service import missing_authority
from cloud.lis.catalog.words import SECTIONS, SPECIMENS
from cloud.lis.instruments.model import Instrument
from cloud.lis.reports import service as reports
from cloud.lis.reports.content import age_text
from cloud.lis.reports.model import Report
from cloud.lis.results import queue as queues
from cloud.lis.results import sheets, wording
from cloud.lis.results.lines import Desk, desk
from cloud.lis.results.model import ResultSheet
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff, signed_in
from cloud.staff.model import StaffAccount
from cloud.staff.trail_words import ACTIONS
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

TRAIL_SHOWN = 6


class Filter(queues.Wanted):
    """What part of the queue is shown; travels along in every address of the page."""

    @cached_property
    def query(self) -> str:
        always = {"section": self.section, "stage": self.stage}
        said = {name: value for name, value in asdict(self).items() if value}
        return "?" + urlencode(always | said | ({"mine": "1"} if self.mine else {}))

    def of_stage(self, stage: str) -> str:
        """The same part of another stage."""
        return Filter(**{**asdict(self), "stage": stage}).query

    def __getitem__(self, name: str) -> str:
        """A field by its name, for the page's hidden boxes."""
        return str(asdict(self)[name])


def _filter(
    staff: Annotated[CurrentStaff, Depends(signed_in)],
    section: Annotated[str, Query()] = "",
    stage: Annotated[str, Query()] = "",
    instrument: Annotated[str, Query(max_length=64)] = "",
    department: Annotated[str, Query(max_length=64)] = "",
    kind: Annotated[str, Query()] = "",
    hours: Annotated[str, Query(max_length=3)] = "",
    mine: Annotated[str, Query(max_length=36)] = "",
) -> Filter:
    return Filter(
        section=section if section in SECTIONS else "",
        stage=stage if stage in queues.STAGES else "",
        instrument=instrument,
        department=department,
        kind=kind if kind in queues.KINDS else "",
        hours=int(hours) if hours.isascii() and hours.isdigit() else 0,
        mine=staff.id if mine else None,
    )


Filtered = Annotated[Filter, Depends(_filter)]


def show(
    request: Request,
    session: Session,
    staff: CurrentStaff,
    filtered: Filter,
    specimen: Specimen | None,
    *,
    problem: XinglinError | None = None,
    released: uuid.UUID | None = None,
) -> Response:
    released = released or _released_of(request)
    told = session.get(Report, released) if released else None
    context: dict[str, Any] = {
        **queue_side(session, staff, filtered),
        "instruments": session.scalars(select(Instrument.code).order_by(Instrument.code)).all(),
        "departments": session.execute(select(Department.code, Department.name).order_by(Department.code)).all(),
        "current": specimen.id if specimen else None,
        "problem": message_of(problem) if problem else None,
        "problem_code": problem.code if problem else None,
        "released": reports.released(session, told.id) if told else None,
        "desk": None,
        **words(),
    }
    if specimen is not None:
        context.update(sheet_of(session, staff, specimen))
    return render(request, "lis/reports/review.html", context, problem.status if problem else 200)


def _released_of(request: Request) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.query_params.get("released", ""))
    except ValueError:
        return None


def sheet_of(session: Session, staff: CurrentStaff, specimen: Specimen) -> dict[str, Any]:
    shown = desk(session, Subject.staff(staff), specimen)
    taken = clock.local(specimen.collected_at or specimen.received_at or shown.order.ordered_at).date()
    return {
        "desk": shown,
        "age": age_text(shown.person.birth_date, taken),
        "report": session.scalar(select(Report).where(Report.specimen_id == specimen.id)),
        "version": sheets.version_of(session, specimen.id),
        "sheet": session.get(ResultSheet, specimen.id, populate_existing=True),
        "lacking": _lacking(session, staff, shown),
        "trail": _trail(session, specimen.id),
    }


@dataclass(frozen=True, slots=True)
class Handled:
    """One act on the specimen's results, from the audit trail."""

    at: datetime
    who: str
    what: str
    why: str


def _trail(session: Session, specimen_id: uuid.UUID) -> list[Handled]:
    """The last acts on the specimen's results, newest first: why it was sent back, held, measured again."""
    rows = session.execute(
        select(AuditEntry, StaffAccount.name)
        .outerjoin(StaffAccount, AuditEntry.actor == func.concat("staff:", cast(StaffAccount.id, String)))
        .where(
            AuditEntry.kind == "specimen",
            AuditEntry.aggregate_id == str(specimen_id),
            AuditEntry.action.startswith("result."),
        )
        .order_by(AuditEntry.number.desc())
        .limit(TRAIL_SHOWN)
    )
    return [
        Handled(entry.at, name or "", ACTIONS.get(entry.action, entry.action), entry.reason or "")
        for entry, name in rows
    ]


def _lacking(session: Session, staff: CurrentStaff, shown: Desk) -> list[str]:
    """Names of the tests that this person may neither review nor release, as far as the role would allow it."""
    act = "result.release" if shown.to_release and staff.may("result.release") else "result.review"
    if not staff.may(act):
        return []
    names = {each.test.code: each.test.name for each in shown.lines}
    return [names[code] for code in missing_authority(session, staff.id, act, names) if code in names]


def words() -> dict[str, Any]:
    return {
        "reason_text": wording.reason_text,
        "state_text": wording.state_text,
        "unmatched_text": wording.unmatched_text,
        "age_text": age_text,
        "sections": SECTIONS,
        "specimen_words": SPECIMENS,
        "now": clock.now(),
        "today": clock.today(),
    }


def queue_side(session: Session, staff: CurrentStaff, filtered: Filter) -> dict[str, Any]:
    """What the left side shows."""
    return {"waiting": queues.look(session, Subject.staff(staff), filtered), "filtered": filtered}


def queue_of(session: Session, staff: CurrentStaff, filtered: Filter) -> list[queues.Waiting]:
    return queues.look(session, Subject.staff(staff), filtered).rows


def specimen_of(session: Session, specimen_id: uuid.UUID) -> Specimen:
    found = session.get(Specimen, specimen_id)
    if found is None:
        raise NotFound("specimen.unknown", N_("没有这份标本。"))
    return found
