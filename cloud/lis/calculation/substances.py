"""How much of an analyte one mole weighs, from `data/substances.csv`: a stated factor with its source, or a molecular
formula with the IUPAC abridged standard atomic weights (2021).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources

ATOMIC_WEIGHTS = {
    "H": Decimal("1.0080"),
    "C": Decimal("12.011"),
    "N": Decimal("14.007"),
    "O": Decimal("15.999"),
    "Na": Decimal("22.990"),
    "Mg": Decimal("24.305"),
    "P": Decimal("30.974"),
    "S": Decimal("32.06"),
    "Cl": Decimal("35.45"),
    "K": Decimal("39.098"),
    "Ca": Decimal("40.078"),
    "Fe": Decimal("55.845"),
}
"""IUPAC 2021, abridged to five digits, grams a mole."""
_ATOM = re.compile(r"([A-Z][a-z]?)(\d*)")


@dataclass(frozen=True, slots=True)
class Substance:
    """What a test measures, as a substance with a mass."""

    code: str
    name: str
    mol_per_g: Decimal
    source: str


def molar_mass(formula: str) -> Decimal:
    """Grams a mole of ``C6H12O6``."""
    return sum((ATOMIC_WEIGHTS[atom] * int(count or 1) for atom, count in _ATOM.findall(formula)), Decimal(0))


@cache
def by_test() -> dict[str, Substance]:
    """Substance by code of the test; tests that measure no single substance are not there."""
    found: dict[str, Substance] = {}
    with resources.files(__package__).joinpath("data", "substances.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            stated = Decimal(row["mol_per_g"]) if row["mol_per_g"] else 1 / molar_mass(row["formula"])
            for test in row["tests"].split():
                found[test] = Substance(row["code"], row["name"], stated, row["source"])
    return found


def mol_per_g(test: str) -> Decimal | None:
    """Of the substance that this test measures; None where mass and amount cannot turn into each other."""
    substance = by_test().get(test)
    return None if substance is None else substance.mol_per_g
