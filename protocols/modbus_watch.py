"""What stands wrong with a device over its polls, and whether a poll says anything new.

Limits are judged over polls in a row, so they need a memory; so does thinning: a refrigerator that reports the same
4.1 °C every half minute would fill the disk with nothing. Both live here, beside the link and without time or I/O of
their own. An alarm that begins or ends is always news. A fresh watch (the box was started) reports at once and counts
from zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from protocols.messages.register_map import HIGH, LOW, OUT_OF_RANGE, Point, Value


@dataclass(slots=True)
class _Side:
    """One limit of one point."""

    beyond: int = 0
    back: int = 0
    stands: bool = False

    def judge(self, point: Point, exceeded: bool, is_back: bool) -> None:
        self.beyond = self.beyond + 1 if exceeded else 0
        self.back = self.back + 1 if is_back else 0
        if self.beyond >= point.delay:
            self.stands = True
        elif self.back >= point.clear:
            self.stands = False


@dataclass(slots=True)
class _Memory:
    high: _Side = field(default_factory=_Side)
    low: _Side = field(default_factory=_Side)
    told: Value | None = None
    """The value that was reported last."""
    alarms: frozenset[str] = frozenset()


class DeviceWatch:
    """`report_s`: a device with nothing new is reported after this long all the same."""

    def __init__(self, points: Sequence[Point], report_s: float) -> None:
        self._points = points
        self._report_s = report_s
        self._memory = {each.name: _Memory() for each in points}
        self._told_at: float | None = None

    def judge(self, values: Mapping[str, Value], now: float) -> tuple[Mapping[str, tuple[str, ...]], bool]:
        """(limits that stand exceeded by point, is there news) after one poll with these values."""
        news = self._told_at is None or now - self._told_at >= self._report_s
        standing: dict[str, tuple[str, ...]] = {}
        for point in self._points:
            value, memory = values[point.name], self._memory[point.name]
            limits = self._limits(point, value, memory)
            if limits:
                standing[point.name] = limits
            alarms = frozenset((*value.alarms, *limits))
            news = news or alarms != memory.alarms or _differs(point, value, memory.told)
            memory.alarms = alarms
        if news:
            self._told_at = now
            for name, value in values.items():
                self._memory[name].told = value
        return standing, news

    def _limits(self, point: Point, value: Value, memory: _Memory) -> tuple[str, ...]:
        """A value that is not there, or that no sensor can measure, neither raises nor ends an alarm."""
        number = value.number
        if number is not None and OUT_OF_RANGE not in value.alarms:
            memory.high.judge(point, *beyond(point, number, HIGH))
            memory.low.judge(point, *beyond(point, number, LOW))
        return tuple(name for name, side in ((HIGH, memory.high), (LOW, memory.low)) if side.stands)


def beyond(point: Point, number: Decimal, side: str) -> tuple[bool, bool]:
    """(exceeds the limit of this side, is back by the hysteresis). A value on the limit is within it."""
    limit = point.high if side == HIGH else point.low
    if limit is None:
        return False, True
    exact, hysteresis = Decimal(str(limit)), Decimal(str(point.hysteresis))
    if side == HIGH:
        return number > exact, number <= exact - hysteresis
    return number < exact, number >= exact + hysteresis


def limits_of_one_poll(point: Point, value: Value) -> tuple[str, ...]:
    """Limits that this value exceeds, where nothing is known of the polls before it."""
    number = value.number
    if number is None or OUT_OF_RANGE in value.alarms:
        return ()
    return tuple(side for side in (HIGH, LOW) if beyond(point, number, side)[0])


def _differs(point: Point, value: Value, told: Value | None) -> bool:
    if told is None or value.text is None or told.text is None:
        return told is None or value.text != told.text
    if value.number is None or told.number is None:
        return value.text != told.text
    return abs(value.number - told.number) > Decimal(str(point.deadband))
