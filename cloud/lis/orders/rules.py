"""Pure decisions of ordering: which tests an order means."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """One test to do, the panel it was asked for with, and when it is to be drawn (`timing`)."""

    test_id: uuid.UUID
    panel_id: uuid.UUID | None
    timing: str = ""


def each_test_once(groups: Iterable[tuple[uuid.UUID | None, Sequence[uuid.UUID], str]]) -> list[Wanted]:
    """The tests of panels and single tests in the order they were asked for; one asked for twice is done once, unless
    it is for different times."""
    found: dict[tuple[uuid.UUID, str], Wanted] = {}
    for panel_id, test_ids, timing in groups:
        for test_id in test_ids:
            found.setdefault((test_id, timing), Wanted(test_id, panel_id, timing))
    return list(found.values())
