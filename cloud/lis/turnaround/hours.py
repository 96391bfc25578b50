"""Working time between two moments: only minutes in which the laboratory's day shift works count. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Hours:
    """Of one day shift, by the hospital's clock. `days`: 0 is Monday; `closed`: holidays."""

    opens: time
    closes: time
    days: frozenset[int]
    closed: frozenset[date] = frozenset()

    def minutes(self, start: datetime, end: datetime, zone: tzinfo) -> float:
        """Working minutes from `start` to `end`; negative is not answered: 0."""
        if end <= start:
            return 0.0
        local_start, local_end = start.astimezone(zone), end.astimezone(zone)
        day, total = local_start.date(), timedelta()
        while day <= local_end.date():
            if day.weekday() in self.days and day not in self.closed:
                begins = max(local_start, datetime.combine(day, self.opens, zone))
                ends = min(local_end, datetime.combine(day, self.closes, zone))
                total += max(timedelta(), ends - begins)
            day += timedelta(days=1)
        return total.total_seconds() / 60


DEFAULT = Hours(time(8), time(17), frozenset(range(5)))
"""A day shift to begin with; the hospital sets its own."""
