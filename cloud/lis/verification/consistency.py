"""What the values of one specimen cannot be together. Arithmetic of the definitions, not medicine: a part exceeds its
whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from cloud.lis.verification.rules import Plausibility, Reason

PART_OF: tuple[tuple[str, str], ...] = (
    ("DBIL", "TBIL"),
    ("ALB", "TP"),
    ("HDL", "TC"),
    ("FPSA", "TPSA"),
)
"""(part, whole) by test code, both in one unit: direct in total bilirubin, albumin in total protein, HDL in total
cholesterol, free in total PSA."""
FIVE_PART = ("NEUT_PCT", "LYMPH_PCT", "MONO_PCT", "EO_PCT", "BASO_PCT")
SUM_TOLERANCE = Decimal(1)
"""The five percentages are rounded to a tenth each; a sum further than this from 100 is no rounding."""


def part_exceeds_whole(numbers: Mapping[str, Decimal]) -> Iterable[Reason]:
    for part, whole in PART_OF:
        if part in numbers and whole in numbers and numbers[part] > numbers[whole]:
            yield Reason("part_exceeds_whole", holds=True, fields={"tests": [part, whole]})


def differential_sum(numbers: Mapping[str, Decimal]) -> Iterable[Reason]:
    if any(each not in numbers for each in FIVE_PART):
        return
    total = sum((numbers[each] for each in FIVE_PART), Decimal(0))
    if abs(total - 100) > SUM_TOLERANCE:
        yield Reason("differential_sum", holds=True, fields={"tests": list(FIVE_PART), "sum": str(total)})


CHECKS: tuple[Plausibility, ...] = (part_exceeds_whole, differential_sum)
