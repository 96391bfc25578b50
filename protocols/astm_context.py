"""What the walk over ASTM records knows (`Context`), and the words in which a driver says what a result holds."""

from __future__ import annotations

from protocols.messages.astm import Record
from protocols.model import Item, QcMark

Test = tuple[str, str | None, str | None]
"""Code of the test, what else names it, dilution."""
Value = tuple[str, tuple[str, ...]]
"""The value and what stands beside it, in words."""
Details = tuple[str, str, str, str, str, str, str | None, tuple[str, ...]]
"""Unit, reference range, status, operator, time as sent, module, "" where there is none; the reagent's lot; what else
is told, in words."""


class Context:
    """What the records above a result say about it."""

    __slots__ = (
        "header",
        "items",
        "last_was_result",
        "observed_at",
        "order",
        "position",
        "qc",
        "rack",
        "sent_time",
        "specimen",
        "tests",
        "time",
    )

    def __init__(self, tests: dict[str, Test]) -> None:
        self.header: Record | None = None
        self.tests = tests
        """What the driver has read in R.3 with the delimiters of the header (see `AstmDriver.test`)."""
        self.items: list[Item] = []
        self.last_was_result = False
        self.sent_time = ""
        """The last time of a result as it was sent, and (`time`) as it reads: a run's results have the same."""
        self.time: str | None = None
        self.order: Record | None = None
        self.specimen: str | None = None
        self.rack: str | None = None
        self.position: str | None = None
        self.qc: QcMark | None = None
        self.observed_at: str | None = None
        """Time of the last result of this order: some instruments write it only on the first."""
