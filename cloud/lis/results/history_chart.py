"""The course of one test as an SVG made here: points in time, the range as a band, the value under review at the end.

Pure: values in, markup out. No script and no style attribute, so that the page's policy lets it be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from markupsafe import Markup, escape

from cloud.kit import clock

WIDTH, HEIGHT = 420, 132
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 22


@dataclass(frozen=True, slots=True)
class Point:
    """One number of the course; `present`: the one under review."""

    at: datetime
    number: Decimal
    text: str
    flag: str = ""
    present: bool = False


def chart(points: Sequence[Point], low: Decimal | None, high: Decimal | None, label: str) -> Markup | None:
    """The chart, oldest left; None where there are fewer than two numbers to draw.

    Points are set apart evenly, not by time: months without a measurement would press a stay's course into a line.
    """
    drawn = sorted(points, key=lambda each: each.at)
    if len(drawn) < 2:
        return None
    numbers = [each.number for each in drawn] + [each for each in (low, high) if each is not None]
    bottom, top = min(numbers), max(numbers)
    margin = (top - bottom) * Decimal("0.12") or max(abs(top) * Decimal("0.1"), Decimal(1))
    bottom, top = bottom - margin, top + margin

    def x(place: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * place / (len(drawn) - 1)

    def y(number: Decimal) -> float:
        return float(TOP + (HEIGHT - TOP - BOTTOM) * (top - number) / (top - bottom))

    parts = [_band(low, high, y, bottom, top)]
    for bound in (low, high):
        if bound is not None:
            parts.append(
                f'<text class="axis" x="{LEFT - 5}" y="{y(bound) + 3:.1f}" text-anchor="end">{_plain(bound)}</text>'
            )
    line = " ".join(f"{x(place):.1f},{y(each.number):.1f}" for place, each in enumerate(drawn))
    parts.append(f'<polyline class="course" points="{line}" fill="none"/>')
    for place, each in enumerate(drawn):
        kind = "present" if each.present else ("abnormal" if each.flag not in ("", "N") else "normal")
        parts.append(
            f'<circle class="{kind}" cx="{x(place):.1f}" cy="{y(each.number):.1f}" r="{4.5 if each.present else 3}">'
            f"<title>{_moment(each.at)} {escape(each.text)}</title></circle>"
        )
    last = len(drawn) - 1
    parts.append(f'<text class="axis" x="{LEFT}" y="{HEIGHT - 6}">{_day(drawn[0].at)}</text>')
    parts.append(f'<text class="axis" x="{x(last):.1f}" y="{HEIGHT - 6}" text-anchor="end">{_day(drawn[-1].at)}</text>')
    return Markup(  # noqa: S704  numbers and escaped texts only
        f'<svg class="history-chart" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
        f' aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _band(low: Decimal | None, high: Decimal | None, y: object, bottom: Decimal, top: Decimal) -> str:
    if low is None and high is None:
        return ""
    upper = y(top if high is None else high)  # type: ignore[operator]
    lower = y(bottom if low is None else low)  # type: ignore[operator]
    return (
        f'<rect class="band" x="{LEFT}" y="{upper:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{lower - upper:.1f}"/>'
    )


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _moment(at: datetime) -> str:
    return clock.local(at).strftime("%Y-%m-%d %H:%M")


def _day(at: datetime) -> str:
    return clock.local(at).strftime("%Y-%m-%d")
