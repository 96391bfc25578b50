"""A pass over one IPP printer: what became of what it has, then what waits. The network lies between transactions.

A printer that does not answer keeps its jobs waiting; it is tried again after 2, 4, 8 ... 120 s. One whose answer was
lost in the middle is asked for the job by name before anything is sent again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.jobs import Begin, enqueue
from cloud.kit.live import announce
from cloud.lis.printing import printers, queue
from cloud.lis.printing.copies import LIVE
from cloud.lis.printing.device import Device, PrinterAway, PrinterRefused
from cloud.lis.printing.model import JobState, Printer, PrintJob, Road

log = structlog.get_logger(__name__)

MOST_ON_DEVICE = 10
"""More would print on long after a person cancelled the rest."""
LOOK_AGAIN = timedelta(seconds=3)
BUSY = timedelta(seconds=60)
"""Longer than the longest step of a pass (three answers of `device.ANSWER_S`); each document renews it."""
PAUSE_FIRST_S, PAUSE_MOST_S = 2, 120


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did."""

    sent: int = 0
    printed: int = 0
    failed: int = 0


def run(begin: Begin, printer_id: uuid.UUID) -> Pass:
    """One pass; puts the next one off where something is left. Never raises for what the printer does."""
    with begin() as session:
        printer = _claim(session, printer_id)
    if printer is None:
        return Pass()
    try:
        with Device(printer.address) as device:
            done = _pass(begin, printer, device)
    except (PrinterAway, PrinterRefused) as error:
        _pause(begin, printer_id, str(error))
        return Pass()
    with begin() as session:
        _release(session, printer_id)
    return done


def _claim(session: Session, printer_id: uuid.UUID) -> Printer | None:
    """The printer for this pass alone, where there is something to do and its pause is over."""
    now = clock.now()
    return session.scalar(
        update(Printer)
        .where(
            Printer.id == printer_id,
            Printer.road == Road.IPP,
            or_(Printer.busy_until.is_(None), Printer.busy_until < now),
            or_(Printer.retry_at.is_(None), Printer.retry_at <= now),
            select(PrintJob.id).where(PrintJob.printer_id == printer_id, PrintJob.state.in_(LIVE)).exists(),
        )
        .values(busy_until=now + BUSY)
        .returning(Printer)
    )


def _release(session: Session, printer_id: uuid.UUID) -> None:
    """Let the next pass in, and see to it that there is one. In this order: a job put meanwhile, whose own pass found
    us busy, is seen here.
    """
    session.execute(update(Printer).where(Printer.id == printer_id).values(busy_until=None))
    printer = printers.locked(session, printer_id)
    now = clock.now()
    if _open(session, printer_id) and (printer.look_at is None or printer.look_at <= now):
        printer.look_at = now + LOOK_AGAIN
        enqueue(session, queue.SEND, at=printer.look_at, printer_id=str(printer_id))


def _pass(begin: Begin, printer: Printer, device: Device) -> Pass:
    health = device.health()
    with begin() as session:
        trouble = health.trouble if health.takes_pdf else f"no application/pdf · {health.trouble}".strip(" ·")
        printers.seen(session, printer.id, trouble)
        there = [(each.id, each.device_job) for each in _on_device(session, printer.id)]
    printed, failed = _look(begin, device, there)
    room = MOST_ON_DEVICE - (len(there) - printed - failed)
    sent = 0
    while sent < room and not health.stopped and _send(begin, printer, device):
        sent += 1
    return Pass(sent, printed, failed)


def _look(begin: Begin, device: Device, there: list[tuple[uuid.UUID, int | None]]) -> tuple[int, int]:
    printed = failed = 0
    for job_id, number in there:
        state = None if number is None else device.look(number)
        with begin() as session:
            if state is None:
                queue.failed(session, job_id, queue.FORGOTTEN)
                failed += 1
            elif state.printed:
                queue.printed(session, job_id)
                printed += 1
            elif state.lost:
                queue.failed(session, job_id, state.message)
                failed += 1
    return printed, failed


def _send(begin: Begin, printer: Printer, device: Device) -> bool:
    """Send the next one; False when nothing waits. A refusal of this document fails this job alone."""
    with begin() as session:
        session.execute(update(Printer).where(Printer.id == printer.id).values(busy_until=clock.now() + BUSY))
        taken = queue.take(session, session.get_one(Printer, printer.id, populate_existing=True))
    if taken is None:
        return False
    name = f"XL-{taken.job.number}"
    try:
        known = device.find(name) if taken.again else None
        state = known or device.send(name, taken.document, two_sided=printer.two_sided)
    except PrinterRefused as error:
        with begin() as session:
            queue.failed(session, taken.job.id, str(error))
        return True
    except PrinterAway:
        with begin() as session:
            queue.let_go(session, taken.job.id)
        raise
    with begin() as session:
        queue.on_device(session, taken.job.id, state.number)
    return True


def _on_device(session: Session, printer_id: uuid.UUID) -> list[PrintJob]:
    wanted = select(PrintJob).where(
        PrintJob.printer_id == printer_id, PrintJob.state == JobState.TAKEN, PrintJob.device_job.is_not(None)
    )
    return list(session.scalars(wanted.order_by(PrintJob.number)))


def _open(session: Session, printer_id: uuid.UUID) -> bool:
    wanted = select(PrintJob.id).where(PrintJob.printer_id == printer_id, PrintJob.state.in_(LIVE))
    return session.scalar(wanted.limit(1)) is not None


def _pause(begin: Begin, printer_id: uuid.UUID, reason: str) -> None:
    with begin() as session:
        printer = printers.locked(session, printer_id)
        printer.failures += 1
        pause_s = min(PAUSE_FIRST_S * 2 ** min(printer.failures - 1, 16), PAUSE_MOST_S)
        printer.retry_at = clock.now() + timedelta(seconds=pause_s)
        printer.trouble = reason[:300]
        printer.busy_until = None
        enqueue(session, queue.SEND, at=printer.retry_at, printer_id=str(printer_id))
        announce(session, printers.TOPIC, {"printer": str(printer_id)})
        log.warning("printer_away", printer=printer.code, failures=printer.failures, pause_s=pause_s)


def wake(session: Session, printer_id: uuid.UUID) -> None:
    """Try it now, whatever pause it was in (a person mended it)."""
    session.execute(update(Printer).where(Printer.id == printer_id).values(retry_at=None))
    enqueue(session, queue.SEND, printer_id=str(printer_id))


def sweep(session: Session) -> None:
    """Wake every IPP printer whose jobs lie there: a worker that died left nobody to come back for them."""
    waiting = (
        select(PrintJob.printer_id)
        .join(Printer, Printer.id == PrintJob.printer_id)
        .where(PrintJob.state.in_(LIVE), Printer.road == Road.IPP)
        .distinct()
    )
    for printer_id in session.scalars(waiting):
        enqueue(session, queue.SEND, printer_id=str(printer_id))
