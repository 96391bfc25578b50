"""Results of patients' specimens, their reruns, resends and attachments, and what matched nothing.

States change only by the verbs of `service`, `review` and `matching`; `MOVES` is the whole table. A rerun is a new row
and one row of an order item is chosen (a partial unique index keeps it so). Times are appended, never overwritten.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.kit.errors import Conflict
from cloud.web.i18n import mark as N_


class ResultState(StrEnum):
    RECEIVED = "received"
    """Waits for technical review (also when held; the verdict says why)."""
    REVIEWED = "reviewed"
    RELEASED = "released"
    SUPERSEDED = "superseded"
    """Another run or a correction was chosen in its place; kept and shown in the history."""
    REJECTED = "rejected"
    """Judged wrong by a person, with a reason; kept."""


MOVES: dict[ResultState, frozenset[ResultState]] = {
    ResultState.RECEIVED: frozenset({ResultState.REVIEWED, ResultState.SUPERSEDED, ResultState.REJECTED}),
    ResultState.REVIEWED: frozenset(
        {ResultState.RELEASED, ResultState.RECEIVED, ResultState.SUPERSEDED, ResultState.REJECTED}
    ),
    ResultState.RELEASED: frozenset({ResultState.SUPERSEDED}),
    ResultState.SUPERSEDED: frozenset({ResultState.RECEIVED, ResultState.RELEASED}),
    ResultState.REJECTED: frozenset(),
}
OPEN_STATES = (ResultState.RECEIVED, ResultState.REVIEWED)


class Result(Identified, Created, Base):
    """One value of one order item. `number`, `unit`, flags and range are in the unit of the test catalogue."""

    __tablename__ = "lab_result"
    __table_args__ = (
        UniqueConstraint("inbox_id", "ordinal"),
        Index("uq_lab_result_chosen", "order_item_id", unique=True, postgresql_where=text("chosen")),
        Index(
            "ix_lab_result_open",
            "specimen_id",
            postgresql_where=text("chosen AND NOT after_release AND state IN ('received', 'reviewed')"),
        ),
        Index(
            "ix_lab_result_history",
            "person_id",
            "test_id",
            "received_at",
            postgresql_where=text("chosen AND state = 'released'"),
        ),
        Index("ix_lab_result_test_id_received_at", "test_id", "received_at", "id", postgresql_where=text("chosen")),
        Index(
            "ix_lab_result_test_id_number",
            "test_id",
            "number",
            postgresql_where=text("chosen AND number IS NOT NULL"),
        ),
        Index("ix_lab_result_critical", "received_at", postgresql_where=text("chosen AND critical")),
        Index(
            "ix_lab_result_rerun",
            "rerun_requested_at",
            postgresql_where=text("rerun_requested_at IS NOT NULL AND chosen AND state = 'received'"),
        ),
        Index(
            "ix_lab_result_recalculated",
            "received_at",
            postgresql_where=text("source = 'calculated' AND after_release AND state = 'received'"),
        ),
    )

    order_item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_order_item.id"), index=True)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"))

    instrument_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_instrument.id"))
    """Empty: typed in by `entered_by`, or calculated."""
    source: Mapped[str] = mapped_column(String(12), default="instrument", server_default="instrument")
    """``instrument``, ``typed`` or ``calculated``."""
    formula_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_formula.id"))
    """The version that calculated it; its operands stand in `details["calculation"]`."""
    inbox_id: Mapped[uuid.UUID | None]
    ordinal: Mapped[int] = mapped_column(default=0)
    channel_code: Mapped[str | None]
    raw_value: Mapped[str | None]
    raw_unit: Mapped[str | None]
    """Value and unit as the instrument sent them."""

    value_text: Mapped[str]
    """What the report prints: the instrument's own text, or the converted number with the test's decimals."""
    number: Mapped[Decimal | None] = mapped_column(Numeric)
    comparator: Mapped[str | None] = mapped_column(String(2))
    unit: Mapped[str | None]

    flag: Mapped[str] = mapped_column(String(2), default="")
    """"" no range, N, L, H, LL, HH (critical), A (abnormal, qualitative)."""
    critical: Mapped[bool] = mapped_column(default=False)
    sensitive: Mapped[bool] = mapped_column(default=False)
    draft: Mapped[bool] = mapped_column(default=False)
    """A range or limit that judged it is a draft (LIS-0)."""
    held: Mapped[bool] = mapped_column(default=False)
    range_id: Mapped[uuid.UUID | None]
    range_low: Mapped[Decimal | None] = mapped_column(Numeric)
    range_high: Mapped[Decimal | None] = mapped_column(Numeric)
    range_text: Mapped[str | None]
    """The range as printed, frozen at the time of the verdict."""
    decision: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """`reasons` (code and fields) and `versions` of the ranges, limits and rules used."""

    previous_result_id: Mapped[uuid.UUID | None]
    previous_value: Mapped[str | None]
    previous_at: Mapped[datetime | None]
    delta_percent: Mapped[Decimal | None] = mapped_column(Numeric)

    instrument_flags: Mapped[list[Any]] = mapped_column(default=list)
    comments: Mapped[list[Any]] = mapped_column(default=list)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Dilution, operator, module, reagent and calibrator lot, rack, position, the instrument's status letter."""
    run: Mapped[int] = mapped_column(default=1)
    """1 for the first value of the order item, 2 for its first rerun, and so on, in the order of arrival."""
    instrument_run: Mapped[int | None]
    observed_at: Mapped[datetime | None]
    observed_at_raw: Mapped[str | None]
    received_at: Mapped[datetime]

    state: Mapped[ResultState] = mapped_column(String(12), default=ResultState.RECEIVED)
    chosen: Mapped[bool] = mapped_column(default=True)
    after_release: Mapped[bool] = mapped_column(default=False)
    """It came when the item was released already: never in the report by itself, shown for an amendment."""
    rerun_requested_at: Mapped[datetime | None]
    entered_by: Mapped[uuid.UUID | None]
    reviewed_by: Mapped[uuid.UUID | None]
    reviewed_by_name: Mapped[str | None]
    reviewed_at: Mapped[datetime | None]
    released_by: Mapped[uuid.UUID | None]
    released_by_name: Mapped[str | None]
    released_at: Mapped[datetime | None]

    def move_to(self, state: ResultState) -> None:
        """The only way `state` changes; refuses what `MOVES` does not allow."""
        if state not in MOVES[ResultState(self.state)]:
            raise Conflict("result.state", N_("结果的状态不允许这样做，请刷新页面。"), state=str(self.state))
        self.state = state


