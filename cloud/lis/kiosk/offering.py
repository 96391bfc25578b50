"""What a visit is shown and may print: by the one rule of disclosure (`reports.disclosure`), each version once.

A report that is held back, whatever for, is named by its specimen and time alone: its title would say what was asked.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, XinglinError
from cloud.lis.catalog.words import SPECIMENS
from cloud.lis.kiosk.model import Kiosk, KioskVisit
from cloud.lis.orders.model import Order
from cloud.lis.printing import copies, queue
from cloud.lis.printing.model import JobState, Origin, PrintJob
from cloud.lis.reports import service as reports
from cloud.lis.reports.disclosure import Channel, Reader, Reason
from cloud.lis.reports.model import Report, ReportState
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.turnaround import times
from cloud.people import identity
from cloud.web.i18n import mark as N_

TAKE_WITHIN = timedelta(seconds=90)
"""A sheet that has not begun by then is not printed: the patient has gone."""
IN_WORK = (SpecimenState.COLLECTED, SpecimenState.IN_TRANSIT, SpecimenState.RECEIVED)
MOST = 60
NAMED = 3
"""Tests named on the screen where the report has no title of its own."""


class State(StrEnum):
    READY = "ready"
    PRINTING = "printing"
    PRINTED = "printed"
    """This version came out of a self-service machine before: another copy is had at the window."""
    FAILED = "failed"
    HELD = "held"
    """The doctor sees it first."""
    WITHDRAWN = "withdrawn"
    PARTLY = "partly"
    """Preliminary: tests are outstanding."""
    IN_WORK = "in_work"


@dataclass(frozen=True, slots=True)
class Offer:
    """One line of the screen."""

    state: State
    title: str
    """Empty where it must not be named."""
    specimen: str
    at: datetime | None
    """Released; collected while it is not ready."""
    report_id: uuid.UUID | None = None
    until: datetime | None = None
    """When it is expected, or when the hold ends by itself."""
    copy_at: datetime | None = None


def offers(session: Session, kiosk: Kiosk, visit: KioskVisit) -> list[Offer]:
    """Reports first, the newest on top, then what is being measured."""
    since = clock.now() - timedelta(days=kiosk.days)
    rows = session.execute(
        select(Report, Specimen)
        .join(Specimen, Specimen.id == Report.specimen_id)
        .join(Order, Order.id == Report.order_id)
        .where(*_scope(session, visit), Report.released_at > since)
        .order_by(Report.released_at.desc())
        .limit(MOST)
    ).all()
    return [_offer(session, report, specimen) for report, specimen in rows] + _in_work(session, visit, since)


def _scope(session: Session, visit: KioskVisit) -> list[ColumnElement[bool]]:
    persons = identity.person_ids(session, visit.person_id)
    made: list[ColumnElement[bool]] = [Order.person_id.in_(persons)]
    if visit.order_id is not None:
        made.append(Order.id == visit.order_id)
    if visit.visit_number is not None:
        made.append(Order.visit_number == visit.visit_number)
    return made


def _offer(session: Session, report: Report, specimen: Specimen) -> Offer:
    kind = SPECIMENS.get(specimen.specimen_type, specimen.specimen_type)
    verdict = reports.disclosable(session, report.id, Reader.PATIENT, Channel.SELF_PRINT)
    if verdict.reason == Reason.RECALLED:
        return Offer(State.WITHDRAWN, "", kind, specimen.collected_at)
    if not verdict.allowed:
        return Offer(State.HELD, "", kind, specimen.collected_at, until=verdict.until)
    if report.state == ReportState.PRELIMINARY:
        return Offer(State.PARTLY, "", kind, specimen.collected_at, until=_due(session, specimen.id))
    content = reports.released(session, report.id).content
    title = content.title or "、".join(each.name for each in content.items[:NAMED])
    job = _job(session, report)
    state = State.READY if job is None else _STATES[JobState(job.state)]
    done = None if job is None else job.done_at
    return Offer(state, title, kind, report.released_at, report.id, copy_at=done)


_STATES = {
    JobState.WAITING: State.PRINTING,
    JobState.TAKEN: State.PRINTING,
    JobState.PRINTED: State.PRINTED,
    JobState.FAILED: State.FAILED,
    JobState.CANCELLED: State.READY,
}


def _job(session: Session, report: Report) -> PrintJob | None:
    """What became of this version at a self-service machine: printed counts for good, a cancelled one never was."""
    found = session.scalars(
        select(PrintJob)
        .where(
            PrintJob.report_id == report.id,
            PrintJob.report_version == report.version,
            PrintJob.origin == Origin.KIOSK,
            PrintJob.state != JobState.CANCELLED,
        )
        .order_by(PrintJob.number.desc())
    ).all()
    printed = [each for each in found if each.state == JobState.PRINTED]
    return printed[0] if printed else (found[0] if found else None)


def _in_work(session: Session, visit: KioskVisit, since: datetime) -> list[Offer]:
    rows = session.scalars(
        select(Specimen)
        .join(Order, Order.id == Specimen.order_id)
        .outerjoin(Report, Report.specimen_id == Specimen.id)
        .where(
            *_scope(session, visit),
            Report.id.is_(None),
            Specimen.state.in_(IN_WORK),
            Specimen.created_at > since,
        )
        .order_by(Specimen.created_at)
        .limit(MOST)
    ).all()
    due = {each.specimen_id: each.due for each in times.of_specimens(session, [each.id for each in rows])}
    return [
        Offer(
            State.IN_WORK,
            "",
            SPECIMENS.get(each.specimen_type, each.specimen_type),
            each.collected_at,
            until=due.get(each.id),
        )
        for each in rows
    ]


def _due(session: Session, specimen_id: uuid.UUID) -> datetime | None:
    return next((each.due for each in times.of_specimens(session, [specimen_id])), None)


def print_ready(session: Session, kiosk: Kiosk, visit: KioskVisit) -> int:
    """A job for each report that is ready, asked once more with the report held; how many."""
    wanted = sorted(
        (each.report_id for each in offers(session, kiosk, visit) if each.state == State.READY and each.report_id),
    )
    done = 0
    for report_id in wanted:
        try:
            _print(session, kiosk, report_id)
            done += 1
        except XinglinError:
            continue  # amended, recalled or printed at this very moment: the screen says so when it is drawn again
    return done


def _print(session: Session, kiosk: Kiosk, report_id: uuid.UUID) -> None:
    report = copies.held_report(session, report_id)
    verdict = reports.disclosable(session, report_id, Reader.PATIENT, Channel.SELF_PRINT)
    if not verdict.allowed or report.state == ReportState.PRELIMINARY:
        raise Conflict("kiosk.held", N_("这份报告现在不能自助打印。"))
    if _job(session, report) is not None:
        raise Conflict("kiosk.printed", N_("这份报告已经自助打印过，补打请到窗口。"))
    queue.put(
        session,
        report_id=report_id,
        printer_id=kiosk.printer_id,
        by=f"kiosk:{kiosk.id}",
        origin=Origin.KIOSK,
        expires_at=clock.now() + TAKE_WITHIN,
    )
