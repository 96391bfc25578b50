"""Executing and refunding at the same moment: one wins, every time; and what the laboratory's receipt executes."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from sqlalchemy import func, select

from cloud.billing import execution, policy
from cloud.billing.intake import ItemIn
from cloud.billing.model import Allocation, BillRefundLine, ChargeItem
from cloud.billing.rules import order_key
from cloud.kit.db import begin
from cloud.kit.errors import Conflict
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens import adding, lookup, refusal, undoing
from cloud.lis.specimens import service as specimens
from cloud.payments.model import Payment
from tests.support import bills
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.lab import Lab, open_lab, order, react
from tests.support.racing import race

pytestmark = pytest.mark.req("PAY-4")

HEAD_START_S = 0.002
FAIR = 1000
"""So many races must have been won by either side a fifth of the time; of a few, chance alone decides."""
THOUSAND = pytest.param(1000, marks=pytest.mark.slow)


@dataclass(frozen=True, slots=True)
class Hospital:
    lab: Lab
    cashiers: Cashiers


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[Hospital]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone(database_server.furnished) as url,
        cloud_on(url, patched),
        running(patched) as cashiers,
    ):
        yield Hospital(open_lab(), cashiers)


@pytest.fixture(scope="module")
def two() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(autouse=True)
def empty(hospital: Hospital) -> None:
    bills.clean(hospital.cashiers)


def paid_together(hospital: Hospital, charges: Sequence[uuid.UUID]) -> None:
    for at in range(0, len(charges), 50):
        bills.paid(hospital.cashiers, charges[at : at + 50])


def race_all(
    two: ThreadPoolExecutor, charges: Sequence[uuid.UUID], do: Callable[[uuid.UUID], Callable[[], object]]
) -> Counter[tuple[str, str]]:
    """How the races of doing each charge's work against its patient's refund ended, counted.

    The two need not the same time to come to the item: who came first last time comes a little later this time, so that
    they meet there more often than not.
    """
    ends: Counter[tuple[str, str]] = Counter()
    late = {"done": 0.0, "back": 0.0}
    drawn = random.Random(1)
    for charge_id in charges:

        def done(act: Callable[[], object] = do(charge_id)) -> None:
            time.sleep(late["done"] * drawn.random())
            act()

        def back(chosen: uuid.UUID = charge_id) -> None:
            time.sleep(late["back"] * drawn.random())
            bills.asked_back(chosen)

        ended = race(two, done, back)
        ends[ended] += 1
        first, other = ("done", "back") if ended[0] == "done" else ("back", "done")
        late[other] = max(late[other] - HEAD_START_S, 0.0)
        late[first] += HEAD_START_S if late[other] == 0 else 0.0
    print(f"{len(charges)} races:", dict(ends))
    if len(charges) >= FAIR:
        done = sum(count for end, count in ends.items() if end[0] == "done")
        assert min(done, len(charges) - done) >= len(charges) // 5, "they did not meet"
    return ends


def the_money_is_right(hospital: Hospital, charges: Sequence[uuid.UUID]) -> None:
    """Every item is executed or frozen, never both, never neither; what goes back is what was frozen."""
    with begin() as session:
        items = list(session.scalars(select(ChargeItem)))
        taken = session.scalar(select(func.sum(BillRefundLine.fen))) or 0
        allocated = session.scalar(select(func.sum(Allocation.fen)))
        reserved = session.scalar(select(func.sum(Payment.reserved_fen)))
    assert {each.state for each in items} <= {"executed", "refunding"}
    assert len(items) == len(charges)
    frozen = sum(each.fen for each in items if each.state == "refunding")
    assert (taken, reserved) == (frozen, frozen)
    assert allocated == sum(each.fen for each in items)


@pytest.mark.parametrize("many", [60, THOUSAND])
def test_a_department_and_a_refund_at_once_one_wins(hospital: Hospital, two: ThreadPoolExecutor, many: int) -> None:
    charges = [bills.arisen(hospital.lab.wang, 100 + at, kind="exam") for at in range(many)]
    paid_together(hospital, charges)
    place = bills.department()
    items = {each: [item.id for item in bills.items(each)] for each in charges}

    def do(charge_id: uuid.UUID) -> Callable[[], object]:
        def executed() -> None:
            with begin() as session:
                execution.execute(session, items[charge_id], by="staff:9", department_id=place)

        return executed

    ends = race_all(two, charges, do)
    assert sum(ends.values()) == many
    assert set(ends) <= {
        ("done", "refund.window"),
        ("done", "charge_item.executed"),
        ("charge_item.refunding", "done"),
    }, ends
    the_money_is_right(hospital, charges)


@pytest.mark.req("LIS-9")
@pytest.mark.parametrize("many", [30, THOUSAND])
def test_the_laboratorys_receipt_and_a_refund_at_once_one_wins(
    hospital: Hospital, two: ThreadPoolExecutor, many: int
) -> None:
    tubes: dict[uuid.UUID, str] = {}
    for at in range(many):
        accession, placer = tube(hospital.lab)
        tubes[
            bills.arisen(hospital.lab.wang, ItemIn("CBC", "血常规", 100 + at, order_key=order_key("his", placer)))
        ] = accession
    paid_together(hospital, list(tubes))

    def do(charge_id: uuid.UUID) -> Callable[[], object]:
        def received() -> None:
            with begin() as session:
                specimens.receive(session, tubes[charge_id], by="staff:8")

        return received

    ends = race_all(two, list(tubes), do)
    assert sum(ends.values()) == many
    assert set(ends) <= {
        ("done", "refund.window"),
        ("done", "charge_item.executed"),
        ("charge_item.going_back", "done"),
    }, ends
    the_money_is_right(hospital, list(tubes))
    with begin() as session:
        received = session.scalar(
            select(func.count()).select_from(OrderItem).where(OrderItem.state == ItemState.RECEIVED)
        )
        executed = session.scalar(select(func.count()).select_from(ChargeItem).where(ChargeItem.state == "executed"))
    assert executed == sum(count for end, count in ends.items() if end[0] == "done")
    assert (received or 0) >= (executed or 0)


# ---------------------------------------------------------------------- what else a receipt does


def tube(lab: Lab, *items: str) -> tuple[str, str]:
    """A labelled tube of a new order: its accession, and the placer's number of the order."""
    with begin() as session:
        placed = order(session, lab, items or ("CBC",))
        return specimens.print_labels(session, placed.id, by="system")[0].accession, placed.placer_number


