"""Numbers: one row each, held while they are paid for, never sold twice, never lost."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.patient.registration import confirming, service
from cloud.patient.registration.model import Booking, Number
from cloud.payments import asking
from cloud.payments.model import Payment, Refund
from tests.support import paying, racing
from tests.support import registering as desk
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.work import work

pytestmark = pytest.mark.req("REG-1", "REG-3")


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
    for each in (hospital.wechat, hospital.alipay):
        each.book.set_chaos({})
    yield hospital
    with begin() as session:
        session.execute(text("DELETE FROM registration_settings"))


def test_a_session_that_is_published_has_its_numbers_in_segments(cashiers: Cashiers) -> None:
    clinic = desk.opened_session(5, segment_minutes=60)
    with begin() as session:
        rows = session.scalars(select(Number).where(Number.clinic_session_id == clinic).order_by(Number.seq)).all()
    assert [each.seq for each in rows] == [1, 2, 3, 4, 5]
    assert [each.from_at for each in rows] == sorted(each.from_at for each in rows)
    assert {each.state for each in rows} == {"free"}


def test_a_number_is_held_paid_and_confirmed(cashiers: Cashiers) -> None:
    clinic = desk.opened_session()
    booking = desk.held(clinic)
    assert desk.numbers(clinic) == {"free": 2, "held": 1}
    desk.paid(cashiers, booking)
    found = desk.booking(booking)
    assert (found.state, found.seq, len(found.number)) == ("confirmed", 1, 14)
    assert desk.numbers(clinic) == {"free": 2, "sold": 1}


def test_a_second_tap_is_the_same_booking(cashiers: Cashiers) -> None:
    clinic, who = desk.opened_session(), desk.person()
    assert desk.held(clinic, who, key="tap-1") == desk.held(clinic, who, key="tap-1")
    with pytest.raises(Conflict, match="key_used"):
        desk.held(desk.opened_session(), who, key="tap-1")


def test_the_same_key_for_another_person_is_never_the_first_ones_number(cashiers: Cashiers) -> None:
    clinic, mei, mother = desk.opened_session(), desk.person(), desk.person("王母")
    first = desk.held(clinic, mei, key="tap-person")
    with pytest.raises(Conflict, match="key_used"):
        desk.held(clinic, (mei[0], mother[1]), key="tap-person")
    assert desk.numbers(clinic) == {"free": 2, "held": 1}
    assert desk.booking(first).person_id == mei[1]


def test_a_refusal_is_made_anew_each_time(cashiers: Cashiers) -> None:
    """One object raised by many threads would gather the traces of all of them."""
    booking = desk.held(desk.opened_session())
    desk.paid(cashiers, booking)
    with begin() as session:
        service.invoice(session, booking, number="F1", by="staff:1")
    seen = []
    for _ in range(2):
        with pytest.raises(Conflict, match="invoiced") as refused, begin() as session:
            service.cancel(session, booking, "account:1", "")
        seen.append(refused.value)
    assert seen[0] is not seen[1]


def test_a_session_without_fee_is_confirmed_at_once(cashiers: Cashiers) -> None:
    clinic = desk.opened_session(fee_fen=0)
    assert desk.state(desk.held(clinic)) == "confirmed"


def test_an_unpaid_number_is_free_when_its_time_is_over(cashiers: Cashiers) -> None:
    clinic = desk.opened_session(1)
    first = desk.held(clinic)
    with pytest.raises(Conflict, match="full"):
        desk.held(clinic)
    desk.time_is_up(first)
    second = desk.held(clinic)
    assert (desk.state(first), desk.state(second)) == ("expired", "held")
    assert desk.numbers(clinic) == {"held": 1}


def test_a_number_that_is_being_paid_stays_until_the_channel_has_closed_it(cashiers: Cashiers) -> None:
    clinic = desk.opened_session(1)
    first = desk.held(clinic)
    desk.paying_for(first)
    desk.time_is_up(first)
    with begin() as session:
        assert not service.expire(session, first)
    with pytest.raises(Conflict, match="full"):
        desk.held(clinic)
    paying.sweep(2)
    work("registration")
    assert desk.state(first) == "expired"
    assert desk.held(clinic)


def test_paid_in_the_last_moment_it_is_the_patients(cashiers: Cashiers) -> None:
    """The money came while the number's time was over: the close finds it."""
    clinic = desk.opened_session(1)
    booking = desk.held(clinic)
    payment = desk.paying_for(booking)
    desk.time_is_up(booking)
    paying.taps(cashiers, payment)
    paying.sweep(2)
    work("registration")
    assert desk.state(booking) == "confirmed"


