"""Booked visits as entries of the day: today's and those to come, and bookings that wait for a word of the patient.

A booking is shown to the account that made it, and to who may see the person's visits; nobody else learns which
department somebody goes to.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department, Doctor
from cloud.kit import clock
from cloud.kit.db import among
from cloud.patient.home.entry import Entry
from cloud.patient.identity.access import CurrentPatient
from cloud.patient.registration.model import Booking, BookingState
from cloud.people.access import display_name, visible_to
from cloud.people.model import Person
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

SHOWN = 12

WORDS: dict[str, tuple[str, str, str]] = {
    BookingState.HELD: (N_("待支付"), "warn", N_("去支付")),
    BookingState.CONFIRMING: (N_("确认中"), "info", ""),
    BookingState.CONFIRMED: (N_("已预约"), "good", N_("看就诊凭证")),
    BookingState.STOPPED: (N_("已停诊"), "bad", N_("改约或退款")),
    BookingState.USED: (N_("已报到"), "", ""),
    BookingState.NO_SHOW: (N_("未就诊"), "", ""),
}
"""Word, tone and what to do. What is being paid or given back stands among the payments and refunds."""
TO_COME = (BookingState.HELD, BookingState.CONFIRMING, BookingState.CONFIRMED, BookingState.STOPPED)


def entries(session: Session, patient: CurrentPatient, day: date) -> list[Entry]:
    """Earliest first."""
    mine = list(session.scalars(visible_to(patient.subject, "book")))
    theirs = list(session.scalars(visible_to(patient.subject, "visit")))
    rows = session.execute(
        select(Booking, Department, Doctor)
        .join(Department, Department.id == Booking.department_id)
        .outerjoin(Doctor, Doctor.id == Booking.doctor_id)
        .where(
            or_(
                and_(Booking.account_id == patient.account_id, among(Booking.person_id, mine)),
                among(Booking.person_id, theirs),
            ),
            or_(
                and_(Booking.day == day, Booking.state.in_(list(WORDS))),
                and_(Booking.day > day, Booking.state.in_(TO_COME)),
            ),
        )
        .order_by(Booking.from_at, Booking.id)
        .limit(SHOWN)
    ).all()
    persons = select(Person.id, Person.name).where(among(Person.id, [*mine, *theirs]))
    names = {key: display_name(name) for key, name in session.execute(persons)}
    return [
        _entry(booking, department, doctor, names.get(booking.person_id, "")) for booking, department, doctor in rows
    ]


def _entry(booking: Booking, department: Department, doctor: Doctor | None, name: str) -> Entry:
    word, tone, act = WORDS[booking.state]
    begins, ends = clock.local(booking.from_at), clock.local(booking.to_at)
    where = " ".join(each for each in (department.place, department.floor) if each)
    day = "" if begins.date() == clock.today() else f"{begins:%Y-%m-%d}"
    parts = (name, f"{day} {begins:%H:%M}–{ends:%H:%M}".strip(), where)
    return Entry(
        kind="visit",
        at=booking.from_at,
        title=department.name if doctor is None else f"{department.name} · {doctor.name}",
        note=" · ".join(each for each in parts if each),
        href=f"/p/bookings/{booking.id}",
        tag=_(word),
        tone=tone,
        act=_(act) if act else "",
        over=booking.state in (BookingState.USED, BookingState.NO_SHOW),
    )
