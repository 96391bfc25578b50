"""Reading reports: a version as values, its PDF, its marks, and the disclosure rule on it as it stands now."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import String, cast, func, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import AuditEntry, record
from cloud.kit.errors import NotFound
from cloud.lis.critical import service as critical
from cloud.lis.orders.model import Order
from cloud.lis.reports import disclosure as rule
from cloud.lis.reports import form_store
from cloud.lis.reports.disclosure import Channel, Disclosure, DisclosureLimits, Reader, ReportMarks
from cloud.lis.reports.model import DisclosurePolicy, Report, ReportState, ReportVersion
from cloud.lis.reports.printing import Marked, rendered
from cloud.lis.reports.view import ReportContent, ReportView
from cloud.lis.results.signatory import Signatory, actor
from cloud.staff.model import StaffAccount
from cloud.web.i18n import mark as N_


def released(session: Session, report_id: uuid.UUID, version: int | None = None) -> ReportView:
    """A version (the current one by default) as its readers get it. Raises `NotFound`.

    Who shows it to a patient checks `visible_to` for the person and `disclosable` first.
    """
    report = report_by_id(session, report_id)
    row = version_of(session, report_id, version or report.version)
    order = session.get_one(Order, report.order_id)
    return ReportView(
        report_id=report.id,
        person_id=report.person_id,
        order_id=report.order_id,
        specimen_id=report.specimen_id,
        campus_id=report.campus_id,
        department_id=order.department_id,
        state=str(report.state),
        version=row.version,
        current=row.version == report.version,
        released_at=row.released_at,
        marks=marks(session, report),
        content=ReportContent.from_json(row.content),
    )


def marks(session: Session, report: Report) -> ReportMarks:
    """What the disclosure rule needs to know."""
    return ReportMarks(
        recalled=report.state == ReportState.RECALLED,
        contains_critical=report.contains_critical,
        sensitive=report.sensitive,
        released_at=report.released_at,
        read_back_at=critical.read_back_at(session, report.specimen_id) if report.contains_critical else None,
        disclosed_at=report.disclosed_at,
    )


def limits(session: Session) -> DisclosureLimits:
    """The director's limits in force."""
    row = session.scalar(select(DisclosurePolicy).order_by(DisclosurePolicy.valid_from.desc()).limit(1))
    if row is None or row.critical_after_minutes is None:
        return DisclosureLimits()
    return DisclosureLimits(critical_after=timedelta(minutes=row.critical_after_minutes))


def disclosable(
    session: Session, report_id: uuid.UUID, reader: Reader = Reader.PATIENT, channel: Channel = Channel.PHONE
) -> Disclosure:
    """The one disclosure rule on the report as it stands now."""
    report = report_by_id(session, report_id)
    return rule.disclosure(marks(session, report), reader, channel, clock.now(), limits(session))


def pdf(session: Session, report_id: uuid.UUID, version: int | None = None) -> bytes:
    """The printed form of a version: rendered once from its frozen content and stored with its hash."""
    report = report_by_id(session, report_id)
    row = version_of(session, report_id, version or report.version)
    if row.pdf is not None:
        return row.pdf
    content = ReportContent.from_json(row.content)
    made = rendered(content, materials=form_store.materials(session, content))
    session.execute(
        update(ReportVersion)
        .where(ReportVersion.id == row.id, ReportVersion.pdf.is_(None))
        .values(pdf=made, pdf_sha256=hashlib.sha256(made).hexdigest())
        .execution_options(synchronize_session=False)
    )
    session.refresh(row, ["pdf", "pdf_sha256"])
    return row.pdf or made


@dataclass(frozen=True, slots=True)
class Copy:
    """A PDF that is handed out, and what is printed across it where it is not the version in force."""

    data: bytes
    version: int
    notice: str


def copy(
    session: Session,
    report_id: uuid.UUID,
    *,
    by: Signatory,
    version: int | None = None,
    bilingual: bool | None = None,
) -> Copy:
    """What a person opens or prints, kept in the audit trail. An old version, or one of a recalled report, says so on
    its face; the archived PDF stays as it was (`pdf`). `bilingual`: other than the form says.

    The report's row is held: an amendment or recall at the same moment comes wholly before (the copy says so) or wholly
    after (the trail says who has the old one).
    """
    report = session.scalar(
        select(Report)
        .where(Report.id == report_id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    if report is None:
        raise NotFound("report.unknown", N_("没有这份报告。"))
    row = version_of(session, report_id, version or report.version)
    notice = _notice(report, row)
    made = _copied(session, row, notice, bilingual)
    record(
        session,
        actor=actor(by),
        action="report.print",
        aggregate=("report", report_id),
        after={"version": row.version, "valid": not notice},
    )
    return Copy(made, row.version, notice.notice if notice else "")


def _copied(session: Session, row: ReportVersion, notice: Marked | None, bilingual: bool | None) -> bytes:
    content = ReportContent.from_json(row.content)
    if notice is None and bilingual is None:
        return pdf(session, row.report_id, row.version)
    return rendered(content, notice or "", materials=form_store.materials(session, content), bilingual=bilingual)


def _notice(report: Report, row: ReportVersion) -> Marked | None:
    """Chinese, as the whole report is; None on the version in force."""
    if report.state == ReportState.RECALLED:
        when = "" if report.recalled_at is None else clock.local(report.recalled_at).strftime("%Y-%m-%d %H:%M")
        return Marked(f"本报告已于 {when} 召回，不得作为有效报告使用。原因：{report.recalled_reason or ''}")
    if row.version == report.version:
        return None
    when = clock.local(report.released_at).strftime("%Y-%m-%d %H:%M")
    return Marked(
        f"本报告为第 {row.version} 版（旧版本），已被 {when} 发布的第 {report.version} 版取代，请以现行版本为准。",
        "旧 版 本",
    )


@dataclass(frozen=True, slots=True)
class Printed:
    """One copy in somebody's hands."""

    version: int
    at: datetime
    name: str


def copies(session: Session, report_id: uuid.UUID) -> list[Printed]:
    """Who opened or printed which version, newest first."""
    rows = session.execute(
        select(AuditEntry, StaffAccount.name)
        .outerjoin(StaffAccount, AuditEntry.actor == func.concat("staff:", cast(StaffAccount.id, String)))
        .where(
            AuditEntry.kind == "report", AuditEntry.aggregate_id == str(report_id), AuditEntry.action == "report.print"
        )
        .order_by(AuditEntry.number.desc())
        .limit(50)
    )
    return [Printed(int(entry.after["version"]), entry.at, name or "") for entry, name in rows if entry.after]


def versions(session: Session, report_id: uuid.UUID) -> list[ReportVersion]:
    """Every version, oldest first."""
    return list(
        session.scalars(
            select(ReportVersion).where(ReportVersion.report_id == report_id).order_by(ReportVersion.version)
        )
    )


def report_by_id(session: Session, report_id: uuid.UUID) -> Report:
    report = session.get(Report, report_id, populate_existing=True)
    if report is None:
        raise NotFound("report.unknown", N_("没有这份报告。"))
    return report


def version_of(session: Session, report_id: uuid.UUID, version: int) -> ReportVersion:
    row = session.scalar(
        select(ReportVersion).where(ReportVersion.report_id == report_id, ReportVersion.version == version)
    )
    if row is None:
        raise NotFound("report.version_unknown", N_("没有这一版报告。"))
    return row
