"""The verdict on one result: flag, critical, delta, plausibility, instrument flags, with reasons and the versions used.

Pure: values in, verdict out; no session, no clock. All numbers are in the unit of the catalogue (conversion happens at
ingest); sex and age chose the range before and come from the order's person, never from an instrument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from cloud.lis.verification import scale
from cloud.lis.verification.values import Titre, read_polarity, read_titre
from protocols.model import Quantity

RULES_VERSION = "2"
"""Raised with every change of what this module decides; stored with each verdict.

2: a change between values with a sign is judged where it is certain, and held where it may be too large; grades and
counts a field are compared with ranges that name several.
"""

MEASURED_IN_NUMBERS = frozenset({"numeric", "ratio"})
"""Kinds of test whose value must be a number."""
ORDINARY_FLAGS = frozenset({"", "N", "L", "H", "LL", "HH"})
"""Instrument flags that only repeat its own limits; ours decide. Any other (A, <, > off scale, W ...) holds the result.
"""


class Flag(StrEnum):
    NONE = ""
    """No range, or the value cannot be compared with it."""
    NORMAL = "N"
    LOW = "L"
    HIGH = "H"
    CRITICAL_LOW = "LL"
    CRITICAL_HIGH = "HH"
    ABNORMAL = "A"


@dataclass(frozen=True, slots=True)
class Bounds:
    """A reference range as it was valid. Both bounds are normal; `text` is the qualitative normal ("阴性", "<1:80")."""

    id: str
    version: int
    state: str
    low: Decimal | None = None
    high: Decimal | None = None
    text: str = ""
    open: bool = False
    """It depends on what nobody told (the phase of the cycle): `text` names every possibility, none is judged by."""

    @property
    def draft(self) -> bool:
        return self.state != "approved"


@dataclass(frozen=True, slots=True)
class CriticalBounds:
    """Beyond these somebody is called at once. `inclusive`: the limit itself is critical (`high_inclusive`: the high
    one, where it is told apart)."""

    id: str
    version: int
    state: str
    low: Decimal | None = None
    high: Decimal | None = None
    inclusive: bool = False
    high_inclusive: bool | None = None

    @property
    def draft(self) -> bool:
        return self.state != "approved"


@dataclass(frozen=True, slots=True)
class DeltaLimit:
    """How much a test may change within `window`; `percent` of the previous value, or `absolute` in the test's unit."""

    id: str
    version: int
    state: str
    window: timedelta
    percent: Decimal | None = None
    absolute: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Previous:
    """The last released value of the same person and test."""

    quantity: Quantity | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a result is held or marked. `code` is stable; `fields` fill the sentence on the page."""

    code: str
    holds: bool
    fields: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "holds": self.holds, "fields": self.fields}


@dataclass(frozen=True, slots=True)
class Measured:
    """One value as it is to be judged."""

    text: str
    quantity: Quantity | None
    value_type: str
    """numeric, ratio, qualitative, titre or text."""
    unit_expected: bool = True
    """False: the instrument sent a unit other than its channel's, so the number may not be compared."""
    raw_unit: str | None = None
    unit_wanted: str = ""
    """The unit that was expected, where another one came."""
    converted: str = ""
    """How the unit table converted another unit that is approved for the channel ("1 mg/dL = 0.0555 mmol/L")."""
    hand_dilution: str = ""
    """The factor of a dilution by hand that is in the value already."""
    dilution_doubt: str = ""
    """A factor that was declared and not used, because it may be in the value already."""
    instrument_flags: tuple[str, ...] = ()
    status: str | None = None
    taken_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    flag: Flag
    critical: bool
    draft: bool
    delta_percent: Decimal | None
    reasons: tuple[Reason, ...]
    versions: dict[str, Any]

    @property
    def held(self) -> bool:
        """A person has to look at it (an automatic release never may pass it)."""
        return any(each.holds for each in self.reasons)

    def with_reasons(self, more: Iterable[Reason]) -> Verdict:
        return replace(self, reasons=(*self.reasons, *more))

    def to_json(self) -> dict[str, Any]:
        return {"reasons": [each.to_json() for each in self.reasons], "versions": self.versions}


Plausibility = Callable[[Mapping[str, Decimal]], Iterable[Reason]]
"""A check across the tests of one specimen: numbers by test code in, reasons out."""


