"""Values as what they may stand for on their scale: "<0.05" is every number below it, 阳性 every grade from 1+ to 4+.

Pure. What is said of two such values is said of every pair they may stand for: a change is certain, impossible, or left
to a person. Titres move in doublings (1:20 to 1:80 are two), grades (-, ±, 1+ … 4+) in places.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from cloud.lis.verification.values import Polarity, read_polarity, read_titre
from protocols.model import Quantity

_GRADE = re.compile(r"^([1-4])\+$|^(\+{1,4})$")
_FIELD_COUNT = re.compile(r"^(<|>)?\s*(\d+)(?:\s*[-~～]\s*(\d+))?\s*/\s*([HL]PF)$", re.IGNORECASE)
_BETWEEN = re.compile(r"^(.+?)[~～](.+)$")
_UP_TO = re.compile(r"^(<=|≤|<)(.+)$")
_EITHER = re.compile(r"[、,,/或]")
_STRONGEST = 5
"""The place of 4+: -, ±, 1+, 2+, 3+, 4+ are 0 to 5."""


@dataclass(frozen=True, slots=True)
class Span:
    """Every number from `low` to `high`; None: no end. An open end is not included."""

    low: Fraction | None
    high: Fraction | None
    low_open: bool = False
    high_open: bool = False

    @property
    def exact(self) -> bool:
        return self.low is not None and self.low == self.high

    def inside(self, other: Span) -> bool:
        """Whatever it stands for lies in `other`."""
        return not self._sticks_out_below(other) and not self._sticks_out_above(other)

    def apart(self, other: Span) -> bool:
        """Nothing it stands for lies in `other`."""
        return self._below(other) or other._below(self)

    def _sticks_out_below(self, other: Span) -> bool:
        if other.low is None:
            return False
        if self.low is None:
            return True
        return self.low < other.low or (self.low == other.low and other.low_open and not self.low_open)

    def _sticks_out_above(self, other: Span) -> bool:
        if other.high is None:
            return False
        if self.high is None:
            return True
        return self.high > other.high or (self.high == other.high and other.high_open and not self.high_open)

    def _below(self, other: Span) -> bool:
        if self.high is None or other.low is None:
            return False
        return self.high < other.low or (self.high == other.low and (self.high_open or other.low_open))


def span_of(quantity: Quantity) -> Span:
    """What a number with its sign may stand for. Below a positive bound lie no negative numbers: what laboratories
    measure with a detection limit is an amount."""
    number = Fraction(quantity.number)
    if quantity.comparator in ("<", "<="):
        floor = Fraction(0) if number > 0 else None
        return Span(floor, number, False, quantity.comparator == "<")
    if quantity.comparator in (">", ">="):
        return Span(number, None, quantity.comparator == ">", False)
    return Span(number, number)


def grade_of(text: str) -> Span | None:
    """The place or places of a graded word (阴性 0, ± 1, 1+ 2 … 4+ 5; 阳性 is 2 to 5); None for anything else."""
    word = text.strip()
    graded = _GRADE.match(word)
    if graded is not None:
        place = Fraction(int(graded[1]) if graded[1] else len(graded[2])) + 1
        return Span(place, place)
    polarity = read_polarity(word)
    if polarity is None:
        return None
    low = {Polarity.NEGATIVE: 0, Polarity.WEAK: 1, Polarity.POSITIVE: 2}[polarity]
    high = _STRONGEST if polarity is Polarity.POSITIVE else low
    return Span(Fraction(low), Fraction(high))


def normal_grades(text: str) -> Span | None:
    """The grades that a range calls normal: ``-～±``, ``≤1+``, ``阴性或弱阳性``; None where it names none."""
    word = text.strip()
    up_to, between = _UP_TO.match(word), _BETWEEN.match(word)
    if up_to is not None:
        end = grade_of(up_to[2])
        return None if end is None or not end.exact else Span(Fraction(0), end.high, False, up_to[1] == "<")
    ends = [grade_of(each) for each in (between.groups() if between else _EITHER.split(word))]
    known = [each for each in ends if each is not None]
    if len(ends) < 2 or len(known) < len(ends):
        return None
    low, high = min(each.low or Fraction(0) for each in known), max(each.high or Fraction(0) for each in known)
    return Span(low, high)


def field_count(text: str) -> tuple[str, Span] | None:
    """``0-2/HPF``, ``>100/HPF``, ``3/LPF``: the field and the numbers counted; None for anything else."""
    found = _FIELD_COUNT.match(text.strip())
    if found is None:
        return None
    first, last, kind = Fraction(found[2]), Fraction(found[3] or found[2]), found[4].upper()
    if found[1] == "<":
        return kind, Span(Fraction(0), first, False, True)
    if found[1] == ">":
        return kind, Span(first, None, True)
    return kind, Span(first, last)


@dataclass(frozen=True, slots=True)
class Moved:
    """Every change there may have been between two values: a span of signed numbers."""

    span: Span

    @property
    def exactly(self) -> Decimal | None:
        """The change, where there is only one it can be."""
        if not self.span.exact or self.span.low is None:
            return None
        return Decimal(self.span.low.numerator) / Decimal(self.span.low.denominator)

    def exceeds(self, limit: Decimal, direction: str = "both") -> bool | None:
        """Beyond the limit: True or False where it is certain, else None. A change of exactly the limit is inside."""
        bound = Fraction(limit)
        up = self._beyond(self.span, bound) if direction in ("both", "up") else False
        turned = Span(_minus(self.span.high), _minus(self.span.low), self.span.high_open, self.span.low_open)
        down = self._beyond(turned, bound) if direction in ("both", "down") else False
        if up or down:
            return True
        return None if up is None or down is None else False

    def divided(self, by: Decimal) -> Moved:
        """The change a day, for `by` days."""
        share, span = Fraction(by), self.span
        low = None if span.low is None else span.low / share
        high = None if span.high is None else span.high / share
        return Moved(Span(low, high, span.low_open, span.high_open))

    @staticmethod
    def _beyond(span: Span, limit: Fraction) -> bool | None:
        if span.low is not None and (span.low > limit or (span.low == limit and span.low_open)):
            return True
        return False if span.high is not None and span.high <= limit else None


def difference(now: Span, before: Span) -> Moved:
    """The change in the unit of the values."""
    low = None if now.low is None or before.high is None else now.low - before.high
    high = None if now.high is None or before.low is None else now.high - before.low
    return Moved(Span(low, high, now.low_open or before.high_open, now.high_open or before.low_open))


def percent(now: Span, before: Span) -> Moved | None:
    """The change in percent of the previous value; None where that may be zero or less, or either may be negative."""
    if before.low is None or before.low < 0 or now.low is None or now.low < 0 or before.high == 0:
        return None
    low = Fraction(-100) if before.high is None else (now.low / before.high - 1) * 100
    high = None if now.high is None or before.low == 0 else (now.high / before.low - 1) * 100
    return Moved(Span(low, high, now.low_open or before.high_open, now.high_open or before.low_open))


def steps(now: str, before: str) -> Moved | None:
    """Doublings between two titres, or places between two grades; None where the two have no common scale."""
    new, old = read_titre(now), read_titre(before)
    if new is not None and old is not None:
        return _doublings(
            span_of(Quantity(Decimal(new.reciprocal), new.comparator)),
            span_of(Quantity(Decimal(old.reciprocal), old.comparator)),
        )
    if new is not None or old is not None:
        return None
    grade, earlier = grade_of(now), grade_of(before)
    return None if grade is None or earlier is None else difference(grade, earlier)


def _doublings(now: Span, before: Span) -> Moved:
    low = _ratio(now.low, before.high)
    high = _ratio(now.high, before.low)
    return Moved(
        Span(
            None if low is None else _log2(low),
            None if high is None else _log2(high),
            now.low_open or before.high_open,
            now.high_open or before.low_open,
        )
    )


def _ratio(above: Fraction | None, below: Fraction | None) -> Fraction | None:
    return above / below if above and below else None


def _log2(ratio: Fraction) -> Fraction:
    """Exact where titres are doubled or halved; 1:100 to 1:320 is between one and two."""
    up, down = ratio.numerator, ratio.denominator
    if up & (up - 1) == 0 and down & (down - 1) == 0:
        return Fraction(up.bit_length() - down.bit_length())
    return Fraction(round(math.log2(ratio), 6))


def _minus(number: Fraction | None) -> Fraction | None:
    return None if number is None else -number
