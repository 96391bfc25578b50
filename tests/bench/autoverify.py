"""``./xinglin bench autoverify``: errors of a working day in a made-up history, and what the rules make of them.

Tuned on one seed (limits from that history, no error in it), measured on another that was not looked at while tuning.
Exit 1 when an error that must never pass has passed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

from cloud.lis.verification.confusion import Confusion, count
from cloud.lis.verification.deciding import decide
from cloud.lis.verification.ruleset import RuleSet
from simulators.laboratory import errors, history
from tests.support.autoverify_history import Case, cases, only_ranges, tuned

TUNING_SEED = 11
MEASURING_SEED = 20_261_123
NEVER = {
    "unit_slip": ("small", "medium", "large"),
    "decimal_up": ("small", "medium", "large"),
    "lipaemia": ("small", "medium", "large"),
    "haemolysis": ("medium", "large"),
    "edta": ("medium", "large"),
    "clot": ("large",),
    "short_sample": ("large",),
    "drift": ("large",),
}
"""Errors that must never pass, by name and size."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=MEASURING_SEED)
    given = parser.parse_args(arguments)
    sets = tuned(history.tubes(TUNING_SEED, persons=given.persons))
    clean = history.tubes(given.seed, persons=given.persons)
    found = list(cases(errors.spoil(clean, given.seed + 1), clean))
    wrong = sum(bool(each.tube.error) for each in found)
    print(f"tuned on seed {TUNING_SEED}; measured on seed {given.seed}: {len(found)} tubes, {wrong} with an error")
    started = time.process_time()
    held, hits = judged(found, sets)
    spent = time.process_time() - started
    values = sum(len(each.facts.tests) for each in found)
    print(f"{values} values decided in {spent:.1f} s of one processor: {values / spent:,.0f} values a second")
    ranges, _ = judged(found, only_ranges())
    print("\nconfusion (positive: held; wanted: a tube with an error)")
    show("no rules, everything passes", found, [False] * len(found))
    show("reference ranges and guards", found, ranges)
    show("rules", found, held)
    show("rules, abnormal values may pass", found, judged(found, without_ranges(sets))[0])
    by_size(found, held, ranges)
    print("\nresults held by each rule (the ten most)")
    for name, times in hits.most_common(10):
        print(f"  {name:32} {times:7}")
    return never(found, held)


def without_ranges(sets: Sequence[RuleSet]) -> list[RuleSet]:
    """The same rules where a value outside its reference range is not held for that alone."""
    return [
        RuleSet(
            each.id, each.code, each.version, tuple(one for one in each.rules if one.kind != "range"), each.sections
        )
        for each in sets
    ]


def judged(found: Sequence[Case], sets: Sequence[RuleSet]) -> tuple[list[bool], Counter[str]]:
    """Whether each tube is held, and by which rules how often."""
    held, hits = [], Counter[str]()
    for case in found:
        mine = [each for each in (decide(case.facts, rules) for rules in sets) if each.tests]
        held.append(not all(each.passed for each in mine))
        for decision in mine:
            for test in decision.tests:
                hits.update({f"{decision.rule_set} {each.kind} {each.rule}" for each in test.held_by})
    return held, hits


def show(name: str, found: Sequence[Case], held: Sequence[bool]) -> Confusion:
    said = count((one, bool(case.tube.error)) for one, case in zip(held, found, strict=True))
    figures = [said.pass_rate, said.sensitivity, said.specificity, said.ppv, said.npv]
    shown = " ".join("    —  " if each is None else f"{each:6.2f}%" for each in figures)
    print(f"  {name:32} TP {said.tp:5} TN {said.tn:6} FP {said.fp:5} FN {said.fn:5}  pass sens spec PPV NPV {shown}")
    return said


def by_size(found: Sequence[Case], held: Sequence[bool], ranges: Sequence[bool]) -> None:
    """Sensitivity by the size of the error, with and without rules."""
    table: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    sizes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case, one, other in zip(found, held, ranges, strict=True):
        if case.tube.error:
            table[case.tube.error, case.tube.band].append((one, other))
            sizes[case.tube.error, case.tube.band].append(case.tube.size)
    print("\nsensitivity by size of the error (rules | ranges and guards only)")
    for name in sorted({each for each, _ in table}):
        for band in errors.BANDS:
            each = table.get((name, band))
            if each:
                own = sum(one for one, _ in each) * 100 / len(each)
                base = sum(other for _, other in each) * 100 / len(each)
                span = f"{min(sizes[name, band]):g}-{max(sizes[name, band]):g}"
                print(f"  {name:20} {band:7} {span:>16}  n {len(each):4}  {own:6.1f}% | {base:6.1f}%")


def never(found: Sequence[Case], held: Sequence[bool]) -> int:
    """The errors that must never pass, by name: how many passed."""
    print("\nerrors that must never pass")
    worst = 0
    for name, bands in NEVER.items():
        mine = [
            (case, one)
            for case, one in zip(found, held, strict=True)
            if case.tube.error == name and case.tube.band in bands
        ]
        passed = [case for case, one in mine if not one]
        worst += len(passed)
        print(f"  {name:20} {'/'.join(bands):20} {len(mine):4} put in, {len(passed)} passed")
        for case in passed[:3]:
            print(f"    tube {case.tube.number}: size {case.tube.size}, {case.tube.values}")
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
