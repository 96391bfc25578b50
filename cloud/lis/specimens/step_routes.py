"""What a person does about one tube on its page: steps back, concession, lost and found, aliquots, tests added."""

from __future__ import annotations

import uuid
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid
from cloud.lis.authority.service import require_authority
from cloud.lis.catalog import service as catalog
from cloud.lis.orders import oral
from cloud.lis.specimens import (
    adding,
    aliquots,
    concession,
    lookup,
    refusal,
    regrouping,
    tubes,
    tubing,
    undoing,
    whereabouts,
)
from cloud.lis.specimens.model import Specimen
from cloud.people import access
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/specimens"
router = APIRouter(prefix="/{accession}/steps")
Printer = Annotated[CurrentStaff, Depends(require("specimen.print"))]
Collector = Annotated[CurrentStaff, Depends(require("specimen.collect"))]
Receiver = Annotated[CurrentStaff, Depends(require("specimen.receive"))]
Orderer = Annotated[CurrentStaff, Depends(require("order.place"))]
Reason = Annotated[str, Form(max_length=200)]
Items = Annotated[list[uuid.UUID] | None, Form()]


def _specimen(session: Session, staff: CurrentStaff, accession: str) -> Specimen:
    specimen = lookup.by_barcode(session, accession)
    access.person(session, Subject.staff(staff), specimen.person_id)
    return specimen


def _back_to(accession: str) -> Response:
    return RedirectResponse(f"{PAGE}/{accession}", status_code=303)


