"""Critical values that nobody read back yet, and the record of each attempt to tell the ward."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.lis.critical import service
from cloud.lis.critical.model import CLOSED, CriticalCase, CriticalContact
from cloud.lis.results.attempt import attempt
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/critical"
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("result.read"))]
Caller = Annotated[CurrentStaff, Depends(require("result.review"))]


def _open_count(session: Session) -> int:
    return session.scalar(select(func.count()).where(CriticalCase.state.not_in(CLOSED))) or 0


navigation.add(N_("危急值"), PAGE, permission="result.read", group=N_("检验"), position=310, key="g v")
worklist.add(
    N_("危急值待复述"),
    N_("电话通知病区并登记复述"),
    PAGE,
    permission="result.review",
    position=290,
    count=_open_count,
    topic="critical",
    urgent=True,
)


@router.get("")
def page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _page(request, session, staff)


@router.post("/{case_id}/contact")
def contact(
    request: Request,
    session: Transaction,
    staff: Caller,
    case_id: uuid.UUID,
    outcome: Annotated[str, Form()],
    told: Annotated[str, Form()] = "",
    telephone: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    """One attempt: who was told, and whether they read the values back."""
    _, refusal = attempt(
        session,
        lambda: service.record_contact(
            session, case_id, by=staff, told=told, outcome=outcome, telephone=telephone, note=note
        ),
    )
    if refusal is not None:
        return _page(request, session, staff, message_of(refusal), refusal.status)
    return RedirectResponse(PAGE, status_code=303)


def _closed(session: Session, staff: CurrentStaff) -> Sequence[Any]:
    """Those read back within the last day, with the call that ended each: what the next shift asks for."""
    return session.execute(
        select(CriticalCase, Specimen, Person, Department, CriticalContact)
        .join(Specimen, Specimen.id == CriticalCase.specimen_id)
        .join(Person, Person.id == CriticalCase.person_id)
        .join(Department, Department.id == CriticalCase.department_id)
        .join(CriticalContact, CriticalContact.case_id == CriticalCase.id)
        .where(
            CriticalContact.outcome == "read_back",
            CriticalCase.read_back_at > clock.now() - timedelta(hours=24),
            CriticalCase.person_id.in_(visible_to(Subject.staff(staff))),
        )
        .order_by(CriticalCase.read_back_at.desc())
        .limit(50)
    ).all()


def _page(request: Request, session: Session, staff: CurrentStaff, problem: str = "", status: int = 200) -> Response:
    rows = session.execute(
        select(CriticalCase, Specimen, Person, Department)
        .join(Specimen, Specimen.id == CriticalCase.specimen_id)
        .join(Person, Person.id == CriticalCase.person_id)
        .join(Department, Department.id == CriticalCase.department_id)
        .where(CriticalCase.state.not_in(CLOSED), CriticalCase.person_id.in_(visible_to(Subject.staff(staff))))
        .order_by(CriticalCase.detected_at)
        .limit(200)
    ).all()
    contacts: dict[uuid.UUID, list[CriticalContact]] = {}
    found = select(CriticalContact).where(CriticalContact.case_id.in_([row.CriticalCase.id for row in rows]))
    for each in session.scalars(found.order_by(CriticalContact.at)):
        contacts.setdefault(each.case_id, []).append(each)
    context = {
        "rows": rows,
        "contacts": contacts,
        "closed": _closed(session, staff),
        "now": clock.now(),
        "problem": problem,
    }
    return render(request, "lis/critical/critical.html", context, status)
