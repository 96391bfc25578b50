"""What the page of the queue shows: jobs and printers. Read only."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from cloud.kit import clock
from cloud.lis.printing import printers
from cloud.lis.printing.copies import LIVE
from cloud.lis.printing.model import JobState, Printer, PrintJob
from cloud.lis.reports.model import Report
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person

PAGE_SIZE = 100
OPEN, DONE, FAILED = "open", "done", "failed"
SHOWS = {OPEN: LIVE, FAILED: (JobState.FAILED,), DONE: (JobState.PRINTED, JobState.CANCELLED)}
FAILED_FOR = timedelta(days=2)
"""A failed job that nobody looked at for so long counts as forgotten, not as waiting."""


@dataclass(frozen=True, slots=True)
class JobLine:
    job: PrintJob
    printer: Printer
    report: Report
    specimen: Specimen
    person: Person
    replaced: bool


def jobs(session: Session, subject: Subject, *, show: str = OPEN, printer_id: uuid.UUID | None = None) -> list[JobLine]:
    """Open ones as they will be printed, others newest first; at most `PAGE_SIZE`."""
    wanted = (
        select(PrintJob, Printer, Report, Specimen, Person)
        .join(Printer, Printer.id == PrintJob.printer_id)
        .join(Report, Report.id == PrintJob.report_id)
        .join(Specimen, Specimen.id == Report.specimen_id)
        .join(Person, Person.id == Report.person_id)
        .where(PrintJob.state.in_(SHOWS[show]), Report.person_id.in_(visible_to(subject)))
        .order_by(PrintJob.number if show == OPEN else PrintJob.number.desc())
        .limit(PAGE_SIZE)
    )
    if printer_id is not None:
        wanted = wanted.where(PrintJob.printer_id == printer_id)
    rows = session.execute(wanted).all()
    replaced = set(
        session.scalars(select(PrintJob.replaces_id).where(PrintJob.replaces_id.in_([job.id for job, *_ in rows])))
    )
    return [JobLine(*row, replaced=row[0].id in replaced) for row in rows]


@dataclass(frozen=True, slots=True)
class PrinterLine:
    printer: Printer
    waiting: int
    away: bool


def at_printers(session: Session) -> list[PrinterLine]:
    """Every printer in use, with what waits there."""
    waiting: dict[uuid.UUID, int] = dict(
        session.execute(
            select(PrintJob.printer_id, func.count()).where(PrintJob.state.in_(LIVE)).group_by(PrintJob.printer_id)
        ).all()
    )
    return [PrinterLine(each, waiting.get(each.id, 0), printers.away(each)) for each in printers.usable(session)]


def in_trouble(session: Session) -> int:
    """Failed jobs of the last days that nobody printed again."""
    later = aliased(PrintJob)
    return (
        session.scalar(
            select(func.count())
            .select_from(PrintJob)
            .where(
                PrintJob.state == JobState.FAILED,
                PrintJob.done_at > clock.now() - FAILED_FOR,
                ~exists().where(later.replaces_id == PrintJob.id),
            )
        )
        or 0
    )
