"""The print room and the queue: find, choose, print; what is under way, what failed, what to do about it."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Conflict
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.printing import agent_routes, copies, desk, listing, printers, queue, sending, setup_routes
from cloud.lis.printing.model import JobState, Origin, PrinterKind, Road
from cloud.lis.printing.naming import Namer, trouble_words
from cloud.lis.printing.setup_routes import PAGE
from cloud.lis.reports import service as reports
from cloud.people.access import Subject, person
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

router = APIRouter()
pages = APIRouter(prefix=PAGE)
Printing = Annotated[CurrentStaff, Depends(require("report.print"))]

navigation.add(N_("报告打印"), PAGE, permission="report.print", group=N_("检验"), position=345, key="g P")
worklist.add(
    N_("打印失败"),
    N_("打印机没有印出的报告，需重打或改印"),
    f"{PAGE}/queue?show=failed",
    permission="report.print",
    position=345,
    count=listing.in_trouble,
    topic=printers.TOPIC,
)

STATES = {
    JobState.WAITING: (N_("排队"), "info"),
    JobState.TAKEN: (N_("打印中"), "info"),
    JobState.PRINTED: (N_("已打印"), "good"),
    JobState.FAILED: (N_("失败"), "bad"),
    JobState.CANCELLED: (N_("已取消"), "neutral"),
}
ORIGINS = {
    Origin.DESK: N_("打印室"),
    Origin.RULE: N_("发布时自动"),
    Origin.AMENDED: N_("修订后补发"),
    Origin.KIOSK: N_("自助机"),
}
TROUBLES = {
    queue.SUPERSEDED: N_("已有新版本"),
    queue.RECALLED: N_("报告已召回"),
    queue.EXPIRED: N_("超时未取"),
    queue.CANCELLED_BY_PERSON: N_("人工取消"),
    queue.REDIRECTED: N_("改到别的打印机"),
    queue.NOT_ACKNOWLEDGED: N_("多次取走未回报，请到打印机查看"),
    queue.FORGOTTEN: N_("打印机已没有这份任务，请到打印机查看"),
    queue.DEVICE: N_("打印机放弃了这份任务"),
}
SHOWS = {desk.UNPRINTED: N_("未打印"), desk.STALE: N_("旧版在外，须更换"), desk.ALL: N_("全部")}
QUEUE_SHOWS = {listing.OPEN: N_("未完成"), listing.FAILED: N_("失败"), listing.DONE: N_("已结束")}


@pages.get("")
def room(
    request: Request,
    session: Transaction,
    staff: Printing,
    q: str = "",
    day_from: str = "",
    day_to: str = "",
    department: str = "",
    section: str = "",
    show: str = desk.UNPRINTED,
) -> Response:
    """Released reports that fit; scanned or typed ones in every day."""
    return _room(request, session, staff, _wanted(session, q, day_from, day_to, department, section, show))


def _wanted(
    session: Transaction, q: str, day_from: str, day_to: str, department: str, section: str, show: str
) -> desk.Wanted:
    found = hospital.department_by_code(session, department) if department else None
    first = clock.typed_day(day_from) or clock.today()
    return desk.Wanted(
        day_from=first,
        day_to=max(first, clock.typed_day(day_to) or first),
        department_id=None if found is None else found.id,
        section=section if section in SECTIONS else "",
        show=show if show in desk.SHOWS else desk.UNPRINTED,
        text=q.strip()[:64],
    )


def _room(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    wanted: desk.Wanted,
    problems: dict[uuid.UUID, str] | None = None,
    chosen: list[uuid.UUID] | None = None,
    reason: str = "",
    status: int = 200,
) -> Response:
    lines = desk.find(session, Subject.staff(staff), wanted)
    departments = hospital.departments(session)
    context = {
        "lines": lines,
        "wanted": wanted,
        "department": next((each.code for each in departments if each.id == wanted.department_id), ""),
        "departments": departments,
        "sections": SECTIONS,
        "shows": SHOWS,
        "most": desk.SHOWN,
        "printers": printers.usable(session, PrinterKind.REPORT),
        "away": printers.away,
        "problems": problems or {},
        "chosen": set(chosen or []) or ({lines[0].report.id} if wanted.text and len(lines) == 1 else set()),
        "reason": reason,
        "may_configure": staff.may("printer.configure"),
    }
    part = request.headers.get("hx-request") is not None
    return render(request, f"lis/printing/{'room_rows' if part else 'room'}.html", context, status)


@pages.post("/print")
def print_chosen(
    request: Request,
    staff: Printing,
    report: Annotated[list[uuid.UUID] | None, Form()] = None,
    how: Annotated[str, Form()] = "pdf",
    printer: Annotated[str, Form()] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
    q: Annotated[str, Form(max_length=64)] = "",
    day_from: Annotated[str, Form()] = "",
    day_to: Annotated[str, Form()] = "",
    department: Annotated[str, Form()] = "",
    section: Annotated[str, Form()] = "",
    show: Annotated[str, Form()] = desk.UNPRINTED,
) -> Response:
    """All of them or, where one may not be printed, none: the page says which and why."""
    chosen, subject = list(report or []), Subject.staff(staff)
    try:
        with begin() as session:
            if how == "pdf":
                outcome = desk.as_pdf(session, subject, chosen, by=staff.actor, reason=reason)
            else:
                target = printers.by_code(session, printer)
                outcome = desk.to_printer(session, subject, chosen, printer_id=target.id, by=staff.actor, reason=reason)
            if outcome.refused:
                raise _NotAll(outcome)
    except _NotAll as stopped:
        problems = {report_id: message_of(refusal) for report_id, refusal in stopped.outcome.refused}
        with begin() as session:
            wanted = _wanted(session, q, day_from, day_to, department, section, show)
            return _room(request, session, staff, wanted, problems, chosen, reason, 409)
    if how == "pdf":
        headers = {"Content-Disposition": 'inline; filename="reports.pdf"', "Cache-Control": "no-store"}
        return Response(outcome.pdf, media_type="application/pdf", headers=headers)
    return RedirectResponse(f"{PAGE}/queue?batch={outcome.batch_id}", status_code=303)


class _NotAll(Exception):
    """At least one may not be printed: the unit of work is rolled back."""

    def __init__(self, outcome: desk.Outcome) -> None:
        super().__init__()
        self.outcome = outcome


@pages.get("/queue")
def queue_page(
    request: Request,
    session: Transaction,
    staff: Printing,
    show: str = listing.OPEN,
    printer: str = "",
    batch: str = "",
) -> Response:
    """Printers with what waits there, and their jobs; shown live."""
    chosen = show if show in listing.SHOWS else listing.OPEN
    lines = listing.at_printers(session)
    at = next((each.printer for each in lines if each.printer.code == printer), None)
    context = {
        "show": chosen,
        "shows": QUEUE_SHOWS,
        "printers": lines,
        "at": at,
        "jobs": listing.jobs(session, Subject.staff(staff), show=chosen, printer_id=None if at is None else at.id),
        "states": STATES,
        "origins": ORIGINS,
        "troubles": TROUBLES,
        "names": Namer(session),
        "trouble_words": trouble_words,
        "targets": [each.printer for each in lines if each.printer.kind == PrinterKind.REPORT],
        "put": bool(batch),
        "size": listing.PAGE_SIZE,
        "may_configure": staff.may("printer.configure"),
    }
    part = request.headers.get("hx-request") is not None
    return render(request, f"lis/printing/{'queue_body' if part else 'queue'}.html", context)


@pages.post("/queue/{job_id}/cancel")
def cancel(session: Transaction, staff: Printing, job_id: uuid.UUID) -> Response:
    _seen(session, staff, job_id)
    queue.cancel(session, job_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/queue", status_code=303)


@pages.post("/queue/{job_id}/again")
def again(session: Transaction, staff: Printing, job_id: uuid.UUID, printer: Annotated[str, Form()] = "") -> Response:
    """Once more, at the same printer or at another."""
    _seen(session, staff, job_id)
    target = printers.by_code(session, printer).id if printer else None
    queue.again(session, job_id, by=staff.actor, printer_id=target)
    return RedirectResponse(f"{PAGE}/queue", status_code=303)


def _seen(session: Transaction, staff: CurrentStaff, job_id: uuid.UUID) -> None:
    person(session, Subject.staff(staff), reports.released(session, queue.by_id(session, job_id).report_id).person_id)


@pages.post("/printers/{code}/pause")
def pause(session: Transaction, staff: Printing, code: str, paused: Annotated[bool, Form()] = True) -> Response:
    """Stop a printer, or let it go on, at once."""
    printer = printers.pause(session, printers.by_code(session, code).id, paused=paused, by=staff.actor)
    if not paused and printer.road == Road.IPP:
        sending.wake(session, printer.id)
    return RedirectResponse(f"{PAGE}/queue", status_code=303)


@pages.post("/printers/{code}/try")
def try_now(session: Transaction, staff: Printing, code: str) -> Response:
    """Somebody mended it: not in two minutes, now."""
    printer = printers.by_code(session, code)
    if printer.road != Road.IPP:
        raise Conflict("printer.agent_asks", N_("打印代理自己来取任务，请检查代理是否运行。"))
    sending.wake(session, printer.id)
    return RedirectResponse(f"{PAGE}/queue", status_code=303)


@pages.get("/reports/{report_id}")
def record_page(request: Request, session: Transaction, staff: Printing, report_id: uuid.UUID) -> Response:
    """Every copy of one report: who, when, which version, where, why."""
    view = reports.released(session, report_id)
    person(session, Subject.staff(staff), view.person_id)
    context = {
        "view": view,
        "copies": copies.of_report(session, report_id),
        "names": Namer(session),
    }
    return render(request, "lis/printing/record.html", context)


router.include_router(pages)
router.include_router(setup_routes.router)
router.include_router(agent_routes.router)
