"""When a test is to be drawn: at a clock time, some time after a meal, a glucose load or a dose, as one of some sets.

An ordered test carries it as a short text; a code may be asked for with it, ``CORT@08:00``, ``GLU@load+60``,
``BC_AER@set+2``, ``TNI@2026-11-24T08:00+08:00``. Tests of different timings never share a tube. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from cloud.kit.errors import Invalid
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_


class Since(StrEnum):
    """What the minutes of a timing count from; a set counts from nothing: it is drawn at another place of the body."""

    MEAL = "meal"
    LOAD = "load"
    DOSE = "dose"
    SET = "set"


STARTS = (Since.MEAL, Since.LOAD, Since.DOSE)
START_NAMES = {Since.MEAL: N_("进餐"), Since.LOAD: N_("服糖"), Since.DOSE: N_("给药")}
WORDS = {"餐后": Since.MEAL, "服糖后": Since.LOAD, "服糖": Since.LOAD, "给药后": Since.DOSE, "第": Since.SET}
"""What is typed on the order page."""
USUAL = ("8:00 16:00", "餐后 120", "服糖后 0 30 60 120", "第1套 第2套")
"""Offered while typing; what is drawn when is the doctor's."""
MOST_MINUTES = 72 * 60
MOST_SETS = 6
MOST_TIMES = 12

_RELATIVE = re.compile(r"(meal|load|dose|set)\+(\d{1,4})")
COMPARED = r"^((meal|load|dose)\+[1-9]|[0-9]{2}:[0-9]{2}$)"
"""Stored timings whose values are compared only with values drawn alike (`Timing.comparable`), for PostgreSQL."""
_CLOCK = re.compile(r"([01]?\d|2[0-3])[:：]([0-5]\d)")
_DAY_AND_CLOCK = re.compile(r"(?:(\d{4})-)?(\d{1,2})-(\d{1,2})[T ]([01]?\d|2[0-3])[:：]([0-5]\d)")
_NUMBER = re.compile(r"(\d{1,4})(小时|时|h|分钟|分|min|套)?", re.IGNORECASE)
_FORM = N_("时点看不懂：{text}。写法如 8:00 16:00、餐后 120、服糖后 0 30 60 120、第1套 第2套、11-24 08:00。")


@dataclass(frozen=True, slots=True)
class Timing:
    """One of: a count since something, minutes of the day, a moment."""

    since: Since | None = None
    count: int = 0
    at: datetime | None = None

    @property
    def text(self) -> str:
        if self.at is not None:
            return self.at.isoformat(timespec="minutes")
        if self.since is not None:
            return f"{self.since}+{self.count}"
        return f"{self.count // 60:02}:{self.count % 60:02}"

    @property
    def comparable(self) -> str:
        """What two values must have alike to be compared in time: the clock time, or the minutes since a meal, a load
        or a dose; "" for any other (at the load itself, one of some sets, a moment of a day)."""
        return "" if self.at is not None or self.since is Since.SET or (self.since and not self.count) else self.text

    @property
    def starts(self) -> bool:
        """Whether somebody must say when it began before anybody knows when it is due."""
        return self.since in STARTS and self.count > 0


def parse(text: str) -> Timing | None:
    """A timing as it is stored; None for what is none."""
    relative = _RELATIVE.fullmatch(text)
    if relative:
        since, count = Since(relative[1]), int(relative[2])
        fits = 1 <= count <= MOST_SETS if since is Since.SET else count <= MOST_MINUTES
        return Timing(since, count) if fits else None
    clock = _CLOCK.fullmatch(text)
    if clock:
        return Timing(count=int(clock[1]) * 60 + int(clock[2]))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return Timing(at=moment) if moment.tzinfo is not None and len(text) > len("2026-11-24") else None


def split_code(code: str) -> tuple[str, str]:
    """A code and the timing behind its ``@``, "" where there is none (or none that can be read)."""
    plain, at, text = code.partition("@")
    timing = parse(text) if at else None
    return (plain, timing.text) if timing else (code, "")


def with_timing(code: str, timing: str) -> str:
    return f"{code}@{timing}" if timing else code


def typed(text: str, now: datetime) -> list[str]:
    """What a person typed as timings, in the words of the page's hint: "8:00 16:00", "服糖后 0 30", "第1套 第2套".

    `now` (on the hospital's clock) gives the year of a day without one: the next such day. Raises `Invalid`.
    """
    found: list[str] = []
    left = text.strip().replace("，", " ").replace(",", " ").replace("、", " ").replace("/", " ")
    since: Since | None = None
    while left := left.lstrip(" ；;"):
        timing, left, since = _next(left, since, now, text)
        if timing is not None and timing.text not in found:
            found.append(timing.text)
    if len(found) > MOST_TIMES or (text.strip() and not found):
        raise Invalid("timing_unreadable", _FORM, text=text.strip()[:40])
    return found


