"""A patient's values over time on paper: what the page shows, on A4 landscape, without the columns of recalled reports.

No report: it says so, with who printed it and when, and each print is kept in the audit trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from cloud.config import settings
from cloud.kit import clock
from cloud.lis.query.cumulative import Course, Cumulative, Row
from cloud.lis.reports import typesetting
from cloud.lis.reports.printing import ARROWS, SEX
from cloud.lis.reports.typesetting import breakable
from cloud.lis.results.model import Result

PAPER = Path(__file__).parent / "templates" / "paper"
NOTE = "本汇总取自已发布的检验报告，以各次正式报告为准；↑↓ 高于或低于参考区间，↑↑↓↓ 危急值，* 异常；◇ 来自不同仪器。"
SHORTEST_COURSE = 2


@cache
def _source() -> str:
    """With the drawings of the report's own source, so that a course looks the same on both."""
    drawings = (typesetting.PAPER / "3_pictures.typ").read_text(encoding="utf-8")
    first, second = ((PAPER / name).read_text(encoding="utf-8") for name in ("1_sheet.typ", "2_table.typ"))
    return "\n".join((first, drawings, second))


def printed(found: Cumulative, courses: Sequence[Course], *, mrn: str, panel: str, by: str, now: datetime) -> bytes:
    """The PDF. `panel`: name of the panel it is limited to, ""; `by`: who prints."""
    kept = [place for place, column in enumerate(found.columns) if not column.recalled]
    person = found.person
    data: dict[str, Any] = {
        "hospital": settings().hospital_name,
        "panel": panel,
        "patient": [
            ["姓名", breakable(person.name) or "（未知）"],
            ["性别", SEX.get(person.sex, (person.sex, ""))[0]],
            ["出生日期", person.birth_date.isoformat() if person.birth_date else "—"],
            ["病历号", mrn or "—"],
            ["打印", f"{_moment(now)} {by}"],
        ],
        "days": [clock.local(found.columns[place].at).strftime("%y-%m-%d\n%H:%M") for place in kept],
        "groups": [
            {"name": group.name or "单项", "rows": rows}
            for group in found.groups
            if (rows := [_row(each, kept) for each in group.rows if any(each.cells[place] for place in kept)])
        ],
        "note": NOTE,
        "pictures": [],
        "trends": [made for each in courses if (made := _course(each)) is not None],
    }
    return typesetting.typeset(_source(), "sheet", data, timestamp=int(now.timestamp()))


def _row(row: Row, kept: Sequence[int]) -> dict[str, Any]:
    cells = [row.cells[place] for place in kept]
    one_unit = len(row.units) == 1
    return {
        "name": breakable(row.test.name) + (" ◇" if len(row.means) > 1 else ""),
        "unit": row.units[0] if one_unit else "单位不同",
        "range": next((each.range_text for each in cells if each is not None and each.range_text), ""),
        "cells": [_cell(each, "" if one_unit else each.unit or "") if each is not None else None for each in cells],
    }


def _cell(result: Result, unit: str) -> dict[str, str]:
    return {"value": breakable(result.value_text), "arrow": ARROWS.get(result.flag, ""), "unit": unit}


def _course(course: Course) -> dict[str, Any] | None:
    """The values in the newest one's unit: others cannot stand on one axis."""
    unit = course.points[-1].unit if course.points else ""
    points = [each for each in course.points if each.unit == unit]
    if len(points) < SHORTEST_COURSE:
        return None
    newest = points[-1]
    return {
        "caption": f"{course.test.name} {unit}".strip(),
        "low": newest.low,
        "high": newest.high,
        "points": [{"day": each.at.strftime("%y-%m-%d"), "number": each.number} for each in points],
    }


def _moment(moment: datetime) -> str:
    return clock.local(moment).strftime("%Y-%m-%d %H:%M")
