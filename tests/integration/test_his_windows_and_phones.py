"""Windows of the HIS and phones sell the same numbers at the same time, over a socket that fails in every way."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from cloud.his.hl7_port import Hl7Port
from cloud.hospital import schedules
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import XinglinError
from cloud.kit.ids import new_id
from cloud.patient.identity.model import PatientAccount
from cloud.patient.registration import at_his, confirming, service
from cloud.patient.registration.model import AtHis, Booking, Number
from cloud.payments import asking
from cloud.payments.model import Payment, Refund
from cloud.people import service as people
from cloud.people.rules import PersonDetails
from simulators.his.book import BOOKED, PENDING, Refusal, Session
from simulators.his.faults import Fault, Temper
from simulators.his.receiver import HisReceiver
from tests.support import clinic, paying
from tests.support import registering as desk
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.his_numbers import port_to, standing_his
from tests.support.work import work

pytestmark = pytest.mark.req("REG-1", "HIS-1", "PAY-6")
PERSONS, SESSIONS, NUMBERS, SOLD_AT_WINDOWS = 50, 4, 12, 16
FAULTS = ("lost_before", "lost_after", "refuse", "slow", "wrong_number")
KINDS = ("SRM^S01", "SRM^S03", "SRM^S04", "SQM")
OPEN = (AtHis.LOCK, AtHis.CONFIRM, AtHis.RELEASE)


class CountedTemper(Temper):
    """Knows what it did."""

    def __init__(self) -> None:
        super().__init__()
        self.met: Counter[str] = Counter()

    def due(self, kind: str) -> Fault | None:
        fault = super().due(kind)
        if fault is not None:
            self.met[fault.how] += 1
        return fault


@dataclass
class Morning:
    """What is common to the threads of one run."""

    his: HisReceiver
    temper: CountedTemper
    port: Hl7Port
    cashiers: Cashiers
    sessions: dict[str, uuid.UUID]
    chance: random.Random
    windows: list[tuple[str, int]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def morning(database_server: DatabaseServer) -> Iterator[Morning]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as cashiers,
        standing_his() as his,
    ):
        desk.settle(
            open_per_person=20, per_department_day=10, per_doctor_day=10, per_day=20, per_month=60,
            return_min_minutes=0, return_max_minutes=0,
        )  # fmt: skip
        port = port_to(his, answer_s=0.2)
        patched.setattr("cloud.his.port.port", lambda: port)
        his.temper = temper = CountedTemper()
        yield Morning(his, temper, port, cashiers, _opened(his, SESSIONS, NUMBERS), random.Random(20270301))
        port.close()


def _opened(his: HisReceiver, many: int, capacity: int) -> dict[str, uuid.UUID]:
    """Sessions that the HIS owns, the same on both sides."""
    made = {}
    with begin() as session:
        of = clinic.department(session)
        for _ in range(many):
            wish = clinic.wish(of, clinic.doctor(session, f"D{new_id()}", of=of), owner="his", capacity=capacity)
            row = schedules.publish(session, wish, by=clinic.BY)
            made[row.code] = row.id
            his.book.publish(
                Session(row.code, "XN", "心血管内科", "D1", "沈明远", row.starts_at, row.ends_at, 5000, capacity)
            )
    work("registration")
    return made


def _crowd() -> list[tuple[uuid.UUID, uuid.UUID]]:
    with begin() as session:
        found = []
        for at in range(PERSONS):
            account = PatientAccount(channel="wechat", app_id="wx-hospital", open_id=f"o{at:06d}")
            session.add(account)
            session.flush()
            found.append((account.id, people.register(session, PersonDetails(name="王小梅", sex="F"), by="test").id))
        return found


def _ask(morning: Morning, booking_id: uuid.UUID, times: int = 3) -> None:
    """What the job does, its wait cut short."""
    for _ in range(times):
        with begin() as session:
            session.execute(
                update(Booking)
                .where(Booking.id == booking_id, Booking.his_ask_at.is_not(None))
                .values(his_ask_at=clock.now())
            )
        at_his.step(begin, booking_id, morning.port)


def _attempt(morning: Morning, code: str, who: tuple[uuid.UUID, uuid.UUID], at: int) -> None:
    """One phone: a number is held, paid by most, given up or simply left by the others."""
    try:
        with begin() as session:
            wish = desk.wish(morning.sessions[code], who, takes_another=at % 2 == 0)
            booking_id = service.hold(session, wish).id
        _ask(morning, booking_id)
        if at % 7 == 3:
            return
        if at % 7 == 5:
            with begin() as session:
                service.cancel(session, booking_id, wish.by, "")
            return
        payment_id = desk.paying_for(booking_id)
        paying.taps(morning.cashiers, payment_id)
        asking.ask(begin, payment_id, at_once=True)
        with begin() as session:
            confirming.money_came(session, booking_id, payment_id)
        _ask(morning, booking_id, 1)
    except XinglinError as refusal:
        morning.refusals[refusal.code] += 1


def _windows(morning: Morning, over: threading.Event) -> None:
    """Clerks sell while phones book; now and then the HIS drops what nobody made firm and sells it."""
    sold = 0
    while sold < SOLD_AT_WINDOWS and not over.wait(0.03):
        drops = sold % 6 == 5
        morning.his.book.hold_s = 0.0 if drops else 900.0
        try:
            made = morning.his.book.sell_at_window(morning.chance.choice(list(morning.sessions)))
            morning.windows.append((made.session, made.seq))
        except Refusal:
            pass
        morning.his.book.hold_s = 900.0
        sold += 1


def _weather(morning: Morning, over: threading.Event) -> None:
    chance = random.Random(7)
    while not over.wait(0.04):
        morning.his.temper.set(Fault(chance.choice(FAULTS), chance.choice(KINDS), slow_s=0.3))
        if chance.random() < 0.05:
            morning.his.go_down()
            over.wait(0.05)
            morning.his.come_back()


def _sold_while_it_was_paid(morning: Morning, who: tuple[uuid.UUID, uuid.UUID]) -> uuid.UUID:
    """The HIS's own time limit is over before the money comes, and its windows sell what is left of the session."""
    morning.temper.clear()
    ((code, clinic_id),) = _opened(morning.his, 1, 2).items()
    morning.sessions[code] = clinic_id
    booking_id = desk.held(clinic_id, who)
    _ask(morning, booking_id)
    payment_id = desk.paying_for(booking_id)
    morning.his.book.hold_s = 0.0
    while morning.his.book.open_numbers(code):
        made = morning.his.book.sell_at_window(code)
        morning.windows.append((made.session, made.seq))
    morning.his.book.hold_s = 900.0
    paying.taps(morning.cashiers, payment_id)
    asking.ask(begin, payment_id, at_once=True)
    return payment_id


