"""The print room: find released reports, choose, print them in one PDF or at a printer. Released reports only.

One unit of work for one choice: each report either has its copy (or job) on record or is named with why not.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from pypdf import PdfReader, PdfWriter
from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Invalid, XinglinError
from cloud.kit.ids import new_id
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import Order, OrderItem
from cloud.lis.printing import copies, queue
from cloud.lis.printing.model import PrintCopy, PrintJob
from cloud.lis.reports import service as reports
from cloud.lis.reports.model import Report, ReportState
from cloud.lis.specimens.model import Specimen, SpecimenBarcode
from cloud.lis.specimens.rules import clean_barcode
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person, PersonIdentifier
from cloud.web.i18n import mark as N_

SHOWN = 200
"""Also the most that are printed in one go."""
UNPRINTED, ALL, STALE = "unprinted", "all", "stale"
SHOWS = (UNPRINTED, ALL, STALE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. `text`: a barcode, a number of the patient or a name, then in every day."""

    day_from: date
    day_to: date
    department_id: uuid.UUID | None = None
    section: str = ""
    show: str = UNPRINTED
    text: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    report: Report
    specimen: Specimen
    person: Person
    department: Department
    copies: int
    """Of the version in force."""
    older: int
    """Copies of versions that are not valid any more."""
    under_way: int
    """Jobs of the version in force that are not done."""


def find(session: Session, subject: Subject, wanted: Wanted) -> list[Line]:
    """At most `SHOWN`, by department and patient, as they are handed out."""
    rows = session.execute(
        select(Report, Specimen, Person, Department)
        .join(Specimen, Specimen.id == Report.specimen_id)
        .join(Person, Person.id == Report.person_id)
        .join(Order, Order.id == Report.order_id)
        .join(Department, Department.id == Order.department_id)
        .where(Report.person_id.in_(visible_to(subject)), *_conditions(wanted, subject))
        .order_by(Department.code, Person.name, Report.released_at, Report.id)
        .limit(SHOWN)
    ).all()
    counted = _counts(session, [report.id for report, *_ in rows])
    return [Line(*row, *counted.get(row[0].id, (0, 0, 0))) for row in rows]


def _conditions(wanted: Wanted, subject: Subject) -> list[ColumnElement[bool]]:
    made: list[ColumnElement[bool]] = []
    text = clean_barcode(wanted.text)
    if text:
        by_barcode = select(SpecimenBarcode.specimen_id).where(SpecimenBarcode.barcode == text)
        by_number = select(PersonIdentifier.person_id).where(
            PersonIdentifier.value == text, PersonIdentifier.person_id.in_(visible_to(subject))
        )
        by_visit = select(Order.id).where(Order.visit_number == text)
        made.append(
            or_(
                Report.specimen_id.in_(by_barcode),
                Report.person_id.in_(by_number),
                Report.order_id.in_(by_visit),
                Person.name == text,
            )
        )
    else:
        made.append(Report.released_at >= clock.day_begins(wanted.day_from))
        made.append(Report.released_at < clock.day_begins(wanted.day_to + timedelta(days=1)))
    if wanted.department_id is not None:
        made.append(Order.department_id == wanted.department_id)
    if wanted.section:
        in_section = exists().where(
            OrderItem.specimen_id == Report.specimen_id,
            OrderItem.test_id == Test.id,
            Test.section == wanted.section,
        )
        made.append(in_section)
    return made + _shown(wanted.show if not text else ALL)


def _shown(show: str) -> list[ColumnElement[bool]]:
    copy = aliased(PrintCopy)
    of_report = copy.report_id == Report.id
    current = exists().where(of_report, copy.report_version == Report.version)
    older = exists().where(of_report, copy.report_version < Report.version)
    if show == UNPRINTED:
        return [Report.state != ReportState.RECALLED, ~current]
    if show == STALE:
        recalled = and_(Report.state == ReportState.RECALLED, exists().where(of_report))
        return [or_(recalled, and_(older, ~current))]
    return []


