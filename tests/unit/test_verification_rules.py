"""The verdict on one value: bounds, comparators, titres, words, critical limits, delta, several tests together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cloud.lis.verification import consistency
from cloud.lis.verification.rules import (
    Bounds,
    CriticalBounds,
    DeltaLimit,
    Flag,
    Measured,
    Previous,
    across,
    crossed_critical,
    judge,
    judge_delta,
)
from cloud.lis.verification.values import Polarity, Titre, convert, read_polarity, read_titre
from protocols.model import Quantity, read_quantity

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def bounds(low: str | None = None, high: str | None = None, text: str = "", state: str = "approved") -> Bounds:
    return Bounds("r", 3, state, low and Decimal(low), high and Decimal(high), text)  # type: ignore[arg-type]


def limits(low: str | None = None, high: str | None = None, *, inclusive: bool = False) -> CriticalBounds:
    return CriticalBounds("c", 1, "approved", low and Decimal(low), high and Decimal(high), inclusive)  # type: ignore[arg-type]


def value(text: str, value_type: str = "numeric", **more: object) -> Measured:
    return Measured(text=text, quantity=read_quantity(text), value_type=value_type, **more)  # type: ignore[arg-type]


@pytest.mark.req("LIS-5")
@pytest.mark.parametrize(
    ("text", "low", "high", "flag"),
    [
        ("10.0", "4.0", "10.0", Flag.NORMAL),
        ("4.0", "4.0", "10.0", Flag.NORMAL),
        ("10.01", "4.0", "10.0", Flag.HIGH),
        ("3.99", "4.0", "10.0", Flag.LOW),
        ("<3.0", "4.0", "10.0", Flag.LOW),
        ("<4.0", "4.0", "10.0", Flag.LOW),
        ("<=4.0", "4.0", "10.0", Flag.NONE),
        ("<5.0", "4.0", "10.0", Flag.NONE),
        (">12", "4.0", "10.0", Flag.HIGH),
        (">10.0", "4.0", "10.0", Flag.HIGH),
        (">8", "4.0", "10.0", Flag.NONE),
        ("<3.0", None, "10.0", Flag.NORMAL),
        ("<12", None, "10.0", Flag.NONE),
        (">5", "4.0", None, Flag.NORMAL),
        (">3", "4.0", None, Flag.NONE),
        ("----", "4.0", "10.0", Flag.NONE),
    ],
)
def test_a_bound_is_normal_and_a_comparator_decides_only_what_it_makes_certain(
    text: str, low: str | None, high: str | None, flag: Flag
) -> None:
    assert judge(value(text), bounds=bounds(low, high), critical=None).flag is flag


@pytest.mark.parametrize(
    ("text", "normal", "flag"),
    [
        ("阴性", "阴性", Flag.NORMAL),
        ("NEG", "阴性", Flag.NORMAL),
        ("阴性(-)", "阴性", Flag.NORMAL),
        ("Non-Reactive", "阴性", Flag.NORMAL),
        ("阳性", "阴性", Flag.ABNORMAL),
        ("2+", "阴性", Flag.ABNORMAL),
        ("±", "阴性", Flag.ABNORMAL),
        ("淡黄色", "阴性", Flag.NONE),
        ("1:40", "<1:80", Flag.NORMAL),
        ("1:80", "<1:80", Flag.ABNORMAL),
        ("1:80", "≤1:80", Flag.NORMAL),
        ("<1:20", "<1:80", Flag.NORMAL),
        ("<1:160", "<1:80", Flag.NONE),
        (">1:320", "<1:80", Flag.ABNORMAL),
        ("1:16", "阴性", Flag.NONE),
    ],
)
def test_words_and_titres_are_compared_with_the_normal_text(text: str, normal: str, flag: Flag) -> None:
    assert judge(value(text, "qualitative"), bounds=bounds(text=normal), critical=None).flag is flag


def test_what_cannot_be_compared_is_held_for_a_person() -> None:
    verdict = judge(value("淡黄色", "qualitative"), bounds=bounds(text="阴性"), critical=None)
    assert verdict.held
    assert [each.code for each in verdict.reasons] == ["not_comparable"]


@pytest.mark.req("LIS-11")
@pytest.mark.parametrize(
    ("text", "inclusive", "crossed"),
    [
        ("2.8", False, None),
        ("2.8", True, "low"),
        ("2.79", False, "low"),
        ("6.2", False, None),
        ("6.2", True, "high"),
        ("6.21", False, "high"),
        ("<2.8", False, "low"),
        (">6.2", False, "high"),
        ("<5.0", True, None),
        (">5.0", True, None),
        (">2.0", True, None),
    ],
)
def test_a_critical_limit_is_crossed_beyond_it_or_at_it_where_it_says_so(
    text: str, inclusive: bool, crossed: str | None
) -> None:
    quantity = read_quantity(text)
    assert quantity is not None
    found = crossed_critical(quantity, limits("2.8", "6.2", inclusive=inclusive))
    assert (found[0] if found else None) == crossed


def test_a_critical_value_outranks_the_ordinary_flag_and_holds() -> None:
    verdict = judge(value("6.8"), bounds=bounds("3.5", "5.3"), critical=limits("2.8", "6.2"))
    assert (verdict.flag, verdict.critical, verdict.held) == (Flag.CRITICAL_HIGH, True, True)


@pytest.mark.parametrize("flags", [("A",), ("W",), (">",), ("N", "*")])
def test_an_instruments_own_alarm_holds_the_value(flags: tuple[str, ...]) -> None:
    assert judge(value("5.0", instrument_flags=flags), bounds=bounds("4", "10"), critical=None).held


@pytest.mark.parametrize("flags", [(), ("N",), ("H",), ("L",), ("",)])
def test_an_instruments_own_range_flag_does_not(flags: tuple[str, ...]) -> None:
    assert not judge(value("5.0", instrument_flags=flags), bounds=bounds("4", "10"), critical=None).held


@pytest.mark.parametrize(
    ("measured", "code"),
    [
        (value(""), "no_value"),
        (value("----"), "no_number"),
        (value("5.0", unit_expected=False, raw_unit="mg/dL"), "unit_unexpected"),
        (value("5.0", status="P"), "instrument_status"),
    ],
)
def test_what_is_no_final_number_in_the_right_unit_is_held(measured: Measured, code: str) -> None:
    verdict = judge(measured, bounds=bounds("4", "10"), critical=None)
    assert code in {each.code for each in verdict.reasons if each.holds}


@pytest.mark.req("LIS-0")
def test_a_verdict_keeps_the_versions_it_used_and_whether_any_is_a_draft() -> None:
    verdict = judge(value("5.0"), bounds=bounds("4", "10", state="draft"), critical=limits("2", "20"))
    assert verdict.draft
    assert verdict.versions["range"] == {"id": "r", "version": 3, "state": "draft"}
    assert verdict.versions["critical"] == {"id": "c", "version": 1, "state": "approved"}
    assert not judge(value("5.0"), bounds=bounds("4", "10"), critical=limits("2", "20")).draft


def delta(now: str, before: str, limit: DeltaLimit | None, *, hours: int = 24) -> tuple[Decimal | None, bool]:
    percent, reason = judge_delta(
        read_quantity(now), NOW, Previous(read_quantity(before), NOW - timedelta(hours=hours)), limit
    )
    return percent, reason is not None


def limit(percent: str | None = None, absolute: str | None = None) -> DeltaLimit:
    return DeltaLimit("d", 1, "draft", timedelta(days=3), percent and Decimal(percent), absolute and Decimal(absolute))  # type: ignore[arg-type]


@pytest.mark.req("LIS-5")
def test_delta_is_a_percentage_of_the_value_before() -> None:
    assert delta("150", "100", limit("40")) == (Decimal("50.0"), True)
    assert delta("140", "100", limit("40")) == (Decimal("40.0"), False)
    assert delta("50", "100", limit("40")) == (Decimal("-50.0"), True)
    assert delta("154", "140", limit(absolute="13")) == (Decimal("10.0"), True)
    assert delta("153", "140", limit(absolute="13"))[1] is False


def test_delta_is_absent_where_nothing_can_be_divided_or_compared() -> None:
    assert delta("5", "0", limit("40")) == (None, False)
    assert delta("<5", "<5", limit("40")) == (None, False), "the same bound again says nothing of a change"


@pytest.mark.req("LIS-5")
@pytest.mark.parametrize(
    ("now", "before", "given", "code"),
    [
        (">1000", "12", limit("40"), "delta"),
        ("<0.05", "3.1", limit("50"), "delta"),
        (">1000", "990", limit("40"), "delta_unsure"),
        ("<5", "4", limit("40"), "delta_unsure"),
        ("<5", "4", limit(absolute="4"), None),
        (">140", "127", limit(absolute="13"), "delta"),
        ("140", ">127", limit(absolute="13"), "delta_unsure"),
    ],
)
def test_a_change_between_values_with_a_sign_is_called_only_where_it_is_certain(
    now: str, before: str, given: DeltaLimit, code: str | None
) -> None:
    earlier = Previous(read_quantity(before), NOW - timedelta(hours=24))
    percent, reason = judge_delta(read_quantity(now), NOW, earlier, given)
    assert percent is None, "a bound has no percentage"
    assert (reason.code if reason else None) == code
    assert reason is None or reason.holds


@pytest.mark.req("LIS-3")
@pytest.mark.parametrize(
    ("text", "normal", "flag"),
    [
        ("-", "-～±", Flag.NORMAL),
        ("±", "-～±", Flag.NORMAL),
        ("1+", "-～±", Flag.ABNORMAL),
        ("阳性", "-～±", Flag.ABNORMAL),
        ("阳性", "≤1+", Flag.NONE),
        ("弱阳性", "阴性或弱阳性", Flag.NORMAL),
        ("2+", "<2+", Flag.ABNORMAL),
        ("0-2/HPF", "0-5/HPF", Flag.NORMAL),
        ("6-8/HPF", "0-5/HPF", Flag.ABNORMAL),
        ("4-6/HPF", "0-5/HPF", Flag.NONE),
        (">100/HPF", "0-5/HPF", Flag.ABNORMAL),
        ("2/LPF", "0-5/HPF", Flag.NONE),
        ("酱油色", "-～±", Flag.NONE),
    ],
)
def test_grades_and_counts_in_the_field_are_compared_with_a_normal_of_several(
    text: str, normal: str, flag: Flag
) -> None:
    verdict = judge(value(text, "qualitative"), bounds=bounds(text=normal), critical=None)
    assert verdict.flag is flag
    assert verdict.held is (flag is Flag.NONE), "what cannot be compared is looked at by a person"


@pytest.mark.req("LIS-3")
def test_a_ratio_must_be_a_number_and_a_titre_a_dilution() -> None:
    ratio = judge(value("1:80", "ratio"), bounds=bounds("0.8", "1.2"), critical=None)
    assert "no_number" in {each.code for each in ratio.reasons if each.holds}
    assert judge(value("1.1", "ratio"), bounds=bounds("0.8", "1.2"), critical=None).flag is Flag.NORMAL
    titre = judge(value("0.12", "titre"), bounds=None, critical=None)
    assert "no_titre" in {each.code for each in titre.reasons if each.holds}
    assert not judge(value("<1:20", "titre"), bounds=None, critical=None).held
    assert delta("5", "POS", limit("40")) == (None, False)
    assert delta("150", "100", None) == (Decimal("50.0"), False)


def test_delta_speaks_only_within_its_window_and_never_backwards_in_time() -> None:
    assert delta("150", "100", limit("40"), hours=73)[1] is False
    assert delta("150", "100", limit("40"), hours=-1)[1] is False


def test_a_change_from_zero_can_still_exceed_an_absolute_limit() -> None:
    assert delta("20", "0", limit(absolute="13")) == (None, True)


@pytest.mark.req("LIS-5")
def test_a_part_larger_than_its_whole_holds_both() -> None:
    found = across({"DBIL": Decimal("21"), "TBIL": Decimal("20"), "ALB": Decimal("40")}, consistency.CHECKS)
    assert set(found) == {"DBIL", "TBIL"}
    assert across({"DBIL": Decimal("20"), "TBIL": Decimal("20")}, consistency.CHECKS) == {}


def test_a_differential_that_does_not_add_up_holds_its_five_parts() -> None:
    parts = dict(zip(consistency.FIVE_PART, map(Decimal, ("60", "30", "6", "3", "1")), strict=True))
    assert across(parts, consistency.CHECKS) == {}
    parts["NEUT_PCT"] = Decimal("62")
    assert set(across(parts, consistency.CHECKS)) == set(consistency.FIVE_PART)
    del parts["BASO_PCT"]
    assert across(parts, consistency.CHECKS) == {}


@pytest.mark.parametrize(
    ("text", "factor", "decimals", "printed"),
    [
        ("6.20", "1", 2, "6.20"),
        ("13.46", "10", 0, "135"),
        ("13.45", "10", 0, "134"),
        ("41.0", "0.01", 3, "0.410"),
        ("<3.00", "10", 1, "<30.0"),
        ("----", "10", 0, "----"),
        (" POS ", "1", None, "POS"),
        ("1.5", "2.5", None, "3.75"),
    ],
)
def test_conversion_keeps_the_text_at_factor_one_and_rounds_half_to_even_otherwise(
    text: str, factor: str, decimals: int | None, printed: str
) -> None:
    shown, quantity = convert(text, Decimal(factor), decimals)
    assert shown == printed
    assert quantity == read_quantity(printed)


def test_titres_and_words_that_are_none_stay_unknown() -> None:
    assert read_titre("≤1:40") == Titre(40, "<=")
    assert read_titre("1:") is None
    assert read_titre("2:80") is None
    assert read_polarity("+++") is Polarity.POSITIVE
    assert read_polarity("A") is None
    assert read_quantity("1:16") is None
    assert Quantity(Decimal("3"), "<") == read_quantity("<3")
