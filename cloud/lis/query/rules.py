"""What is asked: the form's fields as a question, with what is wrong about them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation

from cloud.kit import clock
from cloud.web.i18n import mark as N_

DAYS_BY_ITSELF = 31
"""How far back a question without a date and without a patient looks."""
FLAGS = ("abnormal", "H", "L", "HH", "LL", "A", "critical", "N")
STATES = ("printed", "collected", "received", "done", "rejected", "cancelled")
BY_DAY = ("received", "ordered", "released")
_LETTERS = re.compile(r"^[a-z]{1,8}$")


@dataclass(frozen=True, slots=True)
class Question:
    """Everything is a narrowing; an empty field narrows nothing."""

    patient: str = ""
    barcode: str = ""
    day: str = "received"
    """Which moment `since` and `until` mean; with a test given it is that of the measurement."""
    since: date | None = None
    until: date | None = None
    """The last day, included."""
    department: str = ""
    """Code."""
    doctor: str = ""
    instrument: str = ""
    """Code."""
    test: str = ""
    """Code."""
    low: Decimal | None = None
    high: Decimal | None = None
    flag: str = ""
    state: str = ""
    priority: str = ""
    wrong: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """(field, what is wrong with it), for the page."""

    @property
    def empty(self) -> bool:
        return self.fields() == {}

    def fields(self) -> dict[str, str]:
        """The fields that say something, as an address has them."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "wrong"}
        told = {name: str(value) for name, value in found.items() if value not in (None, "")}
        if told.get("day") == "received":
            del told["day"]
        return told

    @property
    def window(self) -> tuple[date | None, date | None]:
        return self.since, self.until


def read(given: Mapping[str, str], today: date) -> Question:
    """The question of a form; what cannot be read is named in `wrong` and narrows nothing. A barcode asks for its tube
    alone: somebody who scans wants that one, whatever stood in the form before.
    """
    wrong: list[tuple[str, str]] = []

    def text(name: str, longest: int = 64) -> str:
        return given.get(name, "").strip()[:longest]

    def day(name: str) -> date | None:
        typed = text(name)
        if not typed:
            return None
        found = clock.typed_day(typed)
        if found is None:
            wrong.append((name, N_("日期要写成 2026-03-01。")))
        return found

    def number(name: str) -> Decimal | None:
        typed = text(name)
        if not typed:
            return None
        try:
            value = Decimal(typed)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or abs(value) > 10**12:
            wrong.append((name, N_("请输入数字。")))
            return None
        return value

    def one_of(name: str, allowed: tuple[str, ...], otherwise: str = "") -> str:
        return text(name) if text(name) in allowed else otherwise

    if text("barcode", 32):
        return Question(barcode=text("barcode", 32))
    since, until, low, high = day("since"), day("until"), number("low"), number("high")
    if since and until and since > until:
        wrong.append(("until", N_("结束日期早于开始日期。")))
    if low is not None and high is not None and low > high:
        wrong.append(("high", N_("上限小于下限。")))
    if (low is not None or high is not None) and not text("test"):
        wrong.append(("test", N_("按数值查询时要选择一个项目。")))
    question = Question(
        patient=text("patient"),
        day=one_of("day", BY_DAY, "received"),
        since=since,
        until=until,
        department=text("department"),
        doctor=text("doctor"),
        instrument=text("instrument"),
        test=text("test"),
        low=low,
        high=high,
        flag=one_of("flag", FLAGS),
        state=one_of("state", STATES),
        priority=one_of("priority", ("R", "S")),
        wrong=tuple(wrong),
    )
    return bounded(question, today)


def bounded(question: Question, today: date) -> Question:
    """A question about everybody gets a beginning, so that it is answered at once however long the history is."""
    if question.patient or question.barcode or question.since or question.fields() == {}:
        return question
    return replace(question, since=(question.until or today) - timedelta(days=DAYS_BY_ITSELF))


def as_typed(given: Mapping[str, str], question: Question) -> Question:
    """The question without the beginning that `bounded` gave it: kept so, it means the days before it is asked."""
    return question if given.get("since", "").strip() else replace(question, since=None)


def is_initials(text: str) -> bool:
    """Whether it may be the pinyin initials of a name ("wxm" for 王小明)."""
    return bool(_LETTERS.match(text.lower())) and text.isascii()
