"""What stands in a form, as values; what cannot be read is refused with a sentence that names the box."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time

from cloud.hospital.release import at_hospital
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


def some_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text.strip())
    except ValueError:
        return None
