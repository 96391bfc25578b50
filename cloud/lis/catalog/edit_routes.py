"""Pages on which tests, ranges, limits, goals, panels and tubes are written, each with a reason."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.lis.catalog import content, forms, guards, kinds, record, service, words
from cloud.lis.catalog.changes import CatalogChange
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import Panel, Test, Tube
from cloud.lis.catalog.page_of_test import BANDS, PAGE, find_test, open_form, page_of_test
from cloud.lis.catalog.record import Editor
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

router = APIRouter()
Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
MayEdit = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
WRONG = 422

MASTERS: dict[str, tuple[Kind, str, str]] = {
    "panels": (content.PANEL, N_("新增组合"), N_("修改组合")),
    "tubes": (content.TUBE, N_("新增试管"), N_("修改试管")),
}


async def _typed(request: Request) -> dict[str, str]:
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


Typed = Annotated[dict[str, str], Depends(_typed)]


@router.get("/tests/new")
def new_test(request: Request, session: Transaction, staff: MayEdit) -> Response:
    return render(request, "lis/catalog/edit.html", {"form": _new_test(session), "back": PAGE})


def _new_test(session: Session) -> forms.Form:
    return forms.blank(session, content.TEST, f"{PAGE}/tests", N_("新增检验项目"), {}, code="")


@router.post("/tests")
def create_test(request: Request, session: Transaction, staff: MayEdit, typed: Typed) -> Response:
    form = _new_test(session)
    code = typed.get("code", "").strip()

    def save(values: dict[str, Any], editor: Editor) -> None:
        record.create(session, content.TEST, values, editor, code=code)

    if not forms.submit(session, form, typed, staff, save):
        return render(request, "lis/catalog/edit.html", {"form": form, "back": PAGE}, WRONG)
    return RedirectResponse(f"{PAGE}/tests/{code}", status_code=303)


@router.get("/tests/{code}")
def one_test(
    request: Request, session: Transaction, staff: Reader, code: str, edit: str = "", add: str = ""
) -> Response:
    """One test with all that belongs to it. `edit`: "general" or ``kind:id``; `add`: range, critical or goal."""
    test = find_test(session, code)
    form = open_form(session, test, edit, add) if staff.may("catalog.edit") and (edit or add) else None
    return page_of_test(request, session, test, form)


@router.post("/tests/{code}/edit")
def edit_test(request: Request, session: Transaction, staff: MayEdit, code: str, typed: Typed) -> Response:
    test = find_test(session, code)
    form = open_form(session, test, "general", "")
    if not forms.submit(session, form, typed, staff, _change(session, form, typed)):
        return page_of_test(request, session, test, form, WRONG)
    return RedirectResponse(f"{PAGE}/tests/{code}", status_code=303)


def _change(session: Session, form: forms.Form, typed: dict[str, str]) -> forms.Save:
    def save(values: dict[str, Any], editor: Editor) -> CatalogChange | None:
        return record.change(session, form.kind, form.row.id, values, editor, seen=typed.get("stamp", ""))

    return save


@router.post("/tests/{code}/{name}")
def create_band(request: Request, session: Transaction, staff: MayEdit, code: str, name: str, typed: Typed) -> Response:
    """A range, limit or goal of this test: a draft."""
    test = find_test(session, code)
    if name not in BANDS:
        raise NotFound("catalog.unknown", N_("没有这条记录。"))
    form = open_form(session, test, "", name)

    def save(values: dict[str, Any], editor: Editor) -> None:
        record.create(session, form.kind, values, editor, test_id=test.id)

    if not forms.submit(session, form, typed, staff, save):
        return page_of_test(request, session, test, form, WRONG)
    return RedirectResponse(f"{PAGE}/tests/{code}", status_code=303)


@router.get("/{plural}")
def masters(request: Request, session: Transaction, staff: Reader, plural: str, q: str = "") -> Response:
    """All panels or tubes."""
    kind = _master(plural)[0]
    rows = list(session.scalars(select(kind.table).order_by(kind.table.position, kind.table.code)))
    wanted = q.strip().lower()
    if wanted:
        rows = [each for each in rows if any(wanted in word.lower() for word in _words_of(each))]
    context = {
        "rows": rows,
        "plural": plural,
        "q": q,
        "inside": {each.id: service.panel_tests(session, each.id) for each in rows} if plural == "panels" else {},
        "words": words,
    }
    return render(request, f"lis/catalog/{plural}.html", context)


def _words_of(row: Panel | Tube) -> list[str]:
    found = [row.code, row.name, row.name_en]
    return [*found, row.pinyin, row.short_name] if isinstance(row, Panel) else [*found, row.cap_colour, row.additive]


@router.get("/{plural}/new")
def new_master(request: Request, session: Transaction, staff: MayEdit, plural: str) -> Response:
    form = _new_master(session, plural)
    return render(request, "lis/catalog/edit.html", {"form": form, "back": f"{PAGE}/{plural}"})


def _new_master(session: Session, plural: str) -> forms.Form:
    kind, title, _edit = _master(plural)
    return forms.blank(session, kind, f"{PAGE}/{plural}", title, {}, code="")


@router.post("/{plural}")
def create_master(request: Request, session: Transaction, staff: MayEdit, plural: str, typed: Typed) -> Response:
    form = _new_master(session, plural)
    code = typed.get("code", "").strip()

    def save(values: dict[str, Any], editor: Editor) -> None:
        record.create(session, form.kind, values, editor, code=code)

    if not forms.submit(session, form, typed, staff, save):
        return render(request, "lis/catalog/edit.html", {"form": form, "back": f"{PAGE}/{plural}"}, WRONG)
    return RedirectResponse(f"{PAGE}/{plural}/{code}", status_code=303)


@router.get("/{plural}/{code}")
def one_master(request: Request, session: Transaction, staff: Reader, plural: str, code: str) -> Response:
    """One panel or tube as a form, with its change record."""
    return _master_page(request, session, plural, _row(session, plural, code))


@router.post("/{plural}/{code}/edit")
def edit_master(
    request: Request, session: Transaction, staff: MayEdit, plural: str, code: str, typed: Typed
) -> Response:
    row = _row(session, plural, code)
    form = _master_form(session, plural, row)
    if not forms.submit(session, form, typed, staff, _change(session, form, typed)):
        return _master_page(request, session, plural, row, form, WRONG)
    return RedirectResponse(f"{PAGE}/{plural}/{code}", status_code=303)


def _master(plural: str) -> tuple[Kind, str, str]:
    if plural not in MASTERS:
        raise NotFound("page_unknown", N_("没有这个页面。"))
    return MASTERS[plural]


def _row(session: Session, plural: str, code: str) -> Panel | Tube:
    kind = _master(plural)[0]
    row: Panel | Tube | None = session.scalar(select(kind.table).where(kind.table.code == code))
    if row is None:
        raise NotFound("catalog.unknown", N_("没有这条记录。"))
    return row


def _master_form(session: Session, plural: str, row: Panel | Tube) -> forms.Form:
    kind, _new, title = _master(plural)
    return forms.filled(session, kind, row, f"{PAGE}/{plural}/{row.code}/edit", title)


def _master_page(
    request: Request,
    session: Session,
    plural: str,
    row: Panel | Tube,
    form: forms.Form | None = None,
    status: int = 200,
) -> Response:
    kind = _master(plural)[0]
    history = session.scalars(
        select(CatalogChange)
        .where(CatalogChange.kind == kind.name, CatalogChange.subject_id == row.id)
        .order_by(CatalogChange.made_at.desc())
    )
    context = {
        "row": row,
        "kind": kind.name,
        "form": form or _master_form(session, plural, row),
        "back": f"{PAGE}/{plural}",
        "history": [(each, forms.of_change(session, each)) for each in history],
        "words": words,
    }
    return render(request, "lis/catalog/edit.html", context, status)


@router.post("/band/{name}/{row_id}/edit")
def edit_band(
    request: Request, session: Transaction, staff: MayEdit, name: str, row_id: uuid.UUID, typed: Typed
) -> Response:
    """A draft is changed in place; of an approved band a new version is made."""
    if name not in BANDS:
        raise NotFound("catalog.unknown", N_("没有这条记录。"))
    row = session.get(BANDS[name][0].table, row_id)
    if row is None:
        raise NotFound("catalog.unknown", N_("没有这条记录。"))
    test = session.get_one(Test, row.test_id)
    form = open_form(session, test, f"{name}:{row_id}", "")
    if not forms.submit(session, form, typed, staff, _change(session, form, typed)):
        return page_of_test(request, session, test, form, WRONG)
    return RedirectResponse(f"{PAGE}/tests/{test.code}", status_code=303)


@router.post("/{name}/{row_id}/state")
def set_state(session: Transaction, staff: MayEdit, name: str, row_id: uuid.UUID, typed: Typed) -> Response:
    """Take a row out of use or back into it; of an approved one when somebody else approves it."""
    kind = kinds.get(name)
    row = session.get(kind.table, row_id) if kind is not None else None
    if kind is None or row is None or typed.get("state") not in ("retired", "approved"):
        raise NotFound("catalog.unknown", N_("没有这条记录。"))
    guards.ask(session, staff, guards.EDIT, kind, row)
    editor = Editor(staff.actor, staff.name, typed.get("reason", ""))
    record.change(session, kind, row_id, {"state": typed["state"]}, editor)
    test_id = kind.test_id(row)
    if test_id is not None:
        return RedirectResponse(f"{PAGE}/tests/{session.get_one(Test, test_id).code}", status_code=303)
    return RedirectResponse(f"{PAGE}/{name}s/{row.code}", status_code=303)
