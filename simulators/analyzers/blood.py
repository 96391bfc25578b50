"""What is in a tube: values that hang together, the same for the same seed and barcode.

Invented for simulation and for nothing else: typical means and spreads of adults, with a few stories (anaemia, kidney
failure ...) that move several values at once, some of them to where a laboratory calls the ward. No source is claimed,
and nothing of the service reads this file.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

CHEMISTRY: Mapping[str, tuple[float, float]] = {
    # analyte: (typical value, relative spread of one standard deviation), in the unit of `mindray_items`
    "ALT": (20, 0.35),
    "AST": (22, 0.28),
    "TBIL": (12, 0.3),
    "DBIL": (3.4, 0.3),
    "TP": (72, 0.05),
    "ALB": (45, 0.06),
    "ALP": (75, 0.22),
    "GGT": (25, 0.4),
    "LDH": (185, 0.13),
    "CHE": (8200, 0.15),
    "TBA": (4, 0.5),
    "PA": (260, 0.15),
    "UREA": (5.2, 0.22),
    "CREA": (70, 0.16),
    "UA": (320, 0.18),
    "CYSC": (0.85, 0.12),
    "GLU": (5.1, 0.09),
    "TC": (4.7, 0.15),
    "TG": (1.3, 0.4),
    "HDL": (1.35, 0.17),
    "LDL": (2.8, 0.2),
    "APOA": (1.35, 0.12),
    "APOB": (0.9, 0.18),
    "LPA": (140, 0.6),
    "CK": (95, 0.4),
    "CKMB": (12, 0.3),
    "HBDH": (140, 0.13),
    "AMY": (65, 0.25),
    "LIP": (35, 0.3),
    "K": (4.2, 0.07),
    "NA": (140, 0.014),
    "CL": (103, 0.02),
    "CA": (2.35, 0.035),
    "MG": (0.88, 0.07),
    "PHOS": (1.15, 0.13),
    "CO2": (25.5, 0.08),
    "FE": (17, 0.3),
    "CRP": (2, 0.8),
    "HSCRP": (1.0, 0.8),
    "ASO": (80, 0.5),
    "RF": (8, 0.5),
    "HCY": (10, 0.25),
    "HBA1C": (5.4, 0.05),
    "TRF": (2.5, 0.12),
}

STORIES: Mapping[str, tuple[float, Mapping[str, float]]] = {
    # story: (share of tubes, factors on single analytes)
    "kidney failure": (
        0.03,
        {"UREA": 4.5, "CREA": 7.5, "UA": 1.5, "K": 1.5, "PHOS": 1.7, "CO2": 0.65, "CYSC": 4, "CA": 0.87},
    ),
    "hepatitis": (0.04, {"ALT": 18, "AST": 14, "TBIL": 3.2, "DBIL": 5, "GGT": 5, "LDH": 1.7, "ALP": 1.5, "TBA": 7}),
    "diabetes": (0.08, {"GLU": 2.3, "TG": 1.7, "HBA1C": 1.6, "HDL": 0.8}),
    "ketoacidosis": (0.01, {"GLU": 5.6, "CO2": 0.4, "K": 1.3, "NA": 0.94, "HBA1C": 1.9}),
    "diuretics": (0.02, {"K": 0.62, "NA": 0.96, "CL": 0.93, "UA": 1.3}),
    "lipids": (0.10, {"TC": 1.5, "LDL": 1.6, "TG": 1.9, "APOB": 1.5}),
    "heart": (0.02, {"CK": 8, "CKMB": 9, "LDH": 2, "AST": 4, "HBDH": 2.2}),
    "inflammation": (0.06, {"CRP": 35, "HSCRP": 20, "ALB": 0.85, "PA": 0.6}),
    "malnourished": (0.03, {"ALB": 0.65, "TP": 0.75, "PA": 0.5, "CA": 0.88, "CHE": 0.5}),
}

BLOOD_STORIES: Mapping[str, tuple[float, Mapping[str, float]]] = {
    "iron deficiency": (0.08, {"HGB": 0.68, "MCV": 0.82, "RDW-CV": 1.35, "PLT": 1.25}),
    "bleeding": (0.015, {"HGB": 0.38, "WBC": 1.5, "PLT": 0.8}),
    "infection": (0.10, {"WBC": 2.3, "NEUT": 1.35, "LYMPH": 0.45, "IG": 5}),
    "viral": (0.06, {"WBC": 0.7, "NEUT": 0.72, "LYMPH": 1.55}),
    "low platelets": (0.04, {"PLT": 0.3, "MPV": 1.15}),
    "very low platelets": (0.012, {"PLT": 0.06, "MPV": 1.2}),
    "leukaemia": (0.008, {"WBC": 9, "HGB": 0.6, "PLT": 0.2, "NEUT": 0.25, "MONO": 5}),
    "neutropenia": (0.012, {"WBC": 0.2, "NEUT": 0.3, "LYMPH": 1.9}),
    "allergy": (0.04, {"EO": 6}),
}


@dataclass(frozen=True, slots=True)
class Tube:
    """A tube as it stands in the rack. The analyzer reads the barcode; the rest is in the blood, not on the label."""

    barcode: str
    sex: str = "F"
    age_years: int = 45


def _story(
    rng: random.Random, stories: Mapping[str, tuple[float, Mapping[str, float]]]
) -> tuple[str, Mapping[str, float]]:
    draw = rng.random()
    for name, (share, factors) in stories.items():
        if draw < share:
            return name, factors
        draw -= share
    return "", {}


def _rng(seed: int, tube: Tube, what: str) -> random.Random:
    return random.Random(f"{seed}/{tube.barcode}/{what}")


def chemistry(seed: int, tube: Tube) -> dict[str, float]:
    """Every chemistry analyte of the tube, unrounded."""
    rng = _rng(seed, tube, "chemistry")
    _, factors = _story(rng, STORIES)
    found: dict[str, float] = {}
    for analyte, (typical, spread) in CHEMISTRY.items():
        value = typical * max(0.15, rng.gauss(1, spread)) * factors.get(analyte, 1.0)
        if analyte in ("CREA", "UA", "CK", "GGT", "HBDH") and tube.sex == "M":
            value *= 1.2
        found[analyte] = value
    found["DBIL"] = min(found["DBIL"], found["TBIL"] * 0.8)
    found["HDL"] = min(found["HDL"], found["TC"] * 0.5)
    return found


def blood_count(seed: int, tube: Tube) -> tuple[str, dict[str, float]]:
    """The story and the values of a count in the XN's own units; indices are computed, the differential adds up."""
    rng = _rng(seed, tube, "blood count")
    story, factors = _story(rng, BLOOD_STORIES)

    def drawn(analyte: str, typical: float, spread: float) -> float:
        return typical * max(0.2, rng.gauss(1, spread)) * factors.get(analyte, 1.0)

    found = {
        "WBC": drawn("WBC", 6.4, 0.2),
        "HGB": drawn("HGB", 14.9 if tube.sex == "M" and tube.age_years > 14 else 13.1, 0.07),
        "MCV": drawn("MCV", 90, 0.04),
        "PLT": drawn("PLT", 235, 0.18),
        "RDW-CV": drawn("RDW-CV", 12.8, 0.05),
        "MPV": drawn("MPV", 10.2, 0.07),
        "PDW": drawn("PDW", 12.0, 0.1),
        "RET%": drawn("RET%", 1.2, 0.25),
        "IRF": drawn("IRF", 8.0, 0.3),
        "RET-HE": drawn("RET-HE", 32.0, 0.06),
        "NRBC%": 0.0,
    }
    mchc = rng.gauss(33.6, 0.7) - (2.2 if story == "iron deficiency" else 0)
    found["HCT"] = found["HGB"] / mchc * 100
    found["RBC"] = found["HCT"] / found["MCV"] * 10
    found["MCH"] = found["HGB"] / found["RBC"] * 10
    found["MCHC"] = mchc
    found["RDW-SD"] = found["RDW-CV"] * found["MCV"] / 28
    found["PCT"] = found["PLT"] * found["MPV"] / 10_000
    found["P-LCR"] = max(8.0, (found["MPV"] - 7) * 8.5)
    found["RET#"] = found["RBC"] * found["RET%"] / 100
    found["NRBC#"] = 0.0
    found.update(_differential(rng, factors, found["WBC"]))
    return story, found


def _differential(rng: random.Random, factors: Mapping[str, float], white_cells: float) -> dict[str, float]:
    shares = {
        part: max(0.05, rng.gauss(typical, spread)) * factors.get(part, 1.0)
        for part, typical, spread in (
            ("NEUT", 58, 7), ("LYMPH", 31, 6), ("MONO", 6.5, 1.5), ("EO", 2.4, 1.2), ("BASO", 0.6, 0.2),
        )
    }  # fmt: skip
    total = sum(shares.values())
    found: dict[str, float] = {}
    for part, share in shares.items():
        found[f"{part}%"] = share / total * 100
        found[f"{part}#"] = white_cells * share / total
    found["IG%"] = max(0.0, rng.gauss(0.3, 0.15)) * factors.get("IG", 1.0)
    found["IG#"] = white_cells * found["IG%"] / 100
    return found
