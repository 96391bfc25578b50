"""The review page put together: queue and specimen, the part of the queue that is shown, and its words."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit import clock
from cloud.kit.errors import NotFound, XinglinError
from cloud.lis.catalog.words import SECTIONS, SPECIMENS
from cloud.lis.reports import service as reports
from cloud.lis.reports.content import age_text
from cloud.lis.reports.model import Report
from cloud.lis.results import queue as queues
from cloud.lis.results import sheets, wording
from cloud.lis.results.lines import desk
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of


@dataclass(frozen=True, slots=True)
class Filter:
    """What part of the queue is shown; travels along in every address of the page."""

    section: str = ""
    stage: str = ""

    @property
    def query(self) -> str:
        return f"?section={self.section}&stage={self.stage}"


def _filter(section: Annotated[str, Query()] = "", stage: Annotated[str, Query()] = "") -> Filter:
    return Filter(section if section in SECTIONS else "", stage if stage in ("review", "release") else "")


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
    batch: dict[str, Any] | None = None,
) -> Response:
    released = released or _released_of(request)
    told = session.get(Report, released) if released else None
    context: dict[str, Any] = {
        "queue": queue_of(session, staff, filtered),
        "filtered": filtered,
        "current": specimen.id if specimen else None,
        "problem": message_of(problem) if problem else None,
        "problem_code": problem.code if problem else None,
        "released": reports.released(session, told.id) if told else None,
        "batch": batch,
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
    }


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


def queue_of(session: Session, staff: CurrentStaff, filtered: Filter) -> list[queues.Waiting]:
    return queues.waiting(session, Subject.staff(staff), section=filtered.section, stage=filtered.stage)


def specimen_of(session: Session, specimen_id: uuid.UUID) -> Specimen:
    found = session.get(Specimen, specimen_id)
    if found is None:
        raise NotFound("specimen.unknown", N_("没有这份标本。"))
    return found
