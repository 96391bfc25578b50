"""What goes into the store and what comes out of it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.clock import Moment
from protocols.model import Decoded
from protocols.uplink.envelope import Message, MessageState
from protocols.uplink.items import item_from_json, item_to_json


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as the session read it; the store gives it its sequence in the commit."""

    received_at: Moment
    driver: str
    driver_version: str
    state: MessageState
    content: str
    """What was decoded, as JSON text (`content_of`)."""
    reason: str | None = None
    payload: bytes | None = None
    """The message without its frames, of a message that is kept unread; `content` is empty then."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The store's answer: these frames are durable, and the message, if there was one, has this sequence."""

    frames: tuple[int, ...]
    """Journal ids of the frames that were handed in, in their order."""
    sequence: int | None


@dataclass(frozen=True, slots=True)
class OpenFrame:
    """A durable frame whose message had not ended when the box stopped."""

    id: int
    raw: bytes
    received_at: datetime
    clock_sure: bool


FrameRow = tuple[int, int, int, bool, int, bytes]
"""A row of the journal: id, link, received_at, clock_sure, crc, raw."""


@dataclass(slots=True)
class LinkRow:
    """A link as the file knows it; `id` stands for it in the other tables."""

    id: int
    name: str
    last_sequence: int = 0
    delivered_through: int = 0
    closed_through: int = 0
    last_received_at: int | None = None


@dataclass(frozen=True, slots=True)
class Positions:
    """What a new file must begin with, so that no identity is given twice."""

    epoch: str
    links: list[LinkRow]
    open_frames: list[FrameRow]
    next_id: int
    certain: bool = True
    """False: a link may have come further than is known here; a new epoch is due."""


@dataclass(frozen=True, slots=True)
class LinkPosition:
    """How far a link has come."""

    link: str
    last_sequence: int
    delivered_through: int
    waiting: int
    last_received_at: datetime | None


def content_of(decoded: Decoded) -> str:
    data: dict[str, object] = {"items": [item_to_json(each) for each in decoded.items]}
    for key in ("sender", "message_id", "charset"):
        if getattr(decoded, key) is not None:
            data[key] = getattr(decoded, key)
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


NO_CONTENT = '{"items":[]}'
UNREAD = "kept unread"
"""The reason beside an unread message. A release that knows no payloads sends it as undecoded: seen, never lost."""


def crc_of_message(frames: str, content: str) -> int:
    return zlib.crc32(content.encode(), zlib.crc32(frames.encode()))


def frame_ids(listed: str) -> list[int] | None:
    """Journal ids of a message's frames as the outbox lists them; None where the list is damaged."""
    try:
        return [int(each) for each in json.loads(listed)]
    except (TypeError, ValueError):
        return None


def unread(at: Moment, driver: str, payload: bytes) -> Draft:
    """A message that is decoded when it is sent to the cloud."""
    return Draft(at, driver, "", MessageState.UNDECODED, NO_CONTENT, UNREAD, payload)


def message_of(
    *,
    sequence: int,
    received_at: datetime,
    clock_sure: bool,
    driver: str,
    driver_version: str,
    state: MessageState,
    reason: str | None,
    content: str,
    raws: Sequence[bytes],
) -> Message:
    """The message as it travels to the cloud."""
    data = json.loads(content)
    return Message(
        sequence=sequence,
        received_at=received_at,
        clock_sure=clock_sure,
        driver=driver,
        driver_version=driver_version,
        state=state,
        raw=b"".join(raws),
        items=tuple(item_from_json(each) for each in data["items"]),
        sender=data.get("sender"),
        message_id=data.get("message_id"),
        charset=data.get("charset"),
        reason=reason,
    )
