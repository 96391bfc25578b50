"""Tables of self-service machines and of the visits patients make to them."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.lis.orders.model import Order
from cloud.lis.printing.model import Printer
from cloud.people.model import Person


class Kiosk(Identified, Created, Base):
    """One machine. It is let in by a code that is shown once and good for a few minutes; then its browser is known."""

    __tablename__ = "lab_kiosk"

    code: Mapped[str] = mapped_column(String(24), unique=True)
    name: Mapped[str]
    place: Mapped[str] = mapped_column(default="")
    printer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Printer.id))
    days: Mapped[int] = mapped_column(default=30)
    """How far back reports are offered."""
    idle_s: Mapped[int] = mapped_column(default=40)
    """Untouched for so long: back to the beginning."""
    enrol_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    enrol_until: Mapped[datetime | None]
    enrolled_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    locked_until: Mapped[datetime | None]
    """Too many unknown numbers: it takes none until then."""
    retired_at: Mapped[datetime | None]


class How(StrEnum):
    """What was put before the scanner. It decides what is shown."""

    SPECIMEN = "specimen"
    VISIT = "visit"
    CARD = "card"
    ID_NUMBER = "id_number"


class KioskVisit(Identified, Base):
    """One patient at one machine. What it may show: the order of a tube, the visit of a voucher, or the person."""

    __tablename__ = "lab_kiosk_visit"
    __table_args__ = (Index("ix_lab_kiosk_visit_kiosk_id_opened_at", "kiosk_id", "opened_at"),)

    kiosk_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Kiosk.id))
    how: Mapped[str] = mapped_column(String(12))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    order_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Order.id))
    visit_number: Mapped[str | None] = mapped_column(String(64))
    opened_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    confirmed: Mapped[bool]
    """A number that was typed shows nothing before the last digits of the telephone on file."""
    tries: Mapped[int] = mapped_column(default=0)
    closed_at: Mapped[datetime | None]
