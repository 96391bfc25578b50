"""Made-up values of one tube that hang together: within a person over time, and with one another.

The middles and spreads below only shape a simulation. They are no reference intervals and no claim about anybody.
"""

from __future__ import annotations

from math import exp
from random import Random

from cloud.history.patients import Patient

CBC = (
    "WBC NEUT_PCT LYMPH_PCT MONO_PCT EO_PCT BASO_PCT NEUT_ABS LYMPH_ABS MONO_ABS EO_ABS BASO_ABS RBC HGB HCT MCV MCH"
    " MCHC RDW_CV RDW_SD PLT MPV PDW P_LCR PCT_PLT"
)
LIVER_RENAL = "ALT AST ALP GGT TP ALB TBIL DBIL TBA CHE PA UREA CREA UA CYSC CO2"
RENAL_ELEC = "UREA CREA UA CYSC CO2 K NA CL CA PHOS MG GLU"
LIPID_HEART = "TC TG HDL LDL APOA1 APOB LPA GLU AST CK CKMB LDH HBDH"
URINE = (
    "U_COLOR U_CLARITY U_SG U_PH U_LEU U_NIT U_PRO U_GLU U_KET U_URO U_BIL U_BLD U_VC U_RBC U_WBC U_EC U_CAST U_BACT"
)
TUBES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "CBC": (tuple(CBC.split()), ("CBC",)),
    "LIVER_RENAL": (tuple(LIVER_RENAL.split()), ("LIVER", "RENAL")),
    "RENAL_ELEC": (tuple(RENAL_ELEC.split()), ("RENAL", "ELEC", "GLUC")),
    "LIPID_HEART": (tuple(LIPID_HEART.split()), ("LIPID", "GLUC", "HEART")),
    "URINE": (tuple(URINE.split()), ("URINE",)),
}
"""The tests of a tube, and the panels they were ordered with (a test belongs to the first that has it)."""

