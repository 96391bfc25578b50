"""Sessions that the HIS owns: SIU read, and handed to the hospital's schedule.

HL7 v2.5.1 chapter 10.4: S24 (slots opened) and S14 (modified) say what a session is now, S23 (slots blocked) and S17
(deleted) stop it, S12 and S15 tell that one of its appointments was made or cancelled. SCH-5 is the session's code,
AIS the service and when it begins, AIP the doctor, AIL the place (AIL-3.1 the department), AIG of type NUMBER how many
numbers there are (AIG-6), SCH-9 the minutes of a segment, AIS-7 those of the whole, AIS-12 the fee in yuan.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy.orm import Session

from cloud.his.events import NumbersMoved
from cloud.his.filing import BY
from cloud.his.mapping import Mapper
from cloud.his.reading import Unreadable, read_time
from cloud.his.scheduling import NUMBER
from cloud.hospital import doctors, schedules
from cloud.hospital import service as hospital
from cloud.hospital.schedule_model import Owner
from cloud.hospital.schedules import SessionWish
from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.kit.events import publish
from cloud.kit.money import fen as fen_of
from cloud.web.i18n import mark as N_
from protocols.messages.hl7 import Hl7Message, Segment

OPENED, STOPPED, MOVED = ("S24", "S14"), ("S23", "S17"), ("S12", "S13", "S15")
EVENTS = (*OPENED, *STOPPED, *MOVED)


def take_session(session: Session, message: Hl7Message) -> dict[str, Any]:
    """SIU of one of `EVENTS`."""
    sch = _need(message, "SCH")
    code = sch.component(5, 1)
    if not code:
        raise Unreadable("SCH-5 carries no session")
    event = message.kind.partition("^")[2]
    reason = sch.component(6, 2) or sch.component(6, 1)
    if event in OPENED:
        found = schedules.put(session, _wish(session, message, code), by=BY, reason=reason or f"SIU^{event}")
        return {"session": str(found.id), "version": found.version}
    known = schedules.session_by_code(session, code)
    if known is None or known.owner != Owner.HIS:
        raise NotFound("his.session_unknown", N_("没有这个排班：{number}。"), number=code)
    if event in STOPPED:
        schedules.stop(session, known.id, by=BY, why=reason or N_("医院通知停诊"))
    else:
        publish(session, NumbersMoved(aggregate_id=known.id))
    return {"session": str(known.id)}


def _wish(session: Session, message: Hl7Message, code: str) -> SessionWish:
    sch, ais, ail = (_need(message, each) for each in ("SCH", "AIS", "AIL"))
    aip = message.first("AIP")
    starts_at = read_time(ais.component(4, 1), clock.hospital_zone())
    if starts_at is None:
        raise Unreadable("AIS-4 carries no time")
    starts_at = starts_at.astimezone(UTC)
    mapper = Mapper(session)
    theirs = ail.component(3, 1)
    if not theirs:
        raise Unreadable("AIL-3 names no department")
    ours = mapper.ours("department", theirs) or theirs
    department = hospital.ensure_department(session, code=ours, name=ail.component(4, 2) or ours)
    doctor_id = None
    if aip is not None and aip.component(3, 1):
        title = mapper.ours("doctor_title", aip.component(4, 1)) or "attending"
        name = f"{aip.component(3, 2)}{aip.component(3, 3)}" or aip.component(3, 1)
        doctor_id = doctors.ensure_doctor(
            session, code=aip.component(3, 1), name=name, department_id=department.id, title=title
        ).id
    return SessionWish(
        code=code,
        department_id=department.id,
        doctor_id=doctor_id,
        day=clock.local(starts_at).date(),
        half=_half(starts_at),
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=_whole(ais.text(7), "AIS-7")),
        kind="expert" if doctor_id is not None else "general",
        fee_fen=_fee(ais),
        capacity=_capacity(message),
        segment_minutes=_whole(sch.text(9) or "30", "SCH-9"),
        place=ail.component(3, 9),
        owner=Owner.HIS,
    )


def _half(starts_at: datetime) -> str:
    wall = clock.local(starts_at).time()
    if wall < time(12):
        return "morning"
    return "afternoon" if wall < time(17, 30) else "evening"


def _fee(ais: Segment) -> int:
    try:
        return fen_of(ais.component(12, 1) or "0")
    except ValueError as error:
        raise Unreadable("AIS-12 is no amount in yuan") from error


def _capacity(message: Hl7Message) -> int:
    for each in message.segments:
        if each.name == "AIG" and each.component(4, 1) == NUMBER and each.text(6):
            return _whole(each.component(6, 1), "AIG-6")
    raise Unreadable("AIG-6 carries no number of appointments")


def _whole(text: str, where: str) -> int:
    if not text.isdecimal():
        raise Unreadable(f"{where} is no whole number")
    return int(text)


def _need(message: Hl7Message, name: str) -> Segment:
    segment = message.first(name)
    if segment is None:
        raise Unreadable(f"{name} is missing")
    return segment
