"""What the product's own rules say of a made-up value, remembered: the same text before the same range is judged once.

The range and the limit are chosen as `cloud.lis.catalog.rules` chooses them, the verdict is `cloud.lis.verification`'s.
Only the change against the previous value is worked out for every value anew.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.history.copying import NULL, text_of
from cloud.history.patients import Previous
from cloud.lis.catalog.choice import Facts, choose_limit, choose_range, measured_by
from cloud.lis.catalog.model import CriticalLimit, ReferenceRange, Test
from cloud.lis.results.judging import bounds_of, critical_of, range_text
from cloud.lis.verification import consistency, delta
from cloud.lis.verification import rules as verification
from cloud.lis.verification.rules import Bounds, CriticalBounds, Measured, Verdict, across, judge
from cloud.lis.verification.values import convert
from protocols.model import Quantity


@dataclass(frozen=True, slots=True)
class Channel:
    """How the instrument names a test and what its number is multiplied with."""

    code: str
    unit: str
    factor: Decimal


JUDGED_COLUMNS = "value_text number comparator flag critical draft range_id range_low range_high range_text"


@dataclass(slots=True)
class Judged:
    """One value with its verdict; `decision` and `columns` are ready for COPY."""

    text: str
    number: Decimal | None
    comparator: str | None
    flag: str
    critical: bool
    draft: bool
    held: bool
    decision: str
    columns: str
    """`JUDGED_COLUMNS`, with tabs between them."""
    range_printed: str
    letter: str
    """What the instrument itself would say: N, H or L."""
    measured: Measured
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Bands:
    bounds: Bounds | None
    critical: CriticalBounds | None
    facts: dict[str, Any]
    """What chose them, with `_AGE` where the age stands."""


_AGE = -1
_AGE_TEXT = f'"age_days":{_AGE}'


class Verdicts:
    """The catalogue's ranges and limits as they are today, and every verdict given so far."""

    def __init__(self, session: Session, tests: Mapping[str, Test], on: date) -> None:
        self._on = on
        self._tests = tests
        ids = {each.id: code for code, each in tests.items()}
        self._ranges: dict[str, list[ReferenceRange]] = {code: [] for code in tests}
        self._limits: dict[str, list[CriticalLimit]] = {code: [] for code in tests}
        for row in session.scalars(select(ReferenceRange).where(ReferenceRange.test_id.in_(ids))):
            self._ranges[ids[row.test_id]].append(row)
        for limit in session.scalars(select(CriticalLimit).where(CriticalLimit.test_id.in_(ids))):
            self._limits[ids[limit.test_id]].append(limit)
        self._steps = {code: _steps([*self._ranges[code], *self._limits[code]]) for code in tests}
        self._bands: dict[tuple[str, str, int], _Bands] = {}
        self._known: dict[tuple[str, str, int, str], Judged] = {}

    def of(self, code: str, raw: str, channel: Channel | None, sex: str, age_days: int) -> Judged:
        """The verdict on a value as sent, without its past and without its neighbours."""
        step = bisect_right(self._steps[code], age_days)
        key = (code, sex, step, raw)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._judge(code, raw, channel, self._choose(code, sex, step, age_days))
        return found

    def changed(
        self, code: str, value: Judged, previous: Previous | None, taken_at: datetime
    ) -> tuple[str, Verdict | None]:
        """Change in percent as COPY's text, and another verdict where a delta limit has a say."""
        if previous is None or value.number is None or value.comparator:
            return NULL, None
        limit = delta.limit_for(code, production=False)
        if limit is None:
            if previous.number is None or previous.number == 0:
                return NULL, None
            return str(round((value.number - previous.number) * 100 / abs(previous.number), 1)), None
        quantity = None if previous.number is None else Quantity(previous.number, None)
        percent, reason = verification.judge_delta(
            value.measured.quantity, taken_at, verification.Previous(quantity, previous.at), limit
        )
        versions = value.verdict.versions | {
            "delta": {"id": limit.id, "version": limit.version, "state": limit.state},
        }
        more = (reason,) if reason is not None else ()
        reasons = (*value.verdict.reasons, *more)
        verdict = replace(value.verdict, delta_percent=percent, reasons=reasons, versions=versions)
        return text_of(percent), verdict

    def together(self, values: Mapping[str, Judged]) -> dict[str, list[verification.Reason]]:
        """What the values of one specimen say together."""
        numbers = {
            code: each.number for code, each in values.items() if each.number is not None and each.comparator is None
        }
        return across(numbers, consistency.CHECKS)

    def _choose(self, code: str, sex: str, step: int, age_days: int) -> _Bands:
        found = self._bands.get((code, sex, step))
        if found is None:
            test = self._tests[code]
            facts = measured_by(
                Facts(sex, age_days, specimen_type=test.specimen_type), method=test.method, instrument=""
            )
            limit = choose_limit(self._limits[code], facts, self._on)
            found = self._bands[code, sex, step] = _Bands(
                bounds_of(choose_range(self._ranges[code], facts, self._on)),
                None if limit is None else critical_of(limit),
                replace(facts, age_days=_AGE).to_json(),
            )
        return found

    def _judge(self, code: str, raw: str, channel: Channel | None, bands: _Bands) -> Judged:
        test = self._tests[code]
        text, quantity = convert(raw, channel.factor if channel else Decimal(1), test.decimals)
        measured = Measured(text=text, quantity=quantity, value_type=test.value_type, status="F" if channel else None)
        verdict = judge(measured, bounds=bands.bounds, critical=bands.critical)
        verdict = replace(verdict, versions={**verdict.versions, "facts": bands.facts})
        bounds = bands.bounds
        printed = range_text(bounds)
        low, high = (None, None) if bounds is None else (bounds.low, bounds.high)
        number, comparator = (None, None) if quantity is None else (quantity.number, quantity.comparator)
        flag, critical, draft = str(verdict.flag), verdict.critical, verdict.draft
        columns = [
            text, *map(text_of, (number, comparator)), flag, *map(text_of, (critical, draft)),
            NULL if bounds is None else bounds.id, *map(text_of, (low, high, printed)),
        ]  # fmt: skip
        return Judged(
            text=text,
            number=number,
            comparator=comparator,
            flag=flag,
            critical=critical,
            draft=draft,
            held=verdict.held,
            decision=decision_text(verdict),
            columns="\t".join(columns),
            range_printed=printed,
            letter=flag[:1] if flag in ("N", "L", "H", "LL", "HH") else "N",
            measured=measured,
            verdict=verdict,
        )


def decision_text(verdict: Verdict) -> str:
    return text_of(json.dumps(verdict.to_json(), ensure_ascii=False, separators=(",", ":")))


def with_age(decision: str, age_days: int) -> str:
    """The decision of a person of that age (everything else of it is shared by a whole band)."""
    return decision.replace(_AGE_TEXT, f'"age_days":{age_days}')


def _steps(bands: Sequence[Any]) -> list[int]:
    """The days of life at which another band may begin to apply."""
    days = {each.age_min_days for each in bands} | {each.age_max_days for each in bands if each.age_max_days}
    return sorted(days)
