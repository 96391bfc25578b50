"""Tables of printing. A job moves forwards only; a copy that came out (or went out as a PDF) is appended for good.

Source of the job's states and of what a device tells of its own: RFC 8011 (IPP model), 5.3.7 job-state.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Sequence, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.lis.reports.model import Report

job_numbers = Sequence("lab_print_job_number_seq", metadata=Base.metadata)


class PrinterKind(StrEnum):
    REPORT = "report"
    KIOSK = "kiosk"
    """Stands in a self-service machine: only the machine's own jobs go there."""


class Road(StrEnum):
    """How a printer is reached."""

    AGENT = "agent"
    """A program beside the printer asks for its jobs over HTTPS with a token: for wards that cannot be dialled into."""
    IPP = "ipp"
    """We send to it, or to the print server in front of it (CUPS), by IPP."""


class JobState(StrEnum):
    WAITING = "waiting"
    TAKEN = "taken"
    """On its way to the paper; not acknowledged yet."""
    PRINTED = "printed"
    FAILED = "failed"
    CANCELLED = "cancelled"


JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.TAKEN, JobState.CANCELLED}),
    JobState.TAKEN: frozenset({JobState.PRINTED, JobState.FAILED, JobState.CANCELLED}),
    JobState.PRINTED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""Forwards only: printing once more, or elsewhere, is a new job that names the one it replaces."""


def may_become(state: JobState) -> tuple[JobState, ...]:
    """The states from which a job may come to `state`."""
    return tuple(each for each, following in JOB_MOVES.items() if state in following)


class Origin(StrEnum):
    """Why a job was made."""

    DESK = "desk"
    RULE = "rule"
    AMENDED = "amended"
    """The printer had (or was to get) an older version of the report."""
    KIOSK = "kiosk"


class Printer(Identified, Created, Base):
    """One printer of the hospital. `retired_at`: it gets no new jobs, what it printed stays on record."""

    __tablename__ = "lab_printer"

    code: Mapped[str] = mapped_column(String(24), unique=True)
    name: Mapped[str]
    place: Mapped[str] = mapped_column(default="")
    kind: Mapped[str] = mapped_column(String(8))
    road: Mapped[str] = mapped_column(String(8))
    address: Mapped[str] = mapped_column(default="")
    """``ipp://host:631/ipp/print`` where the road is IPP."""
    department_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Department.id))
    """The ward it stands in, where it is a ward's."""
    two_sided: Mapped[bool] = mapped_column(default=False)
    token_hash: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
    """SHA-256 of the agent's token."""
    paused: Mapped[bool] = mapped_column(default=False)
    """A person stopped it: jobs wait."""
    retired_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    """When it, or its agent, last answered."""
    failures: Mapped[int] = mapped_column(default=0)
    """Tries in a row without an answer."""
    retry_at: Mapped[datetime | None]
    busy_until: Mapped[datetime | None]
    """A pass over it is under way in some worker; one that died is over by then."""
    look_at: Mapped[datetime | None]
    """When the next pass is put off to, so that passes do not multiply."""
    trouble: Mapped[str] = mapped_column(default="")
    """What is wrong now, in the device's or the network's words; empty: nothing known."""


class PrintRule(Identified, Created, Base):
    """Reports that fit are printed there by themselves when they are released. Never changed: ended, and a new one."""

    __tablename__ = "lab_print_rule"

    printer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Printer.id))
    department_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Department.id))
    """The ordering department; none: every one."""
    section: Mapped[str] = mapped_column(String(32), default="")
    priority: Mapped[str] = mapped_column(String(1), default="")
    preliminary: Mapped[bool] = mapped_column(default=False)
    """Also reports with tests outstanding; each later version is printed again."""
    sensitive: Mapped[bool] = mapped_column(default=False)
    """Also reports with sensitive tests: only where nobody but staff comes to the printer."""
    by: Mapped[str]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class PrintJob(Identified, Base):
    """One version of one report for one printer."""

    __tablename__ = "lab_print_job"
    __table_args__ = (
        Index("ix_lab_print_job_open", "printer_id", "number", postgresql_where=text("state IN ('waiting', 'taken')")),
        Index("ix_lab_print_job_report_id", "report_id"),
        Index("ix_lab_print_job_state_number", "state", "number"),
        Index(
            "uq_lab_print_job_once_by_itself",
            "report_id",
            "report_version",
            "printer_id",
            unique=True,
            postgresql_where=text("origin IN ('rule', 'amended') AND replaces_id IS NULL"),
        ),
    )

    number: Mapped[int] = mapped_column(BigInteger, job_numbers, unique=True)
    """The order of printing, and the job's name on the device (``XL-<number>``)."""
    printer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Printer.id))
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id))
    report_version: Mapped[int]
    origin: Mapped[str] = mapped_column(String(8))
    batch_id: Mapped[uuid.UUID | None]
    """Jobs asked for together."""
    replaces_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_print_job.id"), unique=True)
    """The failed or redirected job this one is instead of."""
    reason: Mapped[str] = mapped_column(default="")
    """Why it is printed again."""
    asked_by: Mapped[str]
    state: Mapped[str] = mapped_column(String(12), default=JobState.WAITING)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    expires_at: Mapped[datetime | None]
    """Not taken by then: cancelled. A patient's sheet must not come out when the patient has gone."""
    taken_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    """Until then nobody else takes it; after it the outcome is unknown and it may be taken again."""
    attempts: Mapped[int] = mapped_column(default=0)
    device_job: Mapped[int | None]
    """The number that the device gave it (IPP job-id)."""
    done_at: Mapped[datetime | None]
    trouble: Mapped[str] = mapped_column(default="")
    """Why it failed or was cancelled."""


class PrintCopy(Identified, Base):
    """One copy of one version in somebody's hands. Append-only: the database refuses change and deletion."""

    __tablename__ = "lab_print_copy"
    __table_args__ = (
        UniqueConstraint("report_id", "report_version", "number", name="uq_lab_print_copy_number"),
        Index("ix_lab_print_copy_at", "at"),
    )

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id))
    report_version: Mapped[int]
    number: Mapped[int]
    """Of this version, from 1."""
    at: Mapped[datetime] = mapped_column(default=clock.now)
    by: Mapped[str]
    """Who asked: ``staff:<id>``, ``kiosk:<id>`` or ``rule:<id>``."""
    printer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Printer.id))
    """None: handed out as a PDF and printed from the browser."""
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(PrintJob.id), unique=True)
    batch_id: Mapped[uuid.UUID | None]
    reason: Mapped[str] = mapped_column(default="")
