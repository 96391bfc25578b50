"""One test's page with all that belongs to it: ranges, limits, goals, panels, tube, channels, forms, change record."""

from __future__ import annotations

import uuid
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.kit.money import yuan
from cloud.lis.catalog import checking, content, forms, panes, service, words
from cloud.lis.catalog.model import Panel, PanelTest, Test
from cloud.lis.catalog.rules import DAYS_PER_YEAR
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/catalog"


def find_test(session: Session, code: str) -> Test:
    test = service.test_by_code(session, code)
    if test is None:
        raise NotFound("test_not_there", N_("没有代码为 {test} 的检验项目。"), test=code)
    return test


def open_form(session: Session, test: Test, edit: str, add: str) -> forms.Form:
    """The form that a link of the page asks for; raises `NotFound` for one that is not there."""
    if edit == "general":
        return forms.filled(session, content.TEST, test, f"{PAGE}/tests/{test.code}/edit", N_("修改基本资料"))
    if add in BANDS:
        new, title = BANDS[add]
        return forms.blank(session, new, f"{PAGE}/tests/{test.code}/{add}", title, {}, about=new.table(test_id=test.id))
    name, _colon, row_id = edit.partition(":")
    kind = BANDS[name][0] if name in BANDS else None
    row = session.get(kind.table, uuid.UUID(row_id)) if kind is not None and _is_id(row_id) else None
    if kind is None or row is None or row.test_id != test.id:
        raise NotFound("catalog.unknown", N_("没有这条记录。"))
    return forms.filled(session, kind, row, f"{PAGE}/band/{name}/{row.id}/edit", N_("修改"))


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


BANDS = {
    "range": (content.RANGE, N_("新增参考区间")),
    "critical": (content.LIMIT, N_("新增危急值界限")),
    "goal": (content.GOAL, N_("新增质量目标")),
}


def page_of_test(
    request: Request, session: Session, test: Test, form: forms.Form | None = None, status: int = 200
) -> Response:
    history = service.history(session, test.id)
    rows = {"range": service.ranges(session, test.id), "critical": service.critical_limits(session, test.id)}
    context = {
        "test": test,
        "tube": service.tubes_by_id(session)[test.tube_id],
        "ranges": rows["range"],
        "limits": rows["critical"],
        "goals": service.goals(session, test.id),
        "departments": {each.id: each.name for each in hospital.departments(session)},
        "panels": _panels_with(session, test.id),
        "panes": panes.of_test(session, test),
        "history": [(each, forms.of_change(session, each)) for each in history[:HISTORY]],
        "earlier": max(0, len(history) - HISTORY),
        "waiting": {each.subject_id for each in history if each.state in ("waiting", "approved")},
        "problems": [each for each in checking.problems_of(session, test, on=clock.today()) if each.serious],
        "form": form,
        "today": clock.today(),
        "ages": ages,
        "number": number,
        "yuan": yuan,
        "phase_label": words.phase_label,
        "words": words,
    }
    return render(request, "lis/catalog/test.html", context, status)


HISTORY = 30
"""Changes shown on a test's page; all of them are in the audit trail."""


def _panels_with(session: Session, test_id: uuid.UUID) -> list[Panel]:
    return list(session.scalars(select(Panel).join(PanelTest).where(PanelTest.test_id == test_id)))


def ages(low: int, high: int | None) -> str:
    """An age band as it is said: years where they are whole, else days."""
    start = _years_or_days(low)
    if high is None:
        return _("{start}及以上").format(start=start) if low else _("全部年龄")
    return _("{start} 至不满 {end}").format(start=start, end=_years_or_days(high))


def _years_or_days(days: int) -> str:
    years = round(Decimal(days) / DAYS_PER_YEAR)
    if years and int(years * DAYS_PER_YEAR) == days:
        return _("{n} 岁").format(n=years)
    return _("{n} 天").format(n=days)


def number(value: Decimal | None, decimals: int | None) -> str:
    """A bound in the test's own digits, never rounded: more digits than usual stay."""
    if value is None:
        return ""
    shown = format(value.normalize(), "f")
    have = len(shown.partition(".")[2])
    return f"{value:.{decimals}f}" if decimals is not None and have < decimals else shown
