"""Tubes of invented people over some weeks: what their blood is like, how it changes, what the analyzer adds.

Every person has a set point for each test, drawn around the population; each tube scatters around it by biological and
analytical variation; some people are ill, and some illnesses begin, end or bleed between two tubes, so that large true
changes exist. Spreads are round figures for a plausible picture, no reference data. Everything follows from the seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = datetime(2026, 6, 1, 7, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Nature:
    """One test: population median, spread between people, within one person, and of the analyzer (as shares)."""

    median: float
    between: float
    within: float
    analytical: float
    decimals: int
    female: float = 1.0
    """Median of women as a share of the median."""


CHEMISTRY = {
    "ALT": Nature(22, 0.35, 0.12, 0.03, 1, 0.8),
    "AST": Nature(23, 0.20, 0.10, 0.03, 1, 0.92),
    "ALP": Nature(76, 0.20, 0.05, 0.03, 1, 0.86),
    "GGT": Nature(26, 0.40, 0.09, 0.03, 1, 0.7),
    "TP": Nature(73, 0.045, 0.02, 0.012, 1),
    "ALB": Nature(46, 0.05, 0.02, 0.012, 1, 0.98),
    "TBIL": Nature(12, 0.26, 0.14, 0.03, 1, 0.85),
    "UREA": Nature(5.1, 0.18, 0.10, 0.02, 2, 0.9),
    "CREA": Nature(76, 0.12, 0.045, 0.02, 1, 0.75),
    "UA": Nature(350, 0.18, 0.08, 0.015, 1, 0.76),
    "GLU": Nature(5.1, 0.07, 0.045, 0.012, 2),
    "TC": Nature(4.5, 0.12, 0.05, 0.015, 2),
    "TG": Nature(1.1, 0.30, 0.18, 0.02, 2, 0.9),
    "HDL": Nature(1.4, 0.16, 0.06, 0.02, 2, 1.1),
    "K": Nature(4.3, 0.05, 0.04, 0.01, 2),
    "NA": Nature(141, 0.010, 0.005, 0.005, 1),
    "CL": Nature(104, 0.014, 0.010, 0.006, 1),
    "CA": Nature(2.32, 0.030, 0.018, 0.010, 2),
    "LDH": Nature(180, 0.14, 0.06, 0.02, 0),
    "CK": Nature(110, 0.35, 0.18, 0.02, 0, 0.75),
    "MG": Nature(0.88, 0.055, 0.03, 0.015, 2),
    "PHOS": Nature(1.15, 0.10, 0.06, 0.015, 2),
}
COUNT = {
    "WBC": Nature(6.0, 0.20, 0.11, 0.02, 2),
    "RBC": Nature(4.9, 0.06, 0.025, 0.008, 2, 0.9),
    "MCV": Nature(90, 0.035, 0.006, 0.004, 1),
    "MCHC": Nature(334, 0.014, 0.008, 0.006, 0),
    "RDW_CV": Nature(12.8, 0.04, 0.012, 0.008, 1),
    "PLT": Nature(225, 0.20, 0.07, 0.03, 0),
    "MPV": Nature(10.4, 0.08, 0.02, 0.015, 1),
}
"""HGB, HCT and MCH follow from these."""
DECIMALS = {code: nature.decimals for code, nature in {**CHEMISTRY, **COUNT}.items()} | {"HGB": 0, "HCT": 3, "MCH": 1}
DECIMALS |= {"DBIL": 1}
ILLNESSES: dict[str, dict[str, float]] = {
    "肝炎": {"ALT": 8, "AST": 6, "GGT": 3, "TBIL": 2.5, "LDH": 1.6},
    "慢性肾病": {"CREA": 3.5, "UREA": 2.8, "K": 1.12, "PHOS": 1.4, "RBC": 0.78},
    "糖尿病": {"GLU": 2.0, "TG": 1.6},
    "缺铁性贫血": {"RBC": 0.9, "MCV": 0.84, "MCHC": 0.95, "RDW_CV": 1.25},
    "感染": {"WBC": 2.2, "PLT": 1.2},
    "出血": {"RBC": 0.68, "WBC": 1.3},
    "高脂血症": {"TC": 1.35, "TG": 2.2},
}


@dataclass(slots=True)
class Person:
    number: int
    sex: str
    age_years: int
    set_points: dict[str, float]
    direct_share: float
    illness: str = ""


@dataclass(slots=True)
class Tube:
    """One tube as the analyzer reports it. `values` are numbers as printed; `taken_from` is whose blood it is."""

    number: int
    person: int
    sex: str
    age_years: int
    panel: str
    instrument: str
    collected_at: datetime
    measured_at: datetime
    diagnosis: str
    values: dict[str, float]
    flags: dict[str, list[str]] = field(default_factory=dict)
    """The analyzer's alarms by test."""
    indices: dict[str, float] = field(default_factory=dict)
    control: dict[str, float] = field(default_factory=dict)
    """The morning's control of each test, in standard deviations from its target."""
    diluted: dict[str, float] = field(default_factory=dict)
    """Tests measured on a dilution, with its factor, as the analyzer says."""
    error: str = ""
    size: float = 0.0
    band: str = ""
    """The size in words: small, medium or large."""


