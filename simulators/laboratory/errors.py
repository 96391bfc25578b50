"""Errors of a working day, put into a history: each by its mechanism, with a size, in a tube of its own.

What an error does to values is what the trade knows: haemolysis lets potassium and LDH out of cells, EDTA binds calcium
and magnesium and brings potassium, a clot eats platelets. The strengths are round figures. Which rule would find what
is not known here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

from simulators.laboratory.history import CHEMISTRY, COUNT, START, Tube, derive, printed

BANDS = ("small", "medium", "large")
Put = Callable[[Tube, int, random.Random], float]
"""Spoils the tube at a strength 0, 1 or 2; gives the size."""


def _scaled(tube: Tube, code: str, factor: float, extra: float = 0.0) -> None:
    if code in tube.values:
        tube.values[code] = printed(code, max(0.0, tube.values[code] * factor + extra))


def haemolysis(tube: Tube, band: int, dice: random.Random) -> float:
    """Size: free haemoglobin, g/L. The analyzer measures the index."""
    free = (dice.uniform(0.5, 1.2), dice.uniform(1.6, 3.5), dice.uniform(4, 9))[band]
    for code, factor, extra in (("K", 1, 0.33), ("LDH", 1 + 0.55 * free, 0), ("AST", 1 + 0.12 * free, 0)):
        _scaled(tube, code, factor, extra * free)
    _scaled(tube, "PHOS", 1 + 0.02 * free)
    tube.indices["H"] = round(free * dice.uniform(0.95, 1.05), 1)
    return free


def lipaemia(tube: Tube, band: int, dice: random.Random) -> float:
    """Size: triglycerides, mmol/L. Water is displaced, bilirubin reads high."""
    fat = (dice.uniform(4, 6), dice.uniform(8, 12), dice.uniform(15, 30))[band]
    tube.values["TG"] = printed("TG", fat)
    _scaled(tube, "NA", 1 - 0.003 * fat)
    _scaled(tube, "CL", 1 - 0.003 * fat)
    _scaled(tube, "TBIL", 1 + 0.02 * fat)
    tube.indices["L"] = round(fat / 3 * dice.uniform(0.95, 1.05), 1)
    return fat


def edta(tube: Tube, band: int, dice: random.Random) -> float:
    """Size: share of blood poured over from an EDTA tube, percent."""
    share = (dice.uniform(0.5, 2), dice.uniform(3, 7), dice.uniform(12, 30))[band]
    _scaled(tube, "K", 1, 0.24 * share)
    _scaled(tube, "CA", max(0.05, 1 - 0.035 * share))
    _scaled(tube, "MG", max(0.05, 1 - 0.03 * share))
    _scaled(tube, "ALP", max(0.05, 1 - 0.03 * share))
    return share


def clot(tube: Tube, band: int, dice: random.Random) -> float:
    """Size: share of platelets lost, percent. The counter sees larger clots itself."""
    lost = (dice.uniform(0.10, 0.25), dice.uniform(0.35, 0.55), dice.uniform(0.7, 0.9))[band]
    _scaled(tube, "PLT", 1 - lost)
    _scaled(tube, "WBC", 1 - lost * 0.1)
    if dice.random() < (0.2, 0.7, 1.0)[band]:
        tube.flags.setdefault("PLT", []).append("PLT_Clumps?")
    return lost * 100


def short_sample(tube: Tube, band: int, dice: random.Random) -> float:
    """Size: air in place of serum, percent of the aspirated volume. Gross shortness is noticed by the probe."""
    air = (dice.uniform(2, 5), dice.uniform(10, 20), dice.uniform(40, 70))[band]
    for code in CHEMISTRY:
        _scaled(tube, code, 1 - air / 100)
    _scaled(tube, "DBIL", 1 - air / 100)
    if dice.random() < (0.0, 0.6, 1.0)[band]:
        for code in tube.values:
            tube.flags.setdefault(code, []).append("SAMPLE SHORT")
    return air


def unit_slip(tube: Tube, band: int, dice: random.Random) -> float:
    """A channel set to another unit. Size: the factor."""
    code, factor = (("GLU", 18.016), ("CREA", 1 / 88.4), ("TC", 38.67), ("CA", 4.008))[dice.randrange(4)]
    if tube.panel == "count":
        code, factor = "HGB", 0.1
    tube.values[code] = round(tube.values[code] * factor, 2)
    return factor


def decimal_up(tube: Tube, band: int, dice: random.Random) -> float:
    """One value ten times too large."""
    code = dice.choice(sorted(tube.values))
    tube.values[code] = round(tube.values[code] * 10, 3)
    return 10


def decimal_down(tube: Tube, band: int, dice: random.Random) -> float:
    """One value ten times too small."""
    code = dice.choice(sorted(tube.values))
    tube.values[code] = round(tube.values[code] / 10, 3)
    return 0.1


def dilution_forgotten(tube: Tube, band: int, dice: random.Random) -> float:
    """Measured on a dilution by hand and not multiplied back. Size: the factor."""
    factor = (2, 5, 10)[band]
    for code in dice.sample(["ALT", "AST", "GGT", "CK", "LDH", "GLU", "UREA", "TBIL"], 2):
        _scaled(tube, code, 1 / factor)
    return float(factor)


MECHANISMS: dict[str, tuple[str, Put]] = {
    "haemolysis": ("chemistry", haemolysis),
    "lipaemia": ("chemistry", lipaemia),
    "edta": ("chemistry", edta),
    "clot": ("count", clot),
    "short_sample": ("chemistry", short_sample),
    "unit_slip": ("", unit_slip),
    "decimal_up": ("", decimal_up),
    "decimal_down": ("", decimal_down),
    "dilution_forgotten": ("chemistry", dilution_forgotten),
}
"""Name to the panel it happens in ("": any) and what it does. Wrong tubes and drift concern several tubes."""


def spoil(made: Sequence[Tube], seed: int, *, share: float = 0.05) -> list[Tube]:
    """A copy of the history with about `share` of its tubes spoiled, each by one error; all else is as it was."""
    dice = random.Random(f"errors {seed}")
    found = [deepcopy(each) for each in made]
    _drift(found, dice)
    free = [at for at, each in enumerate(found) if not each.error]
    dice.shuffle(free)
    names = [*MECHANISMS, "wrong_tube", "wrong_tube"]
    wanted = int(len(found) * share)
    for at in free[:wanted]:
        if found[at].error:
            continue
        name = dice.choice([each for each in names if _fits(each, found[at])])
        if name == "wrong_tube":
            _swap(found, at, dice)
        else:
            band = dice.randrange(3)
            size = MECHANISMS[name][1](found[at], band, dice)
            found[at].error, found[at].size, found[at].band = name, round(size, 3), BANDS[band]
    return found


def _fits(name: str, tube: Tube) -> bool:
    return name not in MECHANISMS or MECHANISMS[name][0] in ("", tube.panel)


def _swap(found: list[Tube], at: int, dice: random.Random) -> None:
    """Two people's tubes of one panel change places: both reports are wrong. Size: how unlike the two are, percent."""
    near = [
        each
        for each in range(max(0, at - 60), min(len(found), at + 60))
        if not found[each].error and found[each].panel == found[at].panel and found[each].person != found[at].person
    ]
    if not near:
        return
    other = dice.choice(near)
    one, two = found[at], found[other]
    size = unlike(one, two)
    band = BANDS[0 if size < 12 else 1 if size < 22 else 2]
    for tube, source in ((at, replace(two)), (other, replace(one))):
        mine = found[tube]
        mine.values, mine.flags, mine.indices = dict(source.values), deepcopy(source.flags), dict(source.indices)
        mine.error, mine.size, mine.band = "wrong_tube", round(size, 1), band


