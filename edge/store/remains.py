"""What a record that was found on a page of a damaged file is: nothing there says of which table it was."""

from __future__ import annotations

import re
from collections.abc import Callable

from edge.store.pages import Row, Value
from edge.store.rows import FrameRow, LinkRow, frame_ids

_JOURNAL, _OUTBOX_AT_FIRST, _OUTBOX = 6, 13, 15
"""Columns; a row has those that the table had when it was written."""
_LEFT_OPEN = 7
_EPOCH = re.compile(r"^[0-9a-f]{16}$")


def frame_of(row: Row) -> FrameRow | None:
    """A row of the journal, if it is one. Its CRC goes with it: a damaged one is known as such later."""
    values = row.values
    if row.rowid is None or len(values) != _JOURNAL or not isinstance(values[5], bytes):
        return None
    if not all(isinstance(each, int) for each in values[1:5]):
        return None
    link, received_at, sure, crc = (int(str(each)) for each in values[1:5])
    return row.rowid, link, received_at, bool(sure), crc, values[5]


def outbox_values(row: Row) -> tuple[Value, ...] | None:
    """The columns of an outbox row without its id; those that came later are empty in an old one."""
    values = row.values
    if row.rowid is None or len(values) < _OUTBOX_AT_FIRST:
        return None
    if not (isinstance(values[1], int) and isinstance(values[2], int) and isinstance(values[9], str)):
        return None
    return (*values, None, None)[1:_OUTBOX]


def closed_frames(rows: list[Row], closed_through: dict[int, int]) -> Callable[[FrameRow], bool]:
    """Does a frame belong to a message, by the newest that these rows say? `closed_through`: by link id."""
    claimed = {id_ for row in rows if outbox_values(row) is not None for id_ in frame_ids(str(row.values[9])) or ()}
    left_open = {
        id_
        for row in rows
        if link_of(row) is not None and len(row.values) > _LEFT_OPEN
        for id_ in frame_ids(str(row.values[_LEFT_OPEN])) or ()
    }

    def closed(frame: FrameRow) -> bool:
        id_, link = frame[:2]
        return id_ in claimed or (id_ <= closed_through.get(link, 0) and id_ not in left_open)

    return closed


def is_order(values: tuple[Value, ...]) -> bool:
    return len(values) == 5 and [type(each) for each in values] == [str, str, int, int, str]


def link_of(row: Row) -> LinkRow | None:
    """A row of the table `link`, if it is one."""
    values = row.values
    if row.rowid is None or len(values) not in (7, 8) or not isinstance(values[1], str):
        return None
    if not all(isinstance(each, int) for each in values[2:6]) or not isinstance(values[6], int | None):
        return None
    last, through, closed = (int(str(each)) for each in values[2:5])
    return LinkRow(row.rowid, values[1], last, through, closed, values[6])


def newest(rows: list[LinkRow]) -> dict[str, LinkRow]:
    """By name, from several copies of the table's pages: a link never goes back."""
    found: dict[str, LinkRow] = {}
    for each in rows:
        known = found.setdefault(each.name, each)
        known.last_sequence = max(known.last_sequence, each.last_sequence)
        known.delivered_through = max(known.delivered_through, each.delivered_through)
        known.closed_through = max(known.closed_through, each.closed_through)
        known.last_received_at = max(filter(None, (known.last_received_at, each.last_received_at)), default=None)
    return found


def is_name(values: tuple[Value, ...]) -> bool:
    """An entry of the index over the names of links."""
    return len(values) == 2 and isinstance(values[0], str) and isinstance(values[1], int)


def is_epoch(row: Row) -> bool:
    return (
        row.rowid is None
        and len(row.values) == 2
        and row.values[0] == "epoch"
        and bool(_EPOCH.match(str(row.values[1])))
    )
