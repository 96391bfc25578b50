"""How turnaround is said on a page: minutes, outlooks, bars, the spreadsheet's table; and what a form's words mean."""

from __future__ import annotations

import csv
import io
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from cloud.hospital import service as hospital
from cloud.hospital.model import Department
from cloud.kit.errors import Invalid, NotFound
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.turnaround.board import Outlook, Row
from cloud.lis.turnaround.points import POINT_NAMES, Point, Span
from cloud.lis.turnaround.reading import Figures
from cloud.lis.turnaround.statistics import Bar
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

OUTLOOKS = {
    Outlook.LATE: (N_("已超时"), "bad"),
    Outlook.WILL_BE_LATE: (N_("预计超时"), "warn"),
    Outlook.IN_TIME: (N_("按时"), "good"),
    Outlook.UNKNOWN: (N_("未超时"), "neutral"),
    Outlook.NO_TARGET: (N_("无目标"), "neutral"),
}
PRIORITIES = {"S": N_("急诊"), "R": N_("常规")}
GROUPS = {
    "section": N_("专业组"),
    "priority": N_("急诊/常规"),
    "department": N_("申请科室"),
    "hour": N_("接收时段"),
    "day": N_("日期"),
}
WEEKDAYS = (N_("周一"), N_("周二"), N_("周三"), N_("周四"), N_("周五"), N_("周六"), N_("周日"))


def outlook(which: Outlook) -> tuple[str, str]:
    """Its words and its tone."""
    name, tone = OUTLOOKS[which]
    return _(name), tone


def counts(rows: Sequence[Row]) -> list[tuple[str, str, int]]:
    """Words, tone and how many, in the order of urgency."""
    many = Counter(each.outlook for each in rows)
    return [(*outlook(each), many[each]) for each in Outlook if many[each] or each is Outlook.LATE]


def point(which: Point | str) -> str:
    return _(POINT_NAMES[Point(which)])


def priority(code: str) -> str:
    return _(PRIORITIES[code]) if code in PRIORITIES else code


def section(code: str) -> str:
    return _(SECTIONS[code]) if code in SECTIONS else code


def sections_of(codes: Sequence[str]) -> str:
    return _("、").join(section(each) for each in codes)


def section_options(*, all: bool = False) -> list[tuple[str, str]]:
    """For a choice; `all`: with the one for every section."""
    return [*([("", _("全部"))] if all else []), *((code, _(name)) for code, name in SECTIONS.items())]


def department_options(departments: Sequence[Department]) -> list[tuple[str, str]]:
    return [(each.code, each.name) for each in departments]


def group_options() -> list[tuple[str, str]]:
    return [(key, _(name)) for key, name in GROUPS.items()]


def group_name(group: str) -> str:
    return _(GROUPS[group])


def span_name(span: Span) -> str:
    """Its own name, or its two points."""
    if span.name:
        return _(span.name)
    return _("{start}到{end}").format(start=point(span.start), end=point(span.end))


def weekdays() -> list[str]:
    return [_(each) for each in WEEKDAYS]


def duration(minutes: float | None) -> str:
    """``42.5 分``, from two hours on ``3 小时 05 分``, from two days on ``2 天 4 小时``."""
    if minutes is None:
        return "—"
    sign, whole = ("−" if minutes < 0 else ""), abs(minutes)
    if whole < 120:
        return sign + _("{n} 分").format(n=f"{whole:.1f}".removesuffix(".0"))
    if whole < 2880:
        return sign + _("{h} 小时 {m} 分").format(h=int(whole // 60), m=f"{int(whole % 60):02}")
    return sign + _("{d} 天 {h} 小时").format(d=int(whole // 1440), h=int(whole % 1440 // 60))


def share(value: float | None) -> str:
    return "—" if value is None else f"{value * 100:.1f} %"


def label(group: str, text: str) -> str:
    """A group's key in the page's words."""
    if group == "section":
        return section(text)
    if group == "priority":
        return priority(text)
    return f"{text}:00" if group == "hour" else text


@dataclass(frozen=True, slots=True)
class DrawnBar:
    """In the units of a picture 100 high; `x` and `width` per cent of its width."""

    bar: Bar
    x: float
    width: float
    height: float


def drawn(bars: Sequence[Bar]) -> list[DrawnBar]:
    most = max((each.count for each in bars), default=0)
    if not most:
        return []
    width = 1000 / len(bars)
    return [
        DrawnBar(
            each, round(number * width + width * 0.08, 2), round(width * 0.84, 2), round(each.count / most * 100, 2)
        )
        for number, each in enumerate(bars)
    ]


def bar_words(bar: Bar) -> str:
    if bar.high is None:
        return _("{low} 分以上：{count}").format(low=f"{bar.low:g}", count=bar.count)
    return _("{low}–{high} 分：{count}").format(low=f"{bar.low:g}", high=f"{bar.high:g}", count=bar.count)


def as_csv(spans: Sequence[tuple[Span, Figures]], parts: Sequence[Figures], group: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    head = [
        _("例数"),
        _("均值"),
        _("中位数"),
        "P90",
        _("最小"),
        _("最大"),
        "SD",
        _("缺起点"),
        _("缺终点"),
        _("时间倒置"),
        _("达标率"),
    ]
    writer.writerow([_("阶段（分钟）"), *head])
    for span, figures in spans:
        writer.writerow([_(span.name), *_cells(figures)])
    writer.writerow([])
    writer.writerow([_(GROUPS.get(group, GROUPS["section"])), *head])
    for figures in parts:
        writer.writerow([label(group, figures.label), *_cells(figures)])
    writer.writerow([])
    writer.writerow([_("P90 按线性插值法（第 7 型）计算；缺失的时间不计入，单列例数。")])
    return out.getvalue()


def _cells(figures: Figures) -> list[object]:
    found = figures.summary
    numbers: list[object] = [0, "", "", "", "", "", ""]
    if found is not None:
        rest = (found.mean, found.median, found.p90, found.least, found.most, found.sd)
        numbers = [found.count, *(round(each, 2) for each in rest)]
    return [*numbers, figures.missing_start, figures.missing_end, figures.negative, share(figures.in_target)]


def minutes(text: str) -> int | None:
    """A form's minutes; empty: no target. Raises Invalid for what is no whole number."""
    said = text.strip()
    if not said:
        return None
    if not said.isascii() or not said.isdigit() or len(said) > 6:
        raise Invalid("turnaround.minutes", N_("目标时间应在 1 分钟到 60 天之间。"))
    return int(said)


def test_id(session: Session, code: str) -> uuid.UUID | None:
    if not code.strip():
        return None
    found = catalog.test_by_code(session, code.strip())
    if found is None:
        raise NotFound("turnaround.test", N_("没有这个项目。"))
    return found.id


def department_id(session: Session, code: str) -> uuid.UUID | None:
    if not code:
        return None
    found = hospital.department_by_code(session, code)
    if found is None:
        raise NotFound("turnaround.department", N_("没有这个科室。"))
    return found.id
