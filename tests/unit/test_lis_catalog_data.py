"""The starting catalogue as data: complete, and nothing medical without its source."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloud.lis.catalog.load import rows
from cloud.lis.instruments.model import ChannelKind
from cloud.lis.instruments.service import preset_channels, presets

TESTS = {row["code"]: row for row in rows("tests.csv")}
PANELS = {row["code"]: row for row in rows("panels.csv")}
TUBES = {row["code"]: row for row in rows("tubes.csv")}


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= each <= "\u9fff" for each in text)


@pytest.mark.req("LIS-16")
def test_there_are_at_least_120_tests_and_no_code_twice() -> None:
    listed = [row["code"] for row in rows("tests.csv")]
    assert len(listed) >= 120
    assert len(listed) == len(set(listed))


@pytest.mark.req("LIS-16")
@pytest.mark.parametrize("code", sorted(TESTS))
def test_every_test_has_a_chinese_name_short_codes_a_unit_or_none_on_purpose_and_a_tube(code: str) -> None:
    test = TESTS[code]
    assert is_chinese(test["name"])
    assert test["name_en"]
    assert test["short_name"]
    assert test["pinyin"].isascii()
    assert test["pinyin"] == test["pinyin"].lower()
    assert len(test["pinyin"]) >= 1
    assert bool(test["unit"]) != (test["unitless"] == "1")
    assert test["tube"] in TUBES
    assert test["specimen_type"]
    if test["value_type"] in ("numeric", "ratio"):
        assert test["decimals"].isdigit()
    else:
        assert test["value_type"] in {"qualitative", "titre", "text"}


@pytest.mark.req("LIS-16")
@pytest.mark.parametrize(
    ("code", "initials"),
    [("WBC", "bxbjs"), ("HGB", "xhdb"), ("CREA", "jg"), ("FPSA", "ylqlxtyxky"), ("LDH", "rstqm"), ("UA", "ns")],
)
def test_pinyin_initials_are_those_a_technician_types(code: str, initials: str) -> None:
    assert TESTS[code]["pinyin"] == initials


@pytest.mark.req("LIS-16")
def test_panels_hold_known_tests_once_and_no_panel_is_called_like_a_test() -> None:
    assert not set(PANELS) & set(TESTS)
    for panel in PANELS.values():
        codes = panel["tests"].split()
        assert codes
        assert len(codes) == len(set(codes))
        assert set(codes) <= set(TESTS), panel["code"]
    assert {"CBC", "CHEM", "LIVER", "RENAL", "LIPID", "ELEC", "COAG", "THYR3", "HBV5", "URINE", "ABG"} <= set(PANELS)


@pytest.mark.req("LIS-0")
@pytest.mark.parametrize("file", ["ranges.csv", "critical.csv"])
def test_every_range_and_limit_names_its_source_and_its_bounds_are_in_order(file: str) -> None:
    for row in rows(file):
        assert len(row["source"]) > 8, row
        assert row["test"] in TESTS
        assert row["low"] or row["high"] or row["text"]
        if row["low"] and row["high"]:
            assert Decimal(row["low"]) < Decimal(row["high"]), row


@pytest.mark.req("REP-1")
def test_hiv_syphilis_and_genetic_tests_are_marked_sensitive() -> None:
    marked = {code: row["sensitive"] for code, row in TESTS.items() if row["sensitive"]}
    assert marked == {"HIV": "hiv", "TPAB": "syphilis", "TRUST": "syphilis", "CYP2C19": "genetics"}


@pytest.mark.req("GW-11")
@pytest.mark.parametrize("name", presets())
def test_every_preset_channel_leads_to_a_known_test_and_no_code_stands_twice(name: str) -> None:
    channels = preset_channels(name)
    mapped = [each for each in channels if each.kind == ChannelKind.TEST]
    assert {each.test for each in mapped} <= set(TESTS)
    assert len({each.code for each in channels}) == len(channels)
    assert len({each.test for each in mapped}) == len(mapped)


@pytest.mark.req("GW-11")
@pytest.mark.parametrize(
    ("code", "sent", "stored"),
    [("HGB", "13.5", "135"), ("HCT", "40.5", "0.405"), ("MCHC", "33.3", "333"), ("WBC", "8.13", "8.13")],
)
def test_sysmex_values_become_the_units_of_the_catalogue(code: str, sent: str, stored: str) -> None:
    channel = next(each for each in preset_channels("sysmex_xn") if each.code == code)
    assert Decimal(sent) * channel.factor == Decimal(stored)
