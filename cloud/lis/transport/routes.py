"""Pages of hand-over batches: pack by scan, send with a printed list, receive by batch and tube, what is missing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import service as hospital
from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Invalid, XinglinError
from cloud.lis.specimens import lookup, tubes
from cloud.lis.specimens.model import Specimen
from cloud.lis.specimens.rules import clean_barcode
from cloud.lis.transport import listing, service, sheet
from cloud.lis.transport.model import BatchState, TransportBatch
from cloud.people.access import Subject, visible_to
from cloud.staff import scan, worklist
from cloud.staff.access import CurrentStaff, require
from cloud.staff.model import StaffAccount
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/transport"
router = APIRouter(prefix=PAGE)
STATES = {
    BatchState.PACKING: (N_("装箱中"), "neutral"),
    BatchState.SENT: (N_("运送中"), "info"),
    BatchState.ARRIVED: (N_("已到达"), "warn"),
    BatchState.CLOSED: (N_("已核收"), "good"),
}
Carrier = Annotated[CurrentStaff, Depends(require("specimen.hand_over"))]
Receiver = Annotated[CurrentStaff, Depends(require("specimen.receive"))]

navigation.add(N_("标本交接"), PAGE, permission="specimen.hand_over", group=N_("标本"), position=130, key="g T")
worklist.add(
    N_("交接缺失标本"),
    N_("批次已到、标本未到"),
    f"{PAGE}/missing",
    permission="specimen.receive",
    position=122,
    count=listing.missing_count,
    topic="batches",
    urgent=True,
)


def _scanned(session: Session, code: str, staff: CurrentStaff) -> str | None:
    if not staff.may("specimen.hand_over"):
        return None
    wanted = clean_barcode(code).upper()[:16]
    found = session.scalar(select(TransportBatch.number).where(TransportBatch.number == wanted))
    return f"{PAGE}/{found}" if found else None


scan.add("batches", 150, _scanned)


@router.get("")
def batches(request: Request, session: Transaction, staff: Carrier) -> Response:
    today = clock.day_begins(clock.today())
    context = {
        "lines": listing.batches(session, closed_since=today),
        "states": STATES,
        "departments": hospital.departments(session),
        "missing": listing.missing_count(session),
        "week": listing.period(session, today - timedelta(days=6), today + timedelta(days=1)),
        "minutes": service.since,
    }
    return render(request, "lis/transport/batches.html", context)


@router.post("")
def open_batch(
    session: Transaction,
    staff: Carrier,
    department: Annotated[str, Form(max_length=32)] = "",
    place: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    where = hospital.department_by_code(session, department)
    if where is None:
        raise Invalid("department_unknown", N_("没有这个科室，请重新选择。"))
    batch = service.open_batch(session, department_id=where.id, by=staff.actor, place=place)
    return RedirectResponse(f"{PAGE}/{batch.number}", status_code=303)


@router.get("/missing")
def missing(request: Request, session: Transaction, staff: Receiver) -> Response:
    found = listing.missing(session)
    views = {each.specimen.id: each for each in _views(session, staff, [specimen for specimen, _, _ in found])}
    rows = [(views[specimen.id], batch, minutes) for specimen, batch, minutes in found if specimen.id in views]
    return render(request, "lis/transport/missing.html", {"rows": rows, "states": STATES})


@router.get("/{number}")
def one_batch(request: Request, session: Transaction, staff: Carrier, number: str) -> Response:
    return _page(request, session, staff, number)


def _page(
    request: Request,
    session: Session,
    staff: CurrentStaff,
    number: str,
    outcome: dict[str, object] | None = None,
    status: int = 200,
) -> Response:
    batch = service.by_number(session, number)
    context = {
        "batch": batch,
        "department": session.get_one(Department, batch.department_id),
        "views": _views(session, staff, service.tubes_of(session, batch.id)),
        "unexpected": _views(session, staff, listing.unexpected(session, batch.id)),
        "packed_by": _name(session, batch.packed_by),
        "states": STATES,
        "tube_states": tubes.STATE_NAMES,
        "outcome": outcome,
        "named": staff.may("patient.read"),
        "minutes": service.since,
    }
    whole = request.headers.get("hx-request") is None
    return render(request, f"lis/transport/{'batch' if whole else 'batch_body'}.html", context, status)


def _views(session: Session, staff: CurrentStaff, specimens: list[Specimen]) -> list[tubes.TubeView]:
    """Of all tubes for a courier, who sees barcodes only; of patients they may see for everybody else."""
    if not staff.may("patient.read"):
        return tubes.views(session, specimens)
    ids = {each.person_id for each in specimens}
    wanted = visible_to(Subject.staff(staff))
    allowed = set(
        session.scalars(select(Specimen.person_id).where(Specimen.person_id.in_(ids), Specimen.person_id.in_(wanted)))
    )
    return tubes.views(session, [each for each in specimens if each.person_id in allowed])


def _name(session: Session, actor: str) -> str:
    found = {f"staff:{key}": name for key, name in session.execute(select(StaffAccount.id, StaffAccount.name))}
    return found.get(actor, actor)


@router.post("/{number}/scan")
def scanned(request: Request, staff: Carrier, number: str, code: Annotated[str, Form(max_length=64)] = "") -> Response:
    """A tube into the batch that is packed, or out of the one that arrived; the batch's own barcode says it arrived."""
    outcome: dict[str, object] = {"code": clean_barcode(code)[:40], "problem": None, "unexpected": False, "said": ""}
    status = 200
    try:
        with begin() as session:
            batch = service.by_number(session, number)
            if clean_barcode(code).upper() == batch.number:
                _may(staff, "specimen.receive")
                service.arrive(session, number, by=staff.actor)
                outcome["said"] = "arrived"
            elif batch.state == BatchState.PACKING:
                service.pack(session, number, code, by=staff.actor)
                outcome["said"] = "packed"
            else:
                _may(staff, "specimen.receive")
                _, expected = service.receive_tube(session, number, code, by=staff.actor)
                outcome["said"], outcome["unexpected"] = "received", not expected
    except XinglinError as refused:
        outcome["problem"], status = message_of(refused), refused.status
    with begin() as session:
        return _page(request, session, staff, number, outcome, status)


