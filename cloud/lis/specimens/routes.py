"""Pages of specimens: scan to collect or receive, one specimen's road, labels."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Forbidden, NotFound, XinglinError
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog import words
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import Order, OrderItem
from cloud.lis.specimens import (
    aliquots,
    bedside_routes,
    concession,
    labels,
    quality_routes,
    refusal,
    service,
    setting_routes,
    step_routes,
    timed,
    tubes,
    tubing,
)
from cloud.lis.specimens.model import Specimen, SpecimenEvent, SpecimenState
from cloud.lis.specimens.rules import REASON_NAMES, clean_barcode
from cloud.people import access
from cloud.people.access import Subject
from cloud.staff import scan, worklist
from cloud.staff.access import CurrentStaff, require
from cloud.staff.model import StaffAccount
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/specimens"
router = APIRouter(prefix=PAGE)
router.include_router(bedside_routes.router)
router.include_router(quality_routes.router)
router.include_router(setting_routes.router)
router.include_router(step_routes.router)

LAST_SCANS = 20
MODES = {
    "receive": ("specimen.receive", N_("接收"), "received"),
    "collect": ("specimen.collect", N_("采集"), "collected"),
}
Reader = Annotated[CurrentStaff, Depends(require("patient.read"))]
Printer = Annotated[CurrentStaff, Depends(require("specimen.print"))]
Receiver = Annotated[CurrentStaff, Depends(require("specimen.receive"))]

navigation.add(N_("标本扫描"), f"{PAGE}/scan", permission="specimen.receive", group=N_("标本"), position=120, key="g s")


def _on_the_way(session: Session) -> int:
    found = select(func.count()).select_from(Specimen).where(Specimen.state == SpecimenState.COLLECTED)
    return session.scalar(found) or 0


worklist.add(
    N_("待接收标本"),
    N_("已采集、尚未到达检验科"),
    f"{PAGE}/scan",
    permission="specimen.receive",
    position=120,
    count=_on_the_way,
    topic="specimens",
)


def _scanned(session: Session, code: str, staff: CurrentStaff) -> str | None:
    if not staff.may("patient.read"):
        return None
    found = service.find(session, code)
    return f"{PAGE}/{found.accession}" if found else None


scan.add("specimens", 100, _scanned)


@router.get("/scan")
def scan_page(request: Request, session: Transaction, staff: Receiver, mode: str = "receive") -> Response:
    chosen = mode if mode in MODES else "receive"
    context = {"mode": chosen, "modes": MODES, "outcome": None, "last": _last(session, staff), "words": words}
    return render(request, "lis/specimens/scan.html", context)


@router.post("/scan")
def scanned(
    request: Request,
    staff: Receiver,
    code: Annotated[str, Form(max_length=64)] = "",
    mode: Annotated[str, Form()] = "receive",
    preprinted: Annotated[str, Form(max_length=32)] = "",
    place: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """One scan. Whatever comes of it is said where the eyes are, and the page is ready for the next tube."""
    chosen = mode if mode in MODES else "receive"
    problem: XinglinError | None = None
    try:
        with begin() as session:  # its own unit of work: a refusal leaves nothing behind
            _step(session, staff, chosen, code, preprinted, place)
    except XinglinError as refused:
        problem = refused
    with begin() as session:
        found = service.find(session, code)
        outcome = {
            "code": clean_barcode(code)[:40],
            "problem": message_of(problem) if problem else None,
            "view": tubes.views(session, [found])[0] if found and staff.may("patient.read") else None,
        }
        context = {
            "mode": chosen,
            "modes": MODES,
            "outcome": outcome,
            "last": _last(session, staff),
            "words": words,
        }
        whole = request.headers.get("hx-request") is None
        template = "lis/specimens/scan.html" if whole else "lis/specimens/scan_outcome.html"
        return render(request, template, context, status=problem.status if problem else 200)


def _step(session: Session, staff: CurrentStaff, mode: str, code: str, preprinted: str, place: str) -> None:
    permission = MODES[mode][0]
    if not staff.may(permission):
        raise Forbidden(
            "no_permission", N_("您的账号没有“{permission}”的权限，需要时请联系管理员。"), permission=permission
        )
    if mode == "collect":
        timed.refuse_off_time(session, service.by_barcode(session, code), clock.now())
        service.collect(session, code, by=staff.actor, place=place, preprinted=preprinted or None)
    else:
        service.receive(session, code, by=staff.actor, place=place)


def _last(session: Session, staff: CurrentStaff) -> list[tuple[SpecimenEvent, tubes.TubeView]]:
    """This person's last scans, newest first."""
    steps = [name for _, _, name in MODES.values()]
    events = list(
        session.scalars(
            select(SpecimenEvent)
            .where(SpecimenEvent.by == staff.actor, SpecimenEvent.type.in_(steps))
            .order_by(SpecimenEvent.id.desc())
            .limit(LAST_SCANS)
        )
    )
    ids = {each.specimen_id for each in events}
    found = tubes.views(session, list(session.scalars(select(Specimen).where(Specimen.id.in_(ids)))))
    by_id = {each.specimen.id: each for each in found}
    return [(each, by_id[each.specimen_id]) for each in events]


