"""A test's values over time as a drawing: places in an SVG, worked out here, drawn by the template. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from math import floor, log10

WIDTH, HEIGHT = 460, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 24


@dataclass(frozen=True, slots=True)
class Point:
    """One value, in its unit."""

    at: datetime
    number: float
    text: str
    flag: str
    low: float | None
    high: float | None
    unit: str
    means: str
    """How it was measured: the analyzer's code; "" typed in."""


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    flag: str
    point: Point


@dataclass(frozen=True, slots=True)
class Change:
    """From here on another analyzer or another unit: values before and behind do not simply compare."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    lines: tuple[str, ...]
    """Polylines: a new one wherever the unit changes, for a line across two units would be a lie."""
    dots: tuple[Dot, ...]
    band: tuple[float, float] | None
    """Top and height of the newest reference range."""
    ticks: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]
    changes: tuple[Change, ...]
    width: int = WIDTH
    height: int = HEIGHT


def draw(points: Sequence[Point], day: str = "%y-%m-%d") -> Chart | None:
    """The chart of values in the order of time; None of fewer than two. Of several units only the newest is drawn."""
    if not points:
        return None
    unit = points[-1].unit
    shown = [each for each in points if each.unit == unit]
    if len(shown) < 2:
        return None
    newest = shown[-1]
    bounds = [each for each in (newest.low, newest.high) if each is not None]
    numbers = [each.number for each in shown]
    lowest, highest = _room(min([*numbers, *bounds]), max([*numbers, *bounds]))
    first, last = shown[0].at.timestamp(), shown[-1].at.timestamp()

    def x(at: datetime) -> float:
        share = (at.timestamp() - first) / ((last - first) or 1)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(number: float) -> float:
        share = (number - lowest) / (highest - lowest)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    dots = tuple(Dot(x(each.at), y(each.number), each.flag, each) for each in shown)
    return Chart(
        lines=(" ".join(f"{each.x},{each.y}" for each in dots),),
        dots=dots,
        band=_band(newest, lowest, highest, y),
        ticks=tuple((y(each), _plain(each)) for each in _steps(lowest, highest)),
        days=tuple((x(each), f"{each:{day}}") for each in _spread([each.at for each in shown])),
        changes=_changes(points, shown, x),
    )


def _changes(points: Sequence[Point], shown: Sequence[Point], x: Callable[[datetime], float]) -> tuple[Change, ...]:
    """Where the analyzer changes, and where values in another unit were left out."""
    found: list[Change] = []
    for before, after in pairwise(shown):
        if before.means != after.means:
            found.append(Change(x(after.at), f"{before.means or '—'} → {after.means or '—'}"))
    if len(shown) < len(points):
        others = sorted({each.unit for each in points} - {shown[0].unit})
        found.insert(0, Change(x(shown[0].at), f"{'、'.join(others)} → {shown[0].unit}"))
    return tuple(found)


def _band(newest: Point, lowest: float, highest: float, y: Callable[[float], float]) -> tuple[float, float] | None:
    if newest.low is None and newest.high is None:
        return None
    top = y(highest if newest.high is None else newest.high)
    foot = y(lowest if newest.low is None else newest.low)
    return top, round(foot - top, 1)


def _room(lowest: float, highest: float) -> tuple[float, float]:
    margin = (highest - lowest) * 0.08 or abs(highest) * 0.1 or 1.0
    return (max(0.0, lowest - margin) if lowest >= 0 else lowest - margin), highest + margin


def _steps(lowest: float, highest: float) -> list[float]:
    """Three to six round numbers between the two."""
    raw = (highest - lowest) / 4
    power = 10 ** floor(log10(raw))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= raw)
    first = floor(lowest / step) + 1
    return [number * step for number in range(first, floor(highest / step) + 1)]


def _spread(moments: Sequence[datetime]) -> list[datetime]:
    """The first, the last, and the one nearest the middle of the time between."""
    middle = moments[0] + (moments[-1] - moments[0]) / 2
    nearest = min(moments, key=lambda each: abs(each - middle))
    return list(dict.fromkeys([moments[0], nearest, moments[-1]])) if len(moments) > 2 else list(moments)


def _plain(number: float) -> str:
    return f"{Decimal(repr(round(number, 6))).normalize():f}"