def _counts(session: Session, report_ids: list[uuid.UUID]) -> dict[uuid.UUID, tuple[int, int, int]]:
    if not report_ids:
        return {}
    current = PrintCopy.report_version == Report.version
    made = {
        report_id: (now, before)
        for report_id, now, before in session.execute(
            select(PrintCopy.report_id, func.count().filter(current), func.count().filter(~current))
            .join(Report, Report.id == PrintCopy.report_id)
            .where(PrintCopy.report_id.in_(report_ids))
            .group_by(PrintCopy.report_id)
        )
    }
    open_jobs: dict[uuid.UUID, int] = dict(
        session.execute(
            select(PrintJob.report_id, func.count())
            .join(Report, Report.id == PrintJob.report_id)
            .where(
                PrintJob.report_id.in_(report_ids),
                PrintJob.state.in_(copies.LIVE),
                PrintJob.report_version == Report.version,
            )
            .group_by(PrintJob.report_id)
        ).all()
    )
    return {each: (*made.get(each, (0, 0)), open_jobs.get(each, 0)) for each in report_ids}


@dataclass(slots=True)
class Outcome:
    """What came of one choice."""

    batch_id: uuid.UUID
    done: list[uuid.UUID] = field(default_factory=list)
    refused: list[tuple[uuid.UUID, XinglinError]] = field(default_factory=list)
    pdf: bytes = b""


def to_printer(
    session: Session,
    subject: Subject,
    report_ids: Sequence[uuid.UUID],
    *,
    printer_id: uuid.UUID,
    by: str,
    reason: str = "",
) -> Outcome:
    """A job for each, in the order chosen."""
    outcome = Outcome(new_id())
    for report_id in _allowed(session, subject, report_ids):
        try:
            queue.put(
                session, report_id=report_id, printer_id=printer_id, by=by, reason=reason, batch_id=outcome.batch_id
            )
            outcome.done.append(report_id)
        except XinglinError as refusal:
            outcome.refused.append((report_id, refusal))
    return outcome


def as_pdf(
    session: Session, subject: Subject, report_ids: Sequence[uuid.UUID], *, by: str, reason: str = ""
) -> Outcome:
    """One document with all of them, each beginning on a page of its own; a copy of each on record."""
    outcome = Outcome(new_id())
    writer = PdfWriter()
    for report_id in _allowed(session, subject, report_ids):
        try:
            report = copies.held_report(session, report_id)
            copies.in_force(report)
            if not reason.strip() and copies.is_reprint(session, report_id, report.version):
                raise Invalid("print.reason", N_("这一版已经打印过，重打请填写原因。"))
            document = reports.pdf(session, report_id, report.version)
        except XinglinError as refusal:
            outcome.refused.append((report_id, refusal))
            continue
        writer.append(PdfReader(io.BytesIO(document)))
        copies.add(
            session,
            report_id=report_id,
            version=report.version,
            by=by,
            batch_id=outcome.batch_id,
            reason=reason.strip(),
        )
        outcome.done.append(report_id)
    if outcome.done:
        made = io.BytesIO()
        writer.write(made)
        outcome.pdf = made.getvalue()
        record(
            session,
            actor=by,
            action="print.batch",
            aggregate=("print_batch", outcome.batch_id),
            after={"reports": len(outcome.done)},
        )
    return outcome


def _allowed(session: Session, subject: Subject, report_ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Those this person may see, as chosen. Held in one order by everybody, so that two who print the same reports the
    other way round wait for each other and do not stop each other.
    """
    if not report_ids:
        raise Invalid("print.none", N_("请先选择要打印的报告。"))
    if len(report_ids) > SHOWN:
        raise Invalid("print.too_many", N_("一次最多打印 {most} 份。"), most=SHOWN)
    seen = set(
        session.scalars(
            select(Report.id)
            .where(Report.id.in_(report_ids), Report.person_id.in_(visible_to(subject)))
            .order_by(Report.id)
            .with_for_update()
        )
    )
    return [each for each in dict.fromkeys(report_ids) if each in seen]
