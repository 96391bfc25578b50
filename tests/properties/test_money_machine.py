"""Whatever patients, cashiers, departments, the HIS and the channel do with bills in any order: the fen are right.

The model knows only the tables of moves; the channel's own book is the third party that everything is held against.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from cloud.billing import execution, intake, paying, refunding, rules, settling
from cloud.billing.model import (
    CHARGE_MOVES,
    ITEM_MOVES,
    Allocation,
    BillPayment,
    BillRefund,
    BillRefundLine,
    Charge,
    ChargeItem,
    ChargeState,
    ItemState,
)
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, Unavailable
from cloud.kit.ids import new_id
from cloud.payments import asking, refunds
from cloud.payments.contract import Unknown
from cloud.payments.model import LIVING, UNSETTLED, LedgerEntry, Payment, Refund
from simulators.money.book import Refusal
from tests.support import bills
from tests.support import paying as payments
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.work import work

WHO = bills.CASHIER
_numbers = itertools.count(1)
counted: Counter[str] = Counter()
place: list[tuple[Cashiers, uuid.UUID]] = []
"""The one hospital of this file: both cashiers and the patient."""


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[None]:
    with (
        pytest.MonkeyPatch.context() as patch,
        database_server.clone() as url,
        cloud_on(url, patch),
        running(patch) as cashiers,
    ):
        place[:] = [(cashiers, bills.person())]
        yield


class Money(RuleBasedStateMachine):
    """Bills, the payments of them, and what comes back."""

    charges = Bundle("charges")
    payments = Bundle("payments")

    @initialize(target=charges, fens=st.lists(st.integers(0, 5000), min_size=2, max_size=3))
    def morning(self, fens: list[int]) -> object:
        """Two bills, one of them paid."""
        self.cashiers, self.patient = place[0]
        bills.clean(self.cashiers)
        self.known = [bills.arisen(self.patient, *fens, 7, number=f"Z{next(_numbers)}") for _ in range(2)]
        bills.paid(self.cashiers, self.known[:1])
        return multiple(*self.known)

    @contextmanager
    def act(self) -> Iterator[None]:
        """A refusal leaves everything as it was; what passed moved along the tables only."""
        seen = self._read()
        refused = False
        try:
            yield
        except (Conflict, Invalid):
            refused = True
        now = self._read()
        if refused:
            assert now == seen
        for item, state in now[1].items():
            was = ItemState(seen[1].get(item, state))
            assert self._reachable(was, ItemState(state)), f"{was} to {state}"
        for charge, state in now[0].items():
            moved = ChargeState(seen[0].get(charge, state))
            assert state == moved or any(
                state == step or state in CHARGE_MOVES[step] for step in CHARGE_MOVES[moved]
            ), f"{moved} to {state}"

    @staticmethod
    def _reachable(was: ItemState, now: ItemState) -> bool:
        """One act may take two steps (taken over and paid at once); never out of an end."""
        return now == was or any(now == step or now in ITEM_MOVES[step] for step in ITEM_MOVES[was])

    def _read(self) -> tuple[dict[uuid.UUID, str], dict[uuid.UUID, str], int]:
        with begin() as session:
            charges = {each.id: each.state for each in session.scalars(select(Charge))}
            items = {each.id: each.state for each in session.scalars(select(ChargeItem))}
            asked = session.scalar(select(func.count()).select_from(BillRefund)) or 0
        return charges, items, asked

    # ------------------------------------------------------------------ bills

    @rule(target=charges, fens=st.lists(st.integers(0, 5000), min_size=1, max_size=3))
    def arise(self, fens: list[int]) -> uuid.UUID:
        charge_id = bills.arisen(self.patient, *fens, number=f"Z{next(_numbers)}")
        self.known.append(charge_id)
        return charge_id

    @rule(charge=charges, fen=st.integers(1, 5000))
    def say_it_otherwise(self, charge: uuid.UUID, fen: int) -> None:
        with self.act():
            bills.arisen(self.patient, fen, number=bills.charge(charge).number)

    @rule(charge=charges)
    def take_it_back(self, charge: uuid.UUID) -> None:
        number = bills.charge(charge).number
        with self.act(), begin() as session:
            intake.void(session, "his", number, by="his", reason="医嘱取消")

    @rule(charge=charges)
    def pay_it_at_the_his(self, charge: uuid.UUID) -> None:
        number = bills.charge(charge).number
        with self.act(), begin() as session:
            settling.paid_elsewhere(session, "his", number, at=clock.now(), receipt="R", by="his")

    # ------------------------------------------------------------------ paying

    @rule(
        target=payments,
        some=st.lists(charges, min_size=1, max_size=3, unique=True),
        family=st.booleans(),
        at_once=st.booleans(),
    )
    def begin_by_phone(self, some: list[uuid.UUID], family: bool, at_once: bool) -> object:
        payer = bills.Payer("account:2", "oDaughter") if family else bills.MINE
        free = all(bills.charge(each).state == ChargeState.PAYABLE for each in some)
        made: list[uuid.UUID] = []
        with self.act():
            made.append(bills.begun(some, payer))
        assert made or not free
        if made and at_once:
            self.tap_pay(made[0], 1)
            work("billing")
        return multiple(*made)

    @rule(payment=payments, tell=st.integers(0, 2))
    def pay_now(self, payment: uuid.UUID, tell: int) -> None:
        self.tap_pay(payment, tell)

    def tap_pay(self, payment: uuid.UUID, tell: int) -> None:
        """The person pays; the notice comes never, once or twice."""
        with suppress(Conflict, Unavailable, Refusal):
            asking.prepare(begin, payment, subject="门诊缴费", client_ip="203.0.113.9", return_url="http://127.0.0.1/p")
            order = payments.taps(self.cashiers, payment)
            for _ in range(tell):
                payments.notice(self.cashiers, order)

    @rule(payment=payments)
    def its_time_is_over(self, payment: uuid.UUID) -> None:
        if payments.payment(payment).state in UNSETTLED:
            payments.over(payment)

    @rule(payment=payments)
    def money_comes_late(self, payment: uuid.UUID) -> None:
        """The channel had closed it, and books money for it all the same."""
        found = payments.payment(payment)
        order = self.cashiers.wechat.book.orders.get(found.number)
        if found.state != "closed" or order is None or order.state == "paid":
            return
        order.state, order.expires_at = "unpaid", time.time() + 60
        assert payments.notice(self.cashiers, payments.taps(self.cashiers, payment)).status < 300

    @rule(share=st.sampled_from([0.0, 0.4]), failing=st.sampled_from([0.0, 0.5]))
    def the_channel_is_in_this_mood(self, share: float, failing: float) -> None:
        """Calls that get lost, before or behind their effect; refunds that it can't bring back."""
        self.cashiers.wechat.book.set_chaos(
            {"call_lost_before": share, "call_lost_after": share, "refund_failed": failing}
        )

    @rule()
    def at_the_window_stuck_refunds_are_paid_out(self) -> None:
        self.pay_out()

    def pay_out(self) -> None:
        with begin() as session:
            stuck = list(session.scalars(select(Refund.id).where(Refund.state == "stuck")))
        for refund_id in stuck:
            with suppress(Conflict, Unknown):
                refunds.pay_out(begin, refund_id, by=WHO, reason="银行卡已注销")

    @rule(payment=payments)
    def give_up(self, payment: uuid.UUID) -> None:
        with begin() as session:
            paying.give_up(session, payments.payment(payment).subject_id, by="account:1")

    @rule(some=st.lists(charges, min_size=1, max_size=2, unique=True), take_over=st.booleans())
    def pay_cash(self, some: list[uuid.UUID], take_over: bool) -> None:
        with self.act(), begin() as session:
            if take_over:
                paying.take_over(session, some, by=WHO, reason="手机没电")
            paying.take_cash(session, some, by=WHO, key=str(new_id()))

    @rule(charge=charges)
    def take_over(self, charge: uuid.UUID) -> None:
        """The window has it, and somebody else may pay it by phone next."""
        with self.act(), begin() as session:
            paying.take_over(session, [charge], by=WHO, reason="换一部手机付")

    @rule()
    def let_jobs_run(self) -> None:
        work("billing")

    @rule()
    def let_time_pass(self) -> None:
        bills.sweep(1)

    # ------------------------------------------------------------------ doing and giving back

    @rule(charge=charges, which=st.integers(0, 2), by_his=st.booleans())
    def do(self, charge: uuid.UUID, which: int, by_his: bool) -> None:
        items = bills.items(charge)
        item = items[which % len(items)]
        if by_his:
            with self.act(), begin() as session:
                execution.note(session, "his", bills.charge(charge).number, [item.line], by="his", at=clock.now())
            return
        done = False
        with self.act():
            with begin() as session:
                execution.execute(session, [item.id], by="staff:2")
            done = True
        assert done == (item.state == ItemState.PAID)

    @rule(charge=charges, which=st.integers(0, 2))
    def take_goods_back(self, charge: uuid.UUID, which: int) -> None:
        items = bills.items(charge)
        with self.act(), begin() as session:
            execution.undo(session, [items[which % len(items)].id], by="staff:2", reason="退药")

    @rule(charge=charges)
    def ask_back_by_phone(self, charge: uuid.UUID) -> None:
        with begin() as session:
            electronic = refunding.route_of(session, session.get_one(Charge, charge)).electronic
        under_way = {each.state for each in bills.items(charge)} == {"refunding"}
        asked = False
        with self.act():
            bills.asked_back(charge)
            asked = True
        assert asked == electronic or under_way

    @rule(charge=charges, which=st.integers(0, 2), route=st.sampled_from(["channel", "cash"]))
    def ask_back_at_the_window(self, charge: uuid.UUID, which: int, route: str) -> None:
        items = bills.items(charge)
        with self.act():
            bills.asked_back(charge, [items[which % len(items)].id], at_window=True, route=route)

    # ------------------------------------------------------------------ what is always so

    @invariant()
    def every_fen_has_its_place(self) -> None:
        if not self.known:
            return
        with begin() as session:
            items = {each.id: each for each in session.scalars(select(ChargeItem))}
            charges = {each.id: each for each in session.scalars(select(Charge))}
            shares = list(session.scalars(select(Allocation)))
            groups = list(session.scalars(select(BillPayment)))
            paid = {each.id: each for each in session.scalars(select(Payment))}
            returns = list(session.scalars(select(Refund)))
            lines = session.execute(
                select(BillRefundLine.item_id, BillRefundLine.fen, BillRefund.state, BillRefund.payment_id).join(
                    BillRefund, BillRefund.id == BillRefundLine.bill_refund_id
                )
            ).all()
            moved = Counter[uuid.UUID]()
            for entry in session.scalars(select(LedgerEntry)):
                moved[entry.payment_id] += entry.fen
        living = {each.item_id: each for each in lines if each.state != "dropped"}
        assert len(living) == sum(each.state != "dropped" for each in lines), "an item is refunded once"
        for item_id, item in items.items():
            line = living.get(item_id)
            assert (item.state == ItemState.REFUNDING) == (line is not None and line.state == "asked")
            assert (item.state == ItemState.REFUNDED) == (line is not None and line.state == "done")
        per_charge = Counter[uuid.UUID]()
        for share in shares:
            assert share.fen == items[share.item_id].fen
            per_charge[items[share.item_id].charge_id] += share.fen
        for charge_id, charge in charges.items():
            assert per_charge[charge_id] == (charge.total_fen if charge.paid_how == "payment" else 0)
        for group in groups:
            if group.state != "settled":
                assert not any(each.bill_payment_id == group.id for each in shares)
                continue
            back = sum(each.fen for each in lines if each.payment_id == group.payment_id and each.state != "dropped")
            assert group.allocated_fen + group.returned_fen == group.fen == paid[group.payment_id].paid_fen
            assert paid[group.payment_id].reserved_fen == group.returned_fen + back
        for payment_id, payment in paid.items():
            mine = [each for each in returns if each.payment_id == payment_id]
            assert payment.reserved_fen == sum(each.fen for each in mine if each.state in LIVING)
            gone = sum(each.fen for each in mine if each.state == "done")
            assert moved[payment_id] == (payment.paid_fen or 0) - gone >= 0

    def teardown(self) -> None:
        """At the evening everything is served, payable or back, and the channel's book says the same."""
        if not self.known:
            return
        self.cashiers.wechat.book.set_chaos({})
        for _ in range(30):
            bills.sweep(1)
            self.pay_out()
            with begin() as session:
                left = session.scalar(select(func.count()).select_from(Refund).where(Refund.state != "done"))
            if not left:
                break
        bills.sweep(1)
        self.every_fen_has_its_place()
        book = self.cashiers.wechat.book.totals()
        assert payments.ledger() == book["paid_fen"] - book["refunded_fen"]
        with begin() as session:
            states = set(session.scalars(select(Refund.state)))
            unsettled = list(
                session.scalars(
                    select(BillPayment.id)
                    .join(Payment, Payment.id == BillPayment.payment_id)
                    .where(Payment.state == "paid", BillPayment.state != "settled")
                )
            )
            standings = [
                rules.standing(each.state, [item.state for item in bills.items(each.id)])
                for each in session.scalars(select(Charge))
            ]
        counted.update(states)
        counted.update(standings)
        assert states <= {"done"}
        assert not unsettled
        assert rules.Standing.REFUNDING not in standings


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Money,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.req("PAY-1", "PAY-4", "PAY-5", "PAY-6")
def test_the_fen_are_right_whatever_happens(hospital: None) -> None:
    run(examples=8, steps=15)


@pytest.mark.slow
@pytest.mark.req("PAY-1", "PAY-4", "PAY-5", "PAY-6")
def test_the_fen_are_right_whatever_happens_for_a_long_time(hospital: None) -> None:
    run(examples=150, steps=40)
    assert min(counted[each] for each in (*rules.Standing, "done") if each not in ("paying", "refunding")) > 0
