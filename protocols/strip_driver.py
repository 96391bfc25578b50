"""What printing urine analyzers share: one strip is one text, each pad a line (`messages.strip_lines`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from protocols.messages.printed_times import DateOrder, iso_clock, iso_date
from protocols.messages.strip_lines import strip_line
from protocols.model import Observation
from protocols.text_driver import Printed, PrintoutDriver

_CLOCK = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b")
_DATE = re.compile(r"\b(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}|[A-Za-z]{3}-\d{2}-\d{4})\b")


class StripDriver(PrintoutDriver):
    """A urine analyzer that sends its printout. Subclasses name the pads and how the printout names the sample."""

    pads: ClassVar[frozenset[str]]
    specimen_line: ClassVar[re.Pattern[str]]
    """Group 1 is the sample."""
    date_order: ClassVar[DateOrder | None] = None
    flag_meanings: ClassVar[Mapping[str, str]] = {"*": "marked as abnormal by the analyzer"}

    def head(self, line: str, printed: Printed) -> bool:
        if strip_line(line, self.pads) is not None:
            return False
        sample = self.specimen_line.match(line)
        if sample is not None and sample[1].strip():
            printed.specimen = sample[1].strip()
        date, clock = _DATE.search(line), _CLOCK.search(line)
        if date is not None:
            printed.date = iso_date(date[0], self.date_order) or date[0]
        if clock is not None:
            printed.time = iso_clock(clock[0]) or clock[0]
        return any((sample, date, clock))

    def result(self, line: str, printed: Printed) -> Observation | None:
        found = strip_line(line, self.pads)
        if found is None:
            return None
        return Observation(
            specimen=printed.specimen,
            code=found.name,
            value=found.value,
            unit=found.unit,
            flags=(("*",) if found.is_marked else ()) + ((found.grade,) if found.grade else ()),
        )

    def pads_in(self, text: str) -> int:
        """How many lines are results of pads."""
        return sum(1 for line in text.splitlines() if strip_line(line, self.pads) is not None)