SHAPES: dict[str, tuple[float, float, float, float, int]] = {
    # code: middle of men, of women, spread between persons, within a person (both relative), digits
    "ALT": (22, 17, 0.35, 0.14, 1),
    "AST": (22, 19, 0.22, 0.10, 1),
    "ALP": (78, 68, 0.22, 0.06, 1),
    "GGT": (26, 18, 0.40, 0.09, 1),
    "TP": (73, 73, 0.04, 0.025, 1),
    "ALB": (46, 45, 0.04, 0.025, 1),
    "TBIL": (13.5, 11, 0.30, 0.15, 1),
    "TBA": (4.0, 3.6, 0.40, 0.25, 1),
    "CHE": (8600, 7900, 0.15, 0.05, 0),
    "PA": (290, 260, 0.14, 0.08, 0),
    "UREA": (5.5, 4.8, 0.18, 0.12, 2),
    "CREA": (76, 57, 0.11, 0.05, 1),
    "UA": (350, 275, 0.17, 0.08, 1),
    "CYSC": (0.86, 0.78, 0.12, 0.05, 2),
    "CO2": (25, 25, 0.06, 0.045, 1),
    "K": (4.2, 4.15, 0.055, 0.045, 2),
    "NA": (141, 141, 0.009, 0.007, 1),
    "CL": (104, 104, 0.014, 0.011, 1),
    "CA": (2.33, 2.31, 0.025, 0.02, 2),
    "PHOS": (1.12, 1.17, 0.10, 0.08, 2),
    "MG": (0.88, 0.87, 0.055, 0.035, 2),
    "GLU": (5.2, 5.1, 0.08, 0.06, 2),
    "TC": (4.6, 4.65, 0.15, 0.055, 2),
    "TG": (1.35, 1.15, 0.38, 0.18, 2),
    "HDL": (1.22, 1.42, 0.17, 0.06, 2),
    "APOA1": (1.35, 1.48, 0.13, 0.06, 2),
    "APOB": (0.9, 0.86, 0.17, 0.06, 2),
    "LPA": (140, 150, 0.70, 0.08, 0),
    "CK": (110, 80, 0.35, 0.18, 0),
    "CKMB": (11, 10, 0.25, 0.12, 1),
    "LDH": (172, 168, 0.13, 0.07, 0),
    "HBDH": (130, 128, 0.13, 0.07, 0),
    "WBC": (6.2, 6.0, 0.18, 0.11, 2),
    "HGB": (15.2, 13.3, 0.055, 0.025, 1),
    "MCHC": (33.4, 33.1, 0.018, 0.012, 1),
    "MCV": (90.5, 89.5, 0.04, 0.006, 1),
    "RDW_CV": (12.8, 13.0, 0.05, 0.015, 1),
    "PLT": (225, 240, 0.20, 0.07, 0),
    "MPV": (10.4, 10.4, 0.07, 0.025, 1),
    "PDW": (12.2, 12.2, 0.13, 0.05, 1),
}
EFFECTS: dict[str, dict[str, float]] = {
    # what a condition at its full weight multiplies
    "renal": {"CREA": 7.0, "UREA": 3.6, "UA": 1.5, "CYSC": 4.0, "K": 1.22, "PHOS": 1.6, "CO2": 0.8, "HGB": 0.72},
    "liver": {"ALT": 9.0, "AST": 7.0, "GGT": 5.0, "TBIL": 4.0, "TBA": 6.0, "ALB": 0.75, "CHE": 0.55, "PLT": 0.5},
    "diabetes": {"GLU": 2.6, "TG": 1.9, "TC": 1.15, "HDL": 0.85},
    "anaemia": {"HGB": 0.55, "MCV": 0.82, "RDW_CV": 1.4},
    "heart": {"CK": 3.5, "CKMB": 4.0, "AST": 1.8, "LDH": 1.7, "HBDH": 1.8},
    "infection": {"WBC": 2.1, "PLT": 1.15, "ALB": 0.93, "CK": 1.2},
}
CRISES: tuple[dict[str, float], ...] = (
    {"K": 1.55},
    {"K": 0.6},
    {"NA": 0.83, "CL": 0.86},
    {"GLU": 0.4},
    {"GLU": 5.6, "NA": 1.05},
    {"HGB": 0.42},
    {"PLT": 0.1, "WBC": 0.28},
    {"CREA": 9.0, "UREA": 5.0},
    {"CA": 0.66},
)
"""What brings somebody to the emergency room now and then, so that there are critical values to be told."""
NEGATIVE = "阴性"


def draw(random: Random, patient: Patient, tube: str, *, acute: bool = False) -> dict[str, str]:
    """Values by test code as the instrument (or who reads a strip) says them, in the instrument's unit."""
    patient.severity = min(1.0, max(0.0, patient.severity + random.gauss(0, 0.06)))
    effects = [(EFFECTS[patient.condition], patient.severity)] if patient.condition else []
    infected = random.random() < 0.06
    if infected:
        effects.append((EFFECTS["infection"], random.random()))
    if random.random() < (0.06 if acute else 0.002):
        effects.append((random.choice(CRISES), 1.0))
    if tube == "URINE":
        return _urine(random, patient)
    codes = TUBES[tube][0]
    found = {code: _one(random, patient, code, effects) for code in codes if code in SHAPES}
    if tube == "CBC":
        return _count(random, patient, found, infected)
    if tube == "LIVER_RENAL":
        found["ALB"] = min(found["ALB"], found["TP"] - 12)
        found["DBIL"] = found["TBIL"] * min(0.8, 0.24 + 0.3 * random.random() * (patient.condition == "liver"))
    if tube == "LIPID_HEART":
        found["HDL"] = min(found["HDL"], found["TC"] * 0.6)
        found["LDL"] = max(0.4, found["TC"] - found["HDL"] - min(found["TG"], 4.5) / 2.2)
    return {code: f"{found[code]:.{_digits(code)}f}" for code in codes}


def _digits(code: str) -> int:
    return {"DBIL": 1, "LDL": 2}.get(code) or SHAPES[code][4]


