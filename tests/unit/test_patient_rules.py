"""Limits of binding, codes, and the words for flags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.reports.view import ReportItem
from cloud.lis.verification.rules import Flag
from cloud.patient.identity.rules import (
    Limit,
    Limits,
    PastBinding,
    can_receive_sms,
    limit_reached,
    new_sms_code,
    new_window_code,
    normal_window_code,
    read_number,
)
from cloud.patient.reports.rules import EXPLANATIONS, explain, indicators, waiting_word

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def past(relation: str, *, same: bool = False, ended_days_ago: int | None = None, why: str = "unbound") -> PastBinding:
    ended = None if ended_days_ago is None else NOW - timedelta(days=ended_days_ago)
    return PastBinding(relation, same, ended, None if ended is None else why)


LIMITS = Limits()


def kept_by(relation: str, rows: list[PastBinding], own_accounts: int = 0) -> Limit | None:
    found = limit_reached(relation, rows, own_accounts, NOW, LIMITS)
    return found.limit if found else None


@pytest.mark.req("ACC-1")
def test_one_self_five_persons_and_two_accounts_of_a_person() -> None:
    assert kept_by("self", []) is None
    assert kept_by("self", [past("self")]) == Limit.SELF_BOUND
    assert kept_by("self", [past("self", same=True)]) is None
    assert kept_by("self", [], LIMITS.accounts) == Limit.ACCOUNTS
    bound = [past("self"), *[past("family")] * (LIMITS.persons - 2)]
    assert kept_by("family", bound) is None
    assert kept_by("family", [*bound, past("family")]) == Limit.PERSONS
    assert kept_by("family", [*bound, past("family", same=True)]) is None, "verified again, not one more"


@pytest.mark.req("ACC-1")
def test_the_cool_down_follows_an_unbinding_only() -> None:
    just = LIMITS.cool_down.days - 1
    assert kept_by("self", [past("self", same=True, ended_days_ago=just)]) == Limit.COOL_DOWN
    assert kept_by("family", [past("family", same=True, ended_days_ago=just)]) == Limit.COOL_DOWN
    assert kept_by("self", [past("self", ended_days_ago=just)]) == Limit.COOL_DOWN
    assert kept_by("self", [past("self", same=True, ended_days_ago=LIMITS.cool_down.days)]) is None
    assert kept_by("self", [past("self", same=True, ended_days_ago=just, why="verified_again")]) is None
    found = limit_reached("self", [past("self", same=True, ended_days_ago=just)], 0, NOW, LIMITS)
    assert found is not None
    assert found.until == NOW + timedelta(days=1)


def test_codes_are_six_digits_and_eight_clear_characters() -> None:
    assert all(len(code) == 6 and code.isdigit() for code in (new_sms_code() for _ in range(200)))
    codes = {new_window_code() for _ in range(200)}
    assert len(codes) == 200
    assert not set("".join(codes)) & set("01OIL")


@given(st.text("23456789ABCDEFGH", min_size=8, max_size=8))
def test_a_window_code_is_read_however_it_is_typed(code: str) -> None:
    assert normal_window_code(f" {code[:4].lower()} {code[4:]}-") == code


@pytest.mark.req("ACC-1")
def test_a_mistyped_citizen_number_is_not_taken_for_a_card() -> None:
    assert read_number("999101199005010023") is None
    found = read_number("99910120100101005x")
    assert found is not None
    assert (found.kind, found.value) == ("id_number", "99910120100101005X")
    card = read_number(" C0012345 ")
    assert card is not None
    assert card.kind == "card"
    assert read_number("") is None
    assert read_number("'; drop table person --") is None


def test_only_a_mobile_number_gets_a_code() -> None:
    assert can_receive_sms("13800138000")
    assert can_receive_sms("00013800001")
    assert not can_receive_sms("01012345678")
    assert not can_receive_sms("57-63")
    assert not can_receive_sms(None)


@pytest.mark.req("REP-1")
def test_every_flag_of_the_laboratory_has_words() -> None:
    assert {str(flag) for flag in Flag} == set(EXPLANATIONS)


@pytest.mark.req("REP-1")
def test_an_unknown_flag_never_reads_as_normal() -> None:
    assert explain("??") is EXPLANATIONS["A"]
    assert explain("N").tone == "good"


@pytest.mark.req("REP-1", "LIS-0")
def test_explanations_name_their_source_and_are_drafts_and_speak_of_no_disease() -> None:
    for each in EXPLANATIONS.values():
        assert each.source
        assert each.state == "draft"
        assert not any(word in each.word + each.sentence for word in ("感染", "贫血", "肿瘤", "病毒", "用药"))
    for flag in ("L", "H", "A", "LL", "HH"):
        assert "医生" in EXPLANATIONS[flag].sentence


def item(flag: str, unit: str = "10^9/L") -> ReportItem:
    return ReportItem(
        code="WBC",
        name="白细胞",
        name_en="",
        short_name="WBC",
        value="1",
        unit=unit,
        flag=flag,
        range_text="",
        method="",
    )


def test_what_stands_out_is_what_is_flagged() -> None:
    assert [each.stands_out for each in indicators([item(flag) for flag in ("N", "", "H", "LL", "A")])] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert indicators([item("N")])[0].unit_shown == "10⁹/L"
    assert indicators([item("N", "10^12/L")])[0].unit_shown == "10¹²/L"


@pytest.mark.req("REP-1")
def test_a_report_held_back_reads_like_one_being_worked_on() -> None:
    assert waiting_word("done") == waiting_word("received")
