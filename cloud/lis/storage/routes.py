"""Pages of storage: racks with their grid, tubes in and out by scan, tubes to discard, where a tube is."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import XinglinError
from cloud.lis.orders import lookup as order_lookup
from cloud.lis.specimens import lookup, policy, tubes
from cloud.lis.specimens.model import Specimen
from cloud.lis.specimens.routes import account_of
from cloud.lis.specimens.rules import clean_barcode
from cloud.lis.storage import discarding, rules, service
from cloud.lis.storage.model import Discard, DiscardState, StorageRack, StorageUnit, UnitKind
from cloud.people import access
from cloud.people.access import Subject, visible_to
from cloud.staff import scan, worklist
from cloud.staff.access import CurrentStaff, require
from cloud.staff.model import StaffAccount
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/storage"
router = APIRouter(prefix=PAGE)
KINDS = {
    UnitKind.ROOM: N_("常温"),
    UnitKind.FRIDGE: N_("冷藏 2–8 °C"),
    UnitKind.FREEZER: N_("冷冻"),
    UnitKind.LINE: N_("流水线存储"),
}
DISCARD_STATES = {
    DiscardState.PROPOSED: (N_("待核对"), "warn"),
    DiscardState.DONE: (N_("已丢弃"), "neutral"),
    DiscardState.WITHDRAWN: (N_("已撤回"), "neutral"),
}
Keeper = Annotated[CurrentStaff, Depends(require("specimen.store"))]
Reader = Annotated[CurrentStaff, Depends(require("patient.read"))]
Text = Annotated[str, Form(max_length=80)]

navigation.add(N_("标本存放"), PAGE, permission="specimen.store", group=N_("标本"), position=140, key="g S")
worklist.add(
    N_("到期待丢弃"),
    N_("保存期已满的标本"),
    f"{PAGE}/discard",
    permission="specimen.store",
    position=140,
    count=discarding.due_count,
    topic="storage",
)


def _scanned(session: Session, code: str, staff: CurrentStaff) -> str | None:
    if not staff.may("specimen.store"):
        return None
    found = session.scalar(select(StorageRack.code).where(StorageRack.code == clean_barcode(code)[:32]))
    return f"{PAGE}/racks/{found}" if found else None


scan.add("racks", 160, _scanned)


@router.get("")
def overview(request: Request, session: Transaction, staff: Keeper, q: str = "") -> Response:
    """All racks by unit; with `q` the tubes of a patient or a barcode and where each stands."""
    racks = session.scalars(select(StorageRack).order_by(StorageRack.code)).all()
    units = session.scalars(select(StorageUnit).order_by(StorageUnit.code)).all()
    context = {
        "units": [(unit, [each for each in racks if each.unit_id == unit.id]) for unit in units],
        "counts": service.count_in(session),
        "kinds": KINDS,
        "q": q,
        "found": _find(session, staff, q) if q.strip() else [],
        "whereabouts": tubes.WHEREABOUTS_NAMES,
        "states": tubes.STATE_NAMES,
        "keep_days": policy.value(session, "keep_days"),
    }
    return render(request, "lis/storage/overview.html", context)


def _find(session: Session, staff: CurrentStaff, q: str) -> list[tuple[tubes.TubeView, object]]:
    subject = Subject.staff(staff)
    one = lookup.find(session, q)
    people = [each.id for each in order_lookup.patients(session, subject, q)]
    wanted = select(Specimen).where(Specimen.person_id.in_(visible_to(subject)))
    wanted = wanted.where(Specimen.id == one.id) if one else wanted.where(Specimen.person_id.in_(people))
    found = list(session.scalars(wanted.order_by(Specimen.id.desc()).limit(40)))
    return [(view, service.place_of(session, view.specimen.id)) for view in tubes.views(session, found)]


@router.post("/units")
def add_unit(
    session: Transaction, staff: Keeper, code: Text = "", name: Text = "", kind: Text = "", place: Text = ""
) -> Response:
    service.add_unit(session, code=code, name=name, kind=kind, place=place, by=staff.actor)
    return RedirectResponse(PAGE, status_code=303)


@router.post("/racks")
def add_rack(
    session: Transaction,
    staff: Keeper,
    unit: Annotated[uuid.UUID, Form()],
    code: Text = "",
    name: Text = "",
    rows: Annotated[int, Form()] = 0,
    columns: Annotated[int, Form()] = 0,
    keep_days: Annotated[str, Form(max_length=4)] = "",
) -> Response:
    days = int(keep_days) if keep_days.strip().isdecimal() else None
    rack = service.add_rack(
        session, code=code, name=name, unit_id=unit, rows=rows, columns=columns, keep_days=days, by=staff.actor
    )
    return RedirectResponse(f"{PAGE}/racks/{rack.code}", status_code=303)


@router.get("/racks/{code}")
def one_rack(request: Request, session: Transaction, staff: Keeper, code: str) -> Response:
    return _rack_page(request, session, code)


def _rack_page(
    request: Request, session: Session, code: str, outcome: dict[str, object] | None = None, status: int = 200
) -> Response:
    rack = service.rack_by_code(session, code)
    here = service.tubes_in(session, rack.id)
    context = {
        "rack": rack,
        "unit": session.get_one(StorageUnit, rack.unit_id),
        "here": here,
        "next": rules.next_free(rack.rows, rack.columns, here) if rack.rows else None,
        "letters": [chr(ord("A") + row) for row in range(rack.rows)],
        "today": clock.today(),
        "kinds": KINDS,
        "outcome": outcome,
    }
    whole = request.headers.get("hx-request") is None
    return render(request, f"lis/storage/{'rack' if whole else 'rack_body'}.html", context, status)


@router.post("/racks/{code}/scan")
def scanned(
    request: Request,
    staff: Keeper,
    code: str,
    tube: Annotated[str, Form(alias="code", max_length=64)] = "",
    position: Annotated[str, Form(max_length=4)] = "",
) -> Response:
    """A tube into the next free place, or into `position`; another rack's barcode leads to that rack."""
    outcome: dict[str, object] = {"code": clean_barcode(tube)[:40], "problem": None, "position": ""}
    status = 200
    try:
        with begin() as session:
            stored = service.store(session, code, tube, by=staff.actor, position=position.strip() or None)
            outcome["position"] = stored.position
    except XinglinError as refused:
        with begin() as session:
            other = session.scalar(select(StorageRack.code).where(StorageRack.code == clean_barcode(tube)[:32]))
        if other is not None:
            to = f"{PAGE}/racks/{other}"
            if request.headers.get("hx-request") is None:
                return RedirectResponse(to, status_code=303)
            return Response(status_code=200, headers={"HX-Redirect": to})
        outcome["problem"], status = message_of(refused), refused.status
    with begin() as session:
        return _rack_page(request, session, code, outcome, status)


