"""Rejected tubes whose ward is to be told; pre-analytical rates of a period, with the tubes behind each number."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.lis.specimens import indicators, refusal, tubes
from cloud.lis.specimens.indicators import Cohort
from cloud.lis.specimens.model import Specimen, SpecimenDefect
from cloud.lis.specimens.rules import NATIONAL_INDICATOR, REASON_NAMES, RejectionReason
from cloud.people import access
from cloud.people.access import Subject, visible_to
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/specimens/quality"
router = APIRouter(prefix="/quality")
Receiver = Annotated[CurrentStaff, Depends(require("specimen.receive"))]

navigation.add(N_("不合格标本"), PAGE, permission="specimen.receive", group=N_("标本"), position=150, key="g N")
worklist.add(
    N_("拒收待通知"),
    N_("已拒收、尚未登记通知病区"),
    PAGE,
    permission="specimen.receive",
    position=125,
    count=refusal.untold_count,
    topic="specimens",
)


@router.get("")
def quality(
    request: Request,
    session: Transaction,
    staff: Receiver,
    start: str = "",
    end: str = "",
    department: str = "",
    reason: str = "",
    part: str = "numerator",
    page: int = 1,
) -> Response:
    """The open rejections; below, the rates of a period and, for one of them, its rows."""
    first, last = clock.typed_day(start) or clock.today().replace(day=1), clock.typed_day(end) or clock.today()
    where = hospital.department_by_code(session, department) if department else None
    cohort = Cohort(clock.day_begins(first), clock.day_begins(last + timedelta(days=1)), where.id if where else None)
    rows: list[tubes.TubeView] = []
    if reason in set(RejectionReason):
        chosen = RejectionReason(reason)
        number = NATIONAL_INDICATOR.get(chosen)
        ids = (
            indicators.denominator(session, cohort, number)
            if part == "denominator"
            else indicators.numerator(session, cohort, chosen)
        )
        rows = tubes.views(session, _seen(session, staff, list(indicators.rows(session, ids, page=max(page, 1)))))
    context = {
        "untold": _defects(session, staff, refusal.untold(session)),
        "rates": indicators.rates(session, cohort),
        "names": indicators.NAMES,
        "reasons": REASON_NAMES,
        "told_how": tubes.TOLD_HOW_NAMES,
        "start": first.isoformat(),
        "end": last.isoformat(),
        "department": department,
        "departments": hospital.departments(session),
        "reason": reason,
        "part": part,
        "rows": rows,
        "page": max(page, 1),
        "states": tubes.STATE_NAMES,
    }
    return render(request, "lis/specimens/quality.html", context)


@router.post("/told/{defect_id}")
def told(
    session: Transaction,
    staff: Receiver,
    defect_id: uuid.UUID,
    whom: Annotated[str, Form(max_length=80)] = "",
    how: Annotated[str, Form(max_length=16)] = "phone",
) -> Response:
    defect = refusal.told_ward(session, defect_id, by=staff.actor, whom=whom, how=how)
    access.person(session, Subject.staff(staff), session.get_one(Specimen, defect.specimen_id).person_id)
    return RedirectResponse(PAGE, status_code=303)


def _defects(
    session: Session, staff: CurrentStaff, defects: list[SpecimenDefect]
) -> list[tuple[SpecimenDefect, tubes.TubeView]]:
    ids = [each.specimen_id for each in defects]
    found = session.scalars(
        select(Specimen).where(Specimen.id.in_(ids), Specimen.person_id.in_(visible_to(Subject.staff(staff))))
    )
    views = {each.specimen.id: each for each in tubes.views(session, list(found))}
    return [(each, views[each.specimen_id]) for each in defects if each.specimen_id in views]


def _seen(session: Session, staff: CurrentStaff, specimens: list[Specimen]) -> list[Specimen]:
    """Those of patients whom this person may see, in the same order."""
    allowed = set(
        session.scalars(
            select(Specimen.id).where(
                Specimen.id.in_([each.id for each in specimens]),
                Specimen.person_id.in_(visible_to(Subject.staff(staff))),
            )
        )
    )
    return [each for each in specimens if each.id in allowed]
