"""Pages of the catalogue: list and search, one test with its ranges, approval, configuration check."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import func, or_, select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.lis.catalog import checking, service, words
from cloud.lis.catalog.model import CriticalLimit, Panel, PanelTest, ReferenceRange, Test
from cloud.lis.catalog.rules import DAYS_PER_YEAR
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/catalog"
router = APIRouter(prefix=PAGE)
navigation.add(N_("项目字典"), PAGE, permission="catalog.read", group=N_("检验设置"), position=410, key="g c")

Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Orderer = Annotated[CurrentStaff, Depends(require("order.place"))]
Approver = Annotated[CurrentStaff, Depends(require("catalog.approve"))]


@router.get("")
def catalogue(
    request: Request, session: Transaction, staff: Reader, q: str = "", section: str = "", drafts: bool = False
) -> Response:
    """All tests of a section, what a search by code, pinyin or name finds, or those with drafts to approve."""
    context = {
        "q": q,
        "section": section,
        "only_drafts": drafts,
        "tests": _found(session, q, section, drafts),
        "panels": [] if section or drafts else _panels(session, q),
        "tubes": service.tubes_by_id(session),
        "drafts": _drafts(session),
        "words": words,
    }
    return render(request, "lis/catalog/catalogue.html", context)


def _found(session: Transaction, q: str, section: str, drafts: bool) -> list[Test]:
    wanted = select(Test).order_by(Test.position)
    if section:
        wanted = wanted.where(Test.section == section)
    if q.strip():
        codes = [each.code for each in service.search(session, q, limit=60) if each.kind == "test"]
        wanted = wanted.where(Test.code.in_(codes))
    if drafts:
        waiting = [select(table.test_id).where(table.state == "draft") for table in (ReferenceRange, CriticalLimit)]
        wanted = wanted.where(or_(*(Test.id.in_(each) for each in waiting)))
    return list(session.scalars(wanted))


def _panels(session: Transaction, q: str) -> list[tuple[Panel, list[Test]]]:
    wanted = select(Panel).order_by(Panel.position)
    if q.strip():
        codes = [each.code for each in service.search(session, q, limit=60) if each.kind == "panel"]
        wanted = wanted.where(Panel.code.in_(codes))
    return [(each, service.panel_tests(session, each.id)) for each in session.scalars(wanted)]


def _drafts(session: Transaction) -> int:
    found = 0
    for table in (ReferenceRange, CriticalLimit):
        found += session.scalar(select(func.count()).select_from(table).where(table.state == "draft")) or 0
    return found


@router.get("/search")
def options(request: Request, session: Transaction, staff: Orderer, q: str = "") -> Response:
    """What the order page offers while somebody types."""
    return render(request, "lis/catalog/options.html", {"options": service.search(session, q), "q": q})


@router.get("/check")
def check(request: Request, session: Transaction, staff: Reader) -> Response:
    """The configuration check; findings that need another slice's tables are on that slice's page."""
    found = checking.problems(session, on=clock.today())
    return render(request, "lis/catalog/check.html", {"problems": found, "words": words})


@router.get("/tests/{code}")
def one_test(request: Request, session: Transaction, staff: Reader, code: str) -> Response:
    test = service.test_by_code(session, code)
    if test is None:
        raise NotFound("test_not_there", N_("没有代码为 {test} 的检验项目。"), test=code)
    context = {
        "test": test,
        "tube": service.tubes_by_id(session)[test.tube_id],
        "ranges": service.ranges(session, test.id),
        "limits": service.critical_limits(session, test.id),
        "panels": _panels_with(session, test.id),
        "today": clock.today(),
        "ages": ages,
        "number": number,
        "words": words,
    }
    return render(request, "lis/catalog/test.html", context)


def _panels_with(session: Transaction, test_id: uuid.UUID) -> list[Panel]:
    return list(session.scalars(select(Panel).join(PanelTest).where(PanelTest.test_id == test_id)))


@router.post("/{kind}/{band_id}/approve")
def approve(session: Transaction, staff: Approver, kind: str, band_id: uuid.UUID) -> Response:
    """A draft range or critical limit becomes approved by this person."""
    if kind not in service.BANDS:
        raise NotFound("band_unknown", N_("没有这条参考区间或危急值界限。"))
    band = service.approve(session, kind, band_id, by=staff.actor)
    test = session.get(Test, band.test_id)
    assert test is not None
    return RedirectResponse(f"{PAGE}/tests/{test.code}", status_code=303)


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