@router.post("/racks/{code}/state")
def rack_state(session: Transaction, staff: Keeper, code: str, state: Annotated[str, Form()] = "") -> Response:
    service.set_state(session, code, state, by=staff.actor)
    return RedirectResponse(f"{PAGE}/racks/{code}", status_code=303)


@router.post("/retrieve")
def retrieve(
    session: Transaction,
    staff: Keeper,
    code: Annotated[str, Form(max_length=64)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Out of its rack; back to the tube's page, which says where it stood."""
    specimen = lookup.by_barcode(session, code)
    access.person(session, Subject.staff(staff), specimen.person_id)
    service.retrieve(session, specimen.accession, by=staff.actor, reason=reason)
    return RedirectResponse(f"/staff/lis/specimens/{specimen.accession}", status_code=303)


@router.get("/of-tube/{accession}")
def of_tube(request: Request, session: Transaction, staff: Reader, accession: str) -> Response:
    """Where the tube stands, shown on its page."""
    specimen = lookup.by_barcode(session, accession)
    access.person(session, Subject.staff(staff), specimen.person_id)
    context = {"tube": specimen, "place": service.place_of(session, specimen.id), "kinds": KINDS}
    return render(request, "lis/storage/of_tube.html", context)


@router.get("/discard")
def discard_page(request: Request, session: Transaction, staff: Keeper) -> Response:
    due = discarding.due(session, clock.today())
    racks: dict[str, list[object]] = {}
    for each in due:
        racks.setdefault(each[1].code, []).append(each)
    discards = session.scalars(select(Discard).order_by(Discard.id.desc()).limit(30)).all()
    context = {
        "racks": racks,
        "discards": discards,
        "states": DISCARD_STATES,
        "people": _names(session, [each.proposed_by for each in discards] + [each.confirmed_by for each in discards]),
        "me": staff.actor,
        "two_persons": policy.value(session, "discard_two_persons") == 1,
    }
    return render(request, "lis/storage/discard.html", context)


@router.post("/discard")
def propose(
    session: Transaction,
    staff: Keeper,
    tube: Annotated[list[uuid.UUID] | None, Form()] = None,
    how: Annotated[str, Form(max_length=80)] = "",
) -> Response:
    discarding.propose(session, tube or [], by=staff.actor, how=how)
    return RedirectResponse(f"{PAGE}/discard", status_code=303)


@router.post("/discard/{number}/confirm")
def confirm(session: Transaction, staff: Keeper, number: str) -> Response:
    discarding.confirm(session, number, by=staff.actor)
    return RedirectResponse(f"{PAGE}/discard", status_code=303)


@router.post("/discard/{number}/withdraw")
def withdraw(
    session: Transaction, staff: Keeper, number: str, reason: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    discarding.withdraw(session, number, by=staff.actor, reason=reason)
    return RedirectResponse(f"{PAGE}/discard", status_code=303)


def _names(session: Session, actors: Sequence[str | None]) -> dict[str, str]:
    ids = {account_of(each) for each in actors if each} - {None}
    rows = session.execute(select(StaffAccount.id, StaffAccount.name).where(StaffAccount.id.in_(ids)))
    return {f"staff:{key}": name for key, name in rows}
