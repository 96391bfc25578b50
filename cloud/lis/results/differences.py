"""What two readings of one message differ in, item by item. Pure; items as `protocols.uplink.items` writes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Plain = dict[str, Any]
ADDED, CHANGED, REMOVED = "added", "changed", "removed"
_NAMES = ("code", "name", "point", "action")
_APART = ("record",)
"""Where in the message it stood: no part of what was measured."""


@dataclass(frozen=True, slots=True)
class Difference:
    what: str
    before_at: int | None
    """Place in the old reading; None where it was added."""
    after_at: int | None
    fields: tuple[str, ...] = ()
    """Which fields became others."""


@dataclass(frozen=True, slots=True)
class Compared:
    differences: tuple[Difference, ...]
    same: tuple[tuple[int, int], ...]
    """Places (old, new) of what is alike."""


def compare(before: Sequence[Plain], after: Sequence[Plain]) -> Compared:
    """Items of one kind, specimen and code are paired in their order, those that are alike first."""
    old, new = _grouped(before), _grouped(after)
    differences: list[Difference] = []
    same: list[tuple[int, int]] = []
    for key in [*old, *(each for each in new if each not in old)]:
        left, right = list(old.get(key, ())), list(new.get(key, ()))
        for place in list(left):
            twin = next((each for each in right if _content(before[place]) == _content(after[each])), None)
            if twin is not None:
                same.append((place, twin))
                left.remove(place)
                right.remove(twin)
        paired = min(len(left), len(right))
        for one, other in zip(left, right, strict=False):
            differences.append(Difference(CHANGED, one, other, _fields(before[one], after[other])))
        differences += [Difference(REMOVED, each, None) for each in left[paired:]]
        differences += [Difference(ADDED, None, each) for each in right[paired:]]
    return Compared(tuple(sorted(differences, key=_place)), tuple(same))


def _grouped(items: Sequence[Plain]) -> dict[tuple[str, str, str], list[int]]:
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        name = next((str(item[each]) for each in _NAMES if item.get(each)), "")
        groups[str(item.get("kind", "")), str(item.get("specimen") or ""), name].append(place)
    return groups


def _content(item: Plain) -> Plain:
    return {key: value for key, value in item.items() if key not in _APART}


def _fields(before: Plain, after: Plain) -> tuple[str, ...]:
    keys = sorted({*before, *after} - set(_APART))
    return tuple(each for each in keys if before.get(each) != after.get(each))


def _place(each: Difference) -> tuple[int, int]:
    """In the order of the new reading; what is gone stands where it was."""
    place = each.after_at if each.after_at is not None else each.before_at
    return (place or 0, 0 if each.after_at is None else 1)