def over_at_the_channel(payment: uuid.UUID) -> None:
    """Its time is over; the channel closes it, and we let the number go."""
    paying.over(payment)
    paying.sweep(2)
    work("registration")


def late_money(cashiers: Cashiers, payment: uuid.UUID) -> None:
    """The channel took it all the same, and says so."""
    cashiers.wechat.book.orders[paying.payment(payment).number].state = "unpaid"
    paying.notice(cashiers, paying.taps(cashiers, payment))
    work("registration")


def test_late_money_takes_the_same_number_again(cashiers: Cashiers) -> None:
    clinic = desk.opened_session(1)
    booking = desk.held(clinic)
    payment = desk.paying_for(booking)
    desk.time_is_up(booking)
    over_at_the_channel(payment)
    assert desk.state(booking) == "expired"
    late_money(cashiers, payment)
    assert (paying.payment(payment).late, desk.state(booking)) == (True, "confirmed")
    assert desk.numbers(clinic) == {"sold": 1}


@pytest.mark.req("PAY-6")
@pytest.mark.parametrize("takes_another", [True, False])
def test_late_money_for_a_number_that_is_gone_takes_another_or_goes_back(
    cashiers: Cashiers, takes_another: bool
) -> None:
    clinic = desk.opened_session(2)
    booking = desk.held(clinic, takes_another=takes_another)
    payment = desk.paying_for(booking)
    desk.time_is_up(booking)
    over_at_the_channel(payment)
    desk.held(clinic)
    late_money(cashiers, payment)
    if takes_another:
        assert (desk.state(booking), desk.booking(booking).seq) == ("confirmed", 2)
        return
    assert desk.state(booking) == "cancelling"
    with begin() as session:
        confirming.money_came(session, booking, payment)  # told twice
    desk.refunds_done()
    assert desk.state(booking) == "cancelled"
    with begin() as session:
        refund = session.scalars(select(Refund).where(Refund.payment_id == payment)).one()
    assert (refund.key, refund.fen, refund.state) == (f"late:{payment}", 5000, "done")


def test_two_payments_for_one_booking_the_second_goes_back(cashiers: Cashiers) -> None:
    booking = desk.held(desk.opened_session())
    first = desk.paying_for(booking)
    over_at_the_channel(first)
    assert desk.state(booking) == "held"
    desk.paid(cashiers, booking)
    late_money(cashiers, first)
    desk.refunds_done()
    assert desk.state(booking) == "confirmed"
    with begin() as session:
        refund = session.scalars(select(Refund).where(Refund.payment_id == first)).one()
    assert (refund.key, refund.state) == (f"late:{first}", "done")


@pytest.mark.req("PAY-4")
def test_cancelled_by_phone_the_money_goes_back_and_the_number_after_a_while(cashiers: Cashiers) -> None:
    clinic, who = desk.opened_session(1), desk.person()
    booking = desk.held(clinic, who)
    payment = desk.paid(cashiers, booking)
    with begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    with pytest.raises(Conflict, match="not_cancellable"), begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    with pytest.raises(Conflict, match="full"):
        desk.held(clinic)
    desk.waits_over()
    assert desk.held(clinic)
    assert desk.state(booking) == "cancelling"
    desk.refunds_done()
    assert desk.state(booking) == "cancelled"
    assert paying.payment(payment).reserved_fen == 5000


