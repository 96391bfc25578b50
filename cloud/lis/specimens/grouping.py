"""Which tests share a tube: container, specimen type and line apart, then as few tubes as their volumes allow. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cloud.lis.orders.timing import draw_rank


@dataclass(frozen=True, slots=True)
class Need:
    """One ordered test and what it must be drawn into."""

    item_id: uuid.UUID
    tube_id: uuid.UUID
    specimen_type: str
    draw_order: int
    volume_ul: int = 0
    """0: nobody knows; it takes no room."""
    line: str = ""
    """Tests of two named lines never share a tube; one without a line goes with any."""
    panel_id: uuid.UUID | None = None
    """Tests of one panel stay together where one tube holds them."""
    timing: str = ""
    """When it is drawn (`orders.timing`): tests of different times never share a tube."""


@dataclass(frozen=True, slots=True)
class OpenTube:
    """A tube of the same order that can still take tests."""

    specimen_id: uuid.UUID
    tube_id: uuid.UUID
    specimen_type: str
    used_ul: int = 0
    line: str = ""
    timing: str = ""


@dataclass(slots=True)
class TubePlan:
    """One tube to draw (or, with `specimen_id`, one that is there) and the items it is for."""

    tube_id: uuid.UUID
    specimen_type: str
    item_ids: tuple[uuid.UUID, ...]
    specimen_id: uuid.UUID | None = None
    line: str = field(default="", compare=False)
    used_ul: int = field(default=0, compare=False)
    timing: str = ""


def usable_ul(max_fill_ul: int | None, dead_volume_ul: int | None, yield_percent: int | None) -> int | None:
    """What of a full tube can be measured; None when its fill is not known. Never below zero."""
    if max_fill_ul is None:
        return None
    return max(max_fill_ul * (yield_percent or 100) // 100 - (dead_volume_ul or 0), 0)


def tubes_for(
    needs: Iterable[Need], usable: Mapping[uuid.UUID, int | None] | None = None, there: Iterable[OpenTube] = ()
) -> list[TubePlan]:
    """The tubes for these tests, in the order of draw; tubes that are `there` are filled first.

    `usable`: microlitres by kind of tube; none: unlimited. A test that asks for more than a tube holds gets a tube of
    its own: it is drawn, and the laboratory sees at receipt whether it was enough.
    """
    plans = [
        TubePlan(each.tube_id, each.specimen_type, (), each.specimen_id, each.line, each.used_ul, each.timing)
        for each in there
    ]
    draw_order: dict[uuid.UUID, int] = {}
    for block in _blocks(needs):
        draw_order[block[0].tube_id] = block[0].draw_order
        room = (usable or {}).get(block[0].tube_id)
        if not _place(plans, block, room):
            for need in block:
                if not _place(plans, [need], room):
                    plans.append(TubePlan(need.tube_id, need.specimen_type, (), timing=need.timing))
                    _put(plans[-1], [need])
    used = [each for each in plans if each.item_ids]
    return sorted(used, key=lambda each: (draw_rank(each.timing), draw_order[each.tube_id], each.specimen_type))


def _blocks(needs: Iterable[Need]) -> list[list[Need]]:
    """What should stay together: tests of one panel, container, specimen type, time and line; every other test alone.

    Within a kind of tube the largest comes first, which fills tubes better; named lines before the others, which then
    find room in any of them.
    """
    blocks: dict[tuple[object, ...], list[Need]] = {}
    for need in needs:
        key = need.panel_id or need.item_id
        blocks.setdefault((need.draw_order, need.tube_id, need.specimen_type, need.timing, need.line, key), []).append(
            need
        )
    return sorted(blocks.values(), key=lambda block: (block[0].line == "", -sum(each.volume_ul for each in block)))


def _place(plans: list[TubePlan], block: list[Need], room: int | None) -> bool:
    """Put the block into the first tube with room, or a new one; False when no tube can hold it whole."""
    size, first = sum(each.volume_ul for each in block), block[0]
    for plan in plans:
        same = (plan.tube_id, plan.specimen_type, plan.timing) == (first.tube_id, first.specimen_type, first.timing)
        if same and _lines_agree(plan.line, first.line) and (room is None or not size or plan.used_ul + size <= room):
            _put(plan, block)
            return True
    if room is not None and size > room:
        return False
    plans.append(TubePlan(first.tube_id, first.specimen_type, (), timing=first.timing))
    _put(plans[-1], block)
    return True


def _lines_agree(one: str, other: str) -> bool:
    return not one or not other or one == other


def _put(plan: TubePlan, block: list[Need]) -> None:
    plan.item_ids += tuple(each.item_id for each in block)
    plan.used_ul += sum(each.volume_ul for each in block)
    plan.line = plan.line or block[0].line