def received(accession: str) -> None:
    with begin() as session:
        specimens.receive(session, accession, by="staff:8")


def billed(hospital: Hospital, placer: str, *codes: str) -> uuid.UUID:
    lines = [ItemIn(code or "ALL", code or "全部", 1000, order_key=order_key("his", placer, code)) for code in codes]
    return bills.arisen(hospital.lab.wang, *lines)


@pytest.mark.req("LIS-9")
def test_an_unpaid_tube_is_received_and_marked_or_refused_as_the_hospital_decides(hospital: Hospital) -> None:
    accession, placer = tube(hospital.lab)
    charge_id = billed(hospital, placer, "")
    with begin() as session:
        policy.set_value(session, "refuse_unpaid_specimens", 1, by="staff:1", reason="院务会")
    with pytest.raises(Conflict, match=r"charge_item\.unpaid"):
        received(accession)
    with begin() as session:
        policy.set_value(session, "refuse_unpaid_specimens", 0, by="staff:1", reason="院务会")
    received(accession)
    with begin() as session:
        [line] = [
            each
            for each in lookup.history(session, specimens.by_barcode(session, accession).id)
            if each.type == "received"
        ]
    assert line.detail["unpaid"] == ["全部"]
    assert bills.heard("billing.items_executed") == 1
    assert bills.states(charge_id) == "payable: payable"
    bills.cash([charge_id])
    assert bills.states(charge_id) == "paid: executed"


