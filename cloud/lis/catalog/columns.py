"""How each thing a person may change is written: on a form, in a spreadsheet cell, in a table of differences.

One description for the three, so that what is exported reads back as it was. A cell is Chinese whatever the page's
language is; a form's choices are translated.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import money
from cloud.kit.errors import Invalid
from cloud.lis.catalog.kinds import plain
from cloud.lis.catalog.model import Test, Tube
from cloud.lis.catalog.rules import DAYS_PER_YEAR, years_in_days
from cloud.web.i18n import mark as N_

Options = Callable[[Session], list[tuple[str, str]]]
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(岁|年|y|月|m|周|w|天|日|d)", re.IGNORECASE)
DAYS_PER_MONTH = DAYS_PER_YEAR / 12
YES, NO = N_("是"), N_("否")


def _text(_session: Session, text: str) -> Any:
    return text


def _same(_session: Session, value: Any) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a kind. `parse` takes what was typed and raises `Invalid`; `show` gives it back."""

    field: str
    label: str
    widget: str = "text"
    """text, number, choice, check, date, area or search (a test by pinyin)."""
    parse: Callable[[Session, str], Any] = _text
    show: Callable[[Session, Any], str] = _same
    options: Options | None = None
    required: bool = False
    hint: str = ""
    wide: bool = False


def text(field: str, label: str, *, required: bool = False, hint: str = "", wide: bool = False) -> Column:
    return Column(field, label, required=required, hint=hint, wide=wide)


def number(field: str, label: str, *, required: bool = False, hint: str = "") -> Column:
    def parse(_session: Session, typed: str) -> Any:
        if not typed:
            return None
        try:
            value = Decimal(typed)
        except InvalidOperation:
            raise Invalid("catalog.number", N_("“{typed}”不是数字。"), typed=typed[:40]) from None
        if not value.is_finite():
            raise Invalid("catalog.number", N_("“{typed}”不是数字。"), typed=typed[:40])
        return plain(value)

    return Column(field, label, "number", parse, required=required, hint=hint)


def whole(field: str, label: str, *, required: bool = False, hint: str = "", empty: int | None = None) -> Column:
    def parse(_session: Session, typed: str) -> Any:
        if not typed:
            return empty
        if not re.fullmatch(r"-?\d{1,9}(\.0+)?", typed):
            raise Invalid("catalog.whole", N_("“{typed}”不是整数。"), typed=typed[:40])
        return int(Decimal(typed))

    return Column(field, label, "number", parse, required=required, hint=hint)


def yuan(field: str, label: str) -> Column:
    def parse(_session: Session, typed: str) -> Any:
        if not typed:
            return None
        try:
            return money.fen(typed)
        except ValueError:
            raise Invalid("catalog.money", N_("“{typed}”不是金额（元，至多两位小数）。"), typed=typed[:40]) from None

    def show(_session: Session, value: Any) -> str:
        return "" if value is None else money.yuan(value)

    return Column(field, label, "number", parse, show)


def flag(field: str, label: str) -> Column:
    def parse(_session: Session, typed: str) -> Any:
        if typed.lower() in ("", "否", "no", "0", "false", "n"):
            return False
        if typed.lower() in ("是", "yes", "1", "true", "y"):
            return True
        raise Invalid("catalog.flag", N_("请写“是”或“否”，不能写“{typed}”。"), typed=typed[:40])

    return Column(field, label, "check", parse, lambda _session, value: YES if value else NO)


def day(field: str, label: str, *, required: bool = False) -> Column:
    def parse(_session: Session, typed: str) -> Any:
        if not typed:
            return None
        try:
            return str(datetime.fromisoformat(typed).date() if len(typed) > 10 else date.fromisoformat(typed))
        except ValueError:
            raise Invalid("catalog.day", N_("“{typed}”不是日期，请写成 2026-01-31。"), typed=typed[:40]) from None

    return Column(field, label, "date", parse, required=required)


