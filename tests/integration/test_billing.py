"""Bills: taken in once, paid together, executed or refunded by the hospital's rules, and the fen always right."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from cloud.billing import execution, intake, paying, policy, record, refunding, settling
from cloud.billing.intake import ItemIn
from cloud.billing.model import Allocation, BillPayment, BillRefund, Charge
from cloud.his import bills as his_bills
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.payments import dropping, service
from cloud.payments.contract import Evidence
from cloud.payments.model import Payment, Refund
from tests.support import bills
from tests.support import paying as payments
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.work import work

pytestmark = pytest.mark.req("PAY-1", "PAY-4", "HIS-1")

DRUG = ItemIn("D1", "某某片", 1980, Decimal(3), 660, "盒", goods=True)


@pytest.fixture(scope="module")
def both(database_server: DatabaseServer) -> Iterator[Cashiers]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def wang(both: Cashiers) -> uuid.UUID:
    return bills.person()


@pytest.fixture
def cashiers(both: Cashiers) -> Cashiers:
    bills.clean(both)
    return both


def ids(charge_id: uuid.UUID) -> list[uuid.UUID]:
    return [each.id for each in bills.items(charge_id)]


def decided(key: str, value: int | None) -> None:
    with begin() as session:
        policy.set_value(session, key, value, by="staff:1", reason="院务会")


# ---------------------------------------------------------------------- taken in


def test_a_bill_said_twice_is_one(cashiers: Cashiers, wang: uuid.UUID) -> None:
    bill = bills.said(wang, 1500, 2500)
    for _ in range(3):
        with begin() as session:
            charge = intake.take_in(session, bill)
    assert (charge.total_fen, charge.version, bills.states(charge.id)) == (4000, 1, "payable: payable payable")
    assert bills.heard("billing.charge_arose") == 1


def test_another_content_replaces_a_bill_that_nobody_paid(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 1500, 2500, number="B-R")
    bills.arisen(wang, 1500, number="B-R")
    assert (bills.charge(charge_id).total_fen, bills.charge(charge_id).version) == (1500, 2)
    assert bills.states(charge_id) == "payable: payable"
    assert bills.heard("billing.charge_arose") == 2


def test_a_paid_bill_is_not_changed_and_a_person_is_asked(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 1500, number="B-P")
    bills.cash([charge_id])
    for _ in range(2):
        with pytest.raises(Conflict, match=r"charge\.paid"):
            bills.arisen(wang, 900, number="B-P")
    with begin() as session, pytest.raises(Conflict, match=r"charge\.paid"):
        intake.void(session, "his", "B-P", by="his", reason="医嘱取消")
    assert bills.charge(charge_id).total_fen == 1500
    assert payments.cases() == ["charge_changed_after_payment", "charge_voided_after_payment"]


def test_a_bill_in_somebodys_hands_is_not_changed_under_them(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 1500, number="B-H")
    bills.begun([charge_id])
    with pytest.raises(Conflict, match=r"charge\.paying"):
        bills.arisen(wang, 900, number="B-H")
    assert (bills.charge(charge_id).total_fen, payments.cases()) == (1500, [])


def test_a_bill_taken_back_is_not_paid_and_not_brought_back(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 1500, number="B-V")
    for _ in range(2):
        with begin() as session:
            intake.void(session, "his", "B-V", by="his", reason="医嘱取消")
    assert bills.states(charge_id) == "void: void"
    with pytest.raises(Conflict, match=r"charge\.void"):
        bills.begun([charge_id])
    with pytest.raises(Conflict, match=r"charge\.void"):
        bills.arisen(wang, 1600, number="B-V")
    with begin() as session:
        assert intake.void(session, "his", "unknown", by="his", reason="医嘱取消") is None


@pytest.mark.parametrize(
    ("items", "more", "code"),
    [
        ((), {}, "charge.no_items"),
        ((-100,), {}, "charge.amount"),
        ((ItemIn("A", "甲", 100, Decimal(0)),), {}, "charge.amount"),
        ((100,), {"kind": "nonsense"}, "charge.unreadable"),
        ((100,), {"source": "nobody"}, "charge.unreadable"),
        ((100,), {"number": " "}, "charge.unreadable"),
        ((ItemIn("A", " ", 100),), {}, "charge.item"),
        ((ItemIn("A", "甲", 100, line="1"), ItemIn("B", "乙", 100, line="1")), {}, "charge.item"),
    ],
)
def test_an_unreadable_bill_is_refused(
    cashiers: Cashiers, wang: uuid.UUID, items: tuple[ItemIn | int, ...], more: dict[str, str], code: str
) -> None:
    with pytest.raises(Invalid, match=code):
        bills.arisen(wang, *items, **more)


def test_a_number_belongs_to_one_patient(cashiers: Cashiers, wang: uuid.UUID) -> None:
    bills.arisen(wang, 1500, number="B-N")
    with pytest.raises(Conflict, match="of_another"):
        bills.arisen(bills.person("李建国"), 1500, number="B-N")


def test_what_costs_nothing_is_paid_as_it_comes(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 0, 0)
    assert (bills.states(charge_id), bills.charge(charge_id).paid_how) == ("paid: paid paid", "free")


# ---------------------------------------------------------------------- paid together


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_several_bills_are_one_payment_that_is_allocated_to_the_fen(
    cashiers: Cashiers, wang: uuid.UUID, channel: str
) -> None:
    chosen = [bills.arisen(wang, 1501, 333), bills.arisen(wang, DRUG), bills.arisen(wang, 0, 7)]
    payment_id = bills.paid(cashiers, chosen, bills.Payer(channel=channel))
    assert [bills.states(each) for each in chosen] == ["paid: paid paid", "paid: paid", "paid: paid paid"]
    with begin() as session:
        shares = {each.item_id: each.fen for each in session.scalars(select(Allocation))}
    assert shares == {item.id: item.fen for each in chosen for item in bills.items(each)}
    assert sum(shares.values()) == payments.payment(payment_id).paid_fen == 3821
    assert bills.heard("billing.charge_paid") == 3


def test_a_second_tap_is_the_same_payment(cashiers: Cashiers, wang: uuid.UUID) -> None:
    chosen = [bills.arisen(wang, 100), bills.arisen(wang, 200)]
    first = bills.begun(chosen, key="tap")
    assert bills.begun(chosen, key="tap") == bills.begun(list(reversed(chosen)), key="another tap") == first
    with pytest.raises(Conflict, match="key_used"):
        bills.begun(chosen[:1], key="tap")


def test_a_bill_is_in_one_persons_hands(cashiers: Cashiers, wang: uuid.UUID) -> None:
    mine, ours = bills.arisen(wang, 100), bills.arisen(wang, 200)
    bills.begun([ours])
    daughter = bills.Payer(payer_key="account:2", payer="oDaughter")
    with pytest.raises(Conflict, match=r"charge\.paying"):
        bills.begun([mine, ours], daughter)
    assert bills.states(mine) == "payable: payable"
    bills.begun([mine], daughter)


def test_another_sum_than_was_shown_is_not_paid(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 100)
    with begin() as session, pytest.raises(Conflict, match=r"charge\.changed"):
        paying.begin(session, [charge_id], bills.MINE, key="k", by="account:1", expected_fen=90)
    with begin() as session, pytest.raises(Invalid, match="none_chosen"):
        paying.begin(session, [], bills.MINE, key="k", by="account:1")
    with begin() as session, pytest.raises(NotFound):
        paying.begin(session, [uuid.uuid4()], bills.MINE, key="k", by="account:1")
    big = bills.arisen(wang, 100_000_01)
    with begin() as session, pytest.raises(Invalid, match=r"payment\.amount"):
        paying.begin(session, [big], bills.MINE, key="k", by="account:1")


def test_a_payment_given_up_lets_its_bills_go_when_its_channel_has_closed_it(
    cashiers: Cashiers, wang: uuid.UUID
) -> None:
    charge_id = bills.arisen(wang, 100)
    payment_id = bills.begun([charge_id])
    with begin() as session:
        paying.give_up(session, payments.payment(payment_id).subject_id, by="account:1")
        paying.release(
            session, payments.payment(payment_id).subject_id
        )  # said too early: the channel may still take it
    assert bills.states(charge_id) == "paying: paying"
    bills.sweep()
    assert bills.states(charge_id) == "payable: payable"
    bills.paid(cashiers, [charge_id])
    assert bills.states(charge_id) == "paid: paid"


def test_late_money_pays_a_bill_that_is_still_open(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 100)
    late(charge_id)
    assert bills.states(charge_id) == "paid: paid"
    assert (payments.ledger(), bills.heard("billing.money_returned")) == (100, 0)


def late(*charge_ids: uuid.UUID, meanwhile: Callable[[], None] = lambda: None) -> uuid.UUID:
    """A payment that was closed, and for which money comes all the same."""
    payment_id = bills.begun(charge_ids)
    with begin() as session:
        session.execute(update(Payment).where(Payment.id == payment_id).values(state="closed", ask_at=None))
    bills.sweep()
    meanwhile()
    with begin() as session:
        found = session.get_one(Payment, payment_id)
        evidence = Evidence(found.number, found.fen, "CNY", found.app_id, found.merchant_id, (), "4200", clock.now())
        service.settle(session, found.channel, evidence, by="bill")
    work("billing")
    return payment_id


@pytest.mark.parametrize("how", ["window", "elsewhere", "changed", "void"])
def test_late_money_for_a_bill_that_is_gone_goes_back_by_itself_once(
    cashiers: Cashiers, wang: uuid.UUID, how: str
) -> None:
    gone, open_ = bills.arisen(wang, 700, number="B-L"), bills.arisen(wang, 40)

    def meanwhile() -> None:
        if how == "window":
            bills.cash([gone])
        elif how == "elsewhere":
            with begin() as session:
                settling.paid_elsewhere(session, "his", "B-L", at=clock.now(), receipt="R1", by="his")
        elif how == "changed":
            bills.arisen(wang, 800, number="B-L")
        else:
            with begin() as session:
                intake.void(session, "his", "B-L", by="his", reason="医嘱取消")

    payment_id = late(gone, open_, meanwhile=meanwhile)
    with begin() as session:
        group = session.get_one(BillPayment, payments.payment(payment_id).subject_id)
        settling.settle(session, group.id)
        [refund] = session.scalars(select(Refund).where(Refund.payment_id == payment_id))
    assert (group.state, group.allocated_fen, group.returned_fen) == ("settled", 40, 700)
    assert (refund.fen, refund.key) == (700, f"bills:{group.id}:returned")
    assert bills.states(open_) == "paid: paid"
    assert bills.heard("billing.money_returned") == 1


def test_the_window_takes_a_bill_over_from_a_phone(cashiers: Cashiers, wang: uuid.UUID) -> None:
    mine, other = bills.arisen(wang, 700), bills.arisen(wang, 40)
    payment_id = bills.begun([mine, other])
    with pytest.raises(Conflict, match=r"charge\.paying"):
        bills.cash([mine])
    with begin() as session, pytest.raises(Invalid):
        paying.take_over(session, [mine], by=bills.CASHIER, reason=" ")
    with begin() as session:
        paying.take_over(session, [mine], by=bills.CASHIER, reason="手机没电")
    bills.cash([mine])
    assert (bills.states(mine), bills.states(other)) == ("paid: paid", "paying: paying")
    bills.settled(cashiers, payment_id)
    bills.sweep()
    assert (bills.payment_of(mine).channel, bills.payment_of(other).channel) == ("cash", "wechat")
    assert (payments.ledger(), cashiers.wechat.book.totals()["refunded_fen"]) == (40, 700)


def test_money_of_who_held_a_bill_before_does_not_pay_it_for_who_holds_it_now(
    cashiers: Cashiers, wang: uuid.UUID
) -> None:
    charge_id = bills.arisen(wang, 700)
    first = bills.begun([charge_id])
    with begin() as session:
        paying.take_over(session, [charge_id], by=bills.CASHIER, reason="换女儿的手机付")
    second = bills.begun([charge_id], bills.Payer("account:2", "oDaughter"))
    bills.settled(cashiers, first)
    assert bills.states(charge_id) == "paying: paying"
    bills.settled(cashiers, second)
    bills.sweep()
    assert (bills.states(charge_id), bills.payment_of(charge_id).id) == ("paid: paid", second)
    assert (payments.ledger(), cashiers.wechat.book.totals()["refunded_fen"]) == (700, 700)


def test_paid_at_the_hospitals_own_window_while_a_phone_has_it(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, number="B-E")
    payment_id = bills.begun([charge_id])
    for _ in range(2):
        with begin() as session:
            settling.paid_elsewhere(session, "his", "B-E", at=clock.now(), receipt="R9", by="his")
    bills.settled(cashiers, payment_id)
    bills.sweep()
    assert (bills.states(charge_id), bills.charge(charge_id).paid_how) == ("paid: paid", "elsewhere")
    assert (payments.ledger(), cashiers.wechat.book.totals()["refunded_fen"]) == (0, 700)
    with pytest.raises(Conflict, match="not_ours"):
        bills.asked_back(charge_id, at_window=True)


def test_a_bill_paid_here_and_there_wants_a_person(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, number="B-T")
    bills.cash([charge_id])
    with begin() as session, pytest.raises(Conflict, match=r"charge\.paid"):
        settling.paid_elsewhere(session, "his", "B-T", at=clock.now(), receipt="R9", by="his")
    assert payments.cases() == ["charge_paid_twice"]
    with begin() as session, pytest.raises(NotFound):
        settling.paid_elsewhere(session, "his", "none", at=clock.now(), receipt="R9", by="his")


def test_cash_taken_twice_by_one_submit_is_taken_once(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700)
    assert bills.cash([charge_id], "k") == bills.cash([charge_id], "k")
    assert payments.ledger("cash") == 700
    with pytest.raises(Conflict, match=r"charge\.paid"):
        bills.cash([charge_id])


def test_an_invoice_is_printed_once(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700)
    with begin() as session, pytest.raises(Conflict, match="invoiced"):
        paying.invoice(session, charge_id, "F1", by=bills.CASHIER)
    bills.paid(cashiers, [charge_id])
    with begin() as session:
        paying.invoice(session, charge_id, "F1", by=bills.CASHIER)
    with begin() as session, pytest.raises(Conflict, match="invoiced"):
        paying.invoice(session, charge_id, "F2", by=bills.CASHIER)
    assert route(charge_id) == "window:invoiced"


# ---------------------------------------------------------------------- executed


def test_an_item_is_executed_once_and_only_when_paid(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, 40)
    first, second = ids(charge_id)
    place = bills.department()

    def do(*chosen: uuid.UUID) -> None:
        with begin() as session:
            execution.execute(session, chosen, by="staff:2", department_id=place)

    with pytest.raises(Conflict, match=r"charge_item\.payable"):
        do(first)
    bills.cash([charge_id])
    do(first)
    with pytest.raises(Conflict, match=r"charge_item\.executed"):
        do(second, first)
    assert bills.states(charge_id) == "paid: executed paid"
    with pytest.raises(NotFound):
        do(uuid.uuid4())
    assert (bills.items(charge_id)[0].executed_in, bills.heard("billing.items_executed")) == (place, 1)


def test_what_was_done_before_it_was_paid_is_executed_when_it_is(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, 40, number="B-D")
    with begin() as session:
        execution.note(session, "his", "B-D", ["1"], by="his", at=clock.now())
    assert bills.states(charge_id) == "payable: payable payable"
    with pytest.raises(Conflict, match=r"charge\.executed"):
        bills.arisen(wang, 41, number="B-D")
    bills.cash([charge_id])
    assert bills.states(charge_id) == "paid: executed paid"


def test_the_hospitals_word_that_it_was_done_is_never_refused(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, 40, number="B-W")
    bills.paid(cashiers, [charge_id])
    bills.asked_back(charge_id, ids(charge_id)[:1], at_window=True)
    with begin() as session:
        execution.note(session, "his", "B-W", None, by="his", at=clock.now())
    assert bills.states(charge_id) == "paid: refunding executed"
    assert payments.cases() == ["executed_after_refund"]


def test_an_execution_is_taken_back_with_a_reason(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700)
    bills.cash([charge_id])
    chosen = ids(charge_id)
    with begin() as session, pytest.raises(Conflict, match=r"charge_item\.paid"):
        execution.undo(session, chosen, by="staff:2", reason="误扫")
    with begin() as session:
        execution.execute(session, chosen, by="staff:2")
    with begin() as session, pytest.raises(Invalid):
        execution.undo(session, chosen, by="staff:2", reason=" ")
    with begin() as session:
        execution.undo(session, chosen, by="staff:2", reason="退药")
    [item] = bills.items(charge_id)
    assert (item.state, item.undone, item.executed_at) == ("paid", 1, None)


# ---------------------------------------------------------------------- refunded


def route(charge_id: uuid.UUID) -> str:
    with begin() as session:
        found = refunding.route_of(session, record.charge(session, charge_id))
    return f"{found.way}:{found.why}" if found.why else str(found.way)


def test_a_whole_untouched_bill_goes_back_by_phone_once(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, 40)
    bills.paid(cashiers, [charge_id, bills.arisen(wang, 5)])
    assert route(charge_id) == "electronic"
    asked = bills.asked_back(charge_id)
    assert bills.asked_back(charge_id) == asked
    assert (bills.states(charge_id), route(charge_id)) == ("paid: refunding refunding", "none:under_way")
    bills.sweep()
    assert (bills.states(charge_id), route(charge_id)) == ("paid: refunded refunded", "none:all_returned")
    assert (payments.ledger(), cashiers.wechat.book.totals()["refunded_fen"]) == (5, 740)
    with begin() as session:
        refunding.arrived(session, asked)
    assert bills.heard("billing.items_refunded") == 1
    with pytest.raises(Conflict, match=r"refund\.window"):
        bills.asked_back(charge_id)


def test_what_the_phone_may_not_give_back_goes_to_the_window(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, DRUG, 40)
    assert route(charge_id) == "none:not_paid"
    bills.paid(cashiers, [charge_id])
    drug, other = ids(charge_id)
    with pytest.raises(Conflict, match=r"refund\.window"):
        bills.asked_back(charge_id, [other])
    with begin() as session:
        execution.execute(session, [drug], by="staff:3")
    assert route(charge_id) == "window:goods"
    with pytest.raises(Conflict, match=r"refund\.window"):
        bills.asked_back(charge_id)
    with pytest.raises(Conflict, match=r"charge_item\.executed"):
        bills.asked_back(charge_id, [drug], at_window=True)
    bills.asked_back(charge_id, [other], at_window=True)
    with begin() as session:
        execution.undo(session, [drug], by="staff:3", reason="退药")
    bills.asked_back(charge_id, [drug], at_window=True, route="cash")
    assert bills.states(charge_id) == "paid: refunded refunding"
    bills.sweep()
    assert bills.states(charge_id) == "paid: refunded refunded"
    assert (payments.ledger(), payments.ledger("cash")) == (1980, -1980)


def test_the_phone_gives_back_within_the_time_only(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700)
    bills.paid(cashiers, [charge_id])
    with begin() as session:
        session.execute(text("ALTER TABLE charge DISABLE TRIGGER charge_moves"))
        session.execute(update(Charge).values(paid_at=clock.now() - timedelta(days=2)))
        session.execute(text("ALTER TABLE charge ENABLE TRIGGER charge_moves"))
    assert route(charge_id) == "window:late"
    decided("refund_days", 2)
    assert route(charge_id) == "electronic"
    decided("refund_days", None)
    assert route(charge_id) == "window:switched_off"


def test_cash_goes_back_as_cash_at_the_window(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, 0)
    bills.cash([charge_id])
    assert route(charge_id) == "window:paid_at_window"
    with pytest.raises(Conflict, match="cash_only"):
        bills.asked_back(charge_id, at_window=True)
    with pytest.raises(Invalid, match=r"refund\.route"):
        bills.asked_back(charge_id, route="cash")
    bills.asked_back(charge_id, at_window=True, route="cash")
    assert (bills.states(charge_id), payments.ledger("cash")) == ("paid: refunded refunded", 0)
    with pytest.raises(Conflict, match="nothing"):
        bills.asked_back(charge_id, at_window=True, route="cash")


def test_an_item_that_costs_nothing_goes_back_without_money(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700, 0)
    bills.paid(cashiers, [charge_id])
    bills.asked_back(charge_id, ids(charge_id)[1:], at_window=True)
    assert bills.states(charge_id) == "paid: paid refunded"


def test_a_refund_shows_how_far_it_is(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 700)
    bills.paid(cashiers, [charge_id])
    bills.asked_back(charge_id)

    def stage() -> str:
        with begin() as session:
            return refunding.refunds_of(session, charge_id)[0].stage

    assert stage() == "asked"
    bills.sweep()
    assert stage() == "arrived"


def test_a_refund_given_up_leaves_its_items_as_they_were(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 100)
    bills.paid(cashiers, [charge_id])
    asked = bills.asked_back(charge_id)
    with begin() as session:
        refund_id = session.get_one(BillRefund, asked).refund_id
        with pytest.raises(Conflict, match="not_dropped"):
            refunding.dropped(session, asked, by="staff:1", reason="不退了")
    assert refund_id is not None
    dropping.drop(begin, refund_id, by=bills.CASHIER, reason="患者改主意了")
    work("billing")
    assert bills.states(charge_id) == "paid: paid"
    with begin() as session:
        assert [each.stage for each in refunding.refunds_of(session, charge_id)] == ["dropped"]
    assert bills.heard("billing.refund_dropped") == 1
    bills.asked_back(charge_id)
    bills.sweep()
    assert bills.states(charge_id) == "paid: refunded"
    assert cashiers.wechat.book.totals()["refunds"] == 1


def test_money_that_goes_back_by_itself_is_never_dropped(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id = bills.arisen(wang, 100, number="GONE-1")
    payment_id = bills.begun([charge_id])
    with begin() as session:
        settling.paid_elsewhere(session, "his", "GONE-1", at=clock.now(), receipt="R1", by="his")
    bills.settled(cashiers, payment_id)
    with begin() as session:
        refund = session.scalars(select(Refund).where(Refund.payment_id == payment_id)).one()
    with pytest.raises(Conflict, match="not_droppable"):
        dropping.drop(begin, refund.id, by=bills.CASHIER, reason="不退了")


def test_the_his_hears_which_bill_its_money_did_not_pay(cashiers: Cashiers, wang: uuid.UUID) -> None:
    kept, gone = bills.arisen(wang, 100, number="KEPT-1"), bills.arisen(wang, 70, number="GONE-2")
    payment_id = bills.begun([kept, gone])
    with begin() as session:
        settling.paid_elsewhere(session, "his", "GONE-2", at=clock.now(), receipt="R1", by="his")
    bills.settled(cashiers, payment_id)
    with begin() as session:
        payment = session.get_one(Payment, payment_id)
        refund = session.scalars(select(Refund).where(Refund.payment_id == payment_id)).one()
        paid, back = his_bills.concerned(session, payment, None), his_bills.concerned(session, payment, refund)
    assert paid is not None
    assert back is not None
    assert [each.number for each in paid.concerns] == ["GONE-2", "KEPT-1"]
    assert ([each.number for each in back.concerns], refund.fen) == (["GONE-2"], 70)


def test_a_refund_wants_a_reason_and_items_of_this_bill(cashiers: Cashiers, wang: uuid.UUID) -> None:
    charge_id, other = bills.arisen(wang, 700), bills.arisen(wang, 5)
    bills.paid(cashiers, [charge_id, other])
    with begin() as session, pytest.raises(Invalid, match="reason"):
        refunding.ask(session, charge_id, by="account:1", reason="")
    with pytest.raises(Invalid, match="no_items"):
        bills.asked_back(charge_id, ids(other), at_window=True)
    with pytest.raises(Conflict, match="not_ours"):
        bills.asked_back(bills.arisen(wang, 5), at_window=True)


# ---------------------------------------------------------------------- the hospital's decisions


def test_settings_are_decided_within_their_span_and_with_a_reason(cashiers: Cashiers) -> None:
    with begin() as session:
        assert policy.values(session) == {"refund_days": 0, "hold_minutes": 15, "refuse_unpaid_specimens": 0}
    for key, value, reason in (
        ("hold_minutes", 6, "x"),
        ("hold_minutes", None, "x"),
        ("refund_days", 181, "x"),
        ("nonsense", 1, "x"),
        ("refund_days", 1, " "),
    ):
        with begin() as session, pytest.raises(Invalid):
            policy.set_value(session, key, value, by="staff:1", reason=reason)
    decided("hold_minutes", 30)
    with begin() as session:
        assert policy.hold_minutes(session) == 30


# ---------------------------------------------------------------------- what the database itself holds


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE charge SET state = 'payable', paid_how = NULL",
        "UPDATE charge SET total_fen = 1",
        "UPDATE charge SET payment_id = NULL",
        "UPDATE charge_item SET state = 'payable'",
        "UPDATE charge_item SET state = 'refunded'",
        "UPDATE charge_item SET fen = 1",
        "UPDATE charge_item SET quantity = 2",
        "UPDATE charge_allocation SET fen = 1",
        "UPDATE charge_allocation SET refunded_fen = fen + 1",
        "DELETE FROM charge_allocation",
        "UPDATE bill_payment SET state = 'closed'",
        "UPDATE bill_payment SET returned_fen = 1",
        "INSERT INTO charge_allocation (id, created_at, bill_payment_id, payment_id, item_id, fen, refunded_fen)"
        " SELECT gen_random_uuid(), now(), bill_payment_id, payment_id, item_id, fen, 0 FROM charge_allocation",
        "INSERT INTO charge_item (id, charge_id, version, line, position, code, name, spec, unit, quantity, price_fen,"
        " fen, goods, state, undone) SELECT gen_random_uuid(), id, 1, 'x', 9, 'x', 'x', '', '', 1, 1, 1, false,"
        " 'paid', 0 FROM charge",
    ],
)
def test_the_database_refuses_what_would_make_money_wrong(cashiers: Cashiers, wang: uuid.UUID, statement: str) -> None:
    bills.cash([bills.arisen(wang, 700, 40)])
    with pytest.raises(DBAPIError), begin() as session:
        session.execute(text(statement))


def test_an_executed_item_cannot_be_frozen_nor_a_frozen_one_executed_by_anybody(
    cashiers: Cashiers, wang: uuid.UUID
) -> None:
    charge_id = bills.arisen(wang, 700, 40)
    bills.cash([charge_id])
    first, second = ids(charge_id)
    with begin() as session:
        execution.execute(session, [first], by="staff:2")
    asked = bills.asked_back(charge_id, [second], at_window=True, route="cash")
    for item, state in ((first, "refunding"), (first, "paid"), (second, "executed"), (second, "paid")):
        with pytest.raises(DBAPIError), begin() as session:
            session.execute(
                text("UPDATE charge_item SET state = :state, executed_at = now() WHERE id = :id"),
                {"state": state, "id": item},
            )
    with pytest.raises(DBAPIError), begin() as session:
        session.execute(
            text(
                "INSERT INTO bill_refund_line (id, bill_refund_id, item_id, fen, dropped)"
                " VALUES (gen_random_uuid(), :refund, :item, 701, false)"
            ),
            {"refund": asked, "item": first},
        )