def people(count: int, dice: random.Random) -> list[Person]:
    made = []
    for number in range(count):
        sex = dice.choice("MF")
        points = {}
        for code, nature in {**CHEMISTRY, **COUNT}.items():
            middle = nature.median * (nature.female if sex == "F" else 1)
            points[code] = middle * math.exp(dice.gauss(0, nature.between))
        illness = dice.choice(list(ILLNESSES)) if dice.random() < 0.15 else ""
        made.append(Person(number, sex, dice.randint(20, 59), points, dice.uniform(0.2, 0.35), illness))
    return made


def tubes(seed: int, *, persons: int = 1000, visits: int = 4, days: int = 60) -> list[Tube]:
    """Both panels at every visit, in the order of time."""
    dice = random.Random(f"history {seed}")
    moments = []
    for person in people(persons, dice):
        for visit in sorted(dice.uniform(0, days) for _ in range(visits)):
            moments.append((visit, person, dice.random()))
    made: list[Tube] = []
    for visit, person, chance in sorted(moments, key=lambda each: each[0]):
        illness = _today(person, chance, dice)
        taken = START + timedelta(days=visit)
        for panel in ("chemistry", "count"):
            made.append(_tube(len(made), person, illness, panel, taken, dice))
    _controls(made, dice)
    return made


def _today(person: Person, chance: float, dice: random.Random) -> str:
    """Illness comes and goes: a tenth of the visits of the ill are free of it, a few of the healthy bleed or catch
    something.
    """
    if person.illness:
        return "" if chance < 0.1 else person.illness
    return dice.choice(["感染", "出血"]) if chance < 0.02 else ""


def _tube(number: int, person: Person, illness: str, panel: str, taken: datetime, dice: random.Random) -> Tube:
    natures = CHEMISTRY if panel == "chemistry" else COUNT
    values = {}
    for code, nature in natures.items():
        effect = ILLNESSES.get(illness, {}).get(code, 1.0)
        severity = math.exp(dice.gauss(0, 0.12)) if effect != 1.0 else 1.0
        spread = math.hypot(nature.within, nature.analytical)
        values[code] = person.set_points[code] * (1 + (effect - 1) * severity) * math.exp(dice.gauss(0, spread))
    if panel == "chemistry":
        values["DBIL"] = values["TBIL"] * person.direct_share * math.exp(dice.gauss(0, 0.05))
    else:
        derive(values)
    tube = Tube(
        number,
        person.number,
        person.sex,
        person.age_years,
        panel,
        "BS-1" if panel == "chemistry" else "XN-1",
        taken,
        taken + timedelta(minutes=dice.uniform(25, 110)),
        illness,
        {code: printed(code, value) for code, value in values.items()},
    )
    if panel == "chemistry":
        tube.indices = {name: round(abs(dice.gauss(0, 0.25)), 1) for name in "HIL"}
    return tube


def derive(values: dict[str, float]) -> None:
    """What a counter calculates: haematocrit, haemoglobin and its share of a cell."""
    values["HCT"] = values["RBC"] * values["MCV"] / 1000
    values["HGB"] = values["HCT"] * values["MCHC"]
    values["MCH"] = values["HGB"] / values["RBC"]


def printed(code: str, value: float) -> float:
    return round(value, DECIMALS[code])


def _controls(made: list[Tube], dice: random.Random) -> None:
    """One control a day and test, in standard deviations."""
    mornings: dict[tuple[str, int, str], float] = {}
    for tube in made:
        day = (tube.measured_at - START).days
        for code in tube.values:
            key = (tube.instrument, day, code)
            if key not in mornings:
                mornings[key] = max(-2.8, min(2.8, dice.gauss(0, 1)))
            tube.control[code] = mornings[key]


def before(made: list[Tube]) -> Iterator[tuple[Tube, Tube | None]]:
    """Each tube with the one of the same person and panel before it."""
    last: dict[tuple[int, str], Tube] = {}
    for tube in made:
        key = (tube.person, tube.panel)
        yield tube, last.get(key)
        last[key] = tube