@router.post("/reprint")
def reprint(
    session: Transaction,
    staff: Printer,
    accession: str,
    reason: Reason = "",
    device: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Note the reprint with its reason, then the label itself."""
    specimen = _specimen(session, staff, accession)
    tubing.reprint(session, specimen, by=staff.actor, reason=reason, device=device.strip())
    return RedirectResponse(f"{PAGE}/{specimen.accession}/labels.pdf", status_code=303)


@router.post("/undo-collection")
def undo_collection(session: Transaction, staff: Collector, accession: str, reason: Reason = "") -> Response:
    specimen = _specimen(session, staff, accession)
    return _back_to(undoing.undo_collection(session, specimen.accession, by=staff.actor, reason=reason).accession)


@router.post("/undo-reception")
def undo_reception(session: Transaction, staff: Receiver, accession: str, reason: Reason = "") -> Response:
    specimen = _specimen(session, staff, accession)
    return _back_to(undoing.undo_reception(session, specimen.accession, by=staff.actor, reason=reason).accession)


@router.post("/undo-rejection")
def undo_rejection(session: Transaction, staff: Receiver, accession: str, reason: Reason = "") -> Response:
    specimen = _specimen(session, staff, accession)
    return _back_to(undoing.undo_rejection(session, specimen.accession, by=staff.actor, reason=reason).accession)


@router.post("/lost")
def lost(session: Transaction, staff: Receiver, accession: str, reason: Reason = "") -> Response:
    specimen = _specimen(session, staff, accession)
    return _back_to(whereabouts.lose(session, specimen.accession, by=staff.actor, reason=reason).accession)


@router.post("/found")
def found(session: Transaction, staff: Receiver, accession: str, reason: Reason = "") -> Response:
    specimen = _specimen(session, staff, accession)
    return _back_to(whereabouts.found_again(session, specimen.accession, by=staff.actor, reason=reason).accession)


@router.post("/concession")
def concede(
    session: Transaction,
    staff: Receiver,
    accession: str,
    reason_code: Annotated[str, Form(max_length=32)] = "",
    agreed_with: Annotated[str, Form(max_length=80)] = "",
    note: Reason = "",
) -> Response:
    specimen = _specimen(session, staff, accession)
    _may_concede(session, staff, specimen)
    concession.concede(
        session, specimen.accession, by=staff.actor, reason_code=reason_code, agreed_with=agreed_with, note=note
    )
    return _back_to(specimen.accession)


@router.post("/concession/{defect_id}/withdraw")
def withdraw(
    session: Transaction, staff: Receiver, accession: str, defect_id: uuid.UUID, reason: Reason = ""
) -> Response:
    specimen = _specimen(session, staff, accession)
    _own(session, specimen, defect_id)
    _may_concede(session, staff, specimen)
    concession.withdraw(session, defect_id, by=staff.actor, reason=reason)
    return _back_to(specimen.accession)


def _may_concede(session: Session, staff: CurrentStaff, specimen: Specimen) -> None:
    """A concession is about every test of the tube: authority for all of them."""
    test_ids = [each.test_id for each in lookup.live_items(session, specimen.id)]
    codes = [each.code for each in catalog.tests_by_id(session, test_ids).values()]
    require_authority(session, staff, "specimen.concession", sorted(codes))


@router.post("/told/{defect_id}")
def told(
    session: Transaction,
    staff: Receiver,
    accession: str,
    defect_id: uuid.UUID,
    whom: Annotated[str, Form(max_length=80)] = "",
    how: Annotated[str, Form(max_length=16)] = "phone",
) -> Response:
    """The ward was told of the rejection."""
    specimen = _specimen(session, staff, accession)
    _own(session, specimen, defect_id)
    refusal.told_ward(session, defect_id, by=staff.actor, whom=whom, how=how)
    return _back_to(specimen.accession)


def _own(session: Session, specimen: Specimen, defect_id: uuid.UUID) -> None:
    if defect_id not in {each.id for each in refusal.defects_of(session, specimen.id)}:
        raise Invalid("defect_unknown", N_("没有这条不合格记录。"))


@router.post("/aliquot")
def aliquot(
    session: Transaction,
    staff: Receiver,
    accession: str,
    items: Items = None,
    volume_ml: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Pour; the new tube's page offers its label."""
    specimen = _specimen(session, staff, accession)
    child = aliquots.aliquot(
        session, specimen.accession, item_ids=items or [], by=staff.actor, volume_ml=_volume(volume_ml)
    )
    return _back_to(child.accession)


def _volume(text: str) -> Decimal | None:
    if not text.strip():
        return None
    try:
        volume = Decimal(text.strip())
    except InvalidOperation:
        raise Invalid("volume_wrong", N_("分杯体积须大于 0 毫升。")) from None
    if not volume.is_finite():
        raise Invalid("volume_wrong", N_("分杯体积须大于 0 毫升。"))
    return volume


@router.post("/split")
def split(session: Transaction, staff: Printer, accession: str, items: Items = None, reason: Reason = "") -> Response:
    specimen = _specimen(session, staff, accession)
    new = regrouping.split(session, specimen.accession, items or [], by=staff.actor, reason=reason)
    return _back_to(new.accession)


@router.post("/merge")
def merge(
    session: Transaction,
    staff: Printer,
    accession: str,
    into: Annotated[str, Form(max_length=64)] = "",
    reason: Reason = "",
) -> Response:
    specimen, other = _specimen(session, staff, accession), _specimen(session, staff, into)
    kept = regrouping.merge(session, specimen.accession, other.accession, by=staff.actor, reason=reason)
    return _back_to(kept.accession)


@router.get("/add")
def add_page(
    request: Request, session: Transaction, staff: Orderer, accession: str, codes: str = "", problem: str = ""
) -> Response:
    """Which tests, and what speaks against each on this tube."""
    return _add_page(request, session, _specimen(session, staff, accession), codes.split())


def _add_page(request: Request, session: Session, specimen: Specimen, codes: list[str]) -> Response:
    checks = adding.check(session, specimen, codes) if codes else []
    context = {
        "view": tubes.views(session, [specimen])[0],
        "codes": codes,
        "picked": [(code, _name(session, code)) for code in codes],
        "checks": checks,
        "doubts": list({doubt.code: doubt for check in checks for doubt in check.doubts if not doubt.refuses}.values()),
        "refused": any(each.refused for each in checks),
    }
    return render(request, "lis/specimens/add_on.html", context)


def _name(session: Session, code: str) -> str:
    known = catalog.panel_by_code(session, code) or catalog.test_by_code(session, code)
    return known.name if known else code


@router.post("/check")
def check(accession: str, staff: Orderer, items: Annotated[list[str] | None, Form()] = None) -> Response:
    """From what was picked to the page that shows what speaks against it."""
    codes = "+".join(each for each in items or [] if each.replace("_", "").replace("-", "").isalnum())
    return RedirectResponse(f"{PAGE}/{accession}/steps/add?codes={codes}", status_code=303)


@router.post("/add")
def add(
    session: Transaction,
    staff: Orderer,
    accession: str,
    items: Annotated[list[str] | None, Form()] = None,
    confirmed: Annotated[list[str] | None, Form()] = None,
    reason: Reason = "",
    asked_by: Annotated[str, Form(max_length=80)] = "",
    read_back: Annotated[str, Form()] = "",
) -> Response:
    """Put the tests on the tube; one asked for by telephone is written down to be confirmed."""
    specimen = _specimen(session, staff, accession)
    codes = items or []
    adding.add_on(session, specimen.accession, codes, by=staff.actor, confirmed=confirmed or [], reason=reason)
    if asked_by.strip():
        oral.take(
            session,
            specimen.order_id,
            codes,
            by=staff.actor,
            asked_by=asked_by,
            read_back=read_back == "yes",
        )
    return _back_to(specimen.accession)
