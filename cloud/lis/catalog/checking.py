"""The configuration check (配置检查): what in the catalogue would make a result wrong or unjudged, and what is missing.

It looks at the catalogue as it will be when every draft is approved. A slice above adds what it knows (channels,
formulas) with `add`. On the page, and as `xinglin cloud lint-catalog`, which ends with 1 where something is wrong.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from cloud.lis.catalog import rules
from cloud.lis.catalog.content import LAST_WEEK
from cloud.lis.catalog.model import (
    ApprovalState,
    CriticalLimit,
    Panel,
    PanelTest,
    Phase,
    QualityGoal,
    ReferenceRange,
    Test,
    Tube,
    ValueType,
)
from cloud.lis.catalog.rules import Problem
from cloud.lis.catalog.words import phase_label

Check = Callable[[Session, date], list[Problem]]
_checks: list[Check] = []


def add(check: Check) -> Check:
    """Register what another slice finds. It may be used as a decorator."""
    if check not in _checks:
        _checks.append(check)
    return check


def problems(session: Session, *, on: date) -> list[Problem]:
    """Every finding, by test; codes are the keys of `words.PROBLEMS`."""
    rows = _read(session)
    tests = session.scalars(select(Test).where(Test.state != ApprovalState.RETIRED).order_by(Test.position))
    found = [each for test in tests for each in _of_test(test, rows, on)]
    filled = select(PanelTest.panel_id)
    empty = session.scalars(select(Panel).where(Panel.id.not_in(filled), Panel.state != ApprovalState.RETIRED))
    found += [Problem(each.code, "panel_empty") for each in empty]
    for check in _checks:
        found += check(session, on)
    return found


def problems_of(session: Session, test: Test, *, on: date) -> list[Problem]:
    """The findings about one test (those of other slices are on the check's own page)."""
    return _of_test(test, _read(session, test.id), on)


@dataclass(slots=True)
class _Rows:
    """What the check reads, by test."""

    ranges: dict[uuid.UUID, list[ReferenceRange]]
    limits: dict[uuid.UUID, list[CriticalLimit]]
    goals: set[uuid.UUID]
    tubes: dict[uuid.UUID, Tube]


def _read(session: Session, test_id: uuid.UUID | None = None) -> _Rows:
    rows = _Rows(defaultdict(list), defaultdict(list), set(), {each.id: each for each in session.scalars(select(Tube))})
    for band in session.scalars(_in_use(ReferenceRange, test_id)):
        rows.ranges[band.test_id].append(band)
    for limit in session.scalars(_in_use(CriticalLimit, test_id)):
        rows.limits[limit.test_id].append(limit)
    rows.goals = {each.test_id for each in session.scalars(_in_use(QualityGoal, test_id))}
    return rows


D = TypeVar("D", ReferenceRange, CriticalLimit, QualityGoal)


def _in_use(table: type[D], test_id: uuid.UUID | None) -> Select[D]:
    wanted = select(table).where(table.state != ApprovalState.RETIRED)
    return wanted if test_id is None else wanted.where(table.test_id == test_id)


def _of_test(test: Test, rows: _Rows, on: date) -> list[Problem]:
    ranges, limits = _newest(rows.ranges[test.id], on), _newest(rows.limits[test.id], on)
    found = _general(test, rows)
    found += _range_problems(test.code, ranges, on)
    found += _limit_problems(test.code, limits, on)
    both: list[ReferenceRange | CriticalLimit] = [*ranges, *limits]
    for each in both:
        wrong = rules.bounds_problem(test.code, each.low, each.high)
        found += [wrong] if wrong is not None else []
        found += [Problem(test.code, "source_missing")] if not each.source.strip() else []
    found += _critical_inside(test.code, ranges, limits)
    if ValueType(test.value_type).in_numbers:
        found += [Problem(test.code, "range_missing")] if not ranges else []
        found += [Problem(test.code, "tea_unset")] if test.id not in rows.goals else []
    return list(dict.fromkeys(found))


def _general(test: Test, rows: _Rows) -> list[Problem]:
    found: list[Problem] = []
    if not test.unit and not test.unitless:
        found.append(Problem(test.code, "unit_missing"))
    if ValueType(test.value_type).in_numbers and test.decimals is None:
        found.append(Problem(test.code, "decimals_missing"))
    tube = rows.tubes.get(test.tube_id)
    if tube is None or tube.state == ApprovalState.RETIRED:
        found.append(Problem(test.code, "tube_missing", tube.code if tube else ""))
    elif tube.specimen_type != test.specimen_type:
        found.append(Problem(test.code, "tube_specimen_differs", tube.code))
    return found


V = TypeVar("V", bound=ReferenceRange | CriticalLimit)


def _newest(bands: Sequence[V], on: date) -> list[V]:
    """The newest version of each band that holds today or later."""
    newest: dict[tuple[object, ...], V] = {}
    for band in sorted(bands, key=_version):
        if band.valid_to is None or band.valid_to > on:
            newest[(*_conditions(band), band.sex, band.age_min_days)] = band
    return list(newest.values())


def _version(band: ReferenceRange | CriticalLimit) -> int:
    return band.version


def _conditions(band: ReferenceRange | CriticalLimit) -> tuple[object, ...]:
    """What a band asks for besides sex and age."""
    if isinstance(band, CriticalLimit):
        return band.specimen_type, band.department_id, band.diagnosis
    return band.specimen_type, band.phase, band.gestation_min_weeks, band.method, band.instrument


def _groups(bands: Sequence[V]) -> dict[tuple[object, ...], list[V]]:
    found: dict[tuple[object, ...], list[V]] = defaultdict(list)
    for each in bands:
        found[_conditions(each)].append(each)
    return found


def _range_problems(code: str, ranges: list[ReferenceRange], on: date) -> list[Problem]:
    found: list[Problem] = []
    for conditions, group in _groups(ranges).items():
        first = group[0]
        general = not any(conditions[1:])
        detail = " ".join(word for word in (phase_label(first), first.method, first.instrument) if word)
        for wrong in rules.band_problems(code, group, _when_all_hold(group, on)):
            # A band for one method or phase leaves the rest to the general ones: only overlaps are wrong there.
            if general or wrong.code == "age_overlap":
                found.append(Problem(code, wrong.code, f"{wrong.detail} {detail}".strip()))
    return found + _phases(code, ranges) + _weeks(code, ranges)


def _when_all_hold(group: Sequence[ReferenceRange | CriticalLimit], on: date) -> date:
    return max([on, *(band.valid_from for band in group)])


def _phases(code: str, ranges: list[ReferenceRange]) -> list[Problem]:
    """Of a cycle some phases have a range and others none."""
    named = {each.phase for each in ranges if each.phase in _CYCLE}
    missing = [str(each) for each in _CYCLE if each not in named]
    return [Problem(code, "phase_incomplete", ", ".join(missing))] if named and missing else []


_CYCLE = (Phase.FOLLICULAR, Phase.MIDCYCLE, Phase.LUTEAL)


def _weeks(code: str, ranges: list[ReferenceRange]) -> list[Problem]:
    """Gaps and overlaps of the weeks of pregnancy, for each age, specimen and method."""
    found: list[Problem] = []
    groups: dict[tuple[object, ...], list[tuple[int, int]]] = defaultdict(list)
    for each in ranges:
        if each.gestation_min_weeks is not None or each.gestation_max_weeks is not None:
            key = (each.specimen_type, each.sex, each.age_min_days, each.age_max_days, each.method, each.instrument)
            groups[key].append((each.gestation_min_weeks or 0, each.gestation_max_weeks or LAST_WEEK))
    for spans in groups.values():
        for (_start, end), (start, _end) in pairwise(sorted(spans)):
            if start != end:
                kind = "weeks_gap" if start > end else "weeks_overlap"
                found.append(Problem(code, kind, f"{min(start, end)}-{max(start, end)}"))
    return found


def _limit_problems(code: str, limits: list[CriticalLimit], on: date) -> list[Problem]:
    found: list[Problem] = []
    for group in _groups(limits).values():
        found += rules.band_problems(code, group, _when_all_hold(group, on))
    return found


def _critical_inside(code: str, ranges: list[ReferenceRange], limits: list[CriticalLimit]) -> list[Problem]:
    return [
        Problem(code, "critical_inside_normal", f"{_plain(limit.low)} / {_plain(limit.high)}")
        for limit in limits
        for band in ranges
        if _meet(band, limit) and rules.inside_normal(band.low, band.high, limit.low, limit.high)
    ]


def _plain(number: Decimal | None) -> str:
    return "—" if number is None else f"{number.normalize():f}"


def _meet(band: ReferenceRange, limit: CriticalLimit) -> bool:
    """There is somebody about whom both speak."""
    sexes = not band.sex or not limit.sex or band.sex == limit.sex
    types = not band.specimen_type or not limit.specimen_type or band.specimen_type == limit.specimen_type
    latest = max(band.age_min_days, limit.age_min_days)
    return sexes and types and latest < min(band.age_max_days or rules.NO_END, limit.age_max_days or rules.NO_END)
