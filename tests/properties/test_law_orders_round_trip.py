"""Any order that is written for an analyzer is read again as it was, whatever its codes and numbers are made of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.driver import discover
from protocols.messages.hl7 import read_messages
from protocols.model import Order

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
pytestmark = pytest.mark.req("GW-4", "GW-7")

words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12).filter(lambda word: word != '""')
orders = st.builds(
    Order,
    specimen=words,
    codes=st.lists(words, min_size=1, max_size=5, unique=True).map(tuple),
    priority=st.sampled_from("RS"),
    cancelled=st.just(False),
)


@given(st.lists(orders, min_size=1, max_size=4, unique_by=lambda order: order.specimen))
def test_law_orders_are_read_again_as_they_were(given_orders: list[Order]) -> None:
    sent = discover()["ihe_law"].download(given_orders, NOW)
    assert len(sent) == len(given_orders)
    for payload, order in zip(sent, given_orders, strict=True):
        (message,) = read_messages(payload)
        container = message.first("SAC")
        assert container is not None
        assert container.text(3) == order.specimen
        assert tuple(each.component(4, 1) for each in message.segments if each.name == "OBR") == order.codes
        assert {each.component(9, 1) for each in message.segments if each.name == "TQ1"} == {order.priority}


@given(orders, st.data())
def test_numbers_of_work_that_is_taken_back_are_read_again_as_they_were(order: Order, data: st.DataObject) -> None:
    numbers = data.draw(st.lists(words, min_size=len(order.codes), max_size=len(order.codes)))
    back = Order(specimen=order.specimen, codes=order.codes, cancelled=True, numbers=tuple(numbers))
    (message,) = read_messages(discover()["ihe_law"].download([back], NOW)[0])
    assert [each.text(2) for each in message.segments if each.name == "OBR"] == numbers


@given(st.lists(orders, min_size=1, max_size=4, unique_by=lambda order: order.specimen))
def test_display_lines_are_read_again_as_they_were(given_orders: list[Order]) -> None:
    driver = discover()["mindray_cl"]
    for payload, order in zip(driver.download(given_orders, NOW), given_orders, strict=True):
        (message,) = read_messages(payload, "utf-8")
        lines = {int(each.text(1)): each for each in message.segments if each.name == "DSP"}
        assert lines[21].text(3) == order.specimen
        assert tuple(each.component(3, 1) for number, each in lines.items() if number >= 29) == order.codes
