"""Pages of the report forms: all with a picture of each, one with its settings and a live preview, its PDF samples."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.config import settings
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.lis.catalog.words import SECTIONS, SPECIMENS, VALUE_TYPES
from cloud.lis.reports import form_store, printing, samples, signature_routes
from cloud.lis.reports.form_fields import TypedForm, read
from cloud.lis.reports.forms import LAYOUTS, MOST, PAPERS, FormSettings
from cloud.lis.reports.forms import Form as ReportForm
from cloud.lis.results.attempt import attempt
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/report-forms"
router = APIRouter(prefix=PAGE)
navigation.add(N_("报告单格式"), PAGE, permission="catalog.read", group=N_("检验设置"), position=432)

Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Director = Annotated[CurrentStaff, Depends(require("catalog.approve"))]
CASES = {"plain": N_("一页"), "long": N_("60 项、长文字"), "amended": N_("修订报告")}
_WORDS = {
    "layouts": LAYOUTS, "papers": PAPERS, "sections": SECTIONS, "specimens": SPECIMENS, "value_types": VALUE_TYPES,
    "most": MOST, "cases": CASES,
}  # fmt: skip

router.include_router(signature_routes.router)


@router.get("")
def forms_page(request: Request, session: Transaction, staff: Reader) -> Response:
    """In the order in which they are tried."""
    return render(request, "lis/reports/forms.html", {"forms": form_store.current(session), **_WORDS})


@router.get("/{code}")
def form_page(request: Request, session: Transaction, staff: Reader, code: str) -> Response:
    return _page(request, session, form_store.by_code(session, code))


def _page(
    request: Request,
    session: Session,
    form: ReportForm,
    *,
    typed: TypedForm | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    """With what was typed, where it was refused."""
    shown: FormSettings | TypedForm = form.settings if typed is None else typed
    lines = "\n".join(f"{test}={name}" for test, name in form.settings.referrals)
    context: dict[str, Any] = {
        "form": form,
        "shown": shown,
        "active": form.active if typed is None else typed.active,
        "panels": " ".join(form.settings.panels) if typed is None else typed.panels,
        "referrals": lines if typed is None else typed.referrals,
        "history": form_store.history(session, form.code),
        "pictures": _pictures(form.settings),
        "layout_choices": [(code, _(words)) for code, words in LAYOUTS.items()],
        "paper_choices": [(code, _(words)) for code, words in PAPERS.items()],
        "problem": problem,
        **_WORDS,
    }
    return render(request, "lis/reports/form.html", context, status)


@router.post("/{code}")
def change(
    request: Request, session: Transaction, staff: Director, code: str, typed: Annotated[TypedForm, Form()]
) -> Response:
    """A further version, for what is released from now on."""
    _changed, refusal = attempt(session, lambda: _change(session, staff, code, typed))
    if refusal is not None:
        form = form_store.by_code(session, code)
        return _page(request, session, form, typed=typed, problem=message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{PAGE}/{code}", status_code=303)


def _change(session: Session, staff: CurrentStaff, code: str, typed: TypedForm) -> ReportForm:
    return form_store.change(
        session,
        code,
        read(session, typed),
        active=typed.active,
        version=typed.version,
        by=staff.actor,
        by_name=staff.name,
        reason=typed.reason,
    )


@router.post("/{code}/preview")
def preview_typed(
    request: Request,
    session: Transaction,
    staff: Reader,
    code: str,
    typed: Annotated[TypedForm, Form()],
    case: Annotated[str, Form()] = "plain",
) -> Response:
    """What is typed so far, filled with the sample and not stored: the part of the page that shows it."""
    form_store.by_code(session, code)
    found, refusal = attempt(session, lambda: read(session, typed))
    context: dict[str, Any] = {"pictures": [], "problem": ""}
    if refusal is not None or found is None:
        context["problem"] = message_of(refusal) if refusal is not None else ""
    else:
        context["pictures"] = _pictures(found, case)
    return render(request, "lis/reports/form_preview.html", context)


@router.get("/{code}/picture.png")
def picture(session: Transaction, staff: Reader, code: str) -> Response:
    """The first page of the sample, for the list."""
    made = _preview(form_store.by_code(session, code).settings, "plain", settings().hospital_name)
    return Response(made[0], media_type="image/png", headers={"Cache-Control": "private, max-age=30"})


@router.get("/{code}/sample.pdf")
def sample_pdf(session: Transaction, staff: Reader, code: str, case: str = "plain", version: int = 0) -> Response:
    """A filled form as PDF; an older version of it by its number."""
    form = form_store.by_code(session, code)
    look = form.settings
    if version not in (0, form.version):
        look = _old(session, code, version)
    content, materials = samples.filled(look, settings().hospital_name, _case(case), form=form.name)
    made = printing.rendered(content, printing.Marked(SAMPLE_NOTICE, "样 张"), materials=materials)
    headers = {"Content-Disposition": f'inline; filename="{form.code}.pdf"', "Cache-Control": "no-store"}
    return Response(made, media_type="application/pdf", headers=headers)


SAMPLE_NOTICE = "样张：姓名、结果与参考区间都是虚构的，仅供查看版式。"


def _old(session: Session, code: str, version: int) -> FormSettings:
    for row in form_store.history(session, code):
        if row.version == version:
            return FormSettings.from_json(row.settings)
    raise NotFound("form.unknown", N_("没有这种报告单。"))


def _case(case: str) -> str:
    return case if case in CASES else "plain"


@lru_cache(maxsize=32)
def _preview(look: FormSettings, case: str, hospital: str) -> tuple[bytes, ...]:
    content, materials = samples.filled(look, hospital, _case(case))
    return tuple(printing.preview(content, materials=materials))


def _pictures(look: FormSettings, case: str = "plain") -> list[str]:
    """Pages for the page itself: as data, for what is not stored has no address."""
    return [b64encode(each).decode() for each in _preview(look, case, settings().hospital_name)]
