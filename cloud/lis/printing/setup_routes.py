"""Printers and printing rules as data: who runs the hospital's machines sets them up here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.config import settings
from cloud.hospital import service as hospital
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Conflict
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.printing import following, listing, printers, queue
from cloud.lis.printing.device import Device, PrinterAway, PrinterRefused
from cloud.lis.printing.model import PrinterKind, Road
from cloud.lis.printing.naming import trouble_words
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/printing"
router = APIRouter(prefix=f"{PAGE}/setup")
Operator = Annotated[CurrentStaff, Depends(require("printer.configure"))]

KINDS = {PrinterKind.REPORT: N_("报告"), PrinterKind.KIOSK: N_("自助机内")}
ROADS = {Road.IPP: N_("直接连接（IPP / CUPS）"), Road.AGENT: N_("打印代理来取")}


@router.get("")
def setup_page(request: Request, session: Transaction, staff: Operator) -> Response:
    """Printers, rules, and the forms for new ones."""
    targets = printers.usable(session, PrinterKind.REPORT)
    context = {
        "printers": listing.at_printers(session),
        "trouble_words": trouble_words,
        "rules": following.rules(session),
        "targets": targets,
        "sections": SECTIONS,
        "kinds": KINDS,
        "roads": ROADS,
        "kind_options": _options(KINDS),
        "road_options": _options(ROADS),
        "section_options": [("", _("全部专业组")), *_options(SECTIONS)],
        "target_options": [(each.code, f"{each.code} {each.name}") for each in targets],
        "department_options": _departments(session, "—"),
        "department_all": _departments(session, _("全部科室")),
    }
    return render(request, "lis/printing/setup.html", context)


@router.post("/printers")
def add_printer(
    session: Transaction,
    staff: Operator,
    code: Annotated[str, Form(max_length=24)] = "",
    name: Annotated[str, Form(max_length=60)] = "",
    place: Annotated[str, Form(max_length=60)] = "",
    kind: Annotated[str, Form()] = PrinterKind.REPORT,
    road: Annotated[str, Form()] = Road.IPP,
    address: Annotated[str, Form(max_length=200)] = "",
    department: Annotated[str, Form()] = "",
    two_sided: Annotated[bool, Form()] = False,
) -> Response:
    made = printers.register(
        session,
        code=code.strip(),
        name=name,
        place=place,
        kind=kind,
        road=road,
        address=address,
        department_id=_department(session, department),
        two_sided=two_sided,
        by=staff.actor,
    )
    return RedirectResponse(f"{router.prefix}/printers/{made.code}", status_code=303)


@router.get("/printers/{code}")
def printer_page(request: Request, session: Transaction, staff: Operator, code: str) -> Response:
    return _page(request, session, code)


def _page(
    request: Request, session: Session, code: str, token: str = "", said: str = "", good: bool = False
) -> Response:
    printer = printers.by_code(session, code)
    context = {
        "printer": printer,
        "trouble_words": trouble_words,
        "waiting": queue.waiting_at(session, printer.id),
        "away": printers.away(printer),
        "department_options": _departments(session, "—"),
        "department": next(
            (each.code for each in hospital.departments(session) if each.id == printer.department_id), ""
        ),
        "kinds": KINDS,
        "roads": ROADS,
        "token": token,
        "said": said,
        "good": good,
        "public_url": settings().public_url.rstrip("/"),
    }
    return render(request, "lis/printing/printer.html", context)


@router.post("/printers/{code}")
def change_printer(
    session: Transaction,
    staff: Operator,
    code: str,
    name: Annotated[str, Form(max_length=60)] = "",
    place: Annotated[str, Form(max_length=60)] = "",
    address: Annotated[str, Form(max_length=200)] = "",
    department: Annotated[str, Form()] = "",
    two_sided: Annotated[bool, Form()] = False,
) -> Response:
    printer = printers.by_code(session, code)
    printers.change(
        session,
        printer.id,
        name=name,
        place=place,
        address=address,
        department_id=_department(session, department),
        two_sided=two_sided,
        by=staff.actor,
    )
    return RedirectResponse(f"{router.prefix}/printers/{code}", status_code=303)


@router.post("/printers/{code}/token")
def new_token(request: Request, session: Transaction, staff: Operator, code: str) -> Response:
    """Shown on this page and never again."""
    token = printers.issue_token(session, printers.by_code(session, code).id, by=staff.actor)
    return _page(request, session, code, token=token)


@router.post("/printers/{code}/test")
def test_printer(request: Request, staff: Operator, code: str) -> Response:
    """Ask the printer itself; nothing is printed. The network lies between two units of work."""
    with begin() as session:
        printer = printers.by_code(session, code)
    if printer.road != Road.IPP:
        raise Conflict("printer.agent_asks", N_("打印代理自己来取任务，请检查代理是否运行。"))
    good, said = False, ""
    try:
        with Device(printer.address) as device:
            health = device.health()
        good = health.takes_pdf and not health.stopped
        said = _("打印机已应答。") if good else _("打印机已应答，但现在不能打印 PDF 报告。")
        if health.trouble:
            said += f" {trouble_words(health.trouble)}"
    except (PrinterAway, PrinterRefused) as error:
        said = _("打印机没有应答：{why}").format(why=trouble_words(str(error)))
    with begin() as session:
        return _page(request, session, code, said=said, good=good)


@router.post("/printers/{code}/retire")
def retire_printer(session: Transaction, staff: Operator, code: str) -> Response:
    printer = printers.by_code(session, code)
    if queue.waiting_at(session, printer.id):
        raise Conflict("printer.jobs_wait", N_("这台打印机还有任务，请先打印、改印或取消。"))
    if any(each.printer.id == printer.id for each in following.rules(session)):
        raise Conflict("printer.rules", N_("还有自动打印规则用到这台打印机，请先停用规则。"))
    printers.retire(session, printer.id, by=staff.actor)
    return RedirectResponse(router.prefix, status_code=303)


@router.post("/rules")
def add_rule(
    session: Transaction,
    staff: Operator,
    printer: Annotated[str, Form()] = "",
    department: Annotated[str, Form()] = "",
    section: Annotated[str, Form()] = "",
    priority: Annotated[str, Form()] = "",
    preliminary: Annotated[bool, Form()] = False,
    sensitive: Annotated[bool, Form()] = False,
) -> Response:
    following.add_rule(
        session,
        printer_id=printers.by_code(session, printer).id,
        department_id=_department(session, department),
        section=section,
        priority=priority,
        preliminary=preliminary,
        sensitive=sensitive,
        by=staff.actor,
    )
    return RedirectResponse(f"{router.prefix}#rules", status_code=303)


@router.post("/rules/{rule_id}/end")
def end_rule(session: Transaction, staff: Operator, rule_id: uuid.UUID) -> Response:
    following.end_rule(session, rule_id, by=staff.actor)
    return RedirectResponse(f"{router.prefix}#rules", status_code=303)


def _options(words: Mapping[Any, str]) -> list[tuple[str, str]]:
    return [(str(key), _(text)) for key, text in words.items()]


def _departments(session: Session, none: str) -> list[tuple[str, str]]:
    return [("", none), *((each.code, f"{each.code} {each.name}") for each in hospital.departments(session))]


def _department(session: Session, code: str) -> uuid.UUID | None:
    found = hospital.department_by_code(session, code) if code else None
    return None if found is None else found.id
