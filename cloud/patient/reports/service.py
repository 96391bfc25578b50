"""Which reports an account may read. Every query here goes through `visible_to`; disclosure is asked for each report.

What may not be read answers like what does not exist, and the refusal is logged.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.lis.orders.model import Order
from cloud.lis.reports import service as reports
from cloud.lis.reports.disclosure import Channel, Disclosure, Reader, Reason
from cloud.lis.reports.model import Report
from cloud.lis.reports.view import ReportView
from cloud.lis.specimens.model import Specimen
from cloud.patient.reports.rules import waiting_word
from cloud.people.access import Subject, display_name, visible_to
from cloud.web.i18n import mark as N_

SHOWN = 50
WAITING_FOR = timedelta(days=30)
"""A specimen older than this without a report is no longer listed as being worked on."""


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One readable report in the list. `abnormal`: how many items stand out."""

    report_id: uuid.UUID
    title: str
    patient: str
    department: str
    released_at: datetime
    state: str
    items: int
    abnormal: int


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """A specimen whose report cannot be read yet: not made, or held back; the patient sees no difference."""

    patient: str
    department: str
    at: datetime
    word: str


def readable(session: Session, subject: Subject, limit: int = SHOWN) -> list[ReportLine]:
    """The reports `subject` may read now, newest first; recalled ones stay, marked."""
    ids = session.scalars(
        select(Report.id)
        .where(Report.person_id.in_(visible_to(subject, "report")))
        .order_by(Report.released_at.desc())
        .limit(limit)
    )
    lines = []
    for report_id in ids:
        verdict = _verdict(session, report_id)
        if verdict.allowed or verdict.reason is Reason.RECALLED:
            lines.append(_line(reports.released(session, report_id)))
    return lines


def _line(view: ReportView) -> ReportLine:
    return ReportLine(
        report_id=view.report_id,
        title=view.content.title,
        patient=display_name(view.content.patient_name),
        department=view.content.department,
        released_at=view.released_at,
        state=view.state,
        items=len(view.items),
        abnormal=0 if view.marks.recalled else sum(each.flag not in ("", "N") for each in view.items),
    )


def waiting(session: Session, subject: Subject, limit: int = SHOWN) -> list[WaitingLine]:
    """Specimens on their way: no report yet, or one that may not be read yet."""
    rows = session.execute(
        select(Specimen, Order, Department, Report.id)
        .join(Order, Order.id == Specimen.order_id)
        .join(Department, Department.id == Order.department_id)
        .outerjoin(Report, Report.specimen_id == Specimen.id)
        .where(
            Specimen.person_id.in_(visible_to(subject, "report")),
            Specimen.state != "cancelled",
            Order.ordered_at > clock.now() - WAITING_FOR,
        )
        .order_by(Order.ordered_at.desc())
        .limit(limit)
    ).all()
    return [
        WaitingLine("", department.name, order.ordered_at, waiting_word(str(specimen.state)))
        for specimen, order, department, report_id in rows
        if report_id is None or _held_back(session, report_id)
    ]


def _held_back(session: Session, report_id: uuid.UUID) -> bool:
    verdict = _verdict(session, report_id)
    return not verdict.allowed and verdict.reason is not Reason.RECALLED


def _verdict(session: Session, report_id: uuid.UUID) -> Disclosure:
    return reports.disclosable(session, report_id, Reader.PATIENT, Channel.PHONE)


def open_report(session: Session, subject: Subject, report_id: uuid.UUID) -> ReportView:
    """The report's current version if `subject` may read it now; a recalled one comes with its mark and is not shown.

    Raises `NotFound`, the same for unknown, somebody else's and not yet disclosed.
    """
    seen = session.scalar(
        select(Report.id).where(Report.id == report_id, Report.person_id.in_(visible_to(subject, "report")))
    )
    if seen is not None:
        verdict = _verdict(session, seen)
        if verdict.allowed or verdict.reason is Reason.RECALLED:
            return reports.released(session, seen)
    raise NotFound("not_found", N_("没有找到，或者您无权查看。"))


def open_pdf(session: Session, subject: Subject, report_id: uuid.UUID) -> tuple[ReportView, bytes]:
    """The printed form, under the same rule; a recalled report has none for patients."""
    view = open_report(session, subject, report_id)
    if view.marks.recalled:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    return view, reports.pdf(session, report_id, view.version)