def judge(
    measured: Measured,
    *,
    bounds: Bounds | None,
    critical: CriticalBounds | None,
    delta: DeltaLimit | None = None,
    previous: Previous | None = None,
) -> Verdict:
    """Everything that one value alone decides; `across` adds what several decide together."""
    reasons: list[Reason] = list(_instrument_reasons(measured))
    comparable = measured.quantity if measured.unit_expected else None
    if measured.value_type in MEASURED_IN_NUMBERS and measured.quantity is None:
        reasons.append(Reason("no_number", holds=True, fields={"text": measured.text[:40]}))
    if measured.value_type == "titre" and not _is_titre(measured.text):
        reasons.append(Reason("no_titre", holds=True, fields={"text": measured.text[:40]}))
    if bounds is None:
        reasons.append(Reason("no_range", holds=False))
    elif bounds.open:
        reasons.append(Reason("phase_unknown", holds=False))
    flag = flag_of(measured, comparable, bounds)
    if bounds is not None and not bounds.open and flag is Flag.NONE and measured.text:
        reasons.append(Reason("not_comparable", holds=True, fields={"text": measured.text[:40]}))
    crossed = crossed_critical(comparable, critical) if comparable and critical else None
    if crossed is not None:
        flag = Flag.CRITICAL_LOW if crossed[0] == "low" else Flag.CRITICAL_HIGH
        reasons.append(Reason("critical", holds=True, fields={"side": crossed[0], "limit": str(crossed[1])}))
    change, delta_reason = judge_delta(comparable, measured.taken_at, previous, delta)
    if delta_reason is not None:
        reasons.append(delta_reason)
    used = {"range": bounds, "critical": critical, "delta": delta}
    versions: dict[str, Any] = {"rules": RULES_VERSION}
    for name, data in used.items():
        if data is not None:
            versions[name] = {"id": data.id, "version": data.version, "state": data.state}
    draft = (bounds is not None and bounds.draft) or (critical is not None and critical.draft)
    return Verdict(flag, crossed is not None, draft, change, tuple(reasons), versions)


def _is_titre(text: str) -> bool:
    """Without a text it is missing, which is said apart."""
    return not text or read_titre(text) is not None or read_polarity(text) is not None


def _instrument_reasons(measured: Measured) -> Iterable[Reason]:
    letters = [each for each in measured.instrument_flags if each.strip().upper() not in ORDINARY_FLAGS]
    if letters:
        yield Reason("instrument_flag", holds=True, fields={"flags": " ".join(letters)})
    if not measured.text:
        yield Reason("no_value", holds=True)
    if measured.status is not None and measured.status not in ("F", "C", ""):
        yield Reason("instrument_status", holds=True, fields={"status": measured.status})
    if measured.hand_dilution:
        yield Reason("hand_dilution", holds=False, fields={"factor": measured.hand_dilution})
    if measured.dilution_doubt:
        yield Reason("dilution_doubt", holds=True, fields={"factor": measured.dilution_doubt})
    if not measured.unit_expected:
        unit = {"unit": measured.raw_unit or "", "expected": measured.unit_wanted}
        yield Reason("unit_unexpected", holds=True, fields=unit)
    elif measured.converted:
        yield Reason("unit_converted", holds=False, fields={"by": measured.converted})


def flag_of(measured: Measured, quantity: Quantity | None, bounds: Bounds | None) -> Flag:
    """Low, high, normal or abnormal against `bounds`; NONE where there is nothing to compare."""
    if bounds is None or bounds.open:
        return Flag.NONE
    if bounds.low is not None or bounds.high is not None:
        return _numeric_flag(quantity, bounds)
    return _text_flag(measured.text, bounds.text)


def _numeric_flag(quantity: Quantity | None, bounds: Bounds) -> Flag:
    """A bound is normal. A comparator decides only what it makes certain ("<3.0" is low for 4-10, unknown for 2-10)."""
    if quantity is None:
        return Flag.NONE
    number, sign = quantity.number, quantity.comparator
    below, above = sign in ("<", "<="), sign in (">", ">=")
    if not above and bounds.low is not None and (number < bounds.low or (sign == "<" and number == bounds.low)):
        return Flag.LOW
    if not below and bounds.high is not None and (number > bounds.high or (sign == ">" and number == bounds.high)):
        return Flag.HIGH
    if below and bounds.low is not None:
        return Flag.NONE
    if above and bounds.high is not None:
        return Flag.NONE
    if below and bounds.high is not None and number > bounds.high:
        return Flag.NONE
    if above and bounds.low is not None and number < bounds.low:
        return Flag.NONE
    return Flag.NORMAL


def _text_flag(text: str, normal: str) -> Flag:
    if not text.strip() or not normal.strip():
        return Flag.NONE
    if text.strip() == normal.strip():
        return Flag.NORMAL
    titre, limit = read_titre(text), read_titre(normal)
    if titre is not None and limit is not None:
        return _titre_flag(titre, limit)
    found, expected = read_polarity(text), read_polarity(normal)
    if expected is None:
        return _span_flag(text, normal)
    if found is None:
        return Flag.NONE
    return Flag.NORMAL if found is expected else Flag.ABNORMAL


