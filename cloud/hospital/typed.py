"""What stands in a form, as values; what cannot be read is refused with a sentence that names the box."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time

from sqlalchemy.orm import Session

from cloud.hospital.model import Doctor
from cloud.hospital.release import at_hospital, settings_of, usual_fee, usual_hours
from cloud.hospital.schedule_model import HALVES
from cloud.kit import clock, money
from cloud.kit.errors import Invalid
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_


def _unreadable(box: str) -> Invalid:
    return Invalid("hospital.typed", N_("“{box}”填写有误。"), box=_(box))


def day(text: str, box: str) -> date:
    found = clock.typed_day(text)
    if found is None:
        raise _unreadable(box)
    return found


def optional_day(text: str, box: str) -> date | None:
    return day(text, box) if text.strip() else None


def of_day(text: str, box: str) -> time:
    """``08:30``."""
    try:
        found = time.fromisoformat(text.strip())
    except ValueError:
        raise _unreadable(box) from None
    return found.replace(second=0, microsecond=0, tzinfo=None)


def moment(text: str, box: str) -> datetime:
    """``2026-03-01T07:00`` on the hospital's clock."""
    head, _sep, tail = text.strip().replace(" ", "T").partition("T")
    return at_hospital(day(head, box), of_day(tail, box))


def number(text: str, box: str) -> int:
    if not text.strip().isascii() or not text.strip().isdigit() or len(text.strip()) > 6:
        raise _unreadable(box)
    return int(text)


def fen(text: str, box: str) -> int:
    """Yuan as typed."""
    try:
        found = money.fen(text)
    except ValueError:
        raise _unreadable(box) from None
    if not 0 <= found <= 1_000_000:
        raise _unreadable(box)
    return found


def hours(session: Session, half: str, starts: str, ends: str) -> tuple[time, time]:
    """What was typed, or the half-day's usual hours where a box is empty."""
    if half not in HALVES:
        raise _unreadable(N_("午别"))
    usual = usual_hours(settings_of(session), half)
    return (
        of_day(starts, N_("出诊开始")) if starts.strip() else usual[0],
        of_day(ends, N_("出诊结束")) if ends.strip() else usual[1],
    )


def fee(session: Session, text: str, doctor_id: uuid.UUID | None) -> int:
    """What was typed, or the usual fee of the doctor's title."""
    if text.strip():
        return fen(text, N_("挂号费（元）"))
    doctor = session.get(Doctor, doctor_id) if doctor_id else None
    return usual_fee(settings_of(session), doctor.title if doctor else None)


def some_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None
