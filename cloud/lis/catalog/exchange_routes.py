"""Pages of the workbook: take it out, put one in, look at what differs, apply it."""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, UploadFile
from sqlalchemy import select, update
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import audit, clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog import guards, importing, words, workbook
from cloud.lis.catalog.changes import CatalogImport
from cloud.lis.catalog.page_of_test import PAGE
from cloud.lis.catalog.record import Editor
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

router = APIRouter()
Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
MayEdit = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@router.get("/exchange")
def exchange(request: Request, session: Transaction, staff: Reader) -> Response:
    return _exchange_page(request, session)


def _exchange_page(request: Request, session: Transaction, problem: str = "", status: int = 200) -> Response:
    last = session.scalars(select(CatalogImport).order_by(CatalogImport.made_at.desc()).limit(20))
    return render(request, "lis/catalog/exchange.html", {"imports": list(last), "problem": problem}, status)


@router.get("/exchange/catalogue.xlsx")
def export(session: Transaction, staff: Reader) -> Response:
    """Tests, panels, tubes, ranges, limits, goals and channels as they are now."""
    name = f"catalogue-{clock.today()}.xlsx"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(importing.exported(session), media_type=XLSX, headers=headers)


@router.post("/exchange")
def put_in(
    session: Transaction,
    staff: MayEdit,
    file: Annotated[UploadFile, File()],
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Keep the file and show what it would change; nothing is applied yet."""
    if not reason.strip():
        raise Invalid("catalog.reason", N_("请写明变更原因。"))
    data = file.file.read(workbook.LARGEST + 1)
    workbook.read(data)
    kept = CatalogImport(
        file_name=(file.filename or "")[:200],
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        reason=reason.strip(),
        made_by=staff.actor,
        made_by_name=staff.name,
        made_at=clock.now(),
    )
    session.add(kept)
    session.flush()
    return RedirectResponse(f"{PAGE}/exchange/{kept.id}", status_code=303)


@router.get("/exchange/{import_id}")
def look(request: Request, session: Transaction, staff: Reader, import_id: uuid.UUID) -> Response:
    """What the file would change now, and what is wrong in which cell."""
    kept = _kept(session, import_id)
    outcome = importing.tried(session, kept.data, _editor(kept)) if kept.applied_at is None else None
    return render(request, "lis/catalog/import.html", {"kept": kept, "outcome": outcome, "words": words})


@router.post("/exchange/{import_id}/apply")
def apply(session: Transaction, staff: MayEdit, import_id: uuid.UUID, digest: Annotated[str, Form()] = "") -> Response:
    """All of it in one transaction, as drafts and waiting changes; refused where anything is wrong or has moved on."""
    kept = _kept(session, import_id)
    claimed = session.execute(
        update(CatalogImport)
        .where(CatalogImport.id == import_id, CatalogImport.applied_at.is_(None))
        .values(applied_at=clock.now())
        .returning(CatalogImport.id)
    ).first()
    if claimed is None:
        raise Conflict("import.applied", N_("这个文件已经导入。"))
    editor = Editor(staff.actor, staff.name, kept.reason, "sheet")
    outcome = importing.applied(session, kept.data, editor)
    if outcome.faults:
        raise Conflict("import.faults", N_("文件中还有 {n} 处错误，未导入任何内容。"), n=len(outcome.faults))
    if outcome.digest != digest:
        raise Conflict("import.moved", N_("字典在您查看之后又有变更，请重新核对差异。"))
    for each in outcome.lines:
        guards.ask(session, staff, guards.EDIT, each.kind, each.row)
    session.refresh(kept)
    kept.lines = len(outcome.lines)
    audit.record(
        session,
        actor=staff.actor,
        action="catalog.import",
        aggregate=("catalog_import", str(kept.id)),
        before=None,
        after={"file": kept.file_name, "sha256": kept.sha256, "lines": kept.lines},
        reason=kept.reason,
    )
    return RedirectResponse(f"{PAGE}/exchange/{kept.id}", status_code=303)


def _kept(session: Transaction, import_id: uuid.UUID) -> CatalogImport:
    kept = session.get(CatalogImport, import_id)
    if kept is None:
        raise NotFound("import.unknown", N_("没有这次导入。"))
    return kept


def _editor(kept: CatalogImport) -> Editor:
    return Editor(kept.made_by, kept.made_by_name, kept.reason, "sheet")