class ResultSheet(Base):
    """One row for each specimen with results: its version guards stale pages and is the lock of every command."""

    __tablename__ = "lab_result_sheet"

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    comment: Mapped[str | None]
    """The laboratory's comment, printed on the report."""
    hold_reason: Mapped[str | None]
    """Put on hold by a person: neither reviewed nor released until it is lifted. Empty: not on hold."""
    hold_at: Mapped[datetime | None]
    hold_by: Mapped[uuid.UUID | None]
    hold_by_name: Mapped[str | None]


class ResultResend(Identified, Base):
    """The same value sent again by the instrument itself: linked to its result, shown once."""

    __tablename__ = "lab_result_resend"
    __table_args__ = (UniqueConstraint("inbox_id", "ordinal"),)

    result_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_result.id"), index=True)
    inbox_id: Mapped[uuid.UUID]
    ordinal: Mapped[int]
    received_at: Mapped[datetime]


class ResultAttachment(Identified, Base):
    """A histogram, scattergram or picture; `reference` is a file name the instrument sent in place of data."""

    __tablename__ = "lab_result_attachment"

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    inbox_id: Mapped[uuid.UUID]
    ordinal: Mapped[int]
    code: Mapped[str]
    """The instrument's code of the observation it came with."""
    name: Mapped[str]
    media_type: Mapped[str]
    data: Mapped[bytes] = mapped_column(LargeBinary)
    reference: Mapped[str | None]
    received_at: Mapped[datetime]