def _next(left: str, since: Since | None, now: datetime, whole: str) -> tuple[Timing | None, str, Since | None]:
    """The next timing of what is left, what is left then, and what following numbers count from."""
    for word, meant in WORDS.items():
        if left.startswith(word):
            return None, left[len(word) :], meant
    dated = _DAY_AND_CLOCK.match(left)
    if dated:
        return Timing(at=_moment(dated, now, whole)), left[dated.end() :], None
    clock = _CLOCK.match(left)
    if clock:
        return Timing(count=int(clock[1]) * 60 + int(clock[2])), left[clock.end() :], None
    number = _NUMBER.match(left)
    if number is None or since is None:
        raise Invalid("timing_unreadable", _FORM, text=whole.strip()[:40])
    hours = (number[2] or "").lower() in ("小时", "时", "h")
    timing = parse(f"{since}+{int(number[1]) * (60 if hours else 1)}")
    if timing is None or (number[2] == "套") != (since is Since.SET):
        raise Invalid("timing_unreadable", _FORM, text=whole.strip()[:40])
    return timing, left[number.end() :], since


def _moment(found: re.Match[str], now: datetime, whole: str) -> datetime:
    try:
        month, day, hour, minute = (int(found[each]) for each in (2, 3, 4, 5))
        moment = datetime(int(found[1] or now.year), month, day, hour, minute, tzinfo=now.tzinfo)
        if not found[1] and moment < now - timedelta(days=1):
            moment = moment.replace(year=now.year + 1)
    except ValueError:
        raise Invalid("timing_unreadable", _FORM, text=whole.strip()[:40]) from None
    return moment


def said(text: str, translate: Callable[[str], str] = _) -> str:
    """A timing in words; `translate` leaves them Chinese for a label."""
    timing = parse(text)
    if timing is None:
        return text
    if timing.at is not None:
        return timing.at.strftime("%m-%d %H:%M")
    sentence = {
        None: timing.text,
        Since.MEAL: translate(N_("餐后{n}分钟") if timing.count else N_("餐前（0分钟）")),
        Since.LOAD: translate(N_("服糖后{n}分钟") if timing.count else N_("服糖前（0分钟）")),
        Since.DOSE: translate(N_("给药后{n}分钟") if timing.count else N_("给药前（0分钟）")),
        Since.SET: translate(N_("第{n}套")),
    }[timing.since]
    return sentence.format(n=timing.count)


def as_typed(text: str) -> str:
    """A timing in the form in which `typed` reads it."""
    timing = parse(text)
    if timing is None or timing.since is None:
        return timing.text if timing and timing.at is None else text
    word = next(word for word, since in WORDS.items() if since is timing.since)
    return f"{word}{timing.count}套" if timing.since is Since.SET else f"{word} {timing.count}"


def due(text: str, *, ordered_at: datetime, zone: ZoneInfo, begun_at: datetime | None = None) -> datetime | None:
    """When it is to be drawn; None: at any time, or nobody knows yet (`begun_at` is not said).

    A clock time is the first one at or after the order; `ordered_at` may be the moment an order is for.
    """
    timing = parse(text)
    if timing is None:
        return None
    if timing.at is not None:
        return timing.at
    if timing.since is None:
        from_ = ordered_at.astimezone(zone)
        moment = datetime.combine(from_.date(), time(timing.count // 60, timing.count % 60), zone)
        if moment < from_.replace(second=0, microsecond=0):
            moment = datetime.combine(from_.date() + timedelta(days=1), moment.time(), zone)
        return moment
    if timing.starts and begun_at is not None:
        return begun_at + timedelta(minutes=timing.count)
    return None


def draw_rank(text: str) -> tuple[int, str]:
    """The order in which tubes are drawn, before the order of draw within one puncture: what has no time together with
    the first set, the other sets (each a puncture of its own), then by time."""
    timing = parse(text)
    if timing is None:
        return (0, "")
    if timing.since is Since.SET:
        return (0, f"set{timing.count}" if timing.count > 1 else "")
    if timing.since is not None:
        return (1, f"{timing.since}{timing.count:06}")
    return (2, timing.text)


def expanded(code: str, typed_text: str, now: datetime) -> Sequence[str]:
    """One picked code with what was typed beside it: the code itself, or one for each of its times."""
    return [with_timing(code, each) for each in typed(typed_text, now)] or [code]
