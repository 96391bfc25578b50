"""Pages of orders: list, entry by keyboard, one order with what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, NotFound
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.asking import phase_dependent
from cloud.lis.catalog.rules import age_days
from cloud.lis.catalog.words import PHASES
from cloud.lis.orders import lookup, oral, oral_routes, service, timing
from cloud.lis.orders.model import ItemState, Order, OrderSource, Priority
from cloud.people import access
from cloud.people.access import Subject
from cloud.people.model import Person
from cloud.staff import scan, worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/orders"
router = APIRouter(prefix=PAGE)
router.include_router(oral_routes.router)

STATES = {
    ItemState.ORDERED: (N_("已开立"), "neutral"),
    ItemState.COLLECTED: (N_("已采集"), "info"),
    ItemState.RECEIVED: (N_("已接收"), "info"),
    ItemState.RESULTED: (N_("有结果"), "warn"),
    ItemState.RELEASED: (N_("已签发"), "good"),
    ItemState.CANCELLED: (N_("已取消"), "neutral"),
}
NOTHING_TYPED: dict[str, object] = {
    "items": [],
    "priority": Priority.ROUTINE,
    "department": "",
    "diagnosis": "",
    "visit_number": "",
    "cycle_phase": "",
    "gestation_weeks": "",
    "collect_at": "",
    "asked_by": "",
    "read_back": "",
}
SOURCES = {OrderSource.HIS: N_("HIS"), OrderSource.MANUAL: N_("手工")}
SEXES = {"M": N_("男"), "F": N_("女"), "U": N_("未知")}

Reader = Annotated[CurrentStaff, Depends(require("patient.read"))]
Orderer = Annotated[CurrentStaff, Depends(require("order.place"))]

navigation.add(N_("检验申请"), PAGE, permission="order.place", group=N_("标本"), position=110, key="g o")
worklist.add(
    N_("待打印条码"),
    N_("已开立、尚无试管的申请"),
    f"{PAGE}?state=ordered",
    permission="order.place",
    position=110,
    count=lookup.waiting_for_a_tube,
    topic="orders",
)


def _scanned(session: Session, code: str, staff: CurrentStaff) -> str | None:
    if not staff.may("order.place"):
        return None
    found = lookup.orders(session, Subject.staff(staff), lookup.Filter(text=code))[0]
    exact = [each.order for each in found if code.upper() in (each.order.number, each.order.placer_number.upper())]
    return f"{PAGE}/{exact[0].id}" if len(exact) == 1 else None


scan.add("orders", 200, _scanned)


PHASE_ASKED = "phase_asked"


@router.get("")
def order_list(
    request: Request,
    session: Transaction,
    staff: Orderer,
    q: str = "",
    day: str = "",
    state: str = "",
    page: int = 1,
) -> Response:
    wanted = lookup.Filter(text=q, day=clock.typed_day(day), state=state if state in set(ItemState) else "")
    lines, total = lookup.orders(session, Subject.staff(staff), wanted, page=max(page, 1))
    context = {
        "lines": lines,
        "total": total,
        "page": max(page, 1),
        "pages": -(-total // lookup.PAGE_SIZE),
        "q": q,
        "day": day,
        "state": wanted.state,
        "states": STATES,
        "sources": SOURCES,
        "sexes": SEXES,
    }
    return render(request, "lis/orders/orders.html", context)


@router.get("/new")
def entry(request: Request, session: Transaction, staff: Orderer, q: str = "", person: str = "") -> Response:
    """Find the patient, then pick panels and tests. One patient found: chosen at once."""
    subject = Subject.staff(staff)
    found = lookup.patients(session, subject, q)
    chosen = _person(session, subject, person) if person else (found[0] if len(found) == 1 else None)
    return _entry_page(request, session, chosen, found=found, q=q)


def _person(session: Session, subject: Subject, person_id: str) -> Person:
    try:
        return access.person(session, subject, uuid.UUID(person_id))
    except ValueError:
        raise NotFound("person_not_found", N_("没有这位患者的档案。")) from None


def _entry_page(
    request: Request,
    session: Session,
    chosen: Person | None,
    *,
    found: list[Person] | None = None,
    q: str = "",
    typed: Mapping[str, object] | None = None,
    problem: str | None = None,
    status: int = 200,
    asks_phase: bool = False,
) -> Response:
    shown = [chosen] if chosen else (found or [])
    context: dict[str, object] = {
        "chosen": chosen,
        "found": found or [],
        "numbers": lookup.numbers_of(session, [each.id for each in shown]),
        "q": q,
        "departments": hospital.departments(session),
        "typed": typed or NOTHING_TYPED,
        "phases": PHASES,
        "usual_times": timing.USUAL,
        "problem": problem,
        "asks_phase": asks_phase,
        "sexes": SEXES,
    }
    return render(request, "lis/orders/entry.html", context, status)


@router.post("")
def place(
    request: Request,
    session: Transaction,
    staff: Orderer,
    person_id: Annotated[str, Form()],
    department: Annotated[str, Form()] = "",
    priority: Annotated[str, Form()] = Priority.ROUTINE,
    diagnosis: Annotated[str, Form(max_length=200)] = "",
    visit_number: Annotated[str, Form(max_length=64)] = "",
    cycle_phase: Annotated[str, Form(max_length=16)] = "",
    gestation_weeks: Annotated[str, Form(max_length=8)] = "",
    items: Annotated[list[str] | None, Form()] = None,
    times: Annotated[list[str] | None, Form()] = None,
    collect_at: Annotated[str, Form(max_length=20)] = "",
    asked_by: Annotated[str, Form(max_length=80)] = "",
    read_back: Annotated[str, Form(max_length=3)] = "",
    phase_asked: Annotated[str, Form(max_length=3)] = "",
) -> Response:
    """Place it, then on to the order's page. What is missing is said on the form, with what was typed kept."""
    person = _person(session, Subject.staff(staff), person_id)
    where = hospital.department_by_code(session, department)
    try:
        if where is None:
            raise Invalid("department_unknown", N_("没有这个科室，请重新选择。"))
        if asked_by.strip():
            oral.check(asked_by, read_back == "yes")
        codes = _timed(items or [], times or [])
        if not (cycle_phase or gestation_weeks.strip() or phase_asked):
            _ask_phase(session, person, codes)
        order = service.place_order(
            session,
            person_id=person.id,
            department_id=where.id,
            items=codes,
            priority=priority,
            source=OrderSource.MANUAL,
            collect_at=_collect_at(collect_at),
            ordered_by=asked_by.strip() or staff.name,
            by=staff.actor,
            visit_number=visit_number.strip() or None,
            diagnosis=diagnosis.strip() or None,
            cycle_phase=cycle_phase,
            gestation_weeks=_weeks(gestation_weeks),
        )
        if asked_by.strip():
            oral.take(session, order.id, codes, by=staff.actor, asked_by=asked_by, read_back=True)
    except Invalid as refusal:
        beside = [*(times or []), *[""] * len(items or [])]
        named = [(code, name, when) for (code, name), when in zip(_named(session, items or []), beside, strict=False)]
        typed = {"items": named, "priority": priority, "department": department}
        return _entry_page(
            request,
            session,
            person,
            typed=typed
            | {"diagnosis": diagnosis, "visit_number": visit_number}
            | {"cycle_phase": cycle_phase, "gestation_weeks": gestation_weeks}
            | {"collect_at": collect_at, "asked_by": asked_by, "read_back": read_back},
            problem=message_of(refusal),
            status=refusal.status,
            asks_phase=refusal.code == PHASE_ASKED,
        )
    return RedirectResponse(f"{PAGE}/{order.id}", status_code=303)


