"""Which reference range applies, and what the configuration check finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from cloud.lis.catalog import rules

TODAY = date(2026, 11, 23)


@dataclass(frozen=True)
class Band:
    sex: str = ""
    age_min_days: int = 0
    age_max_days: int | None = None
    state: str = "draft"
    valid_from: date = date(2026, 1, 1)
    valid_to: date | None = None
    version: int = 1


ADULT = rules.years_in_days(18)


@pytest.mark.req("LIS-3")
def test_a_woman_gets_the_range_for_women_and_a_man_the_one_for_men() -> None:
    women, men, both = Band("F", ADULT), Band("M", ADULT), Band("", ADULT)
    assert rules.applicable([both, women, men], sex="F", age=ADULT + 100, on=TODAY) is women
    assert rules.applicable([both, women, men], sex="M", age=ADULT + 100, on=TODAY) is men


@pytest.mark.req("LIS-3")
def test_a_person_of_unknown_sex_gets_only_a_range_for_everybody() -> None:
    assert rules.applicable([Band("F"), Band("M")], sex="U", age=9000, on=TODAY) is None
    both = Band("")
    assert rules.applicable([Band("F"), both], sex="U", age=9000, on=TODAY) is both


@pytest.mark.req("LIS-3")
@pytest.mark.parametrize(("age", "expected"), [(27, 0), (28, 1), (6573, 1), (6574, 2), (40000, 2)])
def test_the_first_day_of_an_age_band_belongs_to_it_and_the_last_to_the_next(age: int, expected: int) -> None:
    bands = [Band(age_max_days=28), Band(age_min_days=28, age_max_days=6574), Band(age_min_days=6574)]
    assert rules.applicable(bands, sex="F", age=age, on=TODAY) is bands[expected]


@pytest.mark.req("LIS-3")
def test_outside_every_band_and_for_an_unknown_age_there_is_no_range() -> None:
    assert rules.applicable([Band(age_min_days=ADULT)], sex="F", age=3000, on=TODAY) is None
    assert rules.applicable([Band(age_min_days=ADULT)], sex="F", age=None, on=TODAY) is None
    everybody = Band()
    assert rules.applicable([everybody], sex="F", age=None, on=TODAY) is everybody


@pytest.mark.req("LIS-0")
def test_an_approved_range_goes_before_a_newer_draft_and_a_retired_one_never_applies() -> None:
    approved = Band(state="approved")
    assert rules.applicable([Band(version=2), approved], sex="F", age=9000, on=TODAY) is approved
    assert rules.applicable([Band(state="retired")], sex="F", age=9000, on=TODAY) is None


@pytest.mark.req("LIS-0")
def test_last_years_report_is_judged_by_last_years_range() -> None:
    old = Band(state="approved", valid_from=date(2025, 1, 1), valid_to=date(2026, 6, 1))
    new = Band(state="approved", valid_from=date(2026, 6, 1), version=2)
    assert rules.applicable([old, new], sex="F", age=9000, on=date(2025, 12, 31)) is old
    assert rules.applicable([old, new], sex="F", age=9000, on=date(2026, 6, 1)) is new


def test_age_is_counted_in_days_and_a_birth_in_the_future_is_unknown() -> None:
    assert rules.age_days(date(2026, 11, 22), TODAY) == 1
    assert rules.age_days(date(2026, 11, 24), TODAY) is None
    assert rules.age_days(None, TODAY) is None


@pytest.mark.req("LIS-16")
def test_the_check_names_a_gap_between_two_age_bands() -> None:
    found = rules.band_problems("ALP", [Band("F", 0, 100), Band("F", 120)], TODAY)
    assert [(each.code, each.detail) for each in found] == [("age_gap", "F 100-120")]


@pytest.mark.req("LIS-16")
def test_the_check_names_an_overlap_and_finds_nothing_in_bands_that_meet() -> None:
    found = rules.band_problems("ALP", [Band("", 0, 100), Band("", 90)], TODAY)
    assert {each.code for each in found} == {"age_overlap"}
    assert rules.band_problems("ALP", [Band("", 0, 100), Band("", 100)], TODAY) == []
    assert rules.band_problems("ALP", [Band("M", 50), Band("F", 50), Band("", 50, version=2)], TODAY) == []


@pytest.mark.req("LIS-16")
def test_a_critical_limit_inside_the_normal_range_is_found() -> None:
    low, high = Decimal("3.5"), Decimal("5.3")
    assert rules.inside_normal(low, high, Decimal("3.6"), Decimal("6.2"))
    assert rules.inside_normal(low, high, None, Decimal("5.3"))
    assert not rules.inside_normal(low, high, Decimal("2.8"), Decimal("6.2"))
    assert not rules.inside_normal(None, None, Decimal("2.8"), Decimal("6.2"))