def choice(field: str, label: str, words: Mapping[str, str], *, required: bool = False) -> Column:
    by_word = {word: code for code, word in words.items()}

    def parse(_session: Session, typed: str) -> Any:
        if typed in words:
            return typed
        if typed in by_word:
            return by_word[typed]
        if typed:
            allowed = "、".join(word for word in words.values() if word)
            raise Invalid("catalog.choice", N_("没有“{typed}”，可选：{allowed}。"), typed=typed[:40], allowed=allowed)
        return ""

    return Column(
        field,
        label,
        "choice",
        parse,
        lambda _session, value: words.get(value or "", _same(_session, value)),
        lambda _session: list(words.items()),
        required,
    )


def age(field: str, label: str, *, empty: int | None) -> Column:
    """Days of life, written as years, months or days."""

    def parse(_session: Session, typed: str) -> Any:
        if not typed:
            return empty
        found = _AGE.fullmatch(typed)
        if found is None and typed != "0":
            raise Invalid("catalog.age", N_("年龄请写成 18岁、6月 或 28天，不能写“{typed}”。"), typed=typed[:40])
        return 0 if found is None else _days(Decimal(found[1]), found[2].lower())

    return Column(field, label, "text", parse, lambda _session, value: age_text(value), hint=N_("如 18岁、6月、28天"))


def _days(amount: Decimal, unit: str) -> int:
    if unit in "岁年y":
        return years_in_days(amount)
    if unit in "月m":
        return int(amount * DAYS_PER_MONTH)
    return int(amount * 7) if unit in "周w" else int(amount)


def age_text(days: int | None) -> str:
    """The shortest way to write it that reads back as the same day of life."""
    if days is None:
        return ""
    years = round(Decimal(days) / DAYS_PER_YEAR)
    if years and years_in_days(years) == days:
        return f"{years}岁"
    months = round(Decimal(days) / DAYS_PER_MONTH)
    if months and int(months * DAYS_PER_MONTH) == days:
        return f"{months}月"
    return f"{days}天" if days else "0"


def words_list(field: str, label: str, *, hint: str = "", separator: str = "、") -> Column:
    def parse(_session: Session, typed: str) -> Any:
        return [each for each in re.split(r"[\s、，,;；]+", typed) if each]

    return Column(
        field, label, "area", parse, lambda _session, value: separator.join(value or []), hint=hint, wide=True
    )


_KEPT = "lis.catalog.columns.codes"
Referred = type[Test] | type[Tube] | type[Department]


@contextmanager
def codes_kept(session: Session) -> Iterator[None]:
    """While it lasts, rows are found by their codes without asking the database each time (a sheet has hundreds)."""
    kept: dict[Any, dict[Any, Any]] = {}
    for table in (Test, Tube, Department):
        found = session.execute(select(table.code, table.id)).all()
        kept[table] = {row.code: row.id for row in found} | {row.id: row.code for row in found}
    session.info[_KEPT] = kept
    try:
        yield
    finally:
        session.info.pop(_KEPT, None)


def _id_of(session: Session, table: Referred, code: str) -> uuid.UUID | None:
    kept: uuid.UUID | None = session.info.get(_KEPT, {}).get(table, {}).get(code)
    return kept or session.scalar(select(table.id).where(table.code == code))


def _code_of(session: Session, table: Referred, row_id: uuid.UUID) -> str:
    kept: str = session.info.get(_KEPT, {}).get(table, {}).get(row_id, "")
    return kept or session.scalar(select(table.code).where(table.id == row_id)) or ""


def reference(field: str, label: str, table: Referred, unknown: str, *, required: bool = False) -> Column:
    """Another row, written by its code, kept by its id."""

    def parse(session: Session, typed: str) -> Any:
        if not typed:
            return None
        found = _id_of(session, table, typed.split(" ")[0])
        if found is None:
            raise Invalid("catalog.reference", unknown, typed=typed[:40])
        return str(found)

    def show(session: Session, value: Any) -> str:
        if not value:
            return ""
        return _code_of(session, table, uuid.UUID(str(value)))

    def options(session: Session) -> list[tuple[str, str]]:
        rows = session.execute(select(table.code, table.name).order_by(table.code))
        return [("", "")] * (not required) + [(code, f"{code} {name}") for code, name in rows]

    if table is Test:
        return Column(field, label, "search", parse, show, None, required)
    return Column(field, label, "choice", parse, show, options, required)