def _may(staff: CurrentStaff, permission: str) -> None:
    require(permission)(staff)  # the same refusal as at a page's door


@router.post("/{number}/take-out")
def take_out(
    session: Transaction,
    staff: Carrier,
    number: str,
    code: Annotated[str, Form(max_length=64)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    service.take_out(session, number, lookup.by_barcode(session, code).accession, by=staff.actor, reason=reason)
    return RedirectResponse(f"{PAGE}/{number}", status_code=303)


@router.post("/{number}/send")
def send(
    session: Transaction,
    staff: Carrier,
    number: str,
    courier: Annotated[str, Form(max_length=40)] = "",
    note: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    service.send(session, number, by=staff.actor, courier=courier, note=note.strip())
    return RedirectResponse(f"{PAGE}/{number}", status_code=303)


@router.post("/{number}/arrive")
def arrive(
    session: Transaction,
    staff: Receiver,
    number: str,
    temperature: Annotated[str, Form(max_length=8)] = "",
    note: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    service.arrive(session, number, by=staff.actor, temperature_c=_celsius(temperature), note=note)
    return RedirectResponse(f"{PAGE}/{number}", status_code=303)


def _celsius(text: str) -> Decimal | None:
    try:
        found = Decimal(text.strip()) if text.strip() else None
    except InvalidOperation:
        found = Decimal("NaN")
    if found is not None and not (found.is_finite() and -200 < found < 100):
        raise Invalid("temperature_wrong", N_("温度请填写摄氏度数值。"))
    return found


@router.post("/{number}/close")
def close(
    session: Transaction, staff: Receiver, number: str, reason: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    service.close(session, number, by=staff.actor, reason=reason)
    return RedirectResponse(f"{PAGE}/{number}", status_code=303)


@router.get("/{number}/list.pdf")
def list_pdf(session: Transaction, staff: Carrier, number: str) -> Response:
    """The list that travels with the batch; it names patients, so that a courier carries it and does not open it."""
    _may(staff, "patient.read")
    batch = service.by_number(session, number)
    made = sheet.as_pdf(
        batch,
        session.get_one(Department, batch.department_id).name,
        _name(session, batch.packed_by),
        _views(session, staff, service.tubes_of(session, batch.id)),
    )
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})
