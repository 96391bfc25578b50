"""The only place that asks what time it is. UTC inside; civil dates by the hospital's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from cloud.config import settings


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


def hospital_zone() -> ZoneInfo:
    return ZoneInfo(settings().hospital_timezone)


def local(moment: datetime) -> datetime:
    """`moment` on the hospital's wall clock."""
    return moment.astimezone(hospital_zone())


def today() -> date:
    """The civil date in the hospital."""
    return local(now()).date()


def day_begins(day: date) -> datetime:
    """When a civil day of the hospital begins, UTC; the day's end is where the next one begins."""
    return datetime.combine(day, time(), hospital_zone()).astimezone(UTC)


def typed_day(text: str | None) -> date | None:
    """The civil day that was typed or stands in an address (``2026-03-01``); None where there is none, or one that no
    laboratory means: near the calendar's ends a day has no beginning in UTC, and no day before or after it.
    """
    try:
        day = date.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return day if 1900 <= day.year < 9999 else None


def from_instrument(text: str | None) -> datetime | None:
    """An instrument's wall-clock text (ISO 8601, no zone) as UTC, assuming the hospital's zone; None if unreadable (or
    so near the calendar's ends, as an unset clock's 0001-01-01, that UTC has no such time)."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=hospital_zone())
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None
