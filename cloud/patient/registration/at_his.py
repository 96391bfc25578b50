"""Numbers that the HIS owns: locked there before money is asked for, confirmed when it came, else given back.

Each step claims the booking in a short transaction, calls the HIS with none open, and records in another. What nobody
knows is asked about under the same key before anything is repeated; a worker that dies costs a lease of time.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.his import port as his
from cloud.his.money import Concern
from cloud.his.patients import facts_of
from cloud.his.port import HisPort, NumberLock, NumberStand, NumberStanding, PaidWith, Refused, Unknown
from cloud.his.reporting import Subject
from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.jobs import Begin, enqueue
from cloud.patient.registration import confirming, ending, moving, numbers
from cloud.patient.registration.model import AtHis, Booking, BookingState, Number, NumberState
from cloud.payments.model import Payment, Refund
from cloud.payments.rules import UNKNOWN_WAIT_S, back_off

log = structlog.get_logger()

LEASE = timedelta(seconds=60)
BY = "his"
OTHER_NUMBERS = 8
"""So many numbers of a session are tried when the HIS's windows have sold those we took."""
NOT_SET_UP = "no_his"
"""Settings that were lost say nothing of the numbers: what the HIS holds it holds still, so it is asked later."""
LATE_LOCK = timedelta(seconds=60)
"""After which a lock whose answer was lost counts as never having come."""


@dataclass(frozen=True, slots=True)
class _Step:
    booking_id: uuid.UUID
    what: AtHis
    key: str
    tries: int
    lock: NumberLock
    paid: PaidWith | None
    why: str


def due(begin: Begin, *, most: int = 100) -> list[uuid.UUID]:
    with begin() as session:
        return list(
            session.scalars(
                select(Booking.id).where(Booking.his_ask_at <= clock.now()).order_by(Booking.his_ask_at).limit(most)
            )
        )


def step(begin: Begin, booking_id: uuid.UUID, port: HisPort | None = None) -> None:
    """One question to the HIS about one booking, and what follows from its answer."""
    with begin() as session:
        claimed = _claim(session, booking_id)
    if claimed is None:
        return
    try:
        stand = _ask(claimed, port or his.port())
    except Refused as refusal:
        if refusal.permanent and refusal.code != NOT_SET_UP:
            with begin() as session:
                _refused(session, claimed, refusal.code)
        else:
            _later(begin, claimed, refusal.code)
        return
    except Unknown as unknown:
        _later(begin, claimed, unknown.code)
        return
    if stand is None:
        _later(begin, claimed, "absent")
        return
    with begin() as session:
        _answered(session, claimed, stand)


def _claim(session: Session, booking_id: uuid.UUID) -> _Step | None:
    now = clock.now()
    row = session.scalar(
        update(Booking)
        .where(
            Booking.id == booking_id,
            Booking.at_his.in_((AtHis.LOCK, AtHis.CONFIRM, AtHis.RELEASE)),
            Booking.his_ask_at <= now,
        )
        .values(his_ask_at=now + LEASE, his_asked=Booking.his_asked + 1)
        .returning(Booking)
        .execution_options(populate_existing=True)
    )
    if row is None or row.his_key is None:
        return None
    clinic = session.get_one(ClinicSession, row.clinic_session_id)
    lock = NumberLock(
        key=row.his_key,
        session_code=clinic.code,
        seq=row.seq,
        from_at=row.from_at,
        to_at=row.to_at,
        patient=facts_of(session, row.person_id),
        fee_fen=row.fee_fen,
        hold_until=row.hold_until,
    )
    paid_by = row.payment_id
    if row.state == BookingState.MOVING:
        paid_by = session.get_one(Booking, row.rebooked_from).payment_id
    payment = session.get(Payment, paid_by) if paid_by else None
    paid = None
    if payment is not None and payment.paid_fen is not None and payment.paid_at is not None:
        paid = PaidWith(payment.number, payment.channel, payment.paid_fen, payment.paid_at)
    return _Step(row.id, AtHis(row.at_his), row.his_key, row.his_asked, lock, paid, row.ended_why or "")


