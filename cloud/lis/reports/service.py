"""Verbs of reports: release, amend, recall, disclose, and reading. One transaction each; nobody commits here."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.critical import service as critical
from cloud.lis.orders.model import Order
from cloud.lis.reports import disclosure as rule
from cloud.lis.reports.content import Edition, gather
from cloud.lis.reports.disclosure import Channel, Disclosure, DisclosureLimits, Reader, ReportMarks
from cloud.lis.reports.events import ReportDisclosed, ReportRecalled, ReportReleased
from cloud.lis.reports.model import DisclosurePolicy, Report, ReportState, ReportVersion
from cloud.lis.reports.printing import rendered
from cloud.lis.reports.view import ReportContent, ReportView
from cloud.lis.results.release import release_results
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_


def release(
    session: Session,
    specimen_id: uuid.UUID,
    *,
    by: Signatory,
    version: int,
    confirm_critical: bool = False,
    partial: bool = False,
) -> Report:
    """Release the reviewed results of a specimen: states, frozen version, marks, critical case and event in one
    transaction.

    `version` is that of the sheet the acting page showed. Refusals: `cloud.lis.results.release`.
    """
    released = release_results(
        session, specimen_id, by=by, version=version, confirm_critical=confirm_critical, partial=partial
    )
    report = report_of(session, specimen_id)
    if report is not None and report.state == ReportState.RECALLED:
        raise Conflict("report.recalled", N_("这份报告已召回，请通过修订重新发布。"))
    amended = report is not None and report.state == ReportState.AMENDED
    finished = ReportState.AMENDED if amended else ReportState.FINAL
    kind = ReportState.PRELIMINARY if released.missing else finished
    report = freeze(session, released.specimen, report, kind=kind, by=by, comment=released.comment)
    critical.open_case(session, released.specimen, released.results, report_version=report.version, by=by)
    specimens.mark_done(session, specimen_id, by=actor(by))
    announce_release(session, report, by, action="report.release")
    return report


def freeze(
    session: Session,
    specimen: Specimen,
    report: Report | None,
    *,
    kind: ReportState,
    by: Signatory,
    comment: str | None,
    reason: str | None = None,
    corrected: dict[uuid.UUID, str] | None = None,
) -> Report:
    """Add the next version from what is released now, and set the report's marks from it."""
    now = clock.now()
    number = 1 if report is None else report.version + 1
    content = gather(
        session, specimen, Edition(number, kind, now, by.name, comment, reason=reason, corrected=corrected)
    )
    marks = {
        "contains_critical": any(each.critical for each in content.items),
        "sensitive": any(each.sensitive for each in content.items),
    }
    if report is None:
        report = Report(
            specimen_id=specimen.id,
            order_id=specimen.order_id,
            person_id=specimen.person_id,
            campus_id=specimen.campus_id,
        )
        session.add(report)
    report.state, report.version, report.released_at = kind, number, now
    report.contains_critical, report.sensitive = marks["contains_critical"], marks["sensitive"]
    report.disclosed_at = report.disclosed_by = None
    session.flush()
    frozen = content.to_json()
    session.add(
        ReportVersion(
            report_id=report.id,
            version=number,
            kind=kind,
            content=frozen,
            content_sha256=content_hash(frozen),
            draft=content.draft,
            released_at=now,
            released_by=by.id,
            released_by_name=by.name,
            reason=reason,
            **marks,
        )
    )
    session.flush()
    return report


