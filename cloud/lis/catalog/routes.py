"""Pages of the catalogue: list and search, configuration check. One test and its forms: `edit_routes`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import or_, select
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.lis.catalog import approval_routes, approving, checking, edit_routes, exchange_routes, service, words
from cloud.lis.catalog.model import CriticalLimit, Panel, ReferenceRange, Test
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/catalog"
router = APIRouter(prefix=PAGE)
navigation.add(N_("项目字典"), PAGE, permission="catalog.read", group=N_("检验设置"), position=410, key="g c")

Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Orderer = Annotated[CurrentStaff, Depends(require("order.place"))]


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
        "drafts": approving.count_waiting(session),
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


@router.get("/search")
def options(request: Request, session: Transaction, staff: Orderer, q: str = "") -> Response:
    """What the order page offers while somebody types."""
    return render(request, "lis/catalog/options.html", {"options": service.search(session, q), "q": q})


@router.get("/check")
def check(request: Request, session: Transaction, staff: Reader, all: bool = False) -> Response:
    """The configuration check: errors, and with `all` what is only missing."""
    found = checking.problems(session, on=clock.today())
    errors = [each for each in found if each.serious]
    context = {"problems": found if all else errors, "errors": len(errors), "hints": len(found) - len(errors)}
    return render(request, "lis/catalog/check.html", {**context, "all": all, "words": words})


for more in (approval_routes, exchange_routes, edit_routes):  # the latter answers every other name
    router.include_router(more.router)