class UnmatchedReason(StrEnum):
    NO_BARCODE = "no_barcode"
    UNKNOWN_SPECIMEN = "unknown_specimen"
    UNKNOWN_INSTRUMENT = "unknown_instrument"
    UNKNOWN_CODE = "unknown_code"
    NOT_ORDERED = "not_ordered"
    CLOSED_SPECIMEN = "closed_specimen"
    """The specimen was rejected or its item cancelled."""
    UNDECODED = "undecoded"


class UnmatchedResult(Identified, Base):
    """What arrived and belongs to no order item yet. `item` is the whole decoded item (`protocols.uplink.items`)."""

    __tablename__ = "lab_unmatched_result"
    __table_args__ = (
        UniqueConstraint("inbox_id", "ordinal"),
        Index("ix_lab_unmatched_result_waiting", "received_at", postgresql_where=text("state = 'waiting'")),
    )

    inbox_id: Mapped[uuid.UUID]
    ordinal: Mapped[int]
    gateway: Mapped[str]
    link: Mapped[str]
    instrument_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_instrument.id"))
    specimen_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    reason: Mapped[UnmatchedReason] = mapped_column(String(20))
    specimen: Mapped[str | None]
    """The barcode as the instrument sent it."""
    code: Mapped[str]
    value: Mapped[str | None]
    unit: Mapped[str | None]
    observed_at: Mapped[datetime | None]
    received_at: Mapped[datetime]
    item: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    """waiting, matched or dismissed."""
    result_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_result.id"))
    handled_by: Mapped[uuid.UUID | None]
    handled_by_name: Mapped[str | None]
    handled_at: Mapped[datetime | None]
    handled_reason: Mapped[str | None]


class InstrumentNotice(Identified, Base):
    """What an instrument said that is no result: an alarm or status, or a code that is mapped as a message."""

    __tablename__ = "lab_instrument_notice"
    __table_args__ = (UniqueConstraint("inbox_id", "ordinal"),)

    inbox_id: Mapped[uuid.UUID]
    ordinal: Mapped[int]
    gateway: Mapped[str]
    link: Mapped[str]
    instrument_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_instrument.id"))
    name: Mapped[str]
    """The event's name, or the instrument's code of the message."""
    specimen: Mapped[str | None]
    """The barcode as the instrument sent it."""
    specimen_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    value: Mapped[str | None]
    serum_index: Mapped[str | None] = mapped_column(String(1))
    """H, I or L where it is a serum index of the tube (`indices.indices_of`)."""
    flags: Mapped[list[Any]] = mapped_column(default=list)
    detail: Mapped[str | None]
    item: Mapped[dict[str, Any] | None]
    """The whole message (`protocols.uplink.items`) while it waits for its specimen to be known: its pictures."""
    occurred_at: Mapped[datetime | None]
    received_at: Mapped[datetime] = mapped_column(index=True)

    @property
    def raised(self) -> bool:
        """The instrument marked it (flag A and the like), rather than only grading it."""
        return any(each.strip() not in ("", "N") for each in self.flags)


class IngestedMessage(Base):
    """Which inbox messages were applied, with what came of them: the key that makes `ingest` happen once."""

    __tablename__ = "lab_ingested_message"

    inbox_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    outcome: Mapped[dict[str, Any]]
    applied_at: Mapped[datetime]


class ReviewPolicy(Identified, Base):
    """How a test, a section or the house reviews, by the director. Append-only and dated; `guards.two_person_tests`
    says which row rules.
    """

    __tablename__ = "lab_review_policy"

    section: Mapped[str]
    test_code: Mapped[str] = mapped_column(String(32), default="", server_default="")
    """One test alone (`section` is "" then); empty: the section, or the house where that is empty too."""
    two_persons: Mapped[bool]
    """True: whoever reviewed (or typed in) a result does not release it."""
    set_by: Mapped[str]
    reason: Mapped[str]
    valid_from: Mapped[datetime]
