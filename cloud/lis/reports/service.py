"""Verbs of reports: release, amend, recall, disclose, and reading. One transaction each; nobody commits here."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from sqlalchemy import select, true, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.critical import service as critical
from cloud.lis.reports.content import Edition, gather
from cloud.lis.reports.events import ReportDisclosed, ReportRecalled, ReportReleased
from cloud.lis.reports.model import DisclosurePolicy, Report, ReportState, ReportVersion
from cloud.lis.reports.reading import (
    copies,
    copy,
    disclosable,
    limits,
    marks,
    pdf,
    released,
    report_by_id,
    version_of,
    versions,
)
from cloud.lis.reports.view import ReportContent
from cloud.lis.results import guards
from cloud.lis.results import release as results
from cloud.lis.results.correction import released_results
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_

__all__ = [
    "check_release",
    "content_hash",
    "copies",
    "copy",
    "disclosable",
    "disclose",
    "limits",
    "marks",
    "pdf",
    "recall",
    "release",
    "released",
    "set_limits",
    "versions",
]


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
    done = results.release_results(
        session, specimen_id, by=by, version=version, confirm_critical=confirm_critical, partial=partial
    )
    report = report_of(session, specimen_id)
    if report is not None and report.state == ReportState.RECALLED:
        raise Conflict("report.recalled", N_("这份报告已召回，请通过修订重新发布。"))
    amended = report is not None and report.state == ReportState.AMENDED
    finished = ReportState.AMENDED if amended else ReportState.FINAL
    kind = ReportState.PRELIMINARY if done.missing else finished
    report = freeze(session, done.specimen, report, kind=kind, by=by, comment=done.comment)
    critical.open_case(session, done.specimen, done.results, report_version=report.version, by=by)
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
    before = None if report is None or kind != ReportState.AMENDED else version_of(session, report.id, report.version)
    edition = Edition(
        number,
        kind,
        now,
        by.name,
        comment,
        reason=reason,
        corrected=corrected,
        released_by_id=by.id,
        before=None if before is None else ReportContent.from_json(before.content),
    )
    content = gather(session, specimen, edition)
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
            "content_sha256": version_of(session, report.id, report.version).content_sha256,
            "contains_critical": report.contains_critical,
            "sensitive": report.sensitive,
        },
        reason=reason,
    )


def check_release(session: Session, specimen_id: uuid.UUID, *, by: Signatory, version: int) -> None:
    """Raise what `release` would refuse with now, changing nothing."""
    results.check_release(session, specimen_id, by=by, version=version)
    recalled = session.scalar(
        select(Report.id).where(Report.specimen_id == specimen_id, Report.state == ReportState.RECALLED)
    )
    if recalled is not None:
        raise Conflict("report.recalled", N_("这份报告已召回，请通过修订重新发布。"))


def recall(session: Session, report_id: uuid.UUID, *, by: Signatory, reason: str, version: int | None = None) -> Report:
    """Take the report back: nobody may read it as valid until it is amended. Its versions stay.

    `version` is what the acting page showed: a newer one in the meantime is a conflict. One conditional statement.
    """
    authorise(by, "report.amend")
    if not reason.strip():
        raise Invalid("recall.reason", N_("请填写召回原因。"))
    guards.may(session, by, "report.recall", released_results(session, report_by_id(session, report_id).specimen_id))
    moved = session.execute(
        update(Report)
        .where(
            Report.id == report_id,
            Report.state != ReportState.RECALLED,
            true() if version is None else Report.version == version,
        )
        .values(state=ReportState.RECALLED, recalled_at=clock.now(), recalled_reason=reason.strip())
        .returning(Report.id)
    ).first()
    report = report_by_id(session, report_id)
    if moved is None and report.state != ReportState.RECALLED:
        raise Conflict("recall.stale", N_("这份报告刚刚有了新版本，请核对后再决定是否召回。"))
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
    report = report_by_id(session, report_id)
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


def set_limits(session: Session, *, critical_after_minutes: int | None, by: str, reason: str) -> DisclosurePolicy:
    """The director's decision, from now on; earlier ones stay. Who may decide is checked by the caller."""
    if not reason.strip():
        raise Invalid("settings.reason", N_("请填写更改的原因。"))
    before = limits(session).critical_after
    row = DisclosurePolicy(
        critical_after_minutes=critical_after_minutes, set_by=by, reason=reason.strip(), valid_from=clock.now()
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=by,
        action="report.disclosure_limit",
        aggregate=("disclosure_policy", "critical"),
        before={"minutes": None if before is None else int(before.total_seconds() // 60)},
        after={"minutes": critical_after_minutes},
        reason=row.reason,
    )
    return row