def _ask(step: _Step, port: HisPort) -> NumberStand | None:
    """None: the HIS has not heard of a key that may still be on its way."""
    if step.what == AtHis.LOCK:
        if step.tries > 1:
            stand = port.number_stand(step.key)
            if stand.standing != NumberStanding.ABSENT:
                return stand
        return port.lock_number(step.lock)
    if step.what == AtHis.CONFIRM:
        return port.confirm_number(step.key, step.paid)
    stand = port.release_number(step.key, reason=step.why)
    return None if stand.standing == NumberStanding.ABSENT and step.tries < 2 else stand


def _later(begin: Begin, step: _Step, code: str) -> None:
    """Ask again; nothing is known to have come of it."""
    wait = LATE_LOCK if code == "absent" else back_off(UNKNOWN_WAIT_S, step.tries)
    at = clock.now() + wait
    with begin() as session:
        mine = (Booking.id == step.booking_id, Booking.at_his == step.what, Booking.his_key == step.key)
        kept = session.scalar(update(Booking).where(*mine).values(his_ask_at=at, his_error=code).returning(Booking.id))
        if kept is not None:
            enqueue(session, ending.AT_HIS_JOB, at=at, booking_id=str(step.booking_id))
    log.warning("the HIS is asked again", booking=str(step.booking_id), what=step.what, code=code)


def _mine(session: Session, step: _Step) -> Booking | None:
    """The booking, held, if this step is still what is wanted."""
    moves_from = session.scalar(
        select(Booking.rebooked_from).where(Booking.id == step.booking_id, Booking.state == BookingState.MOVING)
    )
    if moves_from is not None:
        ending.locked(session, moves_from)  # the old one's row before the new one's, as everybody
    booking = ending.locked(session, step.booking_id)
    return booking if (booking.at_his, booking.his_key) == (step.what, step.key) else None


def _answered(session: Session, step: _Step, stand: NumberStand) -> None:
    booking = _mine(session, step)
    if booking is None:
        return
    booking.his_ask_at = booking.his_error = None
    booking.his_reference = stand.his_number or booking.his_reference
    there = stand.standing
    if step.what == AtHis.RELEASE:
        if there in (NumberStanding.USED, NumberStanding.NO_SHOW):
            _kept_there(session, booking, there)
        else:
            _released(session, booking)
    elif step.what == AtHis.LOCK and there in (NumberStanding.LOCKED, NumberStanding.CONFIRMED):
        _locked_there(session, booking)
    elif step.what == AtHis.CONFIRM and there in (NumberStanding.CONFIRMED, NumberStanding.USED):
        booking.at_his = AtHis.CONFIRMED
        session.flush()
        if booking.state == BookingState.CONFIRMING:
            confirming.confirm(session, booking)
        elif booking.state == BookingState.MOVING:
            moving.firm_there(session, booking)
    else:
        _lost_there(session, booking, str(there))


def _locked_there(session: Session, booking: Booking) -> None:
    booking.at_his = AtHis.LOCKED
    session.flush()
    if booking.state in (BookingState.CONFIRMING, BookingState.MOVING):
        ending.ask_his(session, booking, AtHis.CONFIRM)
    elif booking.state == BookingState.HELD and booking.fee_fen == 0:
        booking.state = BookingState.CONFIRMING
        ending.ask_his(session, booking, AtHis.CONFIRM)


def _released(session: Session, booking: Booking) -> None:
    """Only now the number is free here too."""
    booking.at_his = AtHis.RELEASED
    session.flush()
    ending.free_number(session, booking, at_once=booking.confirmed_at is None)
    if booking.state == BookingState.CANCELLING:
        ending.cancel_paid(session, booking, by="job:registration.at_his", reason="患者退号")


def _kept_there(session: Session, booking: Booking, there: NumberStanding) -> None:
    """The patient was seen: the number can't be given back, and nothing is refunded by itself."""
    booking.at_his = AtHis.CONFIRMED
    used = there == NumberStanding.USED
    booking.state = BookingState.USED if used else BookingState.NO_SHOW
    numbers.mark(session, booking.id, (NumberState.SOLD,), NumberState.USED if used else NumberState.NO_SHOW)
    booking.ended_at = booking.ended_why = None
    record(
        session,
        actor=BY,
        action="booking.not_cancelled",
        aggregate=("booking", booking.id),
        after={"at_his": str(there)},
    )
    session.flush()


def _refused(session: Session, step: _Step, code: str) -> None:
    booking = _mine(session, step)
    if booking is None:
        return
    booking.his_ask_at, booking.his_error = None, code
    if step.what == AtHis.RELEASE:
        if code == "used":
            _kept_there(session, booking, NumberStanding.USED)
        else:
            _released(session, booking)  # it knows nothing of it, or has dropped it
    else:
        _lost_there(session, booking, code)


