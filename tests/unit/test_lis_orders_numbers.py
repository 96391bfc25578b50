"""Check digits, tests asked for twice, tubes for tests."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.orders.model import ITEM_MOVES, ItemState
from cloud.lis.orders.numbers import check_digit_holds, with_check_digit
from cloud.lis.orders.rules import each_test_once
from cloud.lis.specimens import grouping, rules
from cloud.lis.specimens.model import SPECIMEN_MOVES, SpecimenState, may_become

numbers = st.integers(min_value=100_000_000, max_value=99_999_999_999)


def test_the_check_digit_of_damms_own_example() -> None:
    assert with_check_digit(572) == "5724"


@pytest.mark.req("LIS-18")
@given(numbers, st.data())
def test_every_misread_digit_is_found(number: int, data: st.DataObject) -> None:
    good = with_check_digit(number)
    assert check_digit_holds(good)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from([each for each in "0123456789" if each != good[place]]))
    assert not check_digit_holds(good[:place] + other + good[place + 1 :])


@pytest.mark.req("LIS-18")
@given(numbers, st.data())
def test_every_swap_of_neighbouring_digits_is_found(number: int, data: st.DataObject) -> None:
    good = with_check_digit(number)
    place = data.draw(st.integers(0, len(good) - 2))
    swapped = good[:place] + good[place + 1] + good[place] + good[place + 2 :]
    assert swapped == good or not check_digit_holds(swapped)


@pytest.mark.parametrize("text", ["", "5", "572a", "５７２４", "5725", " 5724"])
def test_what_is_no_number_of_ours_is_said_so(text: str) -> None:
    assert not check_digit_holds(text)


@pytest.mark.req("LIS-1")
def test_a_test_in_two_panels_is_done_once_for_the_panel_named_first() -> None:
    liver, chem, ast, alt = (uuid.uuid4() for _ in range(4))
    found = each_test_once([(liver, [alt, ast], ""), (chem, [ast], ""), (None, [alt], "")])
    assert [(each.test_id, each.panel_id) for each in found] == [(alt, liver), (ast, liver)]


@pytest.mark.req("LIS-1")
def test_tests_share_a_tube_by_container_and_specimen_and_tubes_come_in_the_order_of_draw() -> None:
    yellow, purple, items = uuid.uuid4(), uuid.uuid4(), [uuid.uuid4() for _ in range(4)]
    plan = grouping.tubes_for(
        [
            grouping.Need(items[0], purple, "blood", 60),
            grouping.Need(items[1], yellow, "serum", 30),
            grouping.Need(items[2], purple, "blood", 60),
            grouping.Need(items[3], purple, "plasma", 60),
        ]
    )
    assert [(each.tube_id, each.specimen_type, each.item_ids) for each in plan] == [
        (yellow, "serum", (items[1],)),
        (purple, "blood", (items[0], items[2])),
        (purple, "plasma", (items[3],)),
    ]


@pytest.mark.req("LIS-18")
@pytest.mark.parametrize("scanned", ["1000000003", "  1000000003", "1000000003\r\n", "\x021000000003\x03"])
def test_a_scanned_barcode_is_read_without_padding_and_control_characters(scanned: str) -> None:
    assert rules.clean_barcode(scanned) == "1000000003"


@pytest.mark.req("LIS-18")
@pytest.mark.parametrize("damaged", ["10000\x0000003", "1000\x07000003\r", "\x0210000000\x1b03\x03", "1000000\n003"])
def test_a_barcode_with_damage_inside_is_never_read_as_another_one(damaged: str) -> None:
    read = rules.clean_barcode(damaged)
    assert "\ufffd" in read
    assert read.isprintable()  # a database stores it, a page shows it
    assert not rules.can_be_preprinted(read)
    assert rules.clean_barcode(read) == read


def test_every_reason_of_rejection_has_a_name_and_the_five_national_classes_are_there() -> None:
    assert set(rules.REASON_NAMES) == set(rules.RejectionReason)
    assert sorted(rules.NATIONAL_INDICATOR.values()) == [1, 2, 3, 4, 5]


@pytest.mark.req("LIS-2")
def test_no_specimen_leaves_an_end_state_and_every_state_can_be_reached() -> None:
    ends = {each for each, following in SPECIMEN_MOVES.items() if not following}
    assert ends == {SpecimenState.REJECTED, SpecimenState.CANCELLED, SpecimenState.DONE}
    assert set(SPECIMEN_MOVES) == set(SpecimenState)
    assert all(may_become(each) for each in SpecimenState if each != SpecimenState.PRINTED)
    assert may_become(SpecimenState.RECEIVED) == (
        SpecimenState.PRINTED,
        SpecimenState.COLLECTED,
        SpecimenState.IN_TRANSIT,
    )
    assert may_become(SpecimenState.DONE) == (SpecimenState.RECEIVED,)


@pytest.mark.req("LIS-2")
def test_a_released_or_cancelled_test_is_never_ordered_again() -> None:
    assert set(ITEM_MOVES) == set(ItemState)
    assert {each for each, following in ITEM_MOVES.items() if not following} == {
        ItemState.RELEASED,
        ItemState.CANCELLED,
    }
    assert ItemState.RELEASED not in ITEM_MOVES[ItemState.RECEIVED]
