"""The print queue: jobs are put, taken, acknowledged, cancelled, printed again elsewhere. The verbs never commit.

At least once, for paper: what was acknowledged is never printed again. A job whose taker vanished before it
acknowledged may lie in the tray already; it is taken again under the same number, and an agent (by its journal) or an
IPP device (by the job's name) is asked first whether it had it. Where neither knows, a second sheet of the *same*
version comes out, never none.

Whether a report may still be printed is decided when the job is taken, with the report held: an amendment or recall at
the same moment comes wholly before (the job is cancelled) or wholly after (the old version's copy is on record, and a
job for the new one follows it).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.live import announce
from cloud.lis.printing import copies, printers
from cloud.lis.printing.copies import held_report, in_force
from cloud.lis.printing.model import JobState, Origin, Printer, PrinterKind, PrintJob, Road, may_become
from cloud.lis.reports import service as reports
from cloud.lis.reports.model import Report, ReportState
from cloud.web.i18n import mark as N_

SEND = "printing.send"
LEASE = timedelta(seconds=60)
"""How long the taker has to acknowledge, or to say that the device has it."""
MOST_ATTEMPTS = 5
SUPERSEDED, RECALLED, EXPIRED = "superseded", "recalled", "expired"
CANCELLED_BY_PERSON, REDIRECTED, NOT_ACKNOWLEDGED = "by_person", "redirected", "not_acknowledged"
FORGOTTEN, DEVICE = "forgotten", "device"


def put(
    session: Session,
    *,
    report_id: uuid.UUID,
    printer_id: uuid.UUID,
    by: str,
    origin: Origin = Origin.DESK,
    reason: str = "",
    batch_id: uuid.UUID | None = None,
    expires_at: datetime | None = None,
) -> PrintJob:
    """A job for the version in force. A version that is out already, or on its way, asks for a reason."""
    report = held_report(session, report_id)
    in_force(report)
    printer = printers.by_id(session, printer_id)
    if printer.retired_at is not None:
        raise Conflict("printer.retired", N_("这台打印机已经停用。"))
    if (printer.kind == PrinterKind.KIOSK) != (origin == Origin.KIOSK):
        raise Conflict("printer.kiosk_only", N_("自助机的打印机只打印患者自己取的报告。"))
    if origin == Origin.DESK and not reason.strip() and copies.is_reprint(session, report_id, report.version):
        raise Invalid("print.reason", N_("这一版已经打印过，重打请填写原因。"))
    return _put(session, report, printer, origin=origin, by=by, reason=reason, batch_id=batch_id, expires_at=expires_at)


def _put(
    session: Session,
    report: Report,
    printer: Printer,
    *,
    origin: Origin,
    by: str,
    reason: str = "",
    batch_id: uuid.UUID | None = None,
    expires_at: datetime | None = None,
    replaces: PrintJob | None = None,
) -> PrintJob:
    job = PrintJob(
        printer_id=printer.id,
        report_id=report.id,
        report_version=report.version,
        origin=origin,
        batch_id=batch_id,
        replaces_id=None if replaces is None else replaces.id,
        reason=reason.strip(),
        asked_by=by,
        expires_at=expires_at,
    )
    session.add(job)
    session.flush()
    if printer.road == Road.IPP:
        enqueue(session, SEND, printer_id=str(printer.id))
    _tell(session, job)
    return job


def follow(session: Session, report: Report, printer: Printer, *, origin: Origin, by: str) -> PrintJob | None:
    """A job that no person asked for (a rule, an amendment), once for each version and printer; the report is held."""
    there = select(PrintJob.id).where(
        PrintJob.report_id == report.id,
        PrintJob.report_version == report.version,
        PrintJob.printer_id == printer.id,
        PrintJob.state.in_((*copies.LIVE, JobState.PRINTED)) | PrintJob.origin.in_((Origin.RULE, Origin.AMENDED)),
    )
    if report.state == ReportState.RECALLED or printer.retired_at is not None:
        return None
    if session.scalar(there.limit(1)) is not None:
        return None
    return _put(session, report, printer, origin=origin, by=by)


@dataclass(frozen=True, slots=True)
class Taken:
    """A job in the taker's hands. `again`: it was taken before and nobody knows what came of it."""

    job: PrintJob
    document: bytes
    again: bool