def unlike(one: Tube, two: Tube) -> float:
    """Mean relative difference of the values, percent."""
    apart = [abs(one.values[code] - two.values[code]) / (abs(one.values[code]) or 1) for code in one.values]
    return sum(apart) * 100 / len(apart)


def _drift(found: list[Tube], dice: random.Random) -> None:
    """One test of each analyzer wanders off over five days. Size: analytical standard deviations on that day."""
    days = (found[-1].measured_at - START).days
    for panel, natures in (("chemistry", CHEMISTRY), ("count", COUNT)):
        code = dice.choice(sorted(natures))
        begin, sign = dice.randrange(days // 2, max(days // 2 + 1, days - 6)), dice.choice([-1, 1])
        for tube in found:
            day = (tube.measured_at - START).days - begin
            if tube.panel != panel or not 0 <= day < 5:
                continue
            size = (day + 1) * 1.5
            tube.values[code] = printed(code, tube.values[code] * (1 + sign * size * natures[code].analytical))
            tube.control[code] += sign * size
            if panel == "count":
                derived = dict(tube.values)
                derive(derived)
                tube.values.update({each: printed(each, derived[each]) for each in ("HCT", "HGB", "MCH")})
            tube.error, tube.size = "drift", size
            tube.band = BANDS[0 if size < 3 else 1 if size < 5 else 2]
