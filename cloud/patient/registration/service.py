"""The verbs of registration: hold a number, pay for it, give it up, arrive, miss it.

They run in the caller's transaction and call nobody: a number of the HIS's is locked there by a job in between, and
money is asked for only afterwards.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Sequence, func, select
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession, Department
from cloud.hospital.schedule_model import Owner
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.jobs import enqueue
from cloud.patient.paying.payer import Payer
from cloud.patient.registration import confirming, ending, limits, numbers, settled
from cloud.patient.registration.events import BookingUsed
from cloud.patient.registration.model import AtHis, Booking, BookingState, Number, NumberState
from cloud.patient.registration.rules import may_cancel_by_phone, voucher_number
from cloud.payments import asking, cash
from cloud.payments import service as payments
from cloud.payments.cash import Taken
from cloud.payments.model import Payment
from cloud.payments.rules import CLOSING_AFTER
from cloud.people.identity import surviving_id
from cloud.web.i18n import mark as N_

NUMBERS = Sequence("booking_number_seq")
PURPOSE = "booking"
EXPIRE = "registration.expire"
LEAST_TO_PAY = CLOSING_AFTER + timedelta(seconds=60)
"""Less than this before the hold ends no payment is begun: the channel stops taking money a minute before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldWish:
    """Who wants a number of which session. `from_at`: of the segment that begins then. `key`: the submit's own.

    `account_id` None: a window books, by the staff in `by`; limits on persons do not hold there.
    """

    clinic_session_id: uuid.UUID
    person_id: uuid.UUID
    account_id: uuid.UUID | None
    by: str
    key: str
    from_at: datetime | None = None
    takes_another: bool = False


def hold(session: Session, wish: HoldWish) -> Booking:
    """Take a number for a person until it is paid. The same key gives the same booking.

    Raises `NotFound` (session), `Conflict` (not bookable now, full, limits, blocked, has one already).
    """
    person_id = surviving_id(session, wish.person_id)
    limits.take_turn(session, person_id)
    known = session.scalar(select(Booking).where(Booking.key == wish.key))
    if known is not None:
        return same_as_wished(session, known, wish)
    clinic = bookable(session, wish.clinic_session_id)
    limits.check(session, person_id, clinic, by_phone=wish.account_id is not None)
    booking_id = new_id()
    until = clock.now() + timedelta(seconds=settled.of(session).hold_s)
    number = claim_for(session, clinic.id, booking_id, until, wish.from_at)
    return begin_booking(session, wish, clinic, number, booking_id, person_id)


def same_as_wished(session: Session, known: Booking, wish: HoldWish) -> Booking:
    """The booking that the same key made before. Raises `Conflict` when it is another wish's: never somebody else's
    number for this one (files merged since then are one person)."""
    before = (known.clinic_session_id, known.account_id, surviving_id(session, known.person_id))
    if before != (wish.clinic_session_id, wish.account_id, surviving_id(session, wish.person_id)):
        raise Conflict("registration.key_used", N_("本次提交与之前的内容不一致，请返回后重新选择。"))
    return known


def bookable(session: Session, clinic_session_id: uuid.UUID) -> ClinicSession:
    """The session, if it takes bookings now. Raises `NotFound`, `Conflict`."""
    clinic = session.get(ClinicSession, clinic_session_id, populate_existing=True)
    department = session.get(Department, clinic.department_id) if clinic is not None else None
    if clinic is None or department is None or not department.bookable:
        raise NotFound("registration.session", N_("没有这次出诊，请返回重新选择。"))
    if clinic.state == "stopped":
        raise Conflict("registration.stopped", N_("医生停诊，请选择其他时间或其他医生。"))
    if clinic.release_at > clock.now():
        raise Conflict("registration.not_released", N_("还没有到放号时间，请稍后再来。"))
    if not clinic.bookable_at(clock.now()):
        raise Conflict("registration.closed", N_("这次出诊已停止挂号，请选择其他时间。"))
    return clinic


