"""The verbs of clinic sessions: publish, change, stop, substitute, close for booking and open again.

They run in the caller's transaction, take the session's row, leave an audit entry and a fact. The HIS's own sessions
come by the same verbs; what our people may not do (two rooms at once) is the HIS's own business there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.hospital.booked import booked
from cloud.hospital.events import SessionChanged, SessionPublished, SessionStopped, SessionSubstituted
from cloud.hospital.model import ClinicSession, Department, Doctor, SessionState
from cloud.hospital.release import release_moment
from cloud.hospital.schedule_model import HALVES, KINDS, MOST_NUMBERS, Owner, sits
from cloud.kit import clock, events
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.kit.live import announce
from cloud.web.i18n import mark as N_

TOPIC = "schedules"
CHANGEABLE = ("starts_at", "ends_at", "kind", "fee_fen", "capacity", "segment_minutes", "release_at", "place")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWish:
    """A session as its owner wants it. `code` is the owner's key: the same code is the same session.

    `release_at` None: by the department's rule.
    """

    code: str
    department_id: uuid.UUID
    doctor_id: uuid.UUID | None
    day: date
    half: str
    starts_at: datetime
    ends_at: datetime
    kind: str
    fee_fen: int
    capacity: int
    segment_minutes: int = 30
    release_at: datetime | None = None
    place: str = ""
    owner: str = Owner.OURS


def publish(session: Session, wish: SessionWish, *, by: str) -> ClinicSession:
    """Put it into the schedule; wished again it is the same session.

    Raises `Invalid`, `NotFound` (department, doctor), `Conflict` (the code stands for another session; the doctor sits
    elsewhere then).
    """
    known = session_by_code(session, wish.code)
    if known is not None:
        return _same(known, wish)
    _check(wish.starts_at, wish.ends_at, wish.day, wish.half, wish.kind, wish.doctor_id)
    _check_numbers(wish.capacity, wish.segment_minutes, wish.fee_fen)
    if session.get(Department, wish.department_id) is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    if wish.doctor_id is not None:
        _seat(session, wish.doctor_id, wish.starts_at, wish.ends_at, owner=wish.owner, besides=None)
    values = asdict(wish)
    values["release_at"] = wish.release_at or release_moment(session, wish.department_id, wish.day)
    made = session.scalar(
        insert(ClinicSession)
        .values(id=new_id(), created_at=clock.now(), state=SessionState.OPEN, version=1, **values)
        .on_conflict_do_nothing(index_elements=["code"])
        .returning(ClinicSession.id)
    )
    row = session.scalars(select(ClinicSession).where(ClinicSession.code == wish.code)).one()
    if made is None:  # another transaction was first
        return _same(row, wish)
    events.publish(
        session,
        SessionPublished(
            aggregate_id=row.id, department_id=row.department_id, doctor_id=row.doctor_id, day=row.day, owner=row.owner
        ),
    )
    _remember(session, row, by, "session.publish", None, _words(row))
    return row


def change(
    session: Session, session_id: uuid.UUID, *, by: str, reason: str = "", version: int | None = None, **changes: Any
) -> ClinicSession:
    """Change some of `CHANGEABLE`; nothing happens where all is so already. `version`: what the person saw.

    After its release a reason is needed. Raises `Invalid`, `NotFound`, `Conflict` (stopped, over, changed meanwhile,
    fewer numbers than were given out).
    """
    row = _taken(session, session_id, version)
    _unfinished(row)
    before = {name: getattr(row, name) for name in CHANGEABLE}
    after = {**before, **{name: changes[name] for name in changes if name in CHANGEABLE}}
    if unknown := set(changes) - set(CHANGEABLE):
        raise TypeError(f"a session's {', '.join(sorted(unknown))} can't be changed")
    changed = tuple(name for name in CHANGEABLE if before[name] != after[name])
    if not changed:
        return row
    if not reason.strip() and row.release_at <= clock.now():
        raise Invalid("hospital.reason", N_("已放号的出诊有变动，请写明原因。"))
    _check(after["starts_at"], after["ends_at"], row.day, row.half, after["kind"], row.doctor_id)
    _check_numbers(after["capacity"], after["segment_minutes"], after["fee_fen"])
    if after["capacity"] < before["capacity"]:
        _check_given(session, row, after["capacity"])
    acting = row.acting_id
    if acting is not None and {"starts_at", "ends_at"} & set(changed):
        _seat(session, acting, after["starts_at"], after["ends_at"], owner=row.owner, besides=row.id)
    for name in changed:
        setattr(row, name, after[name])
    _told(session, row, changed, before["starts_at"] if "starts_at" in changed else None)
    was, is_now = ({name: values[name] for name in changed} for values in (before, after))
    _remember(session, row, by, "session.change", was, is_now, reason)
    return row


def put(session: Session, wish: SessionWish, *, by: str, reason: str) -> ClinicSession:
    """As its owner says it is now: published, changed, given to another doctor, or nothing at all.

    Raises what `publish`, `change` and `substitute` raise; `Conflict` too where department, day or half differ.
    """
    known = session_by_code(session, wish.code)
    if known is None:
        return publish(session, wish, by=by)
    _same(known, replace(wish, doctor_id=known.doctor_id))
    if wish.doctor_id != known.acting_id:
        if wish.doctor_id is None:
            raise Conflict("hospital.doctor_gone", N_("已公布医生的出诊不能改成普通门诊，请停诊后另行公布。"))
        substitute_id = None if wish.doctor_id == known.doctor_id else wish.doctor_id
        substitute(session, known.id, substitute_id, by=by, why=reason)
    wanted = {name: getattr(wish, name) for name in CHANGEABLE}
    wanted["release_at"] = wish.release_at or known.release_at
    return change(session, known.id, by=by, reason=reason, **wanted)


def stop(session: Session, session_id: uuid.UUID, *, by: str, why: str, version: int | None = None) -> ClinicSession:
    """It does not take place (停诊); stopped again, nothing happens. Raises `Invalid`, `NotFound`, `Conflict`."""
    _reasoned(why)
    row = _taken(session, session_id, None)
    if row.state == SessionState.STOPPED:
        return row
    _seen(row, version)
    _unfinished(row)
    before = row.state
    row.state, row.stopped_why, row.version = SessionState.STOPPED, why.strip(), row.version + 1
    events.publish(session, SessionStopped(aggregate_id=row.id, why=why.strip()))
    _remember(session, row, by, "session.stop", {"state": before}, {"state": row.state}, why)
    return row


def substitute(
    session: Session,
    session_id: uuid.UUID,
    doctor_id: uuid.UUID | None,
    *,
    by: str,
    why: str,
    version: int | None = None,
) -> ClinicSession:
    """`doctor_id` sits there in the doctor's place (替诊); None: the doctor comes after all.

    Raises `Invalid`, `NotFound`, `Conflict` (an ordinary clinic names nobody; the substitute sits elsewhere).
    """
    _reasoned(why)
    row = _taken(session, session_id, version)
    _unfinished(row)
    if row.doctor_id is None:
        raise Conflict("hospital.nobody_named", N_("普通门诊没有指定医生，不需要替诊。"))
    if doctor_id == row.doctor_id:
        raise Invalid("hospital.same_doctor", N_("替诊医生不能是原医生本人。"))
    if doctor_id == row.substitute_id:
        return row
    _seat(session, doctor_id or row.doctor_id, row.starts_at, row.ends_at, owner=row.owner, besides=row.id)
    before = row.substitute_id
    row.substitute_id, row.version = doctor_id, row.version + 1
    row.substituted_why = why.strip() if doctor_id else None
    events.publish(
        session,
        SessionSubstituted(aggregate_id=row.id, doctor_id=row.doctor_id, substitute_id=doctor_id, why=why.strip()),
    )
    words = ({"substitute": before}, {"substitute": doctor_id})
    _remember(session, row, by, "session.substitute", *words, why)
    return row


def close(session: Session, session_id: uuid.UUID, *, by: str, why: str, version: int | None = None) -> ClinicSession:
    """No further number is given (停止预约); those who have one come."""
    return _move(session, session_id, SessionState.OPEN, SessionState.CLOSED, by, why, version)


def reopen(session: Session, session_id: uuid.UUID, *, by: str, why: str, version: int | None = None) -> ClinicSession:
    """Numbers are given again after `close`."""
    return _move(session, session_id, SessionState.CLOSED, SessionState.OPEN, by, why, version)


def session_by_code(session: Session, code: str) -> ClinicSession | None:
    return session.scalar(select(ClinicSession).where(ClinicSession.code == code))


def _move(
    session: Session,
    session_id: uuid.UUID,
    start: SessionState,
    end: SessionState,
    by: str,
    why: str,
    version: int | None,
) -> ClinicSession:
    _reasoned(why)
    row = _taken(session, session_id, None)
    if row.state == end:
        return row
    _seen(row, version)
    _unfinished(row)
    row.state = end
    _told(session, row, ("state",), None)
    _remember(session, row, by, f"session.{end}", {"state": start}, {"state": end}, why)
    return row


def _taken(session: Session, session_id: uuid.UUID, version: int | None) -> ClinicSession:
    row = session.scalar(
        select(ClinicSession)
        .where(ClinicSession.id == session_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("hospital.session", N_("没有这个出诊。"))
    _seen(row, version)
    return row


def _seen(row: ClinicSession, version: int | None) -> None:
    if version is not None and row.version != version:
        raise Conflict("hospital.session_changed", N_("这个出诊刚被别人改过，请刷新后再操作。"))


def _unfinished(row: ClinicSession) -> None:
    if row.state == SessionState.STOPPED:
        raise Conflict("hospital.session_stopped", N_("这个出诊已停诊，需要时请另行公布一个出诊。"))
    if row.ends_at <= clock.now():
        raise Conflict("hospital.session_over", N_("这个出诊已经结束，不能再改动。"))


def _reasoned(why: str) -> None:
    if not why.strip():
        raise Invalid("hospital.reason", N_("请写明原因，患者会看到。"))


def _same(known: ClinicSession, wish: SessionWish) -> ClinicSession:
    fixed = ("department_id", "doctor_id", "day", "half", "owner")
    if any(getattr(known, name) != getattr(wish, name) for name in fixed):
        raise Conflict("hospital.code_taken", N_("这个编号已用于另一个出诊。"))
    return known


def _check(starts_at: datetime, ends_at: datetime, day: date, half: str, kind: str, doctor: uuid.UUID | None) -> None:
    if starts_at >= ends_at:
        raise Invalid("hospital.half_times", N_("出诊的开始时间应早于结束时间。"))
    if clock.local(starts_at).date() != day:
        raise Invalid("hospital.other_day", N_("出诊时间不在所选的日期。"))
    if half not in HALVES or kind not in KINDS:
        raise Invalid("hospital.unknown_half", N_("没有这个午别或号别。"))
    if kind == "expert" and doctor is None:
        raise Invalid("hospital.expert_unnamed", N_("专家号必须指定医生。"))


def _check_numbers(capacity: int, segment_minutes: int, fee_fen: int) -> None:
    if not 0 <= capacity <= MOST_NUMBERS:
        raise Invalid("hospital.capacity", N_("号数应为 0 到 500。"))
    if not 5 <= segment_minutes <= 480:
        raise Invalid("hospital.segment", N_("每个时段应为 5 到 480 分钟。"))
    if fee_fen < 0:
        raise Invalid("hospital.fee", N_("挂号费不能是负数。"))


def _check_given(session: Session, row: ClinicSession, capacity: int) -> None:
    stand = booked(session, [row.id]).get(row.id)
    if stand is not None and stand.given > capacity:
        raise Conflict("hospital.given_out", N_("已有 {given} 个号被预约，号数不能少于它。"), given=stand.given)


def _seat(
    session: Session,
    doctor_id: uuid.UUID,
    starts_at: datetime,
    ends_at: datetime,
    *,
    owner: str,
    besides: uuid.UUID | None,
) -> None:
    """The doctor is there and sits nowhere else at that time. His row is kept until the transaction ends, so that two
    people can't seat him twice."""
    doctor = session.scalar(select(Doctor).where(Doctor.id == doctor_id).with_for_update())
    if doctor is None:
        raise NotFound("hospital.doctor", N_("没有这位医生。"))
    if owner == Owner.HIS:
        return
    if not doctor.active:
        raise Conflict("hospital.doctor_inactive", N_("{doctor}已不出诊。"), doctor=doctor.name)
    elsewhere = session.scalar(
        select(ClinicSession).where(
            sits(doctor_id),
            ClinicSession.state != SessionState.STOPPED,
            ClinicSession.starts_at < ends_at,
            ClinicSession.ends_at > starts_at,
            ClinicSession.id != (besides or uuid.UUID(int=0)),
        )
    )
    if elsewhere is not None:
        raise Conflict(
            "hospital.doctor_elsewhere",
            N_("{doctor}当时在{department}出诊（{day}）。"),
            doctor=doctor.name,
            department=elsewhere.department.name,
            day=f"{clock.local(elsewhere.starts_at):%m-%d %H:%M}",
        )


def _told(session: Session, row: ClinicSession, changed: tuple[str, ...], starts_before: datetime | None) -> None:
    row.version += 1
    fact = SessionChanged(aggregate_id=row.id, changed=changed, starts_before=starts_before)
    events.publish(session, fact)


def _remember(
    session: Session,
    row: ClinicSession,
    by: str,
    action: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    reason: str = "",
) -> None:
    session.flush()
    record(
        session,
        actor=by,
        action=action,
        aggregate=("clinic_session", row.id),
        before=before,
        after=after,
        reason=reason.strip() or None,
    )
    announce(session, TOPIC, {"session": str(row.id)})


def _words(row: ClinicSession) -> dict[str, Any]:
    names = ("code", "department_id", "doctor_id", "day", "half", "owner", *CHANGEABLE)
    return {name: getattr(row, name) for name in names}
