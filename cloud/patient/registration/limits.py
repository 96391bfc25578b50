"""What one person may have, and who may not book by phone for a while. Counted on the person, files merged included."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import or_, select, text, update
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.db import among
from cloud.kit.errors import Conflict, Invalid
from cloud.patient.registration import settled
from cloud.patient.registration.model import LIVE, Booking, BookingBlock, BookingState
from cloud.patient.registration.rules import Held, no_show_block, over_limit
from cloud.people.identity import person_ids
from cloud.web.i18n import mark as N_

_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended('booking:' || :person, 0))")

REASONS = {
    "doctor_day": N_("同一天已挂过这位医生的号。"),
    "department_day": N_("同一天在这个科室已有号，不能再挂。"),
    "day": N_("当天挂号数已达上限。"),
    "open": N_("未就诊的号已达上限，请先就诊或退号。"),
    "month": N_("本月挂号数（含已退的）已达上限。"),
}


def take_turn(session: Session, person_id: uuid.UUID) -> None:
    """One booking of a person is made at a time, whatever phones they use: two at once are counted both."""
    session.execute(_TURN, {"person": str(person_id)})


def check(
    session: Session,
    person_id: uuid.UUID,
    clinic: ClinicSession,
    *,
    by_phone: bool,
    besides: uuid.UUID | None = None,
) -> None:
    """Raises `Conflict`: has a number of this session, is blocked, or would pass a limit. Call `take_turn` first.

    `besides`: a booking that is given up for the new one, which is not counted.
    """
    ids = person_ids(session, person_id)
    month = clinic.day.replace(day=1)
    after = (month + timedelta(days=32)).replace(day=1)
    rows = session.scalars(
        select(Booking).where(
            among(Booking.person_id, ids),
            Booking.id != (besides or uuid.UUID(int=0)),
            or_(Booking.state.in_(LIVE), Booking.day.between(month, after - timedelta(days=1))),
        )
    ).all()
    if any(each.clinic_session_id == clinic.id and each.state in LIVE for each in rows):
        raise Conflict("registration.has_one", N_("就诊人已有这次出诊的号。"))
    if not by_phone:
        return
    blocked = block_of(session, person_id)
    if blocked is not None:
        raise Conflict(
            "registration.blocked",
            N_("因多次爽约等原因，就诊人在 {until} 前不能在手机上挂号。可到窗口挂号，或在“我的挂号”里申诉。"),
            until=f"{clock.local(blocked.until):%Y-%m-%d}",
        )
    today = clock.today()
    held = [
        Held(
            department=each.department_id,
            doctor=each.doctor_id,
            day=each.day,
            live=each.state in LIVE or each.state == BookingState.USED,
            open=each.state in LIVE and each.day >= today,
        )
        for each in rows
        if each.state in LIVE or (each.confirmed_at is not None and each.ended_why not in ("changed", "rebooked"))
    ]
    over = over_limit(settled.limits(session), held, clinic.department_id, clinic.acting_id, clinic.day)
    if over is not None:
        raise Conflict(f"registration.limit_{over}", REASONS[over])


def block_of(session: Session, person_id: uuid.UUID) -> BookingBlock | None:
    """The block that holds longest now; None: the person may book."""
    return session.scalar(
        select(BookingBlock)
        .where(
            among(BookingBlock.person_id, person_ids(session, person_id)),
            BookingBlock.until > clock.now(),
            BookingBlock.lifted_at.is_(None),
        )
        .order_by(BookingBlock.until.desc())
        .limit(1)
    )


def after_no_show(session: Session, booking: Booking) -> BookingBlock | None:
    """Block the person when this was one missed visit too many. A block that was lifted forgives what lay before."""
    known = settled.of(session)
    now = clock.now()
    ids = person_ids(session, booking.person_id)
    take_turn(session, ids[0])
    if block_of(session, booking.person_id) is not None:
        return None
    forgiven = session.scalar(
        select(BookingBlock.created_at)
        .where(among(BookingBlock.person_id, ids), BookingBlock.cause == "no_shows")
        .order_by(BookingBlock.created_at.desc())
        .limit(1)
    )
    missed = session.scalars(
        select(Booking.to_at).where(among(Booking.person_id, ids), Booking.state == BookingState.NO_SHOW)
    )
    until = no_show_block(
        [at for at in missed if forgiven is None or at > forgiven],
        now,
        at_most=known.no_shows,
        within_days=known.no_show_days,
        blocked_days=known.blocked_days,
    )
    if until is None:
        return None
    row = BookingBlock(person_id=booking.person_id, cause="no_shows", by="job:registration", until=until)
    session.add(row)
    session.flush()
    record(
        session,
        actor="job:registration",
        action="booking.block",
        aggregate=("person", booking.person_id),
        after={"cause": "no_shows", "until": until},
    )
    return row


def block(session: Session, person_id: uuid.UUID, *, days: int, note: str, by: str) -> BookingBlock:
    """Staff block somebody (a scalper) for some days. Raises `Invalid` without a reason."""
    if not note.strip() or not 1 <= days <= 730:
        raise Invalid("registration.block", N_("请填写原因和 1 到 730 之间的天数。"))
    row = BookingBlock(
        person_id=person_ids(session, person_id)[0],
        cause="staff",
        note=note.strip(),
        by=by,
        until=clock.now() + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=by,
        action="booking.block",
        aggregate=("person", row.person_id),
        after={"cause": "staff", "until": row.until},
        reason=note.strip(),
    )
    return row


def lift(session: Session, block_id: uuid.UUID, *, why: str, by: str) -> BookingBlock:
    """Staff end a block. Raises `Invalid` (no reason), `Conflict` (ended already)."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    now = clock.now()
    row = session.scalar(
        update(BookingBlock)
        .where(BookingBlock.id == block_id, BookingBlock.lifted_at.is_(None), BookingBlock.until > now)
        .values(lifted_at=now, lifted_by=by, lifted_why=why.strip())
        .returning(BookingBlock)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise Conflict("registration.block_over", N_("这项限制已结束，请刷新页面。"))
    if row.appeal_state == "open":
        row.appeal_state, row.appeal_answer = "granted", why.strip()
    record(session, actor=by, action="booking.unblock", aggregate=("person", row.person_id), reason=why.strip())
    return row


def appeal(session: Session, block_id: uuid.UUID, *, words: str, by: str) -> BookingBlock:
    """The patient says why the block is wrong, once for each block. Raises `Invalid`, `Conflict`."""
    if not words.strip():
        raise Invalid("registration.appeal", N_("请写明申诉理由。"))
    row = session.scalar(
        update(BookingBlock)
        .where(
            BookingBlock.id == block_id,
            BookingBlock.appeal_state.is_(None),
            BookingBlock.lifted_at.is_(None),
            BookingBlock.until > clock.now(),
        )
        .values(appeal=words.strip()[:500], appealed_at=clock.now(), appeal_state="open")
        .returning(BookingBlock)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise Conflict("registration.appealed", N_("这项限制已申诉过或已结束，请等待答复。"))
    record(session, actor=by, action="booking.appeal", aggregate=("person", row.person_id))
    return row


def refuse_appeal(session: Session, block_id: uuid.UUID, *, why: str, by: str) -> BookingBlock:
    """Staff answer that the block stays. Raises `Invalid`, `Conflict`."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    row = session.scalar(
        update(BookingBlock)
        .where(BookingBlock.id == block_id, BookingBlock.appeal_state == "open")
        .values(appeal_state="refused", appeal_answer=why.strip())
        .returning(BookingBlock)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise Conflict("registration.appeal_over", N_("这项申诉已处理，请刷新页面。"))
    record(session, actor=by, action="booking.appeal_refused", aggregate=("person", row.person_id), reason=why.strip())
    return row
