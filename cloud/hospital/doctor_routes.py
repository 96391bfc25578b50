"""Staff pages of departments and doctors: what patients read of them, and a doctor's leave."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, UploadFile
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import doctors, history, leave, service, timetable, typed, words
from cloud.hospital.booked import booked
from cloud.hospital.model import DEPARTMENT_KINDS, TITLES, Doctor
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound, XinglinError
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

ROOT = "/staff/hospital"
PAGE = f"{ROOT}/departments"
AHEAD = timedelta(days=28)
router = APIRouter(prefix=ROOT, include_in_schema=False)

Reader = Annotated[CurrentStaff, Depends(require("hospital.read"))]
Editor = Annotated[CurrentStaff, Depends(require("hospital.edit"))]
Stopper = Annotated[CurrentStaff, Depends(require("schedule.stop"))]
Text = Annotated[str, Form(max_length=200)]
Prose = Annotated[str, Form(max_length=2000)]

navigation.add(N_("科室与医生"), PAGE, permission="hospital.read", group=N_("门诊"), position=520, key="g D")


# ---------------------------------------------------------------------- doctors


@router.get("/departments/doctors")
def doctors_page(
    request: Request, session: Transaction, staff: Reader, department: str = "", q: str = "", left: str = ""
) -> Response:
    wanted = q.strip()
    rows = [
        each
        for each in timetable.doctors(session)
        if (not department or each.department.code == department)
        and (not wanted or wanted in each.name or each.code.lower().startswith(wanted.lower()))
        and (left == "yes" or each.active)
    ]
    context = {"rows": rows, "departments": service.departments(session), "department": department, "q": wanted,
               "left": left, "w": words}  # fmt: skip
    return render(request, "hospital/doctors.html", context)


@router.get("/departments/doctors/new")
def new_page(request: Request, session: Transaction, staff: Editor, department: str = "") -> Response:
    return _new(request, session, {"department": department})


def _new(request: Request, session: Session, form: dict[str, str], problem: str = "", status: int = 200) -> Response:
    empty = {"code": "", "name": "", "title": "attending", "department": "", "skills": "", "introduction": ""}
    context = {
        "form": {**empty, **form},
        "departments": service.departments(session),
        "titles": TITLES,
        "problem": problem,
        "w": words,
    }
    return render(request, "hospital/doctor_new.html", context, status)


@router.post("/departments/doctors/new")
def add_doctor(
    request: Request,
    session: Transaction,
    staff: Editor,
    code: Text = "",
    name: Text = "",
    title: Text = "",
    department: Text = "",
    skills: Prose = "",
    introduction: Prose = "",
) -> Response:
    form = {"code": code, "name": name, "title": title, "department": department, "skills": skills,
            "introduction": introduction}  # fmt: skip
    try:
        with session.begin_nested():
            row = doctors.add_doctor(
                session,
                code=code,
                name=name,
                title=title,
                department_id=_department_id(session, department),
                by=staff.actor,
                skills=skills.strip(),
                introduction=introduction.strip(),
            )
    except XinglinError as refusal:
        return _new(request, session, form, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/doctors/{row.id}", status_code=303)


def _department_id(session: Session, code: str) -> uuid.UUID:
    found = service.department_by_code(session, code)
    if found is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    return found.id


@router.get("/departments/doctors/{doctor_id}")
def doctor_page(request: Request, session: Transaction, staff: Reader, doctor_id: uuid.UUID) -> Response:
    return _doctor(request, session, doctor_id)


def _doctor(request: Request, session: Session, doctor_id: uuid.UUID, problem: str = "", status: int = 200) -> Response:
    row = session.get(Doctor, doctor_id)
    if row is None:
        raise NotFound("hospital.doctor", N_("没有这位医生。"))
    today = clock.today()
    sessions = timetable.sessions_of(session, row.id, day_from=today, day_to=today + AHEAD)
    context = {
        "row": row,
        "sessions": sessions,
        "booked": booked(session, [each.id for each in sessions]),
        "departments": service.departments(session),
        "history": history.of(session, "doctor", row.id),
        "titles": TITLES,
        "today": today,
        "local": clock.local,
        "problem": problem,
        "w": words,
    }
    return render(request, "hospital/doctor.html", context, status)


@router.post("/departments/doctors/{doctor_id}")
def change_doctor(
    request: Request,
    session: Transaction,
    staff: Editor,
    doctor_id: uuid.UUID,
    name: Text = "",
    title: Text = "",
    department: Text = "",
    skills: Prose = "",
    introduction: Prose = "",
    active: Text = "",
) -> Response:
    def act() -> None:
        doctors.change_doctor(
            session,
            doctor_id,
            by=staff.actor,
            name=name.strip(),
            title=title,
            department_id=_department_id(session, department),
            skills=skills.strip(),
            introduction=introduction.strip(),
            active=active == "yes",
        )

    return _acted(request, session, doctor_id, act)


@router.post("/departments/doctors/{doctor_id}/photo")
def set_photo(
    request: Request,
    session: Transaction,
    staff: Editor,
    doctor_id: uuid.UUID,
    photo: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Without a file: the picture is taken away."""
    content = photo.file.read(doctors.LARGEST_PHOTO + 1) if photo is not None else b""
    return _acted(
        request, session, doctor_id, lambda: doctors.picture(session, doctor_id, content or None, by=staff.actor)
    )


