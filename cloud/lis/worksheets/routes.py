"""Pages of worksheets: list, make one, the grid; a cell is saved as soon as it is left, or all with one key."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound, XinglinError
from cloud.lis.catalog import service as catalog
from cloud.lis.results import wording
from cloud.lis.results.attempt import attempt
from cloud.lis.results.typed import TypedValue
from cloud.lis.worksheets import service, settings_routes
from cloud.lis.worksheets.grid import Grid, grid, listed
from cloud.lis.worksheets.model import Worksheet
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/worksheets"
router = APIRouter()
router.include_router(settings_routes.router)
pages = APIRouter(prefix=PAGE)
navigation.add(N_("工作单录入"), PAGE, permission="result.review", group=N_("检验"), position=305, key="g g")

Worker = Annotated[CurrentStaff, Depends(require("result.review"))]
Typed = Annotated[str, Form(max_length=240)]


@pages.get("")
def sheets(request: Request, session: Transaction, staff: Worker, closed: bool = False) -> Response:
    """Open worksheets, or the finished ones, and the form for a new one."""
    return _list(request, session, closed=closed)


def _list(request: Request, session: Session, *, closed: bool = False, **more: Any) -> Response:
    context = {"sheets": listed(session, closed=closed), "closed": closed, "typed": "", "problem": "", **more}
    return render(request, "lis/worksheets/worksheets.html", context, more.get("status", 200))


@pages.post("")
def make(
    request: Request,
    session: Transaction,
    staff: Worker,
    tests: Typed,
    title: Typed = "",
    rows: Annotated[int, Form(ge=1, le=service.MOST_ROWS)] = 40,
) -> Response:
    """A new worksheet of what waits for these tests (codes or pinyin initials, blanks between)."""
    subject = Subject.staff(staff)

    def verb() -> Worksheet:
        codes = [_code_of(session, each) for each in tests.replace("、", " ").replace(",", " ").split()]
        columns = service.tests_of_codes(session, codes)
        return service.make(session, subject, columns, by=staff, title=title, rows=rows)

    made, refusal = attempt(session, verb)
    if refusal is not None or made is None:
        assert refusal is not None
        return _list(request, session, typed=tests, problem=message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{PAGE}/{made.id}", status_code=303)


def _code_of(session: Session, typed: str) -> str:
    """A code as it is, or the first that a search for what was typed offers."""
    if catalog.test_by_code(session, typed.upper()) is not None:
        return typed.upper()
    offered = catalog.search(session, typed, limit=1)
    return offered[0].code if offered else typed


@pages.get("/{worksheet_id}")
def one(request: Request, session: Transaction, staff: Worker, worksheet_id: uuid.UUID) -> Response:
    return _page(request, session, staff, worksheet_id)


def _page(
    request: Request,
    session: Session,
    staff: CurrentStaff,
    worksheet_id: uuid.UUID,
    *,
    problem: XinglinError | None = None,
    refused: dict[str, tuple[str, str]] | None = None,
    saved: int | None = None,
) -> Response:
    sheet = session.get(Worksheet, worksheet_id, populate_existing=True)
    if sheet is None:
        raise NotFound("worksheet.unknown", N_("没有这张工作单。"))
    context = {
        "grid": grid(session, Subject.staff(staff), sheet),
        "problem": message_of(problem) if problem else "",
        "refused": refused or {},
        "saved": saved,
        "reason_text": wording.reason_text,
        "today": clock.today(),
    }
    return render(request, "lis/worksheets/worksheet.html", context, problem.status if problem else 200)


@pages.post("/{worksheet_id}/tube")
def add_tube(
    request: Request, session: Transaction, staff: Worker, worksheet_id: uuid.UUID, code: Typed = ""
) -> Response:
    """The scanned tube joins the sheet."""
    _, refusal = attempt(session, lambda: service.add_tube(session, worksheet_id, code, by=staff))
    if refusal is not None:
        return _page(request, session, staff, worksheet_id, problem=refusal)
    return RedirectResponse(f"{PAGE}/{worksheet_id}", status_code=303)


@pages.post("/{worksheet_id}/cell")
def save_cell(
    request: Request,
    session: Transaction,
    staff: Worker,
    worksheet_id: uuid.UUID,
    specimen: Annotated[uuid.UUID, Form()],
    test: Annotated[uuid.UUID, Form()],
    value: Typed = "",
    seen: Typed = "",
    reason: Typed = "",
) -> Response:
    """One cell; answers with the cell as it is now, a refusal in it with what was typed kept."""
    entered, refusal = attempt(
        session,
        lambda: service.enter_cell(
            session, worksheet_id, specimen, test, TypedValue(value), by=staff, seen=_id(seen), reason=reason
        ),
    )
    shown = _shown(session, staff, worksheet_id, specimen)
    cell = shown.cell(specimen, test)
    if cell is None:
        raise NotFound("worksheet.cell", N_("这一格不在工作单上，请刷新页面。"))
    context = {
        "cell": cell,
        "sheet": shown.sheet,
        "problem": message_of(refusal) if refusal else "",
        "code": refusal.code if refusal else "",
        "typed": value if refusal else "",
        "differs": entered is not None and entered.differs,
        "reason_text": wording.reason_text,
    }
    return render(request, "lis/worksheets/cell.html", context, refusal.status if refusal else 200)


def _shown(session: Session, staff: CurrentStaff, worksheet_id: uuid.UUID, specimen_id: uuid.UUID) -> Grid:
    sheet = session.get(Worksheet, worksheet_id, populate_existing=True)
    if sheet is None:
        raise NotFound("worksheet.unknown", N_("没有这张工作单。"))
    return grid(session, Subject.staff(staff), sheet, only=specimen_id)


async def _whole(request: Request) -> dict[str, str]:
    """The whole grid as the form sends it."""
    form = await request.form()
    return {name: text for name, text in form.items() if isinstance(text, str)}


@pages.post("/{worksheet_id}/all")
def save_all(
    request: Request,
    session: Transaction,
    staff: Worker,
    worksheet_id: uuid.UUID,
    form: Annotated[dict[str, str], Depends(_whole)],
) -> Response:
    """Every cell that holds something else than it showed; each stands for itself, refusals are shown in place."""
    refused: dict[str, tuple[str, str]] = {}
    saved = 0
    for name, text in form.items():
        if not name.startswith("v:") or not text.strip() or text == form.get(f"w:{name[2:]}", ""):
            continue
        specimen_id, _, test_id = name[2:].partition(":")
        if _id(specimen_id) is None or _id(test_id) is None:
            continue
        verb = _cell_verb(session, staff, worksheet_id, name[2:], text, form.get(f"s:{name[2:]}", ""))
        _, refusal = attempt(session, verb)
        if refusal is None:
            saved += 1
        else:
            refused[name[2:]] = (text, message_of(refusal))
    return _page(request, session, staff, worksheet_id, refused=refused, saved=saved)


def _cell_verb(
    session: Session, staff: CurrentStaff, worksheet_id: uuid.UUID, name: str, text: str, seen: str
) -> Callable[[], object]:
    specimen_id, _, test_id = name.partition(":")
    ids = uuid.UUID(specimen_id), uuid.UUID(test_id)
    return lambda: service.enter_cell(session, worksheet_id, *ids, TypedValue(text), by=staff, seen=_id(seen))


@pages.post("/{worksheet_id}/close")
def close(request: Request, session: Transaction, staff: Worker, worksheet_id: uuid.UUID) -> Response:
    _, refusal = attempt(session, lambda: service.close(session, worksheet_id, by=staff))
    if refusal is not None:
        return _page(request, session, staff, worksheet_id, problem=refusal)
    return RedirectResponse(PAGE, status_code=303)


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


router.include_router(pages)
