"""Days on which the weekday's timetable does not hold: festivals, and weekend days worked in exchange (调休).

The statutory days come from the package chinesecalendar, which carries what the State Council announced year by year; a
year that it does not know yet is refused, never guessed. A person may correct any day; what the hospital wrote stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import chinese_calendar
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.hospital.model import Holiday
from cloud.kit.audit import record
from cloud.kit.errors import Invalid, NotFound
from cloud.web.i18n import mark as N_

STATUTORY = "statutory"
HOSPITAL = "hospital"


def holidays(session: Session, day_from: date, day_to: date) -> dict[date, Holiday]:
    found = session.scalars(select(Holiday).where(Holiday.day.between(day_from, day_to)).order_by(Holiday.day))
    return {each.day: each for each in found}


def timetable_weekday(day: date, holiday: Holiday | None) -> int | None:
    """Which weekday's timetable holds that day (1 to 7); None: there is no clinic by the timetable."""
    return day.isoweekday() if holiday is None else holiday.works_as


def load_statutory(session: Session, year: int, *, by: str) -> int:
    """Write the year's statutory days; returns how many are new. Raises `Invalid` for a year not announced yet."""
    rows = [
        {"day": day, "name": name, "works_as": works_as, "source": STATUTORY} for day, name, works_as in statutory(year)
    ]
    statement = insert(Holiday).values(rows).on_conflict_do_nothing(index_elements=["day"]).returning(Holiday.day)
    made = len(session.scalars(statement).all())
    if made:
        record(session, actor=by, action="holiday.load", aggregate=("holiday_year", year), after={"days": made})
    return made


def statutory(year: int) -> list[tuple[date, str, int | None]]:
    """Each day of the year that differs from an ordinary week: (day, festival, works as).

    A weekend day that is worked stands for the working day that was given off for it, so it has that weekday's
    timetable. Raises `Invalid`.
    """
    try:
        named = list(_named(year))
    except NotImplementedError as error:
        raise Invalid("hospital.year_unknown", N_("还没有 {year} 年的放假安排，请逐日登记。"), year=year) from error
    in_exchange: dict[str, list[date]] = {}
    for day, name, off in named:
        if off and chinese_calendar.is_in_lieu(day):
            in_exchange.setdefault(name, []).append(day)
    rows: list[tuple[date, str, int | None]] = []
    for day, name, off in named:
        given = in_exchange.get(name, [])
        works_as = None if off else (given.pop(0).isoweekday() if given else 1)
        rows.append((day, name, works_as))
    return rows


def _named(year: int) -> Iterator[tuple[date, str, bool]]:
    day = date(year, 1, 1)
    while day.year == year:
        off, festival = chinese_calendar.get_holiday_detail(day)
        if festival is not None:
            yield day, chinese_calendar.Holiday(festival).chinese, off
        day += timedelta(days=1)


def set_day(session: Session, day: date, *, name: str, works_as: int | None, by: str) -> Holiday:
    """What the hospital says of that day. Raises `Invalid`."""
    if not name.strip():
        raise Invalid("hospital.holiday_name", N_("请写明是什么日子。"))
    if works_as is not None and not 1 <= works_as <= 7:
        raise Invalid("hospital.weekday", N_("没有这个星期。"))
    row = session.get(Holiday, day, with_for_update=True) or Holiday(day=day)
    before = None if row.name is None else {"name": row.name, "works_as": row.works_as}
    row.name, row.works_as, row.source = name.strip(), works_as, HOSPITAL
    session.add(row)
    session.flush()
    after = {"name": row.name, "works_as": row.works_as}
    record(session, actor=by, action="holiday.set", aggregate=("holiday", day), before=before, after=after)
    return row


def remove_day(session: Session, day: date, *, by: str) -> None:
    """The day is an ordinary one again. Raises `NotFound`."""
    row = session.get(Holiday, day, with_for_update=True)
    if row is None:
        raise NotFound("hospital.holiday", N_("这一天没有登记。"))
    before = {"name": row.name, "works_as": row.works_as}
    session.delete(row)
    session.flush()
    record(session, actor=by, action="holiday.remove", aggregate=("holiday", day), before=before)
