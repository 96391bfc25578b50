"""What an instrument is told of one tube, after what it was told before: by number, or as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from edge.order_plan import Abilities, abilities, numbered, plan
from edge.store.orders import SentOrder, SentState, Wanted
from protocols.driver import discover
from protocols.model import Order

pytestmark = pytest.mark.req("GW-7")

NOW = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
BY_NUMBER = Abilities(pushes=True, by_number=True)
WHOLE = Abilities(pushes=True, by_number=False)
ASKED_ONLY = Abilities(pushes=False, by_number=True)


def sent(codes: Mapping[str, str], pending: tuple[str, ...] = (), state: SentState = SentState.SENT) -> SentOrder:
    return SentOrder("26001", 3, state, codes, pending, len(pending), "", 10**18)


def tube(*codes: str, before: SentOrder | None = None, taken_back: bool = False) -> Wanted:
    return Wanted("26001", 4, None if taken_back else Order("26001", codes), 10**18, before)


def test_a_new_tube_is_told_with_a_number_for_each_test_and_remembered_before_it_goes_out() -> None:
    made = plan(tube("GLU", "CREA"), BY_NUMBER, NOW)
    assert made is not None
    [order] = made.orders
    assert (order.codes, order.numbers) == (("GLU", "CREA"), ("26001.GLU.261123080000", "26001.CREA.261123080000"))
    assert made.under_way.state is SentState.SENDING
    assert made.under_way.pending == ("GLU", "CREA")
    assert made.done.state is SentState.SENT
    assert dict(made.done.codes) == dict(zip(order.codes, order.numbers, strict=True))
    assert made.done.pending == ()


def test_what_was_told_is_not_told_again() -> None:
    made = plan(tube("GLU"), BY_NUMBER, NOW)
    assert made is not None
    assert plan(tube("GLU", before=made.done), BY_NUMBER, NOW) is None
    made = plan(tube("GLU"), WHOLE, NOW)
    assert made is not None
    assert plan(tube("GLU", before=made.done), WHOLE, NOW) is None


def test_an_added_test_is_told_alone_where_tests_have_numbers_and_with_its_tube_where_not() -> None:
    by_number = plan(tube("GLU", "CREA", before=sent({"GLU": "n1"})), BY_NUMBER, NOW)
    whole = plan(tube("GLU", "CREA", before=sent({"GLU": ""})), WHOLE, NOW)
    assert by_number is not None
    assert whole is not None
    assert [each.codes for each in by_number.orders] == [("CREA",)]
    assert [each.codes for each in whole.orders] == [("GLU", "CREA")]
    assert by_number.done.codes["GLU"] == "n1"


def test_a_test_that_falls_away_is_taken_back_by_its_number_or_not_at_all() -> None:
    made = plan(tube("GLU", before=sent({"GLU": "n1", "CREA": "n2"})), BY_NUMBER, NOW)
    assert made is not None
    [order] = made.orders
    assert (order.cancelled, order.codes, order.numbers) == (True, ("CREA",), ("n2",))
    assert dict(made.done.codes) == {"GLU": "n1"}
    assert plan(tube("GLU", before=sent({"GLU": "", "CREA": ""})), WHOLE, NOW) is None


def test_a_cancelled_tube_is_taken_back_also_from_an_instrument_that_only_asks() -> None:
    for can in (BY_NUMBER, ASKED_ONLY):
        made = plan(tube(before=sent({"GLU": "n1"}), taken_back=True), can, NOW)
        assert made is not None
        assert [(each.cancelled, each.numbers) for each in made.orders] == [(True, ("n1",))]
        assert made.done.codes == {}
    assert plan(tube("GLU"), ASKED_ONLY, NOW) is None


def test_an_order_of_unknown_fate_goes_out_again_under_the_number_it_had() -> None:
    before = sent({"GLU": "n1", "CREA": "n2"}, pending=("CREA",), state=SentState.FAILED)
    made = plan(tube("GLU", "CREA", before=before), BY_NUMBER, NOW)
    assert made is not None
    assert [(each.codes, each.numbers) for each in made.orders] == [(("CREA",), ("n2",))]
    assert made.under_way.tries == before.tries + 1


def test_an_order_of_unknown_fate_that_was_cancelled_meanwhile_is_taken_back() -> None:
    before = sent({"CREA": "n2"}, pending=("CREA",), state=SentState.SENDING)
    made = plan(tube(before=before, taken_back=True), BY_NUMBER, NOW)
    assert made is not None
    assert [(each.cancelled, each.numbers) for each in made.orders] == [(True, ("n2",))]


def test_who_asks_is_not_told_unasked_unless_the_configuration_says_so() -> None:
    drivers = discover()
    assert not abilities(drivers["abbott_architect"], None).pushes
    assert abilities(drivers["abbott_architect"], "both").pushes
    assert abilities(drivers["ortho_vitros_eci"], None).pushes
    assert abilities(drivers["ihe_law"], "query").by_number
    assert not abilities(drivers["sysmex_xn"], "both").pushes
    assert abilities(None, "both") == Abilities(pushes=False, by_number=False)


@pytest.mark.parametrize("driver", sorted(discover()))
def test_every_driver_tells_what_it_can_do_with_orders_without_raising(driver: str) -> None:
    can = abilities(discover()[driver], "both")
    if can.by_number:
        assert can.pushes


def test_two_tubes_and_two_moments_never_share_a_number() -> None:
    order = Order("26001", ("GLU",))
    assert numbered(order, NOW).numbers != numbered(order, NOW.replace(second=1)).numbers