def _lost_there(session: Session, booking: Booking, code: str) -> None:
    """The HIS does not have the number for us: another of the session where the patient wants one, else the end."""
    paid = booking.state == BookingState.CONFIRMING and booking.payment_id is not None
    log.info("the HIS has no number for a booking", booking=str(booking.id), code=code, paid=paid)
    if code in ("not_held", "released") and booking.state == BookingState.CONFIRMING and _lock_anew(session, booking):
        return
    if code == "taken" and (booking.takes_another or not paid) and _next_number(session, booking):
        return
    booking.at_his = AtHis.REFUSED
    taken = code in ("taken", "full")
    ending.free_number(session, booking, at_once=True, taken_elsewhere=taken)
    if paid:
        assert booking.payment_id is not None
        ending.end(session, booking, BookingState.CANCELLING, why="his", by=BY, reason=code)
        confirming.refund_whole(session, booking, booking.payment_id)
    elif booking.state == BookingState.PAYING:
        return  # its money is judged when it comes; the number is gone
    elif booking.state == BookingState.MOVING:
        moving.fail(session, booking)
    else:
        ending.end(session, booking, BookingState.EXPIRED, why="his", by=BY, reason=code)


def _tries(booking: Booking) -> int:
    return int((booking.his_key or "").partition("-")[2] or 0)


def _lock_anew(session: Session, booking: Booking) -> bool:
    """Its time limit there was shorter than the payment: the same number once more, which may be taken by now."""
    if _tries(booking) >= OTHER_NUMBERS:
        return False
    confirming.new_his_key(booking)
    ending.ask_his(session, booking, AtHis.LOCK)
    return True


def _next_number(session: Session, booking: Booking) -> bool:
    """What the HIS's window has sold is blocked here; the first free one of the segment, else of the session."""
    if _tries(booking) >= OTHER_NUMBERS:
        return False
    numbers.let_go(session, booking.id, at_once=True, taken_elsewhere=True)
    until = max(booking.hold_until, clock.now() + LEASE)
    clinic_id = booking.clinic_session_id
    number = numbers.claim(session, clinic_id, booking.id, until=until, from_at=booking.from_at)
    if number is None and (booking.state != BookingState.MOVING or booking.takes_another):
        number = numbers.claim(session, clinic_id, booking.id, until=until, from_at=None)
    if number is None:
        return False
    confirming.put_on(booking, number)
    confirming.new_his_key(booking)
    ending.ask_his(session, booking, AtHis.LOCK)
    record(
        session, actor=BY, action="booking.other_number", aggregate=("booking", booking.id), after={"seq": number.seq}
    )
    return True


def open_there(begin: Begin, clinic_session_id: uuid.UUID, port: HisPort | None = None) -> None:
    """What the HIS's windows have sold is not free here, and what they took back is. Silence changes nothing."""
    with begin() as session:
        code = session.get_one(ClinicSession, clinic_session_id).code
    try:
        open_now = {each.seq for each in (port or his.port()).open_numbers(code)}
    except (Refused, Unknown) as error:
        log.info("open numbers of the HIS unknown", session=code, code=error.code)
        return
    with begin() as session:
        mine = Number.clinic_session_id == clinic_session_id
        session.execute(
            update(Number)
            .where(mine, Number.state == NumberState.FREE, Number.seq.not_in(open_now))
            .values(state=NumberState.BLOCKED, blocked_why="his", free_from=None)
        )
        session.execute(
            update(Number)
            .where(mine, Number.state == NumberState.BLOCKED, Number.blocked_why == "his", Number.seq.in_(open_now))
            .values(state=NumberState.FREE, blocked_why=None)
        )


def paid_for(session: Session, payment: Payment, refund: Refund | None) -> Subject | None:
    """Whose registration fee a movement of money was, with the HIS's own number where it owns the number."""
    booking = session.scalar(
        select(Booking)
        .where(Booking.payment_id == payment.id)
        .order_by(Booking.created_at.desc(), Booking.id.desc())
        .limit(1)
    ) or session.get(Booking, payment.subject_id)
    if booking is None:
        return None
    return Subject(booking.person_id, (Concern(booking.his_reference),) if booking.his_reference else ())