def _ask_phase(session: Session, person: Person, codes: list[str]) -> None:
    """Asked once where a range needs it: without an answer the value is printed beside all ranges and not judged."""
    today = clock.today()
    ids = {each.test_id for each in service.wanted_tests(session, codes)}
    age = age_days(person.birth_date, today)
    asking = phase_dependent(session, ids, sex=person.sex, age_days=age, on=today)
    if asking:
        raise Invalid(
            PHASE_ASKED,
            N_("{tests} 的参考区间按月经周期或孕周划分，请填写；确实不知道时请再次提交，结果将只列出各期区间。"),
            tests="、".join(each.short_name for each in asking),
        )


def _timed(codes: list[str], times: list[str]) -> list[str]:
    """Each picked code with what was typed beside it; none typed: the code alone."""
    beside = [*times, *[""] * len(codes)]
    now = clock.local(clock.now())
    return [each for code, text in zip(codes, beside, strict=False) for each in timing.expanded(code, text[:80], now)]


def _collect_at(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=clock.hospital_zone())
    except ValueError:
        raise Invalid("collect_at_unreadable", N_("定时采集的日期时间不正确。")) from None


def _weeks(typed: str) -> int | None:
    """Completed weeks; "12+3" is the twelfth and three days."""
    text = typed.strip().partition("+")[0]
    if not text:
        return None
    if not text.isdecimal():
        raise Invalid("weeks_wrong", N_("孕周须是 0～45 的整数。"))
    return int(text)


