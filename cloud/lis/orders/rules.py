"""Pure decisions of ordering: which tests an order means."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """One test to do, and the panel it was asked for with."""

    test_id: uuid.UUID
    panel_id: uuid.UUID | None


def each_test_once(groups: Iterable[tuple[uuid.UUID | None, Sequence[uuid.UUID]]]) -> list[Wanted]:
    """The tests of panels and single tests in the order they were asked for; one asked for twice is done once."""
    found: dict[uuid.UUID, Wanted] = {}
    for panel_id, test_ids in groups:
        for test_id in test_ids:
            found.setdefault(test_id, Wanted(test_id, panel_id))
    return list(found.values())
