"""A booking moves to another number: after a stop with what was paid, or because the patient wants another time.

The new number is a booking of its own (MOVING) that no money is asked for. A number of ours: both change in one
transaction. One of the HIS's: locked and made firm there first, and only then the old one is given up. Until that
moment the old number is the patient's, whatever fails. Whoever needs both rows takes the old one's first.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict
from cloud.kit.ids import new_id
from cloud.patient.registration import confirming, ending, limits, service, settled
from cloud.patient.registration.model import AtHis, Booking, BookingState, Number
from cloud.payments import arrivals, refunds
from cloud.web.i18n import mark as N_

KEPT = timedelta(minutes=5)
"""How long the HIS may take before the new number is given back and the old one simply stays."""
BY = "job:registration.moving"
NOT_MOVED = "not_moved"


def change(
    session: Session,
    booking_id: uuid.UUID,
    clinic_session_id: uuid.UUID,
    *,
    from_at: datetime | None,
    by: str,
    key: str,
) -> Booking:
    """Another time of the same department at the same fee, wished by the patient on the phone.

    Raises `Conflict`: not confirmed, too late or invoiced (as for cancelling), changed too often, another fee or
    department, limits, full.
    """
    old = ending.locked(session, booking_id)
    known = _before(session, old, key)
    if known is not None:
        return known
    if old.state != BookingState.CONFIRMED:
        raise Conflict("registration.not_changeable", N_("当前状态不能改约，请刷新页面。"))
    service.check_by_phone(session, old)
    at_most = settled.of(session).changes_per_booking
    if old.changes >= at_most:
        raise Conflict(
            "registration.changed_often", N_("每个号最多改约 {count} 次。需要时请退号后重新挂号。"), count=at_most
        )
    limits.take_turn(session, old.person_id)
    clinic = service.bookable(session, clinic_session_id)
    if (clinic.department_id, clinic.fee_fen) != (old.department_id, old.fee_fen):
        raise Conflict("registration.change_other", N_("只能改到同一科室、挂号费相同的时间。"))
    if clinic.id == old.clinic_session_id and from_at in (None, old.from_at):
        raise Conflict("registration.change_same", N_("请选择另一个时段。"))
    limits.check(session, old.person_id, clinic, by_phone=True, besides=old.id)
    return start(session, old, clinic, from_at=from_at, by=by, key=key)


def rebook(session: Session, booking_id: uuid.UUID, clinic_session_id: uuid.UUID, *, by: str, key: str) -> Booking:
    """Another session in place of the stopped one, with what was paid; a lower fee's difference goes back by itself.

    Limits on persons do not hold: the hospital stopped it. Raises `Conflict` (not stopped, full, dearer than was paid,
    an invoice that would be wrong).
    """
    old = ending.locked(session, booking_id)
    known = _before(session, old, key)
    if known is not None:
        return known
    if old.state != BookingState.STOPPED:
        raise Conflict("registration.not_stopped", N_("这个号不能改约，请刷新页面。"))
    limits.take_turn(session, old.person_id)
    clinic = service.bookable(session, clinic_session_id)
    limits.check(session, old.person_id, clinic, by_phone=False)
    if clinic.fee_fen > _left_of(session, old):
        raise Conflict("registration.rebook_dearer", N_("改约的挂号费高于已付金额，请退款后重新挂号。"))
    if old.invoiced_at is not None and clinic.fee_fen != old.fee_fen:
        raise Conflict("registration.rebook_invoiced", N_("已打印发票，改约到不同挂号费的出诊请到窗口办理。"))
    return start(session, old, clinic, from_at=None, by=by, key=key)


def _before(session: Session, old: Booking, key: str) -> Booking | None:
    """What the same wish, or one still under way, has made of it already."""
    if old.rebooked_to is not None:
        return session.get_one(Booking, old.rebooked_to)
    under_way = pending(session, old.id)
    if under_way is not None:
        return under_way
    if session.scalar(select(Booking.id).where(Booking.key == key)) is not None:
        raise Conflict("registration.key_used", N_("本次提交与之前的内容不一致，请返回后重新选择。"))
    return None


def pending(session: Session, booking_id: uuid.UUID) -> Booking | None:
    """The number it is just moving to."""
    return session.scalar(
        select(Booking).where(Booking.rebooked_from == booking_id, Booking.state == BookingState.MOVING)
    )


def start(
    session: Session, old: Booking, clinic: ClinicSession, *, from_at: datetime | None, by: str, key: str
) -> Booking:
    wish = service.HoldWish(
        clinic_session_id=clinic.id,
        person_id=old.person_id,
        account_id=old.account_id,
        by=by,
        key=key,
        from_at=from_at,
        takes_another=from_at is None,
    )
    made = new_id()
    number = service.claim_for(session, clinic.id, made, clock.now() + KEPT, from_at)
    booking = service.begin_booking(session, wish, clinic, number, made, old.person_id, rebooked_from=old.id)
    if booking.at_his == AtHis.OURS:
        complete(session, booking, old)
    return booking


def complete(session: Session, booking: Booking, old: Booking) -> None:
    """The new number is certain: the old one is given up and the money stands for the new. Both rows are held."""
    clinic = session.get_one(ClinicSession, booking.clinic_session_id, populate_existing=True)
    number = session.scalar(select(Number).where(Number.booking_id == booking.id))
    paid = _left_of(session, old)
    lost = number is None or clinic.state == "stopped" or paid < booking.fee_fen
    if old.state not in (BookingState.CONFIRMED, BookingState.STOPPED) or lost:
        fail(session, booking)
        return
    assert number is not None
    stopped = old.state == BookingState.STOPPED
    confirming.put_on(booking, number)
    booking.doctor_id, booking.payment_id = clinic.acting_id, old.payment_id
    booking.invoice_number, booking.invoiced_at, booking.invoiced_by = (
        old.invoice_number,
        old.invoiced_at,
        old.invoiced_by,
    )
    booking.changes = old.changes + (0 if stopped else 1)
    old.rebooked_to = booking.id
    ending.end(session, old, BookingState.CANCELLED, why="rebooked" if stopped else "changed", by=booking.by)
    record(
        session,
        actor=booking.by,
        action="booking.rebook" if stopped else "booking.change",
        aggregate=("booking", old.id),
        after={"booking": booking.id, "session": clinic.id},
    )
    confirming.confirm(session, booking)
    if old.payment_id is not None and paid > booking.fee_fen:
        refunds.ask_refund(
            session,
            old.payment_id,
            paid - booking.fee_fen,
            key=f"rebooked:{old.id}",
            reason="改约差价退款",
            by=booking.by,
        )


def firm_there(session: Session, booking: Booking) -> None:
    """The HIS has the new number for us for good."""
    assert booking.rebooked_from is not None
    complete(session, booking, ending.locked(session, booking.rebooked_from))


def fail(session: Session, booking: Booking) -> None:
    """The new number goes back; nothing happened to the old one."""
    ending.end(session, booking, BookingState.EXPIRED, why=NOT_MOVED, by=BY)


def expire_due(session: Session, *, most: int = 200) -> int:
    """Moves that the HIS never answered."""
    due = session.scalars(
        select(Booking.id)
        .where(Booking.state == BookingState.MOVING, Booking.hold_until <= clock.now())
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    return sum(service.expire(session, each) for each in due)


def _left_of(session: Session, booking: Booking) -> int:
    if booking.payment_id is None:
        return 0
    payment = arrivals.locked(session, booking.payment_id)
    return (payment.paid_fen or 0) - payment.reserved_fen