def content_hash(content: dict[str, Any]) -> str:
    """SHA-256 of the frozen content in one canonical form."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def announce_release(
    session: Session, report: Report, by: Signatory, *, action: str, reason: str | None = None
) -> None:
    """Event, sign to open pages and audit entry of a new version."""
    publish(
        session,
        ReportReleased(
            aggregate_id=report.id,
            report_version=report.version,
            kind=str(report.state),
            person_id=report.person_id,
            order_id=report.order_id,
            specimen_id=report.specimen_id,
            contains_critical=report.contains_critical,
            sensitive=report.sensitive,
        ),
    )
    announce(session, "results", {"specimen": str(report.specimen_id), "report": str(report.id)})
    record(
        session,
        actor=actor(by),
        action=action,
        aggregate=("report", report.id),
        after={
            "version": report.version,
            "state": str(report.state),
            "content_sha256": _version(session, report.id, report.version).content_sha256,
            "contains_critical": report.contains_critical,
            "sensitive": report.sensitive,
        },
        reason=reason,
    )


def recall(session: Session, report_id: uuid.UUID, *, by: Signatory, reason: str) -> Report:
    """Take the report back: nobody may read it as valid until it is amended. Its versions stay."""
    authorise(by, "report.amend")
    if not reason.strip():
        raise Invalid("recall.reason", N_("请填写召回原因。"))
    moved = session.execute(
        update(Report)
        .where(Report.id == report_id, Report.state != ReportState.RECALLED)
        .values(state=ReportState.RECALLED, recalled_at=clock.now(), recalled_reason=reason)
        .returning(Report.id)
    ).first()
    report = _report(session, report_id)
    if moved is None:
        raise Conflict("report.recalled_already", N_("这份报告已经召回。"))
    critical.cancel_open(session, report.specimen_id, by=by, reason=reason)
    publish(
        session,
        ReportRecalled(
            aggregate_id=report.id,
            report_version=report.version,
            person_id=report.person_id,
            order_id=report.order_id,
            specimen_id=report.specimen_id,
        ),
    )
    announce(session, "results", {"specimen": str(report.specimen_id), "report": str(report.id)})
    record(session, actor=actor(by), action="report.recall", aggregate=("report", report.id), reason=reason)
    return report


def disclose(session: Session, report_id: uuid.UUID, *, by: Signatory, note: str) -> Report:
    """A clinician (or who acts for them) releases a sensitive report to the patient."""
    authorise(by, "report.amend")
    moved = session.execute(
        update(Report)
        .where(Report.id == report_id, Report.sensitive, Report.disclosed_at.is_(None))
        .values(disclosed_at=clock.now(), disclosed_by=actor(by))
        .returning(Report.id)
    ).first()
    report = _report(session, report_id)
    if moved is None:
        raise Conflict("report.not_sensitive", N_("这份报告不需要或已经完成临床告知。"))
    lifted(session, report, cause="clinician")
    record(session, actor=actor(by), action="report.disclose", aggregate=("report", report.id), reason=note or None)
    return report


def lifted(session: Session, report: Report, *, cause: str) -> None:
    """Say that a hold on disclosure ended; a reader still asks the rule, for another hold may stand."""
    publish(
        session,
        ReportDisclosed(aggregate_id=report.id, report_version=report.version, person_id=report.person_id, cause=cause),
    )


def report_of(session: Session, specimen_id: uuid.UUID) -> Report | None:
    """The report of a specimen, locked for a change."""
    return session.scalar(
        select(Report)
        .where(Report.specimen_id == specimen_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def released(session: Session, report_id: uuid.UUID, version: int | None = None) -> ReportView:
    """A version (the current one by default) as its readers get it. Raises `NotFound`.

    Who shows it to a patient checks `visible_to` for the person and `disclosable` first.
    """
    report = _report(session, report_id)
    row = _version(session, report_id, version or report.version)
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


def set_limits(session: Session, *, critical_after_minutes: int | None, by: str, reason: str) -> DisclosurePolicy:
    """The director's decision, from now on; earlier ones stay."""
    row = DisclosurePolicy(
        critical_after_minutes=critical_after_minutes, set_by=by, reason=reason, valid_from=clock.now()
    )
    session.add(row)
    session.flush()
    return row


def disclosable(
    session: Session, report_id: uuid.UUID, reader: Reader = Reader.PATIENT, channel: Channel = Channel.PHONE
) -> Disclosure:
    """The one disclosure rule on the report as it stands now."""
    report = _report(session, report_id)
    return rule.disclosure(marks(session, report), reader, channel, clock.now(), limits(session))


def pdf(session: Session, report_id: uuid.UUID, version: int | None = None) -> bytes:
    """The printed form of a version: rendered once from its frozen content and stored with its hash."""
    report = _report(session, report_id)
    row = _version(session, report_id, version or report.version)
    if row.pdf is not None:
        return row.pdf
    made = rendered(ReportContent.from_json(row.content))
    session.execute(
        update(ReportVersion)
        .where(ReportVersion.id == row.id, ReportVersion.pdf.is_(None))
        .values(pdf=made, pdf_sha256=hashlib.sha256(made).hexdigest())
        .execution_options(synchronize_session=False)
    )
    session.refresh(row, ["pdf", "pdf_sha256"])
    return row.pdf or made


def versions(session: Session, report_id: uuid.UUID) -> list[ReportVersion]:
    """Every version, oldest first."""
    return list(
        session.scalars(
            select(ReportVersion).where(ReportVersion.report_id == report_id).order_by(ReportVersion.version)
        )
    )


def _report(session: Session, report_id: uuid.UUID) -> Report:
    report = session.get(Report, report_id, populate_existing=True)
    if report is None:
        raise NotFound("report.unknown", N_("没有这份报告。"))
    return report


def _version(session: Session, report_id: uuid.UUID, version: int) -> ReportVersion:
    row = session.scalar(
        select(ReportVersion).where(ReportVersion.report_id == report_id, ReportVersion.version == version)
    )
    if row is None:
        raise NotFound("report.version_unknown", N_("没有这一版报告。"))
    return row
