"""The record of copies: who has which version of a report on paper, which copy of it, from which printer and why."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.live import announce
from cloud.lis.printing.model import JobState, PrintCopy, Printer, PrintJob
from cloud.lis.printing.printers import TOPIC
from cloud.lis.reports.model import Report, ReportState
from cloud.web.i18n import mark as N_

LIVE = (JobState.WAITING, JobState.TAKEN)


def held_report(session: Session, report_id: uuid.UUID) -> Report:
    """The report, held against an amendment, a recall and another print of it until the end of the unit of work."""
    report = session.scalar(
        select(Report).where(Report.id == report_id).with_for_update().execution_options(populate_existing=True)
    )
    if report is None:
        raise NotFound("report.unknown", N_("没有这份报告。"))
    return report


def in_force(report: Report) -> None:
    """Raise `Conflict` for a report that was recalled: it is never printed."""
    if report.state == ReportState.RECALLED:
        raise Conflict("report.recalled", N_("这份报告已召回，不能打印。"))


def made(session: Session, report_id: uuid.UUID, version: int) -> int:
    """How many copies of the version there are."""
    return (
        session.scalar(
            select(func.count())
            .select_from(PrintCopy)
            .where(PrintCopy.report_id == report_id, PrintCopy.report_version == version)
        )
        or 0
    )


def is_reprint(session: Session, report_id: uuid.UUID, version: int) -> bool:
    """Whether a copy of the version is out, or on its way to a printer: another one asks for a reason."""
    if made(session, report_id, version):
        return True
    under_way = select(PrintJob.id).where(
        PrintJob.report_id == report_id, PrintJob.report_version == version, PrintJob.state.in_(LIVE)
    )
    return session.scalar(under_way.limit(1)) is not None


def add(
    session: Session,
    *,
    report_id: uuid.UUID,
    version: int,
    by: str,
    printer: Printer | None = None,
    job_id: uuid.UUID | None = None,
    batch_id: uuid.UUID | None = None,
    reason: str = "",
) -> PrintCopy:
    """Write down one copy; its number is the next of this version. The caller holds the report (`held_report`)."""
    number = made(session, report_id, version) + 1
    copy = PrintCopy(
        report_id=report_id,
        report_version=version,
        number=number,
        at=clock.now(),
        by=by,
        printer_id=None if printer is None else printer.id,
        job_id=job_id,
        batch_id=batch_id,
        reason=reason,
    )
    session.add(copy)
    session.flush()
    record(
        session,
        actor=by,
        action="report.print",
        aggregate=("report", report_id),
        after={
            "version": version,
            "valid": True,
            "copy": number,
            "printer": "PDF" if printer is None else printer.code,
        },
        reason=reason or None,
    )
    announce(session, TOPIC, {"report": str(report_id)})
    return copy


@dataclass(frozen=True, slots=True)
class CopyLine:
    """One copy as the page of a report's print record shows it."""

    version: int
    number: int
    at: datetime
    by: str
    printer: str
    place: str
    reason: str


def of_report(session: Session, report_id: uuid.UUID) -> list[CopyLine]:
    """Every copy of every version, newest first."""
    rows = session.execute(
        select(PrintCopy, Printer)
        .outerjoin(Printer, Printer.id == PrintCopy.printer_id)
        .where(PrintCopy.report_id == report_id)
        .order_by(PrintCopy.at.desc(), PrintCopy.number.desc())
    )
    return [
        CopyLine(
            copy.report_version,
            copy.number,
            copy.at,
            copy.by,
            "PDF" if printer is None else f"{printer.code} {printer.name}",
            "" if printer is None else printer.place,
            copy.reason,
        )
        for copy, printer in rows
    ]