def test_given_up_while_paying_the_number_waits_for_the_channel(cashiers: Cashiers) -> None:
    clinic, who = desk.opened_session(1), desk.person()
    booking = desk.held(clinic, who)
    desk.paying_for(booking)
    with begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    assert desk.numbers(clinic) == {"held": 1}
    with begin() as session:
        session.execute(update(Payment).values(created_at=clock.now() - timedelta(minutes=20)))
    paying.sweep(2)
    work("registration")
    assert (desk.state(booking), desk.numbers(clinic)) == ("cancelled", {"free": 1})


def test_given_up_while_paying_and_paid_all_the_same_goes_back(cashiers: Cashiers) -> None:
    clinic, who = desk.opened_session(1), desk.person()
    booking = desk.held(clinic, who)
    payment = desk.paying_for(booking)
    with begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    paying.taps(cashiers, payment)
    paying.sweep(2)
    work("registration")
    desk.refunds_done()
    assert (desk.state(booking), desk.numbers(clinic)) == ("cancelled", {"free": 1})
    assert paying.payment(payment).reserved_fen == 5000


def test_too_late_for_the_phone_the_window_still_cancels(cashiers: Cashiers) -> None:
    desk.settle(cancel_before_minutes=7 * 24 * 60)
    who = desk.person()
    booking = desk.held(desk.opened_session(), who)
    payment = desk.paid(cashiers, booking)
    with pytest.raises(Conflict, match="cancel_too_late"), begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")
    with pytest.raises(Invalid, match="reason"), begin() as session:
        service.cancel(session, booking, "staff:1", " ")
    with begin() as session:
        service.cancel(session, booking, "staff:1", "患者到窗口退号", route="cash")
    work("registration")
    assert desk.state(booking) == "cancelled"
    with begin() as session:
        refund = session.scalars(select(Refund).where(Refund.payment_id == payment)).one()
    assert (refund.route, refund.state) == ("cash", "done")


@pytest.mark.req("REG-7")
def test_the_invoice_is_printed_once_and_then_only_the_window_cancels(cashiers: Cashiers) -> None:
    who = desk.person()
    booking = desk.held(desk.opened_session(), who)
    with pytest.raises(Conflict, match="nothing_to_invoice"), begin() as session:
        service.invoice(session, booking, number="0001", by="staff:1")
    desk.paid(cashiers, booking)
    with begin() as session:
        service.invoice(session, booking, number="0001", by="staff:1")
    with pytest.raises(Conflict, match="invoiced_before"), begin() as session:
        service.invoice(session, booking, number="0002", by="staff:2")
    with pytest.raises(Conflict, match="invoiced"), begin() as session:
        service.cancel(session, booking, f"account:{who[0]}", "")


def test_no_number_before_its_release_and_none_of_a_stopped_session(cashiers: Cashiers) -> None:
    early = desk.opened_session(release_at=clock.now() + timedelta(hours=1))
    with pytest.raises(Conflict, match="not_released"):
        desk.held(early)
    with pytest.raises(NotFound):
        desk.held(new_id())


def test_money_is_not_asked_for_in_the_last_two_minutes(cashiers: Cashiers) -> None:
    booking = desk.held(desk.opened_session())
    with begin() as session:
        session.execute(
            update(Booking).where(Booking.id == booking).values(hold_until=clock.now() + timedelta(seconds=90))
        )
    with pytest.raises(Conflict, match="too_late"):
        desk.paying_for(booking)


# ---------------------------------------------------------------------- many at once


def _at_once(many: int, act: Callable[[int], None]) -> list[str]:
    """All at the same moment; the refusals' codes."""
    line = threading.Barrier(many)
    codes: list[str] = []

    def run(number: int) -> None:
        line.wait(30)
        try:
            act(number)
        except Conflict as refusal:
            codes.append(refusal.code)

    crew = [threading.Thread(target=run, args=(each,)) for each in range(many)]
    for each in crew:
        each.start()
    for each in crew:
        each.join(60)
    return codes