@router.post("/labels")
def print_labels(session: Transaction, staff: Printer, order_id: Annotated[uuid.UUID, Form()]) -> Response:
    """Make the order's tubes (or find them again), then the page with their labels."""
    order = _order(session, staff, order_id)
    service.print_labels(session, order.id, by=staff.actor, reason="order_again")
    return RedirectResponse(f"{PAGE}/labels/{order.id}", status_code=303)


@router.get("/labels/{order_id}")
def labels_page(request: Request, session: Transaction, staff: Printer, order_id: uuid.UUID) -> Response:
    order = _order(session, staff, order_id)
    found = tubes.views(session, service.open_specimens(session, order.id))
    printed = tubing.times_printed(session, [each.specimen.id for each in found])
    context = {"order": order, "views": found, "words": words, "printed": printed}
    return render(request, "lis/specimens/labels.html", context)


@router.get("/labels/{order_id}/{kind}")
def order_labels(session: Transaction, staff: Printer, order_id: uuid.UUID, kind: str) -> Response:
    """All labels of an order: ``labels.pdf`` or ``labels.zpl``."""
    order = _order(session, staff, order_id)
    return _label_file(tubes.views(session, service.open_specimens(session, order.id)), kind)


@router.get("/of-order/{order_id}")
def of_order(request: Request, session: Transaction, staff: Reader, order_id: uuid.UUID) -> Response:
    """The order's tubes and their roads, shown inside the order's page."""
    order = _order(session, staff, order_id)
    found = list(session.scalars(select(Specimen).where(Specimen.order_id == order.id).order_by(Specimen.id)))
    roads = {each.id: service.timeline(session, each.id) for each in found}
    context = {
        "views": tubes.views(session, found),
        "roads": roads,
        "step_name": tubes.step_name,
        "line_details": tubes.line_details,
        "details": tubes.details,
        "clocks": tubes.CLOCK_NAMES,
        "states": tubes.STATE_NAMES,
        "reasons": REASON_NAMES,
        "people": _names(session, [each for road in roads.values() for each in road]),
    }
    return render(request, "lis/specimens/of_order.html", context)


def _order(session: Session, staff: CurrentStaff, order_id: uuid.UUID) -> Order:
    order = session.get(Order, order_id)
    if order is None:
        raise NotFound("order_unknown", N_("没有这个医嘱。"))
    access.person(session, Subject.staff(staff), order.person_id)
    return order


def _label_file(views: list[tubes.TubeView], kind: str) -> Response:
    made = [tubes.label_of(each) for each in views]
    if kind == "labels.pdf":
        return Response(labels.as_pdf(made), media_type="application/pdf", headers={"Cache-Control": "no-store"})
    if kind == "labels.zpl":
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="labels.zpl"'}
        return Response(labels.as_zpl(made), media_type="application/x-zpl; charset=utf-8", headers=headers)
    raise NotFound("label_kind", N_("没有这种标签文件。"))