def claim_for(
    session: Session, clinic_id: uuid.UUID, booking_id: uuid.UUID, until: datetime, from_at: datetime | None
) -> Number:
    """Raises `Conflict`: nothing left, or nothing in the wanted segment. Holds whose time is over are freed first."""
    number = numbers.claim(session, clinic_id, booking_id, until=until, from_at=from_at)
    if number is None and expire_due(session, clinic_id):
        number = numbers.claim(session, clinic_id, booking_id, until=until, from_at=from_at)
    if number is not None:
        return number
    if from_at is not None and numbers.left(session, [clinic_id]):
        raise Conflict("registration.segment_full", N_("这个时段的号刚刚挂完，请选择其他时段。"))
    raise Conflict("registration.full", N_("号已挂完。您可以登记候补，有人退号时会通知您。"))


def begin_booking(
    session: Session,
    wish: HoldWish,
    clinic: ClinicSession,
    number: Number,
    booking_id: uuid.UUID,
    person_id: uuid.UUID,
    *,
    rebooked_from: uuid.UUID | None = None,
) -> Booking:
    """Write the booking of a number that was just taken for it."""
    assert number.hold_until is not None
    drawn = session.scalar(select(NUMBERS.next_value()))
    theirs = clinic.owner == Owner.HIS
    text = voucher_number(clock.today(), int(drawn or 0))
    booking = Booking(
        id=booking_id,
        number=text,
        key=wish.key,
        person_id=person_id,
        account_id=wish.account_id,
        by=wish.by,
        clinic_session_id=clinic.id,
        department_id=clinic.department_id,
        doctor_id=clinic.acting_id,
        day=clinic.day,
        number_id=number.id,
        seq=number.seq,
        from_at=number.from_at,
        to_at=number.to_at,
        fee_fen=clinic.fee_fen,
        hold_until=number.hold_until,
        takes_another=wish.takes_another,
        rebooked_from=rebooked_from,
        state=BookingState.HELD if rebooked_from is None else BookingState.MOVING,
        at_his=AtHis.LOCK if theirs else AtHis.OURS,
        his_key=text if theirs else None,
    )
    session.add(booking)
    session.flush()
    record(
        session,
        actor=wish.by,
        action="booking.hold",
        aggregate=("booking", booking.id),
        after={"session": clinic.id, "person": person_id, "seq": number.seq},
    )
    enqueue(session, EXPIRE, at=number.hold_until, booking_id=str(booking.id))
    if theirs:
        ending.ask_his(session, booking, AtHis.LOCK)
    elif clinic.fee_fen == 0 and rebooked_from is None:
        confirming.confirm(session, booking)
    return booking


def expire(session: Session, booking_id: uuid.UUID) -> bool:
    """Free the number of an unpaid booking whose time is over. One that is being paid is freed by its payment."""
    booking = ending.locked(session, booking_id)
    waits = (BookingState.HELD, BookingState.MOVING)
    if booking.state not in waits or booking.hold_until > clock.now():
        return False
    why = "unpaid" if booking.state == BookingState.HELD else "not_moved"
    ending.end(session, booking, BookingState.EXPIRED, why=why, by="job:registration.expire")
    return True


def expire_due(session: Session, clinic_session_id: uuid.UUID | None = None, *, most: int = 200) -> int:
    """Every unpaid booking whose time is over (of one session), those that others are just freeing passed over."""
    due = select(Booking.id).where(Booking.state == BookingState.HELD, Booking.hold_until <= clock.now())
    if clinic_session_id is not None:
        due = due.where(Booking.clinic_session_id == clinic_session_id)
    taken = session.scalars(due.order_by(Booking.id).limit(most).with_for_update(skip_locked=True)).all()
    return sum(expire(session, each) for each in taken)