def test_thirty_people_for_ten_numbers_ten_get_one_each(cashiers: Cashiers) -> None:
    clinic = desk.opened_session(10)
    people = [desk.person() for _ in range(30)]
    codes = _at_once(30, lambda number: desk.held(clinic, people[number]) and None)
    assert codes == ["registration.full"] * 20
    assert desk.numbers(clinic) == {"held": 10}
    assert desk.live_of(clinic) == 10


def test_read_then_write_beside_it_sells_numbers_twice(cashiers: Cashiers) -> None:
    """What the claim is measured against: if this sold no number twice, the test above could not fail."""
    clinic = desk.opened_session(10)
    sold: list[object] = []
    looked = threading.Barrier(30)

    def naive(_number: int) -> None:
        with begin() as session:
            first = session.scalar(
                select(Number)
                .where(Number.clinic_session_id == clinic, Number.state == "free")
                .order_by(Number.seq)
                .limit(1)
            )
            looked.wait(30)
            assert first is not None
            session.execute(update(Number).where(Number.id == first.id).values(state="held", booking_id=new_id()))
        sold.append(first.id)

    _at_once(30, naive)
    assert len(sold) > len(set(sold)) >= 1


def test_one_person_with_two_phones_gets_one_number(cashiers: Cashiers) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            clinic = desk.opened_session(5)
            _account, who = desk.person()
            phones = [(desk.person()[0], who) for _ in range(2)]
            ends = racing.race(pool, *(lambda phone=phone, clinic=clinic: desk.held(clinic, phone) for phone in phones))
            assert sorted(ends) == ["done", "registration.has_one"]
            assert desk.numbers(clinic) == {"free": 4, "held": 1}


def test_the_same_tap_twice_at_the_same_moment_is_one_booking(cashiers: Cashiers) -> None:
    """As when a server died after the commit and the phone asks the next one."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            clinic, who, key = desk.opened_session(5), desk.person(), str(new_id())
            found: list[uuid.UUID] = []

            def tap(
                clinic: uuid.UUID = clinic,
                who: tuple[uuid.UUID, uuid.UUID] = who,
                key: str = key,
                found: list[uuid.UUID] = found,
            ) -> None:
                found.append(desk.held(clinic, who, key=key))

            assert racing.race(pool, tap, tap) == ("done", "done")
            assert len(set(found)) == 1
            assert desk.numbers(clinic) == {"free": 4, "held": 1}


def test_expiry_against_payment_one_wins(cashiers: Cashiers) -> None:
    """Either the number is free and no payment was begun, or it is being paid and kept."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(15):
            clinic = desk.opened_session(1)
            booking = desk.held(clinic)
            payer = service.Payer("wechat", "wx-hospital", "1900000001", paying.PAYER, "account:1")

            def pay(booking: object = booking, payer: service.Payer = payer) -> None:
                with begin() as session:
                    service.pay_for(session, booking, payer, key=str(new_id()))  # type: ignore[arg-type]

            def over(booking: object = booking) -> None:
                with begin() as session:
                    row = session.scalars(select(Booking).where(Booking.id == booking).with_for_update()).one()
                    if row.state == "held":
                        row.hold_until = clock.now()
                        session.flush()
                        service.expire(session, row.id)

            racing.race(pool, pay, over)
            found = desk.booking(booking)
            assert (found.state, found.payment_id is None) in {("paying", False), ("expired", True)}
            assert desk.numbers(clinic) == ({"held": 1} if found.state == "paying" else {"free": 1})


def test_settled_and_closed_in_any_order_lose_nothing(cashiers: Cashiers) -> None:
    """The notice and the end of the hold at once: the number is the patient's, or the money is on its way back."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(8):
            clinic = desk.opened_session(1)
            booking = desk.held(clinic)
            payment = desk.paying_for(booking)
            desk.time_is_up(booking)
            order = paying.taps(cashiers, payment)
            racing.race(
                pool,
                lambda order=order: paying.notice(cashiers, order),
                lambda payment=payment: asking.ask(begin, payment),
            )
            work("registration")
            assert desk.state(booking) == "confirmed"
            assert desk.numbers(clinic) == {"sold": 1}