def take(session: Session, printer: Printer) -> Taken | None:
    """The next job of this printer with its PDF, its lease running; None when nothing waits or a person stopped it.

    On its way it cancels what must not be printed any more.
    """
    if printer.paused:
        return None
    while (job := _next(session, printer.id)) is not None:
        report = held_report(session, job.report_id)
        session.refresh(job, with_for_update=True)
        if not _still_there(job):
            continue
        again = job.state == JobState.TAKEN
        if again and job.attempts >= MOST_ATTEMPTS:
            _move(session, job, JobState.FAILED, NOT_ACKNOWLEDGED)
            continue
        why = _no_longer(job, report)
        if why and not again:
            _move(session, job, JobState.CANCELLED, why)
            continue
        if why and job.device_job is None:
            # It was handed out once; nobody may hand the old version out a second time to make sure.
            _move(session, job, JobState.FAILED, why)
            continue
        now = clock.now()
        job.state, job.attempts, job.lease_until = JobState.TAKEN, job.attempts + 1, now + LEASE
        job.taken_at = job.taken_at or now
        session.flush()
        _tell(session, job)
        return Taken(job, reports.pdf(session, job.report_id, job.report_version), again)
    return None


def _next(session: Session, printer_id: uuid.UUID) -> PrintJob | None:
    return session.scalar(
        select(PrintJob)
        .where(
            PrintJob.printer_id == printer_id,
            PrintJob.state.in_(copies.LIVE),
            PrintJob.device_job.is_(None),
            or_(PrintJob.state == JobState.WAITING, PrintJob.lease_until < clock.now()),
        )
        .order_by(PrintJob.number)
        .limit(1)
    )


def _still_there(job: PrintJob) -> bool:
    """After the wait for its report: whether another taker, or a person, was quicker."""
    if job.state == JobState.TAKEN:
        return job.lease_until is not None and job.lease_until < clock.now()
    return job.state == JobState.WAITING


def _no_longer(job: PrintJob, report: Report) -> str:
    if report.state == ReportState.RECALLED:
        return RECALLED
    if report.version != job.report_version:
        return SUPERSEDED
    return EXPIRED if job.expires_at is not None and job.expires_at < clock.now() else ""


def on_device(session: Session, job_id: uuid.UUID, number: int) -> None:
    """The device has it under this number: from here on it is asked, and never sent again."""
    session.execute(
        update(PrintJob)
        .where(PrintJob.id == job_id, PrintJob.state == JobState.TAKEN)
        .values(device_job=number, lease_until=None)
    )


def let_go(session: Session, job_id: uuid.UUID) -> None:
    """The line broke: the outcome is unknown, and it may be looked for at once."""
    session.execute(
        update(PrintJob)
        .where(PrintJob.id == job_id, PrintJob.state == JobState.TAKEN, PrintJob.device_job.is_(None))
        .values(lease_until=clock.now() - timedelta(seconds=1))
    )


def printed(session: Session, job_id: uuid.UUID) -> PrintJob:
    """It lies in the tray: acknowledged once, a copy on record. Said again, it is the same."""
    job = _held(session, job_id)
    if job.state == JobState.PRINTED:
        return job
    _move(session, job, JobState.PRINTED, "")
    copies.add(
        session,
        report_id=job.report_id,
        version=job.report_version,
        by=job.asked_by,
        printer=printers.by_id(session, job.printer_id),
        job_id=job.id,
        batch_id=job.batch_id,
        reason=job.reason,
    )
    return job


def failed(session: Session, job_id: uuid.UUID, trouble: str) -> PrintJob:
    """The device gave it up, in its words. A person prints it again, here or elsewhere."""
    job = _held(session, job_id)
    if job.state == JobState.FAILED:
        return job
    return _move(session, job, JobState.FAILED, trouble.strip()[:300] or DEVICE)


def cancel(session: Session, job_id: uuid.UUID, *, by: str) -> PrintJob:
    """A person takes it back before a printer took it."""
    job = _held(session, job_id)
    if job.state == JobState.TAKEN and not _given_up(job):
        raise Conflict("print.taken", N_("打印机已经取走这份任务，不能取消。"))
    _move(session, job, JobState.CANCELLED, CANCELLED_BY_PERSON)
    _sealed(session, job, "print.cancel", by)
    return job