def account_of(actor: str) -> uuid.UUID | None:
    """The account behind ``staff:<id>``; None for the HIS, a line or a program."""
    try:
        return uuid.UUID(actor.removeprefix("staff:")) if actor.startswith("staff:") else None
    except ValueError:
        return None


def _names(session: Session, events: list[SpecimenEvent]) -> dict[str, str]:
    """Who did it, as a name."""
    ids = {account_of(each.by) for each in events} - {None}
    rows = session.execute(select(StaffAccount.id, StaffAccount.name).where(StaffAccount.id.in_(ids)))
    return {"system": _("系统"), "his": "HIS"} | {f"staff:{account}": name for account, name in rows}


@router.get("/{accession}")
def one_specimen(request: Request, session: Transaction, staff: Reader, accession: str) -> Response:
    """Where is my specimen: everything about one tube on one page."""
    specimen = _specimen(session, staff, accession)
    road = service.timeline(session, specimen.id)
    replaced = session.get(Specimen, specimen.replaces_id) if specimen.replaces_id else None
    context = {
        "view": tubes.views(session, [specimen])[0],
        "road": road,
        "replaces": replaced,
        "replaced_by": session.scalar(select(Specimen).where(Specimen.replaces_id == specimen.id)),
        "step_name": tubes.step_name,
        "line_details": tubes.line_details,
        "details": tubes.details,
        "clocks": tubes.CLOCK_NAMES,
        "states": tubes.STATE_NAMES,
        "whereabouts": tubes.WHEREABOUTS_NAMES,
        "reasons": REASON_NAMES,
        "told_how": tubes.TOLD_HOW_NAMES,
        "people": _names(session, road),
        "rejectable": specimen.state in service.OPEN_STATES,
        "words": words,
        "parent": session.get(Specimen, specimen.parent_id) if specimen.parent_id else None,
        "aliquots": service.aliquots_of(session, specimen.id),
        "defects": refusal.defects_of(session, specimen.id),
        "remarks": concession.remarks(session, specimen),
        "printed": tubing.times_printed(session, [specimen.id]).get(specimen.id, 0),
        "items": _items(session, specimen),
        "siblings": [
            each
            for each in service.open_specimens(session, specimen.order_id)
            if each.id != specimen.id
            and (each.state, each.tube_id, each.specimen_type)
            == (SpecimenState.PRINTED, specimen.tube_id, specimen.specimen_type)
        ],
    }
    return render(request, "lis/specimens/specimen.html", context)


def _items(session: Session, specimen: Specimen) -> list[tuple[OrderItem, Test]]:
    """What is to be done on it and has no value yet."""
    items = [each for each in service.live_items(session, specimen.id) if each.state in aliquots.NOT_BEGUN]
    tests = catalog.tests_by_id(session, [each.test_id for each in items])
    return [(each, tests[each.test_id]) for each in items]


def _specimen(session: Session, staff: CurrentStaff, accession: str) -> Specimen:
    specimen = service.by_barcode(session, accession)
    access.person(session, Subject.staff(staff), specimen.person_id)
    return specimen


@router.get("/{accession}/{kind}")
def one_label(session: Transaction, staff: Printer, accession: str, kind: str) -> Response:
    return _label_file(tubes.views(session, [_specimen(session, staff, accession)]), kind)


@router.post("/{accession}/reject")
def reject(
    session: Transaction,
    staff: Receiver,
    accession: str,
    reason: Annotated[str, Form()] = "",
    note: Annotated[str, Form(max_length=200)] = "",
    recollect: Annotated[str, Form()] = "",
) -> Response:
    """Refuse the tube; with `recollect` a new one takes over its tests, and its label is next."""
    specimen = _specimen(session, staff, accession)
    done = refusal.reject(
        session, specimen.barcode, by=staff.actor, reason_code=reason, note=note.strip(), recollect=recollect == "yes"
    )
    return RedirectResponse(f"{PAGE}/{done.specimen.accession}", status_code=303)
