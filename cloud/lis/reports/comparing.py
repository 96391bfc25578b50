"""Two versions of a report line by line, for the page that shows them side by side."""

from __future__ import annotations

from dataclasses import dataclass

from cloud.lis.reports.view import ReportItem, ReportView


@dataclass(frozen=True, slots=True)
class Compared:
    """One test in both versions; None where a version does not have it."""

    name: str
    name_en: str
    before: ReportItem | None
    after: ReportItem | None

    @property
    def changed(self) -> bool:
        """Whether a reader sees another value, flag, unit or range."""
        return _read(self.before) != _read(self.after)


def lines(before: ReportView, after: ReportView) -> list[Compared]:
    """In the order of the newer version, then what only the older one had."""
    old = {each.code: each for each in before.items}
    new = {each.code: each for each in after.items}
    found = []
    for code in [*new, *(each for each in old if each not in new)]:
        item = new.get(code) or old[code]
        found.append(Compared(item.name, item.name_en, old.get(code), new.get(code)))
    return found


def _read(item: ReportItem | None) -> tuple[str, ...] | None:
    return None if item is None else (item.value, item.flag, item.unit, item.range_text)