def _named(session: Session, codes: list[str]) -> list[tuple[str, str]]:
    """Code and name of what was picked, to show the form again."""
    found = []
    for code in codes:
        known = catalog.panel_by_code(session, code) or catalog.test_by_code(session, code)
        found.append((code, known.name if known else code))
    return found


@router.get("/{order_id}")
def one_order(request: Request, session: Transaction, staff: Reader, order_id: uuid.UUID) -> Response:
    order = _visible(session, staff, order_id)
    items = service.items_of(session, order.id)
    context = {
        "order": order,
        "person": access.person(session, Subject.staff(staff), order.person_id),
        "number": lookup.numbers_of(session, [order.person_id]).get(order.person_id, ""),
        "department": next(each for each in hospital.departments(session) if each.id == order.department_id),
        "items": items,
        "tests": catalog.tests_by_id(session, [each.test_id for each in items]),
        "states": STATES,
        "sources": SOURCES,
        "sexes": SEXES,
        "cancellable": any(each.state in service.CANCELLABLE_IN_LAB for each in items),
        "open_states": service.CANCELLABLE_IN_LAB,
        "timing_said": timing.said,
        "timed": any(each.timing for each in items),
        "oral": oral.of_order(session, order.id),
        "oral_states": oral_routes.STATES,
    }
    return render(request, "lis/orders/order.html", context)


def _visible(session: Session, staff: CurrentStaff, order_id: uuid.UUID) -> Order:
    order = session.get(Order, order_id)
    if order is None:
        raise NotFound("order_unknown", N_("没有这个医嘱。"))
    access.person(session, Subject.staff(staff), order.person_id)
    return order


@router.post("/{order_id}/cancel")
def cancel(
    session: Transaction,
    staff: Orderer,
    order_id: uuid.UUID,
    reason: Annotated[str, Form(max_length=200)] = "",
    items: Annotated[list[uuid.UUID] | None, Form()] = None,
) -> Response:
    """The laboratory cancels what has no result yet: the whole order, or the `items` that were chosen."""
    order = _visible(session, staff, order_id)
    service.cancel_order(session, order.id, reason=reason, by=staff.actor, after_receipt=True, item_ids=items)
    return RedirectResponse(f"{PAGE}/{order.id}", status_code=303)


@router.post("/{order_id}/add")
def add(
    session: Transaction, staff: Orderer, order_id: uuid.UUID, items: Annotated[list[str] | None, Form()] = None
) -> Response:
    """Add tests (加做)."""
    order = _visible(session, staff, order_id)
    service.add_tests(session, order.id, items or [], by=staff.actor)
    return RedirectResponse(f"{PAGE}/{order.id}", status_code=303)
