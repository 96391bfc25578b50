"""Units of the laboratory: read, converted by dimension, and by molar mass only for a named substance."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest

import cloud.lis.catalog
from cloud.lis.calculation import substances, units
from cloud.lis.calculation.units import UnitError

pytestmark = pytest.mark.req("LIS-3", "LIS-16")

CATALOGUE = Path(cloud.lis.catalog.__file__).parent / "data" / "tests.csv"


@pytest.mark.parametrize(
    ("come_from", "goes_to", "factor"),
    [
        ("g/L", "g/dL", "0.1"),
        ("mg/L", "g/L", "0.001"),
        ("10^9/L", "/μL", "1000"),
        ("10*9/L", "10⁹/L", "1"),
        ("10^3/μL", "10^9/L", "1"),
        ("L/L", "%", "100"),
        ("μmol/L", "µmol/L", "1"),
        ("umol/L", "mmol/L", "0.001"),
        ("mIU/mL", "IU/L", "1"),
        ("kPa", "Pa", "1000"),
        ("mg/l", "mg/L", "1"),
    ],
)
def test_two_ways_to_write_one_quantity_convert_exactly(come_from: str, goes_to: str, factor: str) -> None:
    assert units.factor(come_from, goes_to) == Decimal(factor)


def test_creatinine_converts_by_the_factor_of_its_source() -> None:
    assert units.factor("mg/dL", "μmol/L", substances.mol_per_g("CREA")) == Decimal("88.4")


@pytest.mark.parametrize(
    ("test", "mass", "amount", "per_unit"),
    [
        ("GLU", "mg/dL", "mmol/L", "0.0555"),
        ("TC", "mg/dL", "mmol/L", "0.02586"),
        ("TG", "mg/dL", "mmol/L", "0.01129"),
        ("UA", "mg/dL", "μmol/L", "59.48"),
        ("CA", "mg/dL", "mmol/L", "0.2495"),
        ("TBIL", "mg/dL", "μmol/L", "17.10"),
        ("FE", "μg/dL", "μmol/L", "0.1791"),
    ],
)
def test_molar_masses_give_the_factors_that_laboratories_use(test: str, mass: str, amount: str, per_unit: str) -> None:
    found = units.factor(mass, amount, substances.mol_per_g(test))
    assert abs(found - Decimal(per_unit)) <= Decimal(per_unit) * Decimal("0.001")
    assert abs(units.factor(amount, mass, substances.mol_per_g(test)) * found - 1) < Decimal("1e-20")


@pytest.mark.parametrize(
    ("come_from", "goes_to", "test"),
    [("mg/dL", "mmol/L", "ALT"), ("U/L", "mIU/L", "ALT"), ("mg/L", "mg/L FEU", "DDIMER"), ("s", "g/L", "GLU")],
)
def test_what_measures_something_else_is_never_converted(come_from: str, goes_to: str, test: str) -> None:
    assert not units.convertible(come_from, goes_to, substances.mol_per_g(test))


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(UnitError) as refused:
        units.unit("mmoll/L")
    assert (refused.value.code, refused.value.text) == ("unit_unknown", "mmoll/L")


def test_every_unit_of_the_catalogue_can_be_calculated_with() -> None:
    with CATALOGUE.open(encoding="utf-8") as file:
        written = {row["unit"] for row in csv.DictReader(file) if row["value_type"] == "numeric"}
    assert {each for each in written if units.unit(each).scale <= 0} == set()