@router.post("/departments/doctors/{doctor_id}/leave")
def give_leave(
    request: Request,
    session: Transaction,
    staff: Stopper,
    doctor_id: uuid.UUID,
    first: Text = "",
    last: Text = "",
    why: Text = "",
) -> Response:
    """All sessions of these days are stopped with one reason."""

    def act() -> None:
        days = (typed.day(first, N_("起")), typed.day(last, N_("止")))
        leave.stop_all(session, doctor_id, day_from=days[0], day_to=days[1], by=staff.actor, why=why)

    return _acted(request, session, doctor_id, act)


def _acted(request: Request, session: Session, doctor_id: uuid.UUID, act: Any) -> Response:
    try:
        with session.begin_nested():
            act()
    except XinglinError as refusal:
        return _doctor(request, session, doctor_id, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/doctors/{doctor_id}", status_code=303)


# ---------------------------------------------------------------------- departments


@router.get("/departments")
def departments_page(request: Request, session: Transaction, staff: Reader) -> Response:
    counted: dict[uuid.UUID, int] = {}
    for each in timetable.doctors(session):
        counted[each.department_id] = counted.get(each.department_id, 0) + each.active
    context = {"departments": service.departments(session), "counted": counted, "w": words}
    return render(request, "hospital/departments.html", context)


@router.get("/departments/{code}")
def department_page(request: Request, session: Transaction, staff: Reader, code: str) -> Response:
    return _department(request, session, code)


def _department(request: Request, session: Session, code: str, problem: str = "", status: int = 200) -> Response:
    row = service.department_by_code(session, code)
    if row is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    context = {
        "row": row,
        "doctors": timetable.doctors_of(session, row.id, all=True),
        "history": history.of(session, "department", row.id),
        "sections": sorted({each.section for each in service.departments(session) if each.section}),
        "kinds": DEPARTMENT_KINDS,
        "problem": problem,
        "w": words,
    }
    return render(request, "hospital/department.html", context, status)


@router.post("/departments/{code}")
def change_department(
    request: Request,
    session: Transaction,
    staff: Editor,
    code: str,
    name: Text = "",
    kind: Text = "clinical",
    section: Text = "",
    place: Text = "",
    floor: Text = "",
    introduction: Prose = "",
    bookable: Text = "",
) -> Response:
    row = service.department_by_code(session, code)
    if row is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    changes = {
        "name": name.strip(), "kind": kind if kind in DEPARTMENT_KINDS else row.kind, "section": section.strip(),
        "place": place.strip(), "floor": floor.strip(), "introduction": introduction.strip(),
        "bookable": bookable == "yes",
    }  # fmt: skip
    try:
        with session.begin_nested():
            service.change_department(session, row.id, by=staff.actor, **changes)
    except XinglinError as refusal:
        return _department(request, session, code, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/{code}", status_code=303)
