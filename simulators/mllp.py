"""HL7 v2 over MLLP as a simulator speaks it: VT, message, FS CR; fields split by hand."""

from __future__ import annotations

import time
from datetime import datetime

from simulators.wire import Line

VT, FS, CR = b"\x0b", b"\x1c", b"\r"


class Mllp:
    """Messages on one line; keeps what arrived beyond the message that was asked for."""

    def __init__(self, line: Line, charset: str = "utf-8") -> None:
        self.line = line
        self.charset = charset
        self._rest = b""

    def send(self, segments: list[str]) -> None:
        text = "".join(segment + "\r" for segment in segments)
        self.line.write(VT + text.encode(self.charset) + FS + CR)

    def receive(self, timeout_s: float) -> list[str] | None:
        """Segments of the next message, or None when none came whole in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            start = self._rest.find(VT)
            end = self._rest.find(FS, start + 1) if start >= 0 else -1
            if end >= 0:
                text, self._rest = self._rest[start + 1 : end], self._rest[end + 1 :]
                return [each for each in text.decode(self.charset, "replace").replace("\n", "\r").split("\r") if each]
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._rest += self.line.read(left)


def segment(segments: list[str], name: str) -> list[str]:
    """Fields of the first segment of that name, numbered as HL7 does (MSH-1 is the separator); [] if absent."""
    for each in segments:
        fields = each.split("|")
        if fields[0] == name:
            return [fields[0], "|", *fields[1:]] if name == "MSH" else fields
    return []


def field(fields: list[str], number: int) -> str:
    """A field, "" where the segment is shorter."""
    return fields[number] if number < len(fields) else ""


def stamp(at: datetime) -> str:
    return f"{at:%Y%m%d%H%M%S}"