def test_a_tube_whose_money_went_back_is_not_received(hospital: Hospital) -> None:
    accession, placer = tube(hospital.lab)
    charge_id = billed(hospital, placer, "CBC")
    bills.paid(hospital.cashiers, [charge_id])
    bills.asked_back(charge_id)
    with pytest.raises(Conflict, match="going_back"):
        received(accession)
    bills.sweep()
    assert bills.states(charge_id) == "paid: refunded"
    with pytest.raises(Conflict, match="going_back"):
        received(accession)
    with begin() as session:
        assert specimens.by_barcode(session, accession).state == "printed"


def test_a_bill_that_comes_after_its_tube_knows_what_was_done(hospital: Hospital) -> None:
    accession, placer = tube(hospital.lab)
    received(accession)
    before = bills.heard("billing.items_executed")
    charge_id = billed(hospital, placer, "CBC", "ALT")
    assert bills.heard("billing.items_executed") == before + 1
    bills.cash([charge_id])
    assert bills.states(charge_id) == "paid: executed paid"
    assert bills.heard("billing.items_executed") == before + 1


def test_only_what_stands_on_the_tube_is_executed(hospital: Hospital) -> None:
    with begin() as session:
        placed = order(session, hospital.lab, ("CBC", "ALT"))
        tubes = specimens.print_labels(session, placed.id, by="system")
        assert len(tubes) == 2
        first = next(
            each.accession
            for each in tubes
            if any(item.panel_id is not None for item in specimens.live_items(session, each.id))
        )
    charge_id = billed(hospital, placed.placer_number, "CBC", "ALT")
    bills.cash([charge_id])
    received(first)
    assert bills.states(charge_id) == "paid: executed paid"


def test_a_reception_undone_gives_the_items_back(hospital: Hospital) -> None:
    accession, placer = tube(hospital.lab)
    charge_id = billed(hospital, placer, "CBC")
    bills.cash([charge_id])
    received(accession)
    with begin() as session:
        undoing.undo_reception(session, accession, by="staff:8", reason="误扫")
    assert bills.states(charge_id) == "paid: paid"
    received(accession)
    assert (bills.states(charge_id), bills.items(charge_id)[0].undone) == ("paid: executed", 1)


@pytest.mark.parametrize("recollect", [True, False])
def test_a_refused_tube_gives_the_items_back_only_where_nothing_is_drawn_again(
    hospital: Hospital, recollect: bool
) -> None:
    accession, placer = tube(hospital.lab)
    charge_id = billed(hospital, placer, "CBC")
    bills.cash([charge_id])
    received(accession)
    with begin() as session:
        refused = refusal.reject(session, accession, by="staff:8", reason_code="clotted", recollect=recollect)
    react()
    assert bills.states(charge_id) == ("paid: executed" if recollect else "paid: paid")
    if refused.replacement is not None:
        received(refused.replacement.accession)
        assert bills.states(charge_id) == "paid: executed"


def test_tests_added_on_a_received_tube_execute_their_bill(hospital: Hospital) -> None:
    accession, placer = tube(hospital.lab, "ALT")
    received(accession)
    charge_id = billed(hospital, placer, "AST")
    bills.cash([charge_id])
    assert bills.states(charge_id) == "paid: paid"
    with begin() as session:
        doubts = adding.check(session, specimens.by_barcode(session, accession), ["AST"])
        seen = {doubt.code for each in doubts for doubt in each.doubts}
        adding.add_on(session, accession, ["AST"], by="staff:8", confirmed=seen)
    assert bills.states(charge_id) == "paid: executed"


def test_an_order_cancelled_before_its_tube_came_can_be_refunded(hospital: Hospital) -> None:
    _, placer = tube(hospital.lab)
    charge_id = billed(hospital, placer, "CBC")
    bills.paid(hospital.cashiers, [charge_id])
    with begin() as session:
        placed = orders.order_by_placer(session, "his", placer)
        assert placed is not None
        orders.cancel_order(session, placed.id, reason="患者不做了", by="his")
    react()
    bills.asked_back(charge_id)
    assert bills.states(charge_id) == "paid: refunding"