def pay_for(session: Session, booking_id: uuid.UUID, payer: Payer, *, key: str) -> Payment:
    """Open the booking's payment; the same again while it can be paid. Commit, then lead the phone to it.

    Raises `Conflict`: not held any more, too little time left, the HIS has not locked its number yet.
    """
    booking = ending.locked(session, booking_id)
    if booking.state not in (BookingState.HELD, BookingState.PAYING):
        raise Conflict("registration.not_held", N_("这个号已不在待支付状态，请刷新页面。"))
    if booking.at_his not in (AtHis.OURS, AtHis.LOCKED):
        raise Conflict("registration.not_locked", N_("正在向医院确认号源，请稍候几秒再支付。"))
    if booking.state == BookingState.HELD and booking.hold_until - LEAST_TO_PAY < clock.now():
        raise Conflict("registration.too_late", N_("保留时间将到，已来不及支付，请重新挂号。"))
    payment = payments.open_payment(
        session,
        payments.Wish(
            purpose=PURPOSE,
            subject_id=booking.id,
            fen=booking.fee_fen,
            channel=payer.channel,
            app_id=payer.app_id,
            merchant_id=payer.merchant_id,
            payer=payer.payer,
            payer_key=payer.payer_key,
            key=key,
            hold_until=booking.hold_until,
        ),
    )
    booking.state, booking.payment_id = BookingState.PAYING, payment.id
    session.flush()
    return payment


def pay_cash(session: Session, booking_id: uuid.UUID, *, by: str, tendered_fen: int | None = None) -> Taken:
    """The fee lies on the counter: paid and confirmed at once (a number of the HIS's: after its word).

    Raises `Conflict` (not held, not locked at the HIS yet, being paid by phone), `Invalid` (too little).
    """
    booking = ending.locked(session, booking_id)
    if booking.state != BookingState.HELD:
        raise Conflict("registration.not_held", N_("这个号已不在待支付状态，请刷新页面。"))
    if booking.at_his not in (AtHis.OURS, AtHis.LOCKED):
        raise Conflict("registration.not_locked", N_("正在向医院确认号源，请稍候几秒再支付。"))
    wanted = cash.wish(
        PURPOSE,
        booking.id,
        booking.fee_fen,
        payer_key=f"person:{booking.person_id}",
        key=f"booking:{booking.id}:cash",
    )
    taken = cash.take(session, wanted, by=by, tendered_fen=tendered_fen)
    confirming.money_came(session, booking.id, taken.payment.id)
    return taken


def pay_out(session: Session, booking_id: uuid.UUID, *, by: str, reason: str) -> Booking:
    """Cash that waits for its owner is fetched at the window. Raises `Conflict` (nothing waits), `Invalid`."""
    booking = ending.locked(session, booking_id)
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    if booking.state != BookingState.CANCELLING or not ending.paid_in_cash(session, booking):
        raise Conflict("registration.no_cash_waits", N_("这个号没有待退的现金。"))
    ending.cancel_paid(session, booking, by=by, reason=reason, route="cash")
    return booking


def cancel(session: Session, booking_id: uuid.UUID, by: str, reason: str, route: str = "channel") -> Booking:
    """Give the booking up; what was paid goes back (`route` cash: paid out at a window, at once).

    By phone (``account:…``) the hospital's time limit holds, and a printed invoice has to be handed in first. Raises
    `Conflict` with the reason, `Invalid` (staff without a reason).
    """
    booking = ending.locked(session, booking_id)
    by_phone = by.startswith("account:")
    if not by_phone and not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    why = "patient" if by_phone else "staff"
    if booking.state == BookingState.HELD:
        ending.end(session, booking, BookingState.CANCELLED, why=why, by=by, reason=reason)
    elif booking.state == BookingState.PAYING:
        assert booking.payment_id is not None
        payments.give_up(session, booking.payment_id, by=by)
        enqueue(session, asking.JOB, payment_id=str(booking.payment_id))
        booking.state, booking.ended_why = BookingState.CANCELLING, why
        record(session, actor=by, action="booking.give_up", aggregate=("booking", booking.id), reason=reason)
        session.flush()
    elif booking.state in (BookingState.CONFIRMED, BookingState.STOPPED):
        if by_phone and booking.state == BookingState.CONFIRMED:
            check_by_phone(session, booking)
        elif by_phone and booking.invoiced_at is not None:
            raise _not_by_phone("invoiced")
        ending.end(session, booking, BookingState.CANCELLING, why=why, by=by, reason=reason)
        if booking.at_his != AtHis.RELEASE:
            ending.cancel_paid(session, booking, by=by, reason=reason or "患者退号", route=route)
        elif route == "cash":
            raise Conflict(
                "registration.his_first", N_("这个号由医院信息系统管理，退号需先由系统确认，请选择原路退回。")
            )
    else:
        raise Conflict("registration.not_cancellable", N_("当前状态不能退号，请刷新页面。"))
    return booking