def _sweep(morning: Morning) -> None:
    """The storm is over, and what the minute's sweeps do is done until nothing is open."""
    morning.his.temper.clear()
    past = clock.now() - timedelta(minutes=2)
    with begin() as session:
        unpaid = Booking.state == "held"
        session.execute(update(Booking).where(unpaid).values(hold_until=past))
        service.expire_due(session)
    for _ in range(12):
        with begin() as session:
            session.execute(update(Booking).where(Booking.at_his.in_(OPEN)).values(his_ask_at=past))
        for booking_id in at_his.due(begin, most=500):
            at_his.step(begin, booking_id, morning.port)
        paying.sweep(1)
        work("registration")
        with begin() as session:
            if session.scalar(select(Booking.id).where(Booking.at_his.in_(OPEN)).limit(1)) is None:
                break
    desk.refunds_done()


def test_nothing_is_sold_twice_between_windows_and_phones_and_every_answer_is_found_out(morning: Morning) -> None:
    crowd, over = _crowd(), threading.Event()
    wishes = [(code, who) for code in morning.sessions for who in crowd]
    morning.chance.shuffle(wishes)
    others = [threading.Thread(target=act, args=(morning, over)) for act in (_windows, _weather)]
    for each in others:
        each.start()
    with ThreadPoolExecutor(8) as pool:
        tried = list(pool.map(lambda at: _attempt(morning, *wishes[at], at), range(len(wishes))))
    over.set()
    for each in others:
        each.join()
    assert len(tried) == PERSONS * SESSIONS
    late = _sold_while_it_was_paid(morning, desk.person())
    _sweep(morning)

    book = morning.his.book
    with begin() as session:
        bookings = {each.his_key: each for each in session.scalars(select(Booking))}
        rows = session.scalars(select(Number)).all()
        payments = session.scalars(select(Payment)).all()
        back: Counter[uuid.UUID] = Counter()
        for refund in session.scalars(select(Refund).where(Refund.state == "done")):
            back[refund.payment_id] += refund.fen

    confirmed = {key: each for key, each in bookings.items() if each.state == "confirmed"}
    there = {each.key: each for one in book.sessions.values() for each in one.taken.values() if each.key}
    assert set(there) == set(confirmed), "the HIS keeps a number for each confirmed booking and for nobody else"
    assert {each.state for each in there.values()} == {BOOKED}
    assert all(there[key].seq == each.seq for key, each in confirmed.items())
    assert not any(each.state == PENDING for each in book.appointments.values())

    mine = {(row.clinic_session_id, row.seq) for row in rows if row.state == "sold"}
    at_windows = {(morning.sessions[code], seq) for code, seq in morning.windows}
    assert not mine & at_windows, "sold at a window and on a phone"
    assert len(mine) == len(confirmed) > 10
    assert {each.state for each in bookings.values()} <= {"confirmed", "expired", "cancelled"}

    kept = {each.payment_id for each in confirmed.values()}
    paid = [each for each in payments if each.paid_fen]
    assert all(back[each.id] == (0 if each.id in kept else each.paid_fen) for each in paid)
    channel = morning.cashiers.wechat.book
    assert sum(each.paid_fen or 0 for each in paid) == sum(one.fen for one in channel.orders.values() if one.paid_at)
    assert sum(back.values()) == sum(one.fen for one in channel.refunds.values())

    assert all(morning.temper.met[how] for how in FAULTS), f"every fault was met: {morning.temper.met}"
    assert back[late] == 5000, "paid for what the HIS had sold meanwhile"
    assert len(morning.windows) > SOLD_AT_WINDOWS // 2
