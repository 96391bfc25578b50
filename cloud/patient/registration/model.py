"""Numbers of clinic sessions, one row each, and the bookings that hold them.

Two people can't have one number, and one person not two of one session: partial unique indexes say so, whoever writes.
Whoever needs both rows takes the booking's before the number's.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.patient.registration.standing_model import (  # the slice's other tables; `model` is what the program imports
    BookingBlock,
    RegistrationSettings,
    WaitingEntry,
)

__all__ = [
    "AT_HIS",
    "LIVE",
    "AtHis",
    "Booking",
    "BookingBlock",
    "BookingState",
    "Number",
    "NumberState",
    "RegistrationSettings",
    "WaitingEntry",
]


class NumberState(StrEnum):
    FREE = "free"
    HELD = "held"
    """For a booking that is not confirmed yet, or as an offer to somebody on the waiting list."""
    SOLD = "sold"
    USED = "used"
    NO_SHOW = "no_show"
    BLOCKED = "blocked"
    """Not given: kept back by staff, or sold by the HIS at its own windows."""
    STOPPED = "stopped"


NUMBER_STATES = tuple(str(each) for each in NumberState)


class Number(Identified, Created, Base):
    """One number of a session (号源). Only its own row says whether it can be had."""

    __tablename__ = "clinic_number"
    __table_args__ = (
        CheckConstraint(f"state IN {NUMBER_STATES}", name="state"),
        CheckConstraint("(state IN ('sold', 'used', 'no_show')) <= (booking_id IS NOT NULL)", name="booking"),
        CheckConstraint("state <> 'held' OR (booking_id IS NULL) <> (waiting_id IS NULL)", name="held"),
        CheckConstraint(
            "state IN ('held', 'sold', 'used', 'no_show') OR (booking_id IS NULL AND waiting_id IS NULL)", name="free"
        ),
        UniqueConstraint("clinic_session_id", "seq", name="uq_clinic_number_session_seq"),
        Index("ix_clinic_number_free", "clinic_session_id", "seq", postgresql_where=text("state = 'free'")),
        Index("uq_clinic_number_booking", "booking_id", unique=True, postgresql_where=text("booking_id IS NOT NULL")),
        Index("uq_clinic_number_waiting", "waiting_id", unique=True, postgresql_where=text("waiting_id IS NOT NULL")),
    )

    clinic_session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic_session.id"))
    seq: Mapped[int]
    from_at: Mapped[datetime]
    to_at: Mapped[datetime]
    """The segment in which its holder should come."""
    state: Mapped[str] = mapped_column(default=NumberState.FREE)
    free_from: Mapped[datetime | None]
    """A cancelled number comes back after a while nobody can guess, so that it can't be passed on by cancelling."""
    hold_until: Mapped[datetime | None]
    booking_id: Mapped[uuid.UUID | None]
    waiting_id: Mapped[uuid.UUID | None]
    """Offered to this entry of the waiting list until `hold_until`."""
    blocked_why: Mapped[str | None]


class BookingState(StrEnum):
    HELD = "held"
    PAYING = "paying"
    """A payment is open; the number is kept until the channel has closed it."""
    CONFIRMING = "confirming"
    """Paid; the HIS has not said yes to its own number yet."""
    CONFIRMED = "confirmed"
    MOVING = "moving"
    """The number that another booking of the person moves to; that one stands until this is certain."""
    CANCELLING = "cancelling"
    """Given up; money is still open or on its way back."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    USED = "used"
    NO_SHOW = "no_show"
    STOPPED = "stopped"
    """The session was stopped: the patient chooses another number or the money back."""


BOOKING_STATES = tuple(str(each) for each in BookingState)
LIVE = (BookingState.HELD, BookingState.PAYING, BookingState.CONFIRMING, BookingState.CONFIRMED)
"""Has a number now."""


class AtHis(StrEnum):
    """Where a number of the HIS's stands there, as far as we know."""

    OURS = "ours"
    """Our own number: the HIS is not asked."""
    LOCK = "lock"
    """To be locked there."""
    LOCKED = "locked"
    CONFIRM = "confirm"
    """Paid, to be confirmed there."""
    CONFIRMED = "confirmed"
    RELEASE = "release"
    """To be given back there."""
    RELEASED = "released"
    REFUSED = "refused"
    """The HIS said no for good."""


