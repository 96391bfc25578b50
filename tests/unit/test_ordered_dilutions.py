"""A dilution that the laboratory asks for, in the words of each analyzer that has a place for it in an order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge.order_plan import Abilities, plan
from edge.store.orders import SentOrder, SentState, Wanted
from protocols.driver import discover
from protocols.messages.astm import read_message
from protocols.messages.hl7 import read_messages
from protocols.model import Decoded, HostQuery, Order
from protocols.uplink.items import order_from_json, order_to_json
from protocols.worklist import joined

pytestmark = pytest.mark.req("LIS-3", "GW-7")

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
TUBE = "202611020303"
DILUTED = Order(TUBE, ("AFP", "FT4"), dilutions=(("AFP", "10"),))
LAW = ["abbott_alinity", "biosystems_ba", "ihe_law", "roche_cobas_pro", "roche_cobas_x800", "siemens_atellica"]


def test_a_dilution_travels_to_the_box_and_a_box_that_does_not_know_it_reads_the_order() -> None:
    told = order_to_json(DILUTED)
    assert order_from_json(told) == DILUTED
    assert order_from_json({key: each for key, each in told.items() if key != "dilutions"}) == Order(
        TUBE, DILUTED.codes
    )
    assert "dilutions" not in order_to_json(Order(TUBE, ("AFP",))), "orders without one are stored as before"
    assert joined([DILUTED, Order(TUBE, ("CEA",))])[0].dilutions == DILUTED.dilutions


@pytest.mark.parametrize("name", LAW)
def test_a_law_analyzer_is_told_in_tcd_2(name: str) -> None:
    driver = discover()[name]
    assert driver.can_dilute("10")
    [payload] = driver.download([DILUTED], NOW)
    steps = [each for each in read_messages(payload)[0].segments if each.name == "TCD"]
    assert [each.raw(2) for each in steps] == ["^1^:^10", ""]


def test_a_liaison_is_told_beside_the_test() -> None:
    driver = discover()["diasorin_liaison"]
    assert driver.can_dilute("10")
    query = b"H|\\^&|||LIAISON|||||||P|1\rQ|1|202611020303||ALL\rL|1|N\r"
    decoded = Decoded(items=(HostQuery(specimens=(TUBE,)),))
    [reply] = driver.respond(query, decoded, {TUBE: [DILUTED]}, NOW)
    orders = [record.raw(5) for record in read_message(reply).records if record.text(1) == "O"]
    assert orders == ["^^^AFP^1:10", "^^^FT4"]


def test_an_e411_is_told_the_factors_that_it_has_and_no_others() -> None:
    driver = discover()["roche_e411"]
    assert [driver.can_dilute(each) for each in ("2", "100", "3", "400", "")] == [True, True, False, False, False]
    [payload] = driver.download([Order(TUBE, ("10", "20"), dilutions=(("10", "5"),))], NOW)
    [tests] = [record.raw(5) for record in read_message(payload).records if record.text(1) == "O"]
    assert tests == "^^^10^5\\^^^20^"


def test_an_analyzer_without_a_documented_place_says_so_and_its_orders_are_as_before() -> None:
    for name in ("sysmex_xn", "mindray_bs", "generic_astm", "siemens_centaur", "beckman_au", "roche_c111"):
        driver = discover()[name]
        assert not driver.can_dilute("10"), name
        plain = Order(TUBE, DILUTED.codes)
        assert driver.download([DILUTED], NOW) == driver.download([plain], NOW), name


def wanted(order: Order, held: dict[str, str]) -> Wanted:
    sent = SentOrder(TUBE, 3, SentState.SENT, held, (), 0, "", 0) if held else None
    return Wanted(TUBE, 4, order, int((NOW + timedelta(days=1)).timestamp()), sent)


def test_a_test_that_was_sent_goes_out_again_when_it_is_to_be_diluted_under_a_number_of_its_own() -> None:
    can = Abilities(pushes=True, by_number=True)
    made = plan(wanted(DILUTED, {"AFP": "n1", "FT4": "n2"}), can, NOW)
    assert made is not None
    [order] = made.orders
    assert (order.codes, order.dilution_of("AFP"), order.cancelled) == (("AFP",), "10", False)
    assert order.numbers[0] != "n1"
    assert dict(made.done.codes) == {"AFP": "n1", "FT4": "n2", "AFP ×10": order.numbers[0]}
    assert plan(wanted(DILUTED, dict(made.done.codes)), can, NOW) is None, "once"
    back = plan(wanted(Order(TUBE, ("FT4",)), dict(made.done.codes)), can, NOW)
    assert back is not None
    [cancelled] = back.orders
    assert (cancelled.cancelled, cancelled.codes) == (True, ("AFP", "AFP"))
    assert cancelled.numbers == ("n1", order.numbers[0])