def _not_by_phone(why: str) -> Conflict:
    if why == "invoiced":
        return Conflict("registration.invoiced", N_("已打印发票，请带发票到窗口退号。"))
    return Conflict("registration.cancel_too_late", N_("已过手机退号时限，请到窗口办理。"))


def check_by_phone(session: Session, booking: Booking) -> None:
    """Raises `Conflict`: too late for a phone, or an invoice was printed."""
    refused = may_cancel_by_phone(
        clock.now(),
        booking.from_at,
        settled.of(session).cancel_before_minutes,
        free_to_cancel=booking.free_to_cancel,
        invoiced=booking.invoiced_at is not None,
    )
    if refused is not None:
        raise _not_by_phone(refused)


def arrived(session: Session, booking_id: uuid.UUID, *, by: str) -> Booking:
    """The patient is here (voucher scanned). Raises `Conflict`: not confirmed, or not today."""
    booking = ending.locked(session, booking_id)
    if booking.state == BookingState.USED:
        return booking
    if booking.state not in (BookingState.CONFIRMED, BookingState.NO_SHOW):
        raise Conflict("registration.not_confirmed", N_("这个号未确认或已退号，不能报到。"))
    if booking.day != clock.today():
        raise Conflict("registration.other_day", N_("就诊日期不是今天，不能报到。"))
    numbers.mark(session, booking.id, (NumberState.SOLD, NumberState.NO_SHOW), NumberState.USED)
    before, booking.state, booking.arrived_at = booking.state, BookingState.USED, clock.now()
    record(session, actor=by, action="booking.arrive", aggregate=("booking", booking.id), before={"state": before})
    publish(
        session,
        BookingUsed(aggregate_id=booking.id, person_id=booking.person_id, clinic_session_id=booking.clinic_session_id),
    )
    session.flush()
    return booking


def no_show(session: Session, booking_id: uuid.UUID, *, by: str) -> Booking:
    """The patient did not come. Raises `Conflict` before the segment is over, or when it is not confirmed."""
    booking = ending.locked(session, booking_id)
    if booking.state == BookingState.NO_SHOW:
        return booking
    if booking.state != BookingState.CONFIRMED:
        raise Conflict("registration.not_confirmed", N_("这个号未确认或已退号，不能登记爽约。"))
    if booking.to_at > clock.now():
        raise Conflict("registration.not_over", N_("就诊时段还没有结束，不能登记爽约。"))
    numbers.mark(session, booking.id, (NumberState.SOLD,), NumberState.NO_SHOW)
    booking.state = BookingState.NO_SHOW
    record(session, actor=by, action="booking.no_show", aggregate=("booking", booking.id))
    session.flush()
    limits.after_no_show(session, booking)
    return booking


def invoice(session: Session, booking_id: uuid.UUID, *, number: str, by: str) -> Booking:
    """The window prints the invoice, once. Raises `Conflict` when it was printed, or nothing is paid."""
    booking = ending.locked(session, booking_id)
    if booking.invoiced_at is not None:
        raise Conflict("registration.invoiced_before", N_("这个号的发票已打印过，不能重复打印。"))
    if booking.payment_id is None or booking.state not in (
        BookingState.CONFIRMED,
        BookingState.USED,
        BookingState.NO_SHOW,
    ):
        raise Conflict("registration.nothing_to_invoice", N_("没有已支付的挂号费，不能打印发票。"))
    booking.invoice_number, booking.invoiced_at, booking.invoiced_by = number, clock.now(), by
    record(session, actor=by, action="booking.invoice", aggregate=("booking", booking.id), after={"invoice": number})
    session.flush()
    return booking


def count_of(session: Session, clinic_session_id: uuid.UUID) -> dict[str, int]:
    """Numbers of a session by state."""
    rows = session.execute(
        select(Number.state, func.count()).where(Number.clinic_session_id == clinic_session_id).group_by(Number.state)
    )
    return {row[0]: row[1] for row in rows}
