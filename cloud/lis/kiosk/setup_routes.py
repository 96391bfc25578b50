"""The page where self-service machines are registered and let in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.config import settings
from cloud.kit.db import Transaction
from cloud.lis.kiosk import machines
from cloud.lis.printing import printers
from cloud.lis.printing.model import PrinterKind
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/kiosks"
router = APIRouter(prefix=PAGE)
Operator = Annotated[CurrentStaff, Depends(require("printer.configure"))]

navigation.add(N_("自助打印机"), PAGE, permission="printer.configure", group=N_("系统"), position=840, key="g K")


@router.get("")
def kiosks_page(request: Request, session: Transaction, staff: Operator) -> Response:
    return _page(request, session)


def _page(request: Request, session: Session, code: str = "", secret: str = "") -> Response:
    inside = {each.id: each for each in printers.usable(session, PrinterKind.KIOSK)}
    context = {
        "kiosks": machines.in_use(session),
        "printers": inside,
        "printer_options": [(each.code, f"{each.code} {each.name}") for each in inside.values()],
        "printer_away": printers.away,
        "away": machines.away,
        "code": code,
        "secret": secret,
        "address": f"{settings().public_url.rstrip('/')}/kiosk",
    }
    return render(request, "lis/kiosk/kiosks.html", context)


@router.post("")
def add_kiosk(
    session: Transaction,
    staff: Operator,
    code: Annotated[str, Form(max_length=24)] = "",
    name: Annotated[str, Form(max_length=60)] = "",
    place: Annotated[str, Form(max_length=60)] = "",
    printer: Annotated[str, Form(max_length=24)] = "",
    days: Annotated[int, Form()] = 30,
    idle_s: Annotated[int, Form()] = 40,
) -> Response:
    machines.register(
        session,
        code=code.strip(),
        name=name,
        place=place,
        printer=printer,
        days=days,
        idle_s=idle_s,
        by=staff.actor,
    )
    return RedirectResponse(PAGE, status_code=303)


@router.post("/{code}/enrolment")
def enrolment(request: Request, session: Transaction, staff: Operator, code: str) -> Response:
    """A code for its screen, shown here once."""
    secret = machines.enrolment(session, machines.by_code(session, code).id, by=staff.actor)
    return _page(request, session, code, f"{secret[:4]}-{secret[4:]}")


@router.post("/{code}/retire")
def retire(session: Transaction, staff: Operator, code: str) -> Response:
    machines.retire(session, machines.by_code(session, code).id, by=staff.actor)
    return RedirectResponse(PAGE, status_code=303)
