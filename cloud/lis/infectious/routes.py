"""Pages of the screening: cases with their clocks, one case, the comparison with the HIS's cards, markers."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, UploadFile
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.lis.infectious import cards, diseases, markers, overview, rules, service, wording
from cloud.lis.infectious.model import Disease
from cloud.lis.infectious.opening import TOPIC
from cloud.people.access import Subject
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/infectious"
MOST_BYTES = 8_000_000
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("infectious.read"))]
Teller = Annotated[CurrentStaff, Depends(require(service.TELL))]
Decider = Annotated[CurrentStaff, Depends(require(service.DECIDE))]
Approver = Annotated[CurrentStaff, Depends(require(markers.APPROVE))]

navigation.add(N_("传染病筛查"), PAGE, permission="infectious.read", group=N_("检验"), position=335, key="g I")
worklist.add(
    N_("传染病待报告"),
    N_("阳性指标已发布，尚未报告或排除的病例"),
    PAGE,
    permission="infectious.read",
    position=292,
    count=overview.overdue_count,
    topic=TOPIC,
    urgent=True,
)


@router.get("")
def cases_page(request: Request, session: Transaction, staff: Reader, list: str = "open") -> Response:
    return render(request, "lis/infectious/cases.html", _cases(session, staff, list))


@router.get("/part")
def cases_part(request: Request, session: Transaction, staff: Reader, list: str = "open") -> Response:
    """The part of the list that changes by itself."""
    return render(request, "lis/infectious/cases_part.html", _cases(session, staff, list))


def _cases(session: Transaction, staff: CurrentStaff, which: str) -> dict[str, Any]:
    chosen = which if which in overview.LISTS else "open"
    return {
        "lines": overview.cases(session, Subject.staff(staff), chosen),
        "counts": overview.counts(session),
        "lists": overview.LISTS,
        "which": chosen,
        "w": wording,
        "now": clock.now(),
    }


# ---------------------------------------------------------------------- cards of the HIS


@router.get("/check")
def check_page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _check(request, session, staff)


def _check(
    request: Request, session: Transaction, staff: CurrentStaff, problem: str = "", done: str = "", status: int = 200
) -> Response:
    today = clock.today()
    first = clock.typed_day(request.query_params.get("from")) or today - timedelta(days=29)
    last = clock.typed_day(request.query_params.get("to")) or today
    held = cards.held_against(session, clock.day_begins(first), clock.day_begins(last + timedelta(days=1)))
    context = {
        "held": held,
        "from_day": first,
        "to_day": last,
        "names": {each.id: each for each in session.scalars(select(Disease))},
        "disease_names": {each.code: each for each in session.scalars(select(Disease).order_by(Disease.valid_from))},
        "problem": problem,
        "done": done,
        "heads": cards.HEADS,
        "w": wording,
    }
    return render(request, "lis/infectious/check.html", context, status)


@router.post("/check/cards")
async def take_cards(request: Request, session: Transaction, staff: Decider, table: UploadFile) -> Response:
    content = await table.read(MOST_BYTES + 1)
    try:
        with session.begin_nested():
            if len(content) > MOST_BYTES:
                raise cards.too_large()
            taken = cards.take(session, content, by=staff)
    except XinglinError as refusal:
        return _check(request, session, staff, message_of(refusal), status=refusal.status)
    done = _("导入 {new} 张新卡，{known} 张已有，{matched} 张对上病例。").format(
        new=taken.new, known=taken.known, matched=taken.matched
    )
    return _check(request, session, staff, done=done)


# ---------------------------------------------------------------------- markers


@router.get("/markers")
def markers_page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _markers(request, session)


def _markers(request: Request, session: Transaction, problem: str = "", status: int = 200) -> Response:
    today = clock.today()
    rows = session.scalars(select(Disease).order_by(Disease.legal_class, Disease.name)).all()
    context = {
        "markers": markers.listed(session),
        "diseases": [each for each in rows if each.valid_to is None or each.valid_to >= today],
        "past": [each for each in rows if each.valid_to is not None and each.valid_to < today],
        "disease_names": {each.code: each for each in rows},
        "problem": problem,
        "w": wording,
    }
    return render(request, "lis/infectious/markers.html", context, status)


@router.post("/markers")
def set_marker(
    request: Request,
    session: Transaction,
    staff: Decider,
    test: Annotated[str, Form(max_length=32)] = "",
    disease: Annotated[str, Form(max_length=32)] = "",
    condition: Annotated[str, Form(max_length=12)] = "",
    threshold: Annotated[str, Form(max_length=20)] = "",
    screening: Annotated[str, Form()] = "",
    hint: Annotated[str, Form(max_length=400)] = "",
    source: Annotated[str, Form(max_length=400)] = "",
    active: Annotated[str, Form()] = "yes",
) -> Response:
    try:
        with session.begin_nested():
            markers.set_marker(
                session,
                test_code=test,
                disease=disease,
                condition=condition,
                threshold=threshold,
                screening=screening == "yes",
                hint=hint,
                source=source,
                active=active == "yes",
                by=staff,
            )
    except XinglinError as refusal:
        return _markers(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/markers", status_code=303)


@router.post("/markers/{marker_id}/approve")
def approve_marker(request: Request, session: Transaction, staff: Approver, marker_id: uuid.UUID) -> Response:
    try:
        with session.begin_nested():
            markers.approve(session, marker_id, by=staff)
    except XinglinError as refusal:
        return _markers(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/markers", status_code=303)


@router.post("/diseases")
def set_disease(
    request: Request,
    session: Transaction,
    staff: Decider,
    code: Annotated[str, Form(max_length=32)] = "",
    name: Annotated[str, Form(max_length=80)] = "",
    name_en: Annotated[str, Form(max_length=80)] = "",
    legal_class: Annotated[str, Form(max_length=1)] = "",
    deadline_hours: Annotated[str, Form(max_length=6)] = "",
    episode_days: Annotated[str, Form(max_length=6)] = "",
    valid_from: Annotated[str, Form(max_length=10)] = "",
    valid_to: Annotated[str, Form(max_length=10)] = "",
    source: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    """A row of the list from a day on, a draft until another person approves it."""
    try:
        with session.begin_nested():
            diseases.set_disease(
                session,
                code=code,
                name=name,
                name_en=name_en,
                legal_class=legal_class,
                deadline_hours=deadline_hours,
                episode_days=episode_days,
                valid_from=clock.typed_day(valid_from),
                valid_to=clock.typed_day(valid_to),
                source=source,
                by=staff,
            )
    except XinglinError as refusal:
        return _markers(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/markers#diseases", status_code=303)


@router.post("/diseases/approve")
def approve_diseases(
    request: Request, session: Transaction, staff: Approver, rows: Annotated[list[uuid.UUID] | None, Form()] = None
) -> Response:
    """Those that were ticked, all or none."""
    try:
        with session.begin_nested():
            for each in rows or []:
                diseases.approve(session, each, by=staff)
    except XinglinError as refusal:
        return _markers(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/markers#diseases", status_code=303)


# ---------------------------------------------------------------------- one case


@router.get("/{number}")
def case_page(request: Request, session: Transaction, staff: Reader, number: int) -> Response:
    return _case(request, session, staff, number)


def _case(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    number: int,
    problem: str = "",
    status: int = 200,
    typed: dict[str, str] | None = None,
) -> Response:
    found = overview.whole(session, Subject.staff(staff), number)
    context = {
        "found": found,
        "card_fields": rules.CARD_FIELDS,
        "draft": {**overview.card_draft(found), **(typed or {})},
        "card_number": (typed or {}).get("number", ""),
        "dismissals": rules.DISMISSALS,
        "problem": problem,
        "w": wording,
        "language_name": wording.disease_name,
    }
    return render(request, "lis/infectious/case.html", context, status)


@router.post("/{number}/{act}")
async def act(request: Request, session: Transaction, staff: Reader, number: int, act: str) -> Response:
    """tell, report, dismiss, duplicate, reopen; the verbs ask for the right again."""
    form = {key: str(value) for key, value in (await request.form()).items()}
    found = overview.whole(session, Subject.staff(staff), number)
    try:
        with session.begin_nested():
            _do(session, staff, found.case.id, act, form)
    except XinglinError as refusal:
        session.expire_all()
        return _case(request, session, staff, number, message_of(refusal), refusal.status, form)
    return RedirectResponse(f"{PAGE}/{number}", status_code=303)


def _do(session: Transaction, staff: CurrentStaff, case_id: uuid.UUID, act: str, form: dict[str, str]) -> None:
    version, note = wording.whole_number(form.get("version", "")), form.get("note", "")
    if act == "tell":
        service.tell(
            session, case_id, version=version, told=form.get("told", ""), how=form.get("how", ""), note=note, by=staff
        )
    elif act == "report":
        service.report(session, case_id, version=version, number=form.get("number", ""), fields=form, by=staff)
    elif act == "dismiss":
        service.dismiss(session, case_id, version=version, reason=form.get("reason", ""), note=note, by=staff)
    elif act == "duplicate":
        other = wording.whole_number(form.get("of_number", ""))
        service.duplicate(session, case_id, version=version, of_number=other, by=staff)
    elif act == "reopen":
        service.reopen(session, case_id, version=version, note=note, by=staff)
    else:
        raise wording.no_such_act()
