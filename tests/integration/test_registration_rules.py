"""Who may book, who waits, who is reminded, what happens when a doctor does not come, and numbers that the HIS owns."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from cloud.his.port import (
    Away,
    NumberLock,
    NumberStand,
    NumberStanding,
    OpenNumber,
    PaidWith,
    Refused,
    Unknown,
)
from cloud.hospital import schedules
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.ids import new_id
from cloud.notify.model import Delivery
from cloud.patient.registration import at_his, confirming, limits, moving, reminding, service, stopping, taking, waiting
from cloud.patient.registration.model import Booking, BookingBlock, Number, WaitingEntry
from cloud.payments.model import Payment, Refund
from tests.support import clinic, paying
from tests.support import registering as desk
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.work import work

Who = tuple[uuid.UUID, uuid.UUID]


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[Cashiers]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as found,
    ):
        yield found


@pytest.fixture
def cashiers(hospital: Cashiers) -> Iterator[Cashiers]:
    yield hospital
    with begin() as session:
        session.execute(text("DELETE FROM registration_settings"))


def told(template: str, who: Who) -> int:
    with begin() as session:
        found = session.scalars(select(Delivery).where(Delivery.template == template)).all()
    return sum(str(who[0]) in (each.dedupe_key or "") for each in found)


def sessions_of_one_department(many: int, **more: object) -> list[uuid.UUID]:
    """With a doctor each."""
    with begin() as session:
        of = clinic.department(session, code=f"Q{new_id().hex[-8:]}")
        made = [
            schedules.publish(
                session,
                clinic.wish(of, clinic.doctor(session, code=f"Q{new_id().hex[-8:]}", of=of), **more),  # type: ignore[arg-type]
                by=clinic.BY,
            ).id
            for _ in range(many)
        ]
    work("registration")
    return made


# ---------------------------------------------------------------------- limits


@pytest.mark.req("REG-4")
def test_one_a_department_and_day_three_open_counted_on_the_person(cashiers: Cashiers) -> None:
    who = desk.person()
    other_phone = (desk.person()[0], who[1])
    first, second = sessions_of_one_department(2)
    desk.held(first, who)
    with pytest.raises(Conflict, match="limit_department_day"):
        desk.held(second, other_phone)
    desk.settle(per_day=9, open_per_person=2)
    desk.held(desk.opened_session(), other_phone)
    with pytest.raises(Conflict, match="limit_open"):
        desk.held(desk.opened_session(), who)


@pytest.mark.req("REG-4")
def test_a_window_books_whom_the_phone_may_not(cashiers: Cashiers) -> None:
    who = desk.person()
    first, second = sessions_of_one_department(2)
    desk.held(first, who)
    with begin() as session:
        limits.block(session, who[1], days=30, note="倒号", by="staff:1")
    with pytest.raises(Conflict, match="blocked"):
        desk.held(desk.opened_session(), who)
    assert desk.held(second, who, account_id=None, by="staff:1")
    with pytest.raises(Conflict, match="has_one"):
        desk.held(second, who, account_id=None, by="staff:1")


def missed(who: Who) -> None:
    """One more visit that was confirmed and not kept."""
    booking = desk.held(desk.opened_session(fee_fen=0), who, account_id=None, by="staff:1")
    past = clock.now() - timedelta(minutes=1)
    with begin() as session:
        session.execute(update(Booking).where(Booking.id == booking).values(to_at=past))
        service.no_show(session, booking, by="staff:1")


@pytest.mark.req("REG-4")
def test_three_missed_visits_block_and_a_lifted_block_forgives(cashiers: Cashiers) -> None:
    who = desk.person()
    for _ in range(2):
        missed(who)
    assert desk.held(desk.opened_session(), who)
    missed(who)
    with pytest.raises(Conflict, match="blocked"):
        desk.held(desk.opened_session(), who)
    with begin() as session:
        block = session.scalars(select(BookingBlock).where(BookingBlock.person_id == who[1])).one()
    with pytest.raises(Invalid), begin() as session:
        limits.lift(session, block.id, why=" ", by="staff:1")
    with begin() as session:
        limits.appeal(session, block.id, words="住院了", by=f"account:{who[0]}")
    with pytest.raises(Conflict, match="appealed"), begin() as session:
        limits.appeal(session, block.id, words="再说一次", by=f"account:{who[0]}")
    with begin() as session:
        limits.lift(session, block.id, why="核实住院", by="staff:1")
    with pytest.raises(Conflict, match="block_over"), begin() as session:
        limits.lift(session, block.id, why="核实住院", by="staff:2")
    missed(who)
    desk.settle(per_day=20, open_per_person=20)
    assert desk.held(desk.opened_session(), who)


def test_nobody_is_marked_missing_before_the_end_or_where_arrivals_are_not_recorded(cashiers: Cashiers) -> None:
    booking = desk.held(desk.opened_session(fee_fen=0))
    with pytest.raises(Conflict, match="not_over"), begin() as session:
        service.no_show(session, booking, by="staff:1")
    with begin() as session:
        long_ago = clock.now() - timedelta(hours=5)
        session.execute(update(Booking).where(Booking.id == booking).values(to_at=long_ago, day=clock.today()))
    assert reminding.mark_no_shows(begin) == 0
    desk.settle(marks_no_shows=True)
    assert reminding.mark_no_shows(begin) == 0  # nobody at all was checked in: the desk's scanner failed
    with begin() as session:
        clinic_id = session.get_one(Booking, booking).clinic_session_id
    came = desk.held(clinic_id)
    with begin() as session:
        session.execute(update(Booking).where(Booking.id == came).values(arrived_at=clock.now(), day=clock.today()))
    assert reminding.mark_no_shows(begin) == 1
    assert desk.state(booking) == "no_show"


# ---------------------------------------------------------------------- waiting list


def waits(clinic_id: uuid.UUID, who: Who) -> uuid.UUID:
    with begin() as session:
        row = service.bookable(session, clinic_id)
        return waiting.join(session, row, person_id=who[1], account_id=who[0]).id


def stand(entry: uuid.UUID) -> str:
    with begin() as session:
        return session.get_one(WaitingEntry, entry).state


@pytest.mark.req("REG-1")
def test_a_returned_number_goes_down_the_line_and_is_free_at_its_end(cashiers: Cashiers) -> None:
    clinic_id = desk.opened_session(1)
    first = desk.held(clinic_id)
    line = [desk.person() for _ in range(2)]
    entries = [waits(clinic_id, who) for who in line]
    with pytest.raises(Conflict, match="waits"):
        waits(clinic_id, line[0])
    desk.time_is_up(first)
    with begin() as session:
        service.expire(session, first)
    assert [stand(each) for each in entries] == ["offered", "waiting"]
    assert told("waiting_offer", line[0]) == 1
    with pytest.raises(Conflict, match="full"):
        desk.held(clinic_id)
    for at, entry in enumerate(entries):
        with begin() as session:
            session.execute(update(WaitingEntry).where(WaitingEntry.id == entry).values(offer_until=clock.now()))
            assert waiting.offers_over(session) == 1
        assert [stand(each) for each in entries] == [["passed", "offered"], ["passed", "passed"]][at]
    with pytest.raises(Conflict, match="offer_over"), begin() as session:
        taking.take_offer(session, entries[0], account_id=line[0][0], key="late")
    assert desk.numbers(clinic_id) == {"free": 1}


def test_whoever_takes_the_offer_has_the_number_and_whoever_leaves_gives_it_on(cashiers: Cashiers) -> None:
    clinic_id = desk.opened_session(1)
    first = desk.held(clinic_id)
    line = [desk.person() for _ in range(2)]
    entries = [waits(clinic_id, who) for who in line]
    with begin() as session:
        service.cancel(session, first, "staff:1", "窗口退号")
    with begin() as session:
        waiting.leave(session, entries[0], account_id=line[0][0])
    assert [stand(each) for each in entries] == ["withdrawn", "offered"]
    with begin() as session:
        booking = taking.take_offer(session, entries[1], account_id=line[1][0], key="take").id
    with begin() as session:
        assert taking.take_offer(session, entries[1], account_id=line[1][0], key="take").id == booking
    desk.paid(cashiers, booking)
    assert (desk.state(booking), stand(entries[1])) == ("confirmed", "taken")


def test_nobody_waits_while_there_are_numbers(cashiers: Cashiers) -> None:
    with pytest.raises(Conflict, match="not_full"):
        waits(desk.opened_session(1), desk.person())


# ---------------------------------------------------------------------- reminded, stopped, changed


@pytest.mark.req("REG-6")
def test_reminded_once_on_the_evening_before(cashiers: Cashiers) -> None:
    who = desk.person()
    booking = desk.held(desk.opened_session(fee_fen=0), who)
    assert told("booking_confirmed", who) == 1
    desk.settle(remind_at=clock.local(clock.now() - timedelta(minutes=5)).time().replace(microsecond=0, tzinfo=None))
    with begin() as session:
        assert reminding.remind(session, booking)
    with begin() as session:
        assert not reminding.remind(session, booking)
    assert told("booking_reminder", who) == 1


def stopped(clinic_id: uuid.UUID) -> None:
    with begin() as session:
        schedules.stop(session, clinic_id, by=clinic.BY, why="医生病假")
    work("registration")


@pytest.mark.req("REG-1", "PAY-6")
def test_a_stop_ends_the_unpaid_and_pays_back_who_does_not_choose(cashiers: Cashiers) -> None:
    clinic_id, who = desk.opened_session(4), desk.person()
    unpaid, chosen = desk.held(clinic_id), desk.held(clinic_id, who)
    payment = desk.paid(cashiers, chosen)
    under_way = desk.held(clinic_id)
    desk.paying_for(under_way)
    stopped(clinic_id)
    assert (desk.state(unpaid), desk.state(chosen)) == ("expired", "stopped")
    assert told("session_stopped", who) == 1
    found = desk.booking(under_way)
    assert found.payment_id is not None
    paying.notice(cashiers, paying.taps(cashiers, found.payment_id))
    work("registration")
    assert desk.state(under_way) == "stopped"
    stopping.choice_over(begin, chosen)
    assert desk.state(chosen) == "stopped"
    with begin() as session:
        session.execute(update(Booking).where(Booking.state == "stopped").values(choose_until=clock.now()))
    for each in stopping.due(begin):
        stopping.choice_over(begin, each)
    desk.refunds_done()
    assert [desk.state(each) for each in (chosen, under_way)] == ["cancelled", "cancelled"]
    assert paying.payment(payment).reserved_fen == 5000
    assert set(desk.numbers(clinic_id)) == {"stopped"}


def test_a_stopped_booking_moves_to_no_dearer_session(cashiers: Cashiers) -> None:
    one, dear, same = desk.opened_session(1), desk.opened_session(1, fee_fen=9900), desk.opened_session(1)
    booking = desk.held(one)
    desk.paid(cashiers, booking)
    with pytest.raises(Conflict, match="not_stopped"), begin() as session:
        moving.rebook(session, booking, same, by="staff:1", key="early")
    stopped(one)
    with pytest.raises(Conflict, match="rebook_dearer"), begin() as session:
        moving.rebook(session, booking, dear, by="staff:1", key="dear")
    with begin() as session:
        moved = moving.rebook(session, booking, same, by="staff:1", key="same").id
    with begin() as session:
        assert moving.rebook(session, booking, same, by="staff:1", key="again").id == moved
        session.get_one(Booking, moved)
    assert (desk.state(booking), desk.state(moved)) == ("cancelled", "confirmed")


def test_another_doctor_or_another_time_lets_the_patient_go(cashiers: Cashiers) -> None:
    desk.settle(cancel_before_minutes=7 * 24 * 60)
    clinic_id, who = desk.opened_session(2), desk.person()
    booking = desk.held(clinic_id, who)
    desk.paid(cashiers, booking)
    with begin() as session:
        row = schedules.session_by_code(session, session.get_one(clinic.ClinicSession, clinic_id).code)
        assert row is not None
        earlier = row.starts_at - timedelta(minutes=30)
        schedules.change(session, clinic_id, by=clinic.BY, reason="提前开诊", starts_at=earlier)
    work("registration")
    assert (desk.booking(booking).from_at, told("booking_changed", who)) == (earlier, 1)
    with begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    assert desk.state(booking) == "cancelling"


def test_more_capacity_is_offered_first_to_who_waits(cashiers: Cashiers) -> None:
    clinic_id = desk.opened_session(1)
    desk.held(clinic_id)
    entry = waits(clinic_id, desk.person())
    with begin() as session:
        schedules.change(session, clinic_id, by=clinic.BY, reason="加号", capacity=3)
    work("registration")
    assert stand(entry) == "offered"
    assert desk.numbers(clinic_id) == {"free": 1, "held": 2}


# ---------------------------------------------------------------------- numbers of the HIS's


class StandingHis:
    """A HIS in memory that sells at its own windows too, and whose answers can be lost."""

    connected = True
    name = "memory"

    def __init__(self) -> None:
        self.has: dict[str, NumberStand] = {}
        self.sold: set[int] = set()
        self.lost: list[str] = []
        """Calls whose answers are lost, after they had their effect."""

    def _said(self, call: str, stand: NumberStand) -> NumberStand:
        self.has[stand.key] = stand
        if call in self.lost:
            self.lost.remove(call)
            raise Unknown("no_answer")
        return stand

    def lock_number(self, lock: NumberLock) -> NumberStand:
        if "away" in self.lost:
            self.lost.remove("away")
            raise Away
        taken = {each.seq for each in self.has.values() if each.standing in ("locked", "confirmed")}
        if lock.seq in self.sold | taken:
            raise Refused("taken")
        return self._said("lock", NumberStand(NumberStanding.LOCKED, lock.key, f"H{lock.seq}", lock.seq))

    def number_stand(self, key: str) -> NumberStand:
        return self.has.get(key, NumberStand(NumberStanding.ABSENT, key))

    def confirm_number(self, key: str, paid: PaidWith | None) -> NumberStand:
        known = self.number_stand(key)
        if known.standing not in (NumberStanding.LOCKED, NumberStanding.CONFIRMED):
            raise Refused("not_held")
        return self._said("confirm", NumberStand(NumberStanding.CONFIRMED, key, known.his_number, known.seq))

    def release_number(self, key: str, *, reason: str) -> NumberStand:
        known = self.number_stand(key)
        if known.standing == NumberStanding.USED:
            raise Refused("used")
        if known.standing == NumberStanding.ABSENT:
            return known
        return self._said("release", NumberStand(NumberStanding.RELEASED, key, known.his_number, known.seq))

    def open_numbers(self, session_code: str) -> tuple[OpenNumber, ...]:
        return tuple(OpenNumber(seq, None) for seq in range(1, 4) if seq not in self.sold)

    def money_of(self, day: object) -> tuple[()]:
        return ()


def asks(his: StandingHis, booking: uuid.UUID) -> None:
    """The steps that are due, whatever their wait."""
    for _ in range(6):
        with begin() as session:
            session.execute(update(Booking).where(Booking.his_ask_at.is_not(None)).values(his_ask_at=clock.now()))
        at_his.step(begin, booking, his)  # type: ignore[arg-type]


@pytest.fixture
def his(monkeypatch: pytest.MonkeyPatch) -> StandingHis:
    made = StandingHis()
    monkeypatch.setattr("cloud.his.port.port", lambda: made)
    return made


def theirs(capacity: int = 3, **more: object) -> uuid.UUID:
    return desk.opened_session(capacity, owner="his", **more)


@pytest.mark.req("REG-1", "HIS-1")
def test_a_number_of_the_his_is_locked_there_before_money_is_asked_for(cashiers: Cashiers, his: StandingHis) -> None:
    clinic_id = theirs()
    booking = desk.held(clinic_id)
    with pytest.raises(Conflict, match="not_locked"):
        desk.paying_for(booking)
    asks(his, booking)
    desk.paid(cashiers, booking)
    asks(his, booking)
    assert desk.state(booking) == "confirmed"
    assert [each.standing for each in his.has.values()] == ["confirmed"]


@pytest.mark.req("HIS-1")
@pytest.mark.parametrize("call", ["lock", "confirm", "away"])
def test_an_answer_that_is_lost_is_asked_for_and_nothing_happens_twice(
    cashiers: Cashiers, his: StandingHis, call: str
) -> None:
    his.lost = [call, call]
    booking = desk.held(theirs())
    asks(his, booking)
    desk.paid(cashiers, booking)
    asks(his, booking)
    assert desk.state(booking) == "confirmed"
    assert len(his.has) == 1


@pytest.mark.req("HIS-1")
def test_what_the_windows_of_the_his_sold_is_passed_over(cashiers: Cashiers, his: StandingHis) -> None:
    his.sold = {1, 2}
    clinic_id = theirs()
    booking = desk.held(clinic_id)
    asks(his, booking)
    assert (desk.booking(booking).seq, desk.booking(booking).at_his) == (3, "locked")
    assert desk.numbers(clinic_id) == {"blocked": 2, "held": 1}
    his.sold = {1, 2, 3}
    full = desk.held(theirs())
    asks(his, full)
    assert (desk.state(full), desk.booking(full).ended_why) == ("expired", "his")


@pytest.mark.req("HIS-1", "PAY-6")
@pytest.mark.parametrize("takes_another", [True, False])
def test_paid_and_sold_there_meanwhile_another_number_or_the_money_back(
    cashiers: Cashiers, his: StandingHis, takes_another: bool
) -> None:
    booking = desk.held(theirs(), takes_another=takes_another)
    asks(his, booking)
    his.has.clear()  # dropped there, and sold at a window
    his.sold = {1}
    payment = desk.paid(cashiers, booking)
    asks(his, booking)
    desk.refunds_done()
    if takes_another:
        assert (desk.state(booking), desk.booking(booking).seq) == ("confirmed", 2)
        return
    assert desk.state(booking) == "cancelled"
    with begin() as session:
        refund = session.scalars(select(Refund).where(Refund.payment_id == payment)).one()
    assert (refund.key, refund.state) == (f"late:{payment}", "done")


@pytest.mark.req("HIS-1", "PAY-4")
def test_cancelled_the_his_gives_it_back_before_the_money_goes_and_the_number_is_free(
    cashiers: Cashiers, his: StandingHis
) -> None:
    clinic_id, who = theirs(1), desk.person()
    booking = desk.held(clinic_id, who)
    asks(his, booking)
    payment = desk.paid(cashiers, booking)
    asks(his, booking)
    his.lost = ["release"]
    with begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    assert (desk.numbers(clinic_id), paying.payment(payment).reserved_fen) == ({"sold": 1}, 0)
    asks(his, booking)
    desk.refunds_done()
    assert (desk.state(booking), desk.numbers(clinic_id)) == ("cancelled", {"free": 1})
    assert paying.payment(payment).reserved_fen == 5000


def test_seen_there_already_it_cannot_be_cancelled(cashiers: Cashiers, his: StandingHis) -> None:
    who = desk.person()
    booking = desk.held(theirs(1), who)
    asks(his, booking)
    payment = desk.paid(cashiers, booking)
    asks(his, booking)
    key = next(iter(his.has))
    his.has[key] = NumberStand(NumberStanding.USED, key)
    with begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    asks(his, booking)
    assert (desk.state(booking), paying.payment(payment).reserved_fen) == ("used", 0)


def test_an_unpaid_number_of_the_his_is_free_here_when_it_is_free_there(cashiers: Cashiers, his: StandingHis) -> None:
    clinic_id = theirs(1)
    booking = desk.held(clinic_id)
    asks(his, booking)
    desk.time_is_up(booking)
    with begin() as session:
        service.expire(session, booking)
    assert (desk.state(booking), desk.numbers(clinic_id)) == ("expired", {"held": 1})
    asks(his, booking)
    assert desk.numbers(clinic_id) == {"free": 1}


def test_what_the_his_can_still_sell_is_shown(cashiers: Cashiers, his: StandingHis) -> None:
    clinic_id = theirs(3)
    his.sold = {2}
    at_his.open_there(begin, clinic_id, his)  # type: ignore[arg-type]
    assert desk.numbers(clinic_id) == {"blocked": 1, "free": 2}
    his.sold = set()
    at_his.open_there(begin, clinic_id, his)  # type: ignore[arg-type]
    with begin() as session:
        rows = session.scalars(select(Number.state).where(Number.clinic_session_id == clinic_id)).all()
    assert set(rows) == {"free"}


def test_the_his_is_told_whose_fee_came_and_under_its_own_number(cashiers: Cashiers, his: StandingHis) -> None:
    who = desk.person()
    booking = desk.held(theirs(), who)
    asks(his, booking)
    payment = desk.paid(cashiers, booking)
    with begin() as session:
        told_it = at_his.paid_for(session, session.get_one(Payment, payment), None)
    assert told_it is not None
    assert (told_it.person_id, [each.number for each in told_it.concerns]) == (who[1], ["H1"])
    ours = desk.held(desk.opened_session(), desk.person())
    payment = desk.paid(cashiers, ours)
    with begin() as session:
        told_it = at_his.paid_for(session, session.get_one(Payment, payment), None)
    assert told_it is not None
    assert told_it.concerns == ()


def test_money_told_twice_for_a_confirmed_booking_changes_nothing(cashiers: Cashiers) -> None:
    booking = desk.held(desk.opened_session())
    payment = desk.paid(cashiers, booking)
    with begin() as session:
        confirming.money_came(session, booking, payment)
    assert (desk.state(booking), paying.payment(payment).reserved_fen) == ("confirmed", 0)