def _span_flag(text: str, normal: str) -> Flag:
    """Against a normal of several grades (``-～±``) or of a count in the field (``0-5/HPF``): only what is certain."""
    count, counts = scale.field_count(text), scale.field_count(normal)
    if count is not None and counts is not None and count[0] == counts[0]:
        value, inside = count[1], counts[1]
    else:
        grade, grades = scale.grade_of(text), scale.normal_grades(normal)
        if grade is None or grades is None:
            return Flag.NONE
        value, inside = grade, grades
    if value.inside(inside):
        return Flag.NORMAL
    return Flag.ABNORMAL if value.apart(inside) else Flag.NONE


def _titre_flag(titre: Titre, limit: Titre) -> Flag:
    """`limit` is the normal: ``<1:80`` (below it) or ``≤1:40``, ``1:40`` (up to it)."""
    if limit.comparator in (">", ">="):
        return Flag.NONE
    below = limit.comparator == "<"
    if titre.comparator in ("<", "<="):
        inside = titre.reciprocal < limit.reciprocal or (
            titre.reciprocal == limit.reciprocal and (titre.comparator == "<" or not below)
        )
        return Flag.NORMAL if inside else Flag.NONE
    outside = titre.reciprocal > limit.reciprocal or (
        titre.reciprocal == limit.reciprocal and (below or titre.comparator == ">")
    )
    if outside:
        return Flag.ABNORMAL
    return Flag.NONE if titre.comparator is not None else Flag.NORMAL


def crossed_critical(quantity: Quantity, limits: CriticalBounds) -> tuple[str, Decimal] | None:
    """Which critical limit the value crosses: ("low" | "high", limit). Without `inclusive` the limit itself does not.

    A comparator decides only what it makes certain: "<2.0" lies beyond a low limit of 2.0, "<5.0" is left to the
    reviewer (`judge` holds it as not comparable).
    """
    number, sign = quantity.number, quantity.comparator
    if limits.low is not None and sign not in (">", ">="):
        at_limit = number == limits.low and (limits.inclusive or sign == "<")
        if number < limits.low or at_limit:
            return "low", limits.low
    if limits.high is not None and sign not in ("<", "<="):
        inclusive = limits.inclusive if limits.high_inclusive is None else limits.high_inclusive
        at_limit = number == limits.high and (inclusive or sign == ">")
        if number > limits.high or at_limit:
            return "high", limits.high
    return None


def judge_delta(
    quantity: Quantity | None, taken_at: datetime | None, previous: Previous | None, limit: DeltaLimit | None
) -> tuple[Decimal | None, Reason | None]:
    """Change in percent of the previous value, and the reason if it exceeds `limit` within its window.

    No percentage when there is no previous number, when it is zero, or when either has a sign. With a sign the change
    is what both may stand for: beyond the limit for certain, within it for certain, or held for a person to look at;
    the same sign and bound as before say nothing of a change.
    """
    if quantity is None or previous is None or previous.quantity is None:
        return None, None
    if quantity.comparator or previous.quantity.comparator:
        return None, _delta_of_bounds(quantity, taken_at, previous, limit)
    before = previous.quantity.number
    difference = quantity.number - before
    percent = None if before == 0 else difference * 100 / abs(before)
    percent = None if percent is None else round(percent, 1)
    if limit is None or taken_at is None or not timedelta(0) <= taken_at - previous.at <= limit.window:
        return percent, None
    too_far = (limit.absolute is not None and abs(difference) > limit.absolute) or (
        limit.percent is not None and before != 0 and abs(difference) * 100 > limit.percent * abs(before)
    )
    if not too_far:
        return percent, None
    fields = {"percent": None if percent is None else str(percent), "difference": str(difference)}
    return percent, Reason("delta", holds=True, fields=fields)


def _delta_of_bounds(
    quantity: Quantity, taken_at: datetime | None, previous: Previous, limit: DeltaLimit | None
) -> Reason | None:
    before = previous.quantity
    if limit is None or before is None or quantity == before:
        return None
    if taken_at is None or not timedelta(0) <= taken_at - previous.at <= limit.window:
        return None
    now, earlier = scale.span_of(quantity), scale.span_of(before)
    share = scale.percent(now, earlier)
    beyond = [] if limit.absolute is None else [scale.difference(now, earlier).exceeds(limit.absolute)]
    beyond += [] if limit.percent is None else [None if share is None else share.exceeds(limit.percent)]
    fields = {"previous": f"{before.comparator or ''}{before.number:f}"}
    if any(beyond):
        return Reason("delta", holds=True, fields={"percent": None, "difference": None, **fields})
    return Reason("delta_unsure", holds=True, fields=fields) if None in beyond else None


def across(numbers: Mapping[str, Decimal], checks: Iterable[Plausibility]) -> dict[str, list[Reason]]:
    """Reasons by test code of what the values of one specimen say together; each reason names its tests in `fields`."""
    found: dict[str, list[Reason]] = {}
    for check in checks:
        for reason in check(numbers):
            for code in reason.fields.get("tests", ()):
                found.setdefault(code, []).append(reason)
    return found
