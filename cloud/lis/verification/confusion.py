"""The confusion table of automatic against human decisions. Positive means held: a person has to look.

Convention and worked example: Wang 2019 (PMC6609390): TP 892, TN 11 257, FP 2 146, FN 0 → sensitivity 100 %,
specificity 83.99 %, pass rate 78.75 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confusion:
    """`tp`: held, and a person would have held it. `fn`: passed, though a person would have held it."""

    tp: int = 0
    tn: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def total(self) -> int:
        return self.tp + self.tn + self.fp + self.fn

    @property
    def pass_rate(self) -> float | None:
        return _share(self.tn + self.fn, self.total)

    @property
    def sensitivity(self) -> float | None:
        return _share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | None:
        return _share(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float | None:
        return _share(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float | None:
        return _share(self.tn, self.tn + self.fn)

    def to_json(self) -> dict[str, int | float | None]:
        return {
            "tp": self.tp,
            "tn": self.tn,
            "fp": self.fp,
            "fn": self.fn,
            "total": self.total,
            "pass_rate": self.pass_rate,
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "ppv": self.ppv,
            "npv": self.npv,
        }


def count(decisions: Iterable[tuple[bool, bool]]) -> Confusion:
    """From (held by the rules, held by a person) for each result."""
    found = {(held, wanted): 0 for held in (True, False) for wanted in (True, False)}
    for held, wanted in decisions:
        found[held, wanted] += 1
    return Confusion(found[True, True], found[False, False], found[True, False], found[False, True])


def _share(part: int, whole: int) -> float | None:
    """In percent; none of nothing."""
    return None if whole == 0 else part * 100 / whole
