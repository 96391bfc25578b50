"""The shell of a link for tests: makes durable at once, acknowledges, drives the injected clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from protocols.links.contract import FrameReceived, Link, LinkEvent, MessageReceived


def frame(number: int, text: bytes, *, last: bool = True, lower: bool = False) -> bytes:
    """A frame made independently of the code under test (plain sum)."""
    body = b"%d" % (number % 8) + text + (b"\x03" if last else b"\x17")
    digits = b"%02X" % (sum(body) % 256)
    return b"\x02" + body + (digits.lower() if lower else digits) + b"\r\n"


def session(*texts: bytes) -> bytes:
    """ENQ, each text in an end frame, EOT, as one run of bytes."""
    return b"\x05" + b"".join(frame(n, text) for n, text in enumerate(texts, start=1)) + b"\x04"


class Bench:
    """A link and the clock that serves it. Frames are acknowledged as soon as they are handed out."""

    def __init__(self, link: Link, *, acknowledge: bool = True) -> None:
        self.link = link
        self.now = 0.0
        self.events: list[LinkEvent] = []
        self.sent = b""
        self._acknowledge = acknowledge

    def hear(self, data: bytes) -> list[LinkEvent]:
        """The instrument's bytes; gives the events they made."""
        return self._take(self.link.receive(data, self.now))

    def hear_each(self, pieces: Iterable[bytes]) -> list[LinkEvent]:
        return [event for piece in pieces for event in self.hear(piece)]

    def wait(self, seconds: float) -> list[LinkEvent]:
        """Time passes; every timer that is due runs, in its order."""
        until = self.now + seconds
        found: list[LinkEvent] = []
        while (due := self.link.wake_at) is not None and due <= until:
            self.now = max(self.now, due)
            found += self._take(self.link.wake(self.now))
        self.now = until
        return found

    def _take(self, events: Sequence[LinkEvent]) -> list[LinkEvent]:
        found: list[LinkEvent] = []
        waiting = list(events)
        while waiting:
            event = waiting.pop(0)
            found.append(event)
            if isinstance(event, FrameReceived) and self._acknowledge:
                waiting += self.link.acknowledge(event.frame_id, self.now)
        self.events += found
        self.sent += self.link.bytes_to_send()
        return found

    def answer(self) -> bytes:
        """What we wrote since the last question."""
        self.sent += self.link.bytes_to_send()
        answer, self.sent = self.sent, b""
        return answer

    @property
    def messages(self) -> list[bytes]:
        return [event.payload for event in self.events if isinstance(event, MessageReceived)]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]
