"""A dropped file on its way from the port to the store: one announcement, then the file's bytes.

The port (`edge.ports.file_drop`) speaks this to the link in the same process, so that a file goes through session and
store as every instrument's message does: kept first, answered after the commit. The announcement is a line of JSON with
name, size and SHA-256; it stays with the raw bytes, so that a stored message tells which file it was.

``TAKEN`` says that the file is durable and may be moved away, ``REFUSED`` that it must stay where it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from protocols.errors import LocalProtocolError
from protocols.links.contract import FrameReceived, FrameRefused, Link, LinkEvent, MessageReceived

TAKEN, REFUSED = b"\x06", b"\x15"
MARK = b"\x01FILE "
LARGEST = 64 * 1024 * 1024
_LONGEST_HEAD = 8192
_SHOWN = 512


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the port says of a file before its bytes."""

    name: str
    size: int
    sha256: str
    encoding: str | None = None
    """The character set that the port's configuration names."""

    @property
    def identity(self) -> tuple[str, str]:
        """Two files of one name and one content are the same file."""
        return self.name, self.sha256


def announce(name: str, content: bytes, encoding: str | None = None) -> bytes:
    """The bytes that stand before `content`."""
    head = {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if encoding is not None:
        head["encoding"] = encoding
    return MARK + json.dumps(head, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def opened(payload: bytes) -> tuple[Announcement | None, bytes]:
    """The announcement, if `payload` has one that is whole, and the file's content."""
    line, end, content = payload.partition(b"\n")
    if not end or not line.startswith(MARK):
        return None, payload
    try:
        head = json.loads(line.removeprefix(MARK))
        found = Announcement(str(head["name"]), int(head["size"]), str(head["sha256"]), head.get("encoding"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):  # a size of 1e999
        return None, payload
    return found, content


class FileLink(Link):
    """See the module. It never speaks first and holds one file at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._output = bytearray()
        self._held: int | None = None
        self._next_id = 1

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        self._buffer += data
        events: list[LinkEvent] = []
        self._read(events)
        return events

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, TAKEN)

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, REFUSED)

    def send(self, payload: bytes, now: float) -> int:
        raise LocalProtocolError("a folder takes no messages")

    def bytes_to_send(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        return data

    @property
    def wake_at(self) -> float | None:
        return None

    def wake(self, now: float) -> list[LinkEvent]:
        return []

    def disconnected(self, now: float) -> list[LinkEvent]:
        self._buffer.clear()
        self._output.clear()
        self._held = None
        return []

    def _answer(self, frame_id: int, answer: bytes) -> list[LinkEvent]:
        if frame_id != self._held:  # of a connection that is gone: the port offers the file again
            return []
        self._held = None
        self._output += answer
        events: list[LinkEvent] = []
        self._read(events)
        return events

    def _read(self, events: list[LinkEvent]) -> None:
        while self._buffer and self._held is None:
            end = self._buffer.find(b"\n", 0, _LONGEST_HEAD)
            if end < 0 and len(self._buffer) < _LONGEST_HEAD:
                return
            head, _ = opened(bytes(self._buffer[: end + 1]))
            if head is None or not 0 <= head.size <= LARGEST:
                self._refuse(len(self._buffer), "no announcement of a file", events)
                return
            length = end + 1 + head.size
            if len(self._buffer) < length:
                return
            self._hand_out(end + 1, length, head, events)

    def _hand_out(self, start: int, length: int, head: Announcement, events: list[LinkEvent]) -> None:
        raw = bytes(self._buffer[:length])
        if hashlib.sha256(raw[start:]).hexdigest() != head.sha256:
            self._refuse(length, "the file is not the one that was announced", events)
            return
        del self._buffer[:length]
        self._held = self._next_id
        self._next_id += 1
        events.append(FrameReceived(self._held, raw))
        events.append(MessageReceived((self._held,), raw))

    def _refuse(self, length: int, reason: str, events: list[LinkEvent]) -> None:
        events.append(FrameRefused(reason, bytes(self._buffer[:length][:_SHOWN])))
        del self._buffer[:length]
        self._output += REFUSED