AT_HIS = tuple(str(each) for each in AtHis)


class Booking(Identified, Created, Base):
    """One person's number of one session. The person never changes; another person books anew."""

    __tablename__ = "booking"
    __table_args__ = (
        CheckConstraint(f"state IN {BOOKING_STATES}", name="state"),
        CheckConstraint(f"at_his IN {AT_HIS}", name="at_his"),
        CheckConstraint("fee_fen >= 0", name="fee"),
        CheckConstraint("(invoice_number IS NULL) = (invoiced_at IS NULL)", name="invoice"),
        Index(
            "uq_booking_person_session",
            "person_id",
            "clinic_session_id",
            unique=True,
            postgresql_where=text("state IN ('held', 'paying', 'confirming', 'confirmed')"),
        ),
        Index("ix_booking_person_day", "person_id", "day"),
        Index("ix_booking_account_id", "account_id", "created_at"),
        Index("ix_booking_session_state", "clinic_session_id", "state"),
        Index("ix_booking_department_day", "department_id", "day"),
        Index("ix_booking_payment_id", "payment_id", postgresql_where=text("payment_id IS NOT NULL")),
        Index("uq_booking_moving", "rebooked_from", unique=True, postgresql_where=text("state = 'moving'")),
        Index("ix_booking_held", "hold_until", postgresql_where=text("state = 'held'")),
        Index("ix_booking_his_ask_at", "his_ask_at", postgresql_where=text("his_ask_at IS NOT NULL")),
    )

    number: Mapped[str] = mapped_column(unique=True)
    """On the voucher: digits, the last a check digit; the barcode holds nothing else."""
    key: Mapped[str] = mapped_column(unique=True)
    """The submit's own: tapped twice, it is one booking."""
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("patient_account.id"))
    """Who booked by phone; None: a window did."""
    by: Mapped[str]
    clinic_session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic_session.id"))
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("department.id"))
    doctor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("doctor.id"))
    day: Mapped[date]
    number_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic_number.id"))
    seq: Mapped[int]
    from_at: Mapped[datetime]
    to_at: Mapped[datetime]
    """Of its number; kept when the number has gone to somebody else."""
    state: Mapped[str] = mapped_column(default=BookingState.HELD)
    fee_fen: Mapped[int] = mapped_column(BigInteger)
    hold_until: Mapped[datetime]
    takes_another: Mapped[bool] = mapped_column(default=False)
    """Money may come after the number has gone: the patient takes another number of this session then."""
    payment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("payment.id"))
    """The payment under way, and afterwards the one that paid."""
    confirmed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_why: Mapped[str | None]
    """``unpaid``, ``patient``, ``staff``, ``late``, ``his``, ``stopped``, ``rebooked``, ``changed``, ``not_moved``."""
    arrived_at: Mapped[datetime | None]
    reminded_at: Mapped[datetime | None]
    free_to_cancel: Mapped[bool] = mapped_column(default=False)
    """Something changed that the patient did not choose: no time limit for cancelling."""
    choose_until: Mapped[datetime | None]
    """While stopped: without a choice by then the money goes back by itself."""
    rebooked_to: Mapped[uuid.UUID | None]
    rebooked_from: Mapped[uuid.UUID | None]
    changes: Mapped[int] = mapped_column(default=0)
    """How often the patient has chosen another time."""
    invoice_number: Mapped[str | None]
    invoiced_at: Mapped[datetime | None]
    invoiced_by: Mapped[str | None]

    at_his: Mapped[str] = mapped_column(default=AtHis.OURS)
    his_key: Mapped[str | None] = mapped_column(unique=True)
    """Ours for the HIS's number; another try for another number is another key."""
    his_reference: Mapped[str | None]
    his_ask_at: Mapped[datetime | None]
    """When the HIS is asked next; None: nothing is open with it."""
    his_asked: Mapped[int] = mapped_column(default=0)
    his_error: Mapped[str | None]