def _one(random: Random, patient: Patient, code: str, effects: list[tuple[dict[str, float], float]]) -> float:
    men, women, between, within, _ = SHAPES[code]
    own = patient.own.get(code)
    if own is None:
        own = patient.own[code] = max(-2.2, min(2.2, random.gauss(0, 1)))
    value: float = (men if patient.sex == "M" else women) * exp(between * own + within * random.gauss(0, 1))
    for factors, weight in effects:
        if code in factors:
            value *= factors[code] ** weight
    return value


def _count(random: Random, patient: Patient, found: dict[str, float], infected: bool) -> dict[str, str]:
    """A blood count: percentages that make 100, absolute counts and red-cell indices from their definitions."""
    lymph = max(4.0, min(55.0, random.gauss(32 + 4 * patient.own["WBC"], 4) - (16 if infected else 0)))
    mono, eo = max(2.0, random.gauss(6.5, 1.2)), max(0.1, random.gauss(2.2, 1.0))
    tenths = {"LYMPH_PCT": round(lymph * 10), "MONO_PCT": round(mono * 10), "EO_PCT": round(eo * 10)}
    tenths["BASO_PCT"] = random.randint(1, 9)
    tenths["NEUT_PCT"] = 1000 - sum(tenths.values())
    white = round(found["WBC"], 2)
    texts = {"WBC": f"{white:.2f}"}
    for code, part in tenths.items():
        texts[code] = f"{part / 10:.1f}"
        texts[code.replace("_PCT", "_ABS")] = f"{white * part / 1000:.2f}"
    haematocrit = found["HGB"] / found["MCHC"] * 100
    red = haematocrit * 10 / found["MCV"]
    platelets, volume = found["PLT"], found["MPV"]
    texts |= {code: f"{found[code]:.{SHAPES[code][4]}f}" for code in ("HGB", "MCHC", "MCV", "RDW_CV", "PLT", "PDW")}
    return texts | {
        "RBC": f"{red:.2f}",
        "HCT": f"{haematocrit:.1f}",
        "MCH": f"{found['HGB'] * 10 / red:.1f}",
        "RDW_SD": f"{found['RDW_CV'] * found['MCV'] / 28:.1f}",
        "MPV": f"{volume:.1f}",
        "P_LCR": f"{max(8.0, 27 + (volume - 10.4) * 7):.1f}",
        "PCT_PLT": f"{platelets * volume / 10_000:.2f}",
    }


def _urine(random: Random, patient: Patient) -> dict[str, str]:
    renal = patient.condition == "renal" and random.random() < patient.severity
    sweet = patient.condition == "diabetes" and random.random() < patient.severity * 0.7
    infected = random.random() < 0.05

    def graded(positive: bool) -> str:
        return random.choice(("±", "1+", "2+", "3+")) if positive else NEGATIVE

    return {
        "U_COLOR": random.choice(("淡黄色", "黄色", "黄色", "深黄色")),
        "U_CLARITY": "微浑" if infected else "清",
        "U_SG": f"{random.gauss(1.016, 0.005):.3f}",
        "U_PH": random.choice(("5.5", "6.0", "6.0", "6.5", "7.0")),
        "U_LEU": graded(infected),
        "U_NIT": "阳性" if infected and random.random() < 0.4 else NEGATIVE,
        "U_PRO": graded(renal),
        "U_GLU": graded(sweet),
        "U_KET": graded(sweet and random.random() < 0.3),
        "U_URO": "正常",
        "U_BIL": NEGATIVE,
        "U_BLD": graded(renal and random.random() < 0.4),
        "U_VC": NEGATIVE,
        "U_RBC": f"{max(0.0, random.gauss(4, 2) + 30 * renal):.1f}",
        "U_WBC": f"{max(0.0, random.gauss(4, 2) + 120 * infected):.1f}",
        "U_EC": f"{max(0.0, random.gauss(3, 2)):.1f}",
        "U_CAST": f"{max(0.0, random.gauss(0.3, 0.3)):.2f}",
        "U_BACT": f"{max(0.0, random.gauss(20, 15) + 2000 * infected):.1f}",
    }
