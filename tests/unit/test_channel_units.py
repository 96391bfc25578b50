"""The channel tables that come with the product: every factor is what its units say."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest

import cloud.lis.catalog
from cloud.lis.calculation.unit_checks import of_channel
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.instruments.service import preset_channels, presets

DATA = Path(cloud.lis.catalog.__file__).parent / "data" / "tests.csv"


def catalogue() -> dict[str, Test]:
    with DATA.open(encoding="utf-8") as file:
        return {
            row["code"]: Test(code=row["code"], unit=row["unit"], value_type=row["value_type"])
            for row in csv.DictReader(file)
        }


TESTS = catalogue()


@pytest.mark.req("LIS-16")
@pytest.mark.parametrize("name", presets())
def test_a_delivered_channel_converts_by_the_factor_of_its_units(name: str) -> None:
    found = []
    for each in preset_channels(name):
        if each.test:
            channel = InstrumentChannel(code=each.code, unit=each.unit, factor=each.factor, also_units="")
            found += of_channel(name, channel, TESTS[each.test])
    assert found == []


def test_a_factor_of_another_unit_would_be_found() -> None:
    wrong = InstrumentChannel(code="HGB", unit="g/dL", factor=Decimal(1), also_units="")
    [problem] = of_channel("xn", wrong, TESTS["HGB"])
    assert problem.code == "channel_factor_differs"
