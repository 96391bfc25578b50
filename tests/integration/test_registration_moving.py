"""Another time for a booking: the old number is the patient's until the new one is certain, whoever owns it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from cloud.hospital import schedules
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict
from cloud.patient.registration import at_his, moving, service
from cloud.patient.registration.calendar import Visit, calendar_file
from cloud.patient.registration.model import Booking, Number
from simulators.his.book import Session
from simulators.his.faults import Fault
from simulators.his.receiver import HisReceiver
from tests.support import clinic, paying
from tests.support import registering as desk
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.his_numbers import port_to, standing_his
from tests.support.racing import race
from tests.support.work import work

pytestmark = pytest.mark.req("REG-1", "REG-3", "REG-6")
BY = "account:1"


@pytest.fixture(scope="module")
def his() -> Iterator[HisReceiver]:
    with standing_his() as his:
        yield his


@pytest.fixture(scope="module")
def cashiers(database_server: DatabaseServer, his: HisReceiver) -> Iterator[Cashiers]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as found,
    ):
        port = port_to(his, answer_s=0.3)
        patched.setattr("cloud.his.port.port", lambda: port)
        desk.settle(return_min_minutes=5)
        yield found
        port.close()


@pytest.fixture(autouse=True)
def calm(his: HisReceiver) -> None:
    his.temper.clear()


def sessions(his: HisReceiver, *owners: str, capacity: int = 4, **more: object) -> list[uuid.UUID]:
    """Sessions of one doctor, one a day, in segments of an hour."""
    made = []
    with begin() as session:
        mark = uuid.uuid4().hex[:6]
        of = clinic.department(session, code=f"K{mark}")
        sits = clinic.doctor(session, code=f"D{mark}", of=of)
        for at, owner in enumerate(owners):
            day = clinic.tomorrow() + timedelta(days=at)
            wish = clinic.wish(of, sits, day=day, owner=owner, capacity=capacity, segment_minutes=60, **more)
            row = schedules.publish(session, wish, by=clinic.BY)
            made.append(row.id)
            his.book.publish(
                Session(row.code, of.code, of.name, sits.code, sits.name, row.starts_at, row.ends_at, 5000, capacity)
            )
    work("registration")
    return made


def confirmed(cashiers: Cashiers, clinic_id: uuid.UUID, **more: object) -> uuid.UUID:
    booking = desk.held(clinic_id, **more)
    work("registration")
    desk.paid(cashiers, booking)
    assert desk.state(booking) == "confirmed"
    return booking


def begins(clinic_id: uuid.UUID) -> list[object]:
    with begin() as session:
        return list(
            session.scalars(select(Number.from_at).where(Number.clinic_session_id == clinic_id).order_by(Number.seq))
        )


def change(booking: uuid.UUID, clinic_id: uuid.UUID, key: str = "", **more: object) -> uuid.UUID:
    with begin() as session:
        values = {"from_at": None, "by": BY, "key": key or str(uuid.uuid4())} | more
        return moving.change(session, booking, clinic_id, **values).id  # type: ignore[arg-type]


def asks(*bookings: uuid.UUID) -> None:
    for _ in range(4):
        for booking in bookings:
            with begin() as session:
                session.execute(
                    update(Booking)
                    .where(Booking.id == booking, Booking.his_ask_at.is_not(None))
                    .values(his_ask_at=clock.now())
                )
            at_his.step(begin, booking)


def test_another_segment_of_the_same_session_with_the_same_money(cashiers: Cashiers, his: HisReceiver) -> None:
    (one,) = sessions(his, "ours")
    old = confirmed(cashiers, one)
    later = begins(one)[2]
    with pytest.raises(Conflict, match="change_same"):
        change(old, one)
    new = change(old, one, "later", from_at=later)
    assert change(old, one, "later", from_at=later) == new, "tapped twice it is once"
    was, now = desk.booking(old), desk.booking(new)
    assert (was.state, was.ended_why, was.rebooked_to) == ("cancelled", "changed", new)
    assert (now.state, now.from_at, now.payment_id, now.changes) == ("confirmed", later, was.payment_id, 1)
    assert now.number != was.number
    assert now.payment_id is not None
    assert paying.payment(now.payment_id).reserved_fen == 0
    assert desk.numbers(one) == {"free": 3, "sold": 1}
    with begin() as session:
        service.cancel(session, new, BY, "")
    desk.refunds_done()
    assert (desk.state(new), paying.payment(now.payment_id).reserved_fen) == ("cancelled", 5000)


def test_what_may_not_be_changed_leaves_the_old_number(cashiers: Cashiers, his: HisReceiver) -> None:
    one, two = sessions(his, "ours", "ours", capacity=1)
    (dearer,), elsewhere = sessions(his, "ours", fee_fen=9900), desk.opened_session(1)
    old = confirmed(cashiers, one)
    desk.held(two)
    for clinic_id, code in ((two, "full"), (dearer, "change_other"), (elsewhere, "change_other")):
        with pytest.raises(Conflict, match=code):
            change(old, clinic_id)
    with begin() as session:
        session.execute(update(Booking).where(Booking.id == old).values(from_at=clock.now()))
    with pytest.raises(Conflict, match="cancel_too_late"):
        change(old, two)
    with begin() as session:
        session.execute(update(Booking).where(Booking.id == old).values(invoice_number="F1", invoiced_at=clock.now()))
    with pytest.raises(Conflict, match="invoiced"):
        change(old, two)
    assert (desk.state(old), desk.numbers(one)) == ("confirmed", {"sold": 1})


def test_a_booking_is_changed_only_so_often(cashiers: Cashiers, his: HisReceiver) -> None:
    days = sessions(his, "ours", "ours", "ours", "ours")
    at = confirmed(cashiers, days[0])
    for clinic_id in days[1:3]:
        at = change(at, clinic_id)
    with pytest.raises(Conflict, match="changed_often"):
        change(at, days[3])
    assert desk.state(at) == "confirmed"


@pytest.mark.req("HIS-1")
@pytest.mark.parametrize("lost", ["", "SRM^S01", "SRM^S03", "SRM^S04"])
def test_a_number_of_the_his_is_firm_there_before_the_old_one_goes(
    cashiers: Cashiers, his: HisReceiver, lost: str
) -> None:
    one, two = sessions(his, "his", "his")
    old = confirmed(cashiers, one)
    if lost:
        his.temper.set(Fault("lost_after", lost))
    new = change(old, two)
    assert (desk.state(old), desk.state(new)) == ("confirmed", "moving")
    with begin() as session:
        assert moving.change(session, old, one, from_at=None, by=BY, key="other").id == new, "one move at a time"
    asks(new, old)
    work("registration")
    assert (desk.state(old), desk.state(new)) == ("cancelled", "confirmed")
    keys = {each.key for known in his.book.sessions.values() for each in known.taken.values()}
    assert desk.booking(new).his_key in keys
    assert desk.booking(old).his_key not in keys
    assert desk.numbers(two) == {"free": 3, "sold": 1}


@pytest.mark.req("HIS-1")
def test_what_the_windows_sold_or_the_his_never_answers_loses_nothing(cashiers: Cashiers, his: HisReceiver) -> None:
    one, full, silent = sessions(his, "his", "his", "his", capacity=1)
    old = confirmed(cashiers, one)
    with begin() as session:
        code = session.get_one(clinic.ClinicSession, full).code
    his.book.sell_at_window(code)
    new = change(old, full)
    asks(new)
    assert (desk.state(old), desk.state(new), desk.booking(new).ended_why) == ("confirmed", "expired", "not_moved")
    his.temper.set(Fault("lost_before", next=99))
    new = change(old, silent)
    asks(new)
    with begin() as session:
        session.execute(update(Booking).where(Booking.id == new).values(hold_until=clock.now()))
        assert moving.expire_due(session) == 1
    his.temper.clear()
    asks(new)
    assert (desk.state(old), desk.state(new), desk.booking(new).at_his) == ("confirmed", "expired", "released")
    assert desk.numbers(silent) == {"free": 1}
    keys = [each.key for known in his.book.sessions.values() for each in known.taken.values()]
    assert keys.count(desk.booking(old).his_key) == 1


@pytest.mark.req("HIS-1")
def test_a_stopped_booking_moves_to_a_number_of_the_his(cashiers: Cashiers, his: HisReceiver) -> None:
    one, two = sessions(his, "ours", "his")
    old = confirmed(cashiers, one)
    with begin() as session:
        schedules.stop(session, one, by=clinic.BY, why="临时会议")
    work("registration")
    with begin() as session:
        new = moving.rebook(session, old, two, by=BY, key="rebook").id
    assert (desk.state(old), desk.state(new)) == ("stopped", "moving")
    asks(new)
    assert (desk.state(old), desk.state(new)) == ("cancelled", "confirmed")
    assert desk.booking(old).ended_why == "rebooked"


def test_two_changes_and_a_cancellation_at_once_leave_one_number(cashiers: Cashiers, his: HisReceiver) -> None:
    days = sessions(his, "ours", "ours", "ours", capacity=8)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            old = confirmed(cashiers, days[0])
            race(pool, lambda old=old: change(old, days[1]), lambda old=old: change(old, days[2]))  # type: ignore[misc]
            made = desk.booking(old).rebooked_to
            assert made is not None
            race(pool, lambda at=made: change(at, days[0]), lambda at=made: give_up(at))  # type: ignore[misc]
            desk.refunds_done()
    with begin() as session:
        live = session.execute(
            text(
                "SELECT payment_id, count(*) FILTER (WHERE state = 'confirmed') FROM booking "
                "WHERE clinic_session_id = ANY(:days) GROUP BY payment_id"
            ),
            {"days": days},
        ).all()
    for payment_id, confirmed_now in live:
        assert confirmed_now == (0 if paying.payment(payment_id).reserved_fen else 1)
    sold = sum(desk.numbers(each).get("sold", 0) for each in days)
    assert sold == sum(row[1] for row in live)


def give_up(booking: uuid.UUID) -> None:
    with begin() as session:
        service.cancel(session, booking, BY, "")


def test_the_calendar_file_is_folded_escaped_and_says_nothing_of_the_illness() -> None:
    at = clock.now().replace(microsecond=0)
    visit = Visit("1@x", at, at, at + timedelta(minutes=30), "就诊：杏林，医院;" * 9, "一\n二", "http://h/p", 1)
    lines = calendar_file(visit).split(b"\r\n")
    assert all(len(each) <= 75 for each in lines)
    assert lines[-1] == b""
    whole = b"\r\n".join(lines).replace(b"\r\n ", b"").decode()
    assert f"DTSTART:{at:%Y%m%dT%H%M%SZ}" in whole
    assert "DESCRIPTION:一\\n二" in whole
    assert "SUMMARY:" + "就诊：杏林，医院\\;" * 9 in whole
