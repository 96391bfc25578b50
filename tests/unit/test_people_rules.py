"""Numbers of persons: checked, compared and masked."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.people.rules import (
    PersonDetails,
    birth_date_of,
    display_name,
    is_citizen_number,
    mask_id,
    mask_phone,
    normal_name,
    normal_phone,
)

GOOD = "999101199005010022"
digits = st.text("0123456789", min_size=0, max_size=20)


@pytest.mark.req("ACC-1")
@pytest.mark.parametrize("number", [GOOD, "99910120100101005x", " 999101 19900501 0022 "])
def test_a_citizen_number_with_its_check_character_is_taken(number: str) -> None:
    assert is_citizen_number(number)


@pytest.mark.req("ACC-1")
@pytest.mark.parametrize(
    "number", ["", "99910119900501002", "999101199005010023", "999101199013010022", "99910119900501002A", "X" * 18]
)
def test_a_citizen_number_that_cannot_be_is_refused(number: str) -> None:
    assert not is_citizen_number(number)


@pytest.mark.req("ACC-1")
@given(st.integers(0, 17), st.sampled_from("0123456789"))
def test_no_single_mistyped_digit_passes_the_check(place: int, digit: str) -> None:
    typed = GOOD[:place] + digit + GOOD[place + 1 :]
    assert is_citizen_number(typed) == (typed == GOOD)


@pytest.mark.req("ACC-1")
@given(st.integers(0, 16))
def test_no_two_swapped_neighbours_pass_the_check(place: int) -> None:
    typed = GOOD[:place] + GOOD[place + 1] + GOOD[place] + GOOD[place + 2 :]
    assert is_citizen_number(typed) == (typed == GOOD)


def test_the_birth_date_is_read_from_the_number() -> None:
    assert birth_date_of(GOOD) == date(1990, 5, 1)
    assert birth_date_of("short") is None


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    ("name", "shown"), [("张三", "张*"), ("欧阳小梅", "欧***"), ("王", "王*"), ("", "*"), (" 李 四 ", "李**")]
)
def test_a_name_shows_its_first_character_only(name: str, shown: str) -> None:
    assert display_name(name) == shown


@pytest.mark.req("SEC-1")
def test_phones_and_numbers_keep_only_their_ends() -> None:
    assert mask_phone("+86 000 1380 0001") == "000****0001"
    assert mask_id(GOOD) == "999101********0022"
    assert (mask_phone(None), mask_id("")) == ("", "")
    assert mask_id("E12345678") == "*******78"


@pytest.mark.req("SEC-1")
@given(digits)
def test_no_masked_phone_gives_the_number_away(phone: str) -> None:
    shown = mask_phone(phone)
    assert len(phone) < 3 or shown != normal_phone(phone)
    assert sum(each.isdigit() for each in shown) <= 7


def test_prefixes_and_spaces_do_not_make_another_phone() -> None:
    assert {normal_phone(each) for each in ("13800138000", "+86 138-0013-8000", "008613800138000")} == {"13800138000"}


def test_a_name_is_the_same_with_other_spaces_and_dots() -> None:
    assert normal_name("阿卜杜·拉 合曼") == normal_name("阿卜杜•拉合曼")
    assert normal_name("王芳") != normal_name("王方")


@pytest.mark.req("SEC-1")
def test_details_in_a_log_line_name_neither_phone_nor_number() -> None:
    said = repr(PersonDetails(name="王芳", phone="13800138000", id_number=GOOD))
    assert "13800138000" not in said
    assert GOOD not in said