def again(session: Session, job_id: uuid.UUID, *, by: str, printer_id: uuid.UUID | None = None) -> PrintJob:
    """A new job instead of one that failed, or of one that waits (at another printer). The version is the one in force.

    Raises `Conflict` for a job that is printed, on its way, or replaced already, and for a recalled report.
    """
    report = held_report(session, by_id(session, job_id).report_id)
    job = _held(session, job_id)
    in_force(report)
    target = printers.by_id(session, printer_id or job.printer_id)
    if target.retired_at is not None:
        raise Conflict("printer.retired", N_("这台打印机已经停用。"))
    if target.kind == PrinterKind.KIOSK or job.origin == Origin.KIOSK:
        raise Conflict("printer.kiosk_only", N_("自助机的打印机只打印患者自己取的报告。"))
    if job.state in (JobState.PRINTED, JobState.CANCELLED) or (job.state == JobState.TAKEN and not _given_up(job)):
        raise Conflict("print.not_open", N_("这份任务已经打印、取消或正在打印，不能重试。"))
    if job.state == JobState.WAITING and target.id == job.printer_id:
        raise Conflict("print.waits", N_("这份任务还在排队，无需重试。"))
    if session.scalar(select(PrintJob.id).where(PrintJob.replaces_id == job.id)) is not None:
        raise Conflict("print.replaced", N_("这份任务已经重试过，请看新的任务。"))
    if job.state != JobState.FAILED:
        _move(session, job, JobState.CANCELLED, REDIRECTED)
    made = _put(
        session,
        report,
        target,
        origin=Origin(job.origin),
        by=by,
        reason=job.reason,
        batch_id=job.batch_id,
        replaces=job,
    )
    _sealed(session, made, "print.again", by)
    return made


def cancel_superseded(session: Session, report: Report, why: str) -> list[PrintJob]:
    """Cancel what waits of other versions than the one in force (`why` superseded), or all that waits (recalled)."""
    wanted = select(PrintJob).where(PrintJob.report_id == report.id, PrintJob.state == JobState.WAITING)
    if why == SUPERSEDED:
        wanted = wanted.where(PrintJob.report_version < report.version)
    found = list(session.scalars(wanted.order_by(PrintJob.id).with_for_update()))
    for job in found:
        _move(session, job, JobState.CANCELLED, why)
    return found


def expire(session: Session) -> int:
    """Cancel what nobody took in time; how many."""
    late = session.scalars(
        select(PrintJob)
        .where(PrintJob.state == JobState.WAITING, PrintJob.expires_at < clock.now())
        .with_for_update(skip_locked=True)
    ).all()
    for job in late:
        _move(session, job, JobState.CANCELLED, EXPIRED)
    return len(late)


def waiting_at(session: Session, printer_id: uuid.UUID) -> int:
    """How many jobs are not done there."""
    return (
        session.scalar(
            select(func.count())
            .select_from(PrintJob)
            .where(PrintJob.printer_id == printer_id, PrintJob.state.in_(copies.LIVE))
        )
        or 0
    )


def _given_up(job: PrintJob) -> bool:
    return job.device_job is None and job.lease_until is not None and job.lease_until < clock.now()


def by_id(session: Session, job_id: uuid.UUID) -> PrintJob:
    job = session.get(PrintJob, job_id)
    if job is None:
        raise NotFound("print.unknown", N_("没有这份打印任务。"))
    return job


def _held(session: Session, job_id: uuid.UUID) -> PrintJob:
    """The job, with its report held first: everybody takes the two in this order."""
    held_report(session, by_id(session, job_id).report_id)
    return session.get_one(PrintJob, job_id, with_for_update=True, populate_existing=True)


def _move(session: Session, job: PrintJob, state: JobState, trouble: str) -> PrintJob:
    moved = session.scalar(
        update(PrintJob)
        .where(PrintJob.id == job.id, PrintJob.state.in_(may_become(state)))
        .values(state=state, trouble=trouble, done_at=clock.now(), lease_until=None)
        .returning(PrintJob)
        .execution_options(populate_existing=True)
    )
    if moved is None:
        session.refresh(job)
        raise Conflict(f"print.{job.state}", N_("这份打印任务的状态刚刚改变，请刷新。"))
    _tell(session, moved)
    return moved


def _tell(session: Session, job: PrintJob) -> None:
    announce(session, printers.TOPIC, {"job": str(job.id)})


def _sealed(session: Session, job: PrintJob, action: str, by: str) -> None:
    record(
        session,
        actor=by,
        action=action,
        aggregate=("report", job.report_id),
        after={"job": job.number, "version": job.report_version},
    )
