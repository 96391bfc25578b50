"""Collection at the bedside, on a telephone or a desk: scan the wristband, then each tube."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, NotFound, XinglinError
from cloud.lis.catalog import words
from cloud.lis.orders import lookup as order_lookup
from cloud.lis.orders import timing
from cloud.lis.orders.model import Order
from cloud.lis.specimens import collecting, lookup, timed, tubes
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.specimens.rules import clean_barcode
from cloud.people import access
from cloud.people.access import Subject
from cloud.people.identity import surviving_id
from cloud.people.model import Person
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/specimens/bedside"
router = APIRouter(prefix="/bedside")
Collector = Annotated[CurrentStaff, Depends(require("specimen.collect"))]

navigation.add(N_("床旁采集"), PAGE, permission="specimen.collect", group=N_("标本"), position=115, key="g B")


@router.get("")
def bedside(request: Request, staff: Collector, patient: str = "") -> Response:
    """Wait for a wristband; with `patient` (a number of the hospital) that patient's tubes."""
    problem: XinglinError | None = None
    with begin() as session:
        person = None
        if patient:
            try:
                person = _wristband(session, staff, patient)
            except XinglinError as refused:
                problem = refused
        return _answer(request, session, person, {"problem": message_of(problem) if problem else None})


@router.post("")
def scanned(
    request: Request,
    staff: Collector,
    code: Annotated[str, Form(max_length=64)] = "",
    person_id: Annotated[str, Form(max_length=36)] = "",
    target: Annotated[str, Form(max_length=16)] = "",
    confirmed: Annotated[str, Form(max_length=80)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
    submission: Annotated[str, Form(max_length=36)] = "",
    at: Annotated[str, Form(max_length=40)] = "",
    place: Annotated[str, Form(max_length=40)] = "",
    device: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """One scan: a wristband chooses the patient, a tube is collected from the patient chosen before.

    `at`: the telephone's moment of a scan that it kept without a network; `target`: the tube that a pre-printed barcode
    is to be bound to.
    """
    outcome: dict[str, object] = {"code": clean_barcode(code)[:40], "problem": None, "questions": [], "done": None}
    said = _Said(confirmed, reason, submission, at, place, device)
    chosen = _uuid(person_id)
    try:
        with begin() as session:  # its own unit of work: a refusal leaves nothing behind
            tube = lookup.find(session, code)
            if tube is None and chosen is not None and _is_own_barcode(session, staff, code):
                tube = _target(session, chosen, target)
                drawn, asked = _collect(session, staff, tube.accession, chosen, said, preprinted=code)
            elif tube is None:
                chosen = _wristband(session, staff, code).id
                drawn, asked = None, []
            elif chosen is None:
                raise Conflict("wristband_first", N_("请先扫描患者腕带，再扫描试管。"))
            else:
                access.person(session, Subject.staff(staff), chosen)
                drawn, asked = _collect(session, staff, code, chosen, said)
            outcome["questions"] = asked
            outcome["done"] = drawn.accession if drawn is not None and not asked else None
            outcome["asked_for"] = drawn.accession if drawn is not None and asked else ""
    except XinglinError as refused:
        outcome["problem"] = message_of(refused)
        status = refused.status
    else:
        status = 200
    with begin() as session:
        person = access.person(session, Subject.staff(staff), chosen) if chosen else None
        return _answer(request, session, person, outcome, status)


@router.post("/start")
def start(
    request: Request,
    staff: Collector,
    order_id: Annotated[uuid.UUID, Form()],
    person_id: Annotated[uuid.UUID, Form()],
    since: Annotated[str, Form(max_length=8)] = "",
    clock_time: Annotated[str, Form(max_length=5)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """The patient ate, drank the glucose or got the dose: the times of the other tubes count from it."""
    problem: XinglinError | None = None
    with begin() as session:
        person = access.person(session, Subject.staff(staff), person_id)
        order = session.get(Order, order_id)
        if order is None or surviving_id(session, order.person_id) != surviving_id(session, person.id):
            raise NotFound("order_unknown", N_("没有这个医嘱。"))
    try:
        with begin() as session:
            timed.begin(session, order_id, since, by=staff.actor, at=_today_at(clock_time), reason=reason)
    except XinglinError as refused:
        problem = refused
    with begin() as session:
        person = access.person(session, Subject.staff(staff), person_id)
        told: dict[str, object] = {"problem": message_of(problem) if problem else None}
        return _answer(request, session, person, told, problem.status if problem else 200)


def _today_at(text: str) -> datetime | None:
    """A clock time of today (of yesterday, where it would lie ahead by more than an hour); none: now."""
    if not text.strip():
        return None
    try:
        moment = datetime.combine(clock.today(), time.fromisoformat(text.strip()), clock.hospital_zone())
    except ValueError:
        raise Invalid("moment_unreadable", N_("开始时间不正确。")) from None
    return moment - timedelta(days=1) if moment > clock.now() + timedelta(hours=1) else moment


@dataclass(frozen=True, slots=True)
class _Said:
    """What came with the scan."""

    confirmed: str
    reason: str
    submission: str
    at: str
    place: str
    device: str


def _collect(
    session: Session, staff: CurrentStaff, code: str, person_id: uuid.UUID, said: _Said, preprinted: str | None = None
) -> tuple[Specimen, list[collecting.Question]]:
    return collecting.collect_at_bedside(
        session,
        code,
        by=staff.actor,
        person_id=person_id,
        confirmed=[each for each in said.confirmed.split(",") if each],
        reason=said.reason,
        submission=_uuid(said.submission),
        at=_moment(said.at),
        place=said.place.strip(),
        device=said.device.strip(),
        preprinted=preprinted,
    )


def _is_own_barcode(session: Session, staff: CurrentStaff, code: str) -> bool:
    """Whether this is neither a tube of ours nor a patient: then it stands on a tube that brought its own barcode."""
    return not order_lookup.numbered(session, Subject.staff(staff), clean_barcode(code))


def _target(session: Session, person_id: uuid.UUID, target: str) -> Specimen:
    """The tube that a barcode of its own is for: the one that was chosen, else the only one to draw."""
    waiting = collecting.waiting_for(session, person_id)
    chosen = [each for each in waiting if each.accession == target] or waiting
    if len(chosen) != 1:
        raise Conflict("which_tube", N_("没有这个条码。若是试管自带的条码，请先在清单中点选要采的试管再扫。"))
    return chosen[0]


def _wristband(session: Session, staff: CurrentStaff, code: str) -> Person:
    found = order_lookup.numbered(session, Subject.staff(staff), clean_barcode(code))
    if len(found) != 1:
        raise Conflict("wristband_unknown", N_("没有找到该腕带号对应的患者，请核对后重扫。"))
    return found[0]


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("moment_unreadable", N_("采集时间不正确。")) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=clock.hospital_zone())


def _answer(
    request: Request, session: Session, person: Person | None, outcome: dict[str, object], status: int = 200
) -> Response:
    waiting = collecting.waiting_for(session, person.id) if person else []
    context = {
        "person": person,
        "number": order_lookup.numbers_of(session, [person.id]).get(person.id, "") if person else "",
        "age": tubes.age_text(person.birth_date, clock.today()) if person else "",
        "sex": _(tubes.SEXES.get(person.sex, "")) if person else "",
        "views": tubes.views(session, waiting),
        "starts": [
            (order_id, since, timing.START_NAMES[timing.Since(since)], begun)
            for (order_id, since), begun in timed.waits_for(session, waiting).items()
        ],
        "now": clock.now(),
        "drawn": tubes.views(session, _drawn_today(session, person)) if person else [],
        "words": words,
        "outcome": {"code": "", "problem": None, "questions": [], "done": None, "asked_for": "", **outcome},
    }
    whole = request.headers.get("hx-request") is None
    template = "lis/specimens/bedside.html" if whole else "lis/specimens/bedside_patient.html"
    return render(request, template, context, status=status)


def _drawn_today(session: Session, person: Person) -> list[Specimen]:
    """What was drawn from the patient today and is not in the laboratory yet."""
    return collecting.drawn(session, person.id, (SpecimenState.COLLECTED, SpecimenState.IN_TRANSIT))
