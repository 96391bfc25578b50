"""What every link is: a state machine from bytes to payloads and back, without clock, socket, disk or thread.

The shell (edge.session) owns the clock and the port. It hands in bytes with `receive`, makes what arrived durable,
calls `acknowledge` (or `refuse`) and writes what `bytes_to_send` gives. Nothing that promises "received" is in
`bytes_to_send` before `acknowledge`. `now` is a monotonic time in seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec


class FrameReceived(msgspec.Struct, frozen=True, gc=False):
    """A frame whose check passed. It must be durable before `Link.acknowledge(frame_id)`."""

    frame_id: int
    raw: bytes
    """The exact bytes on the wire, from the first control byte to the last."""


class MessageReceived(msgspec.Struct, frozen=True, gc=False):
    """A whole message: its frames in order and their joined text. Follows the frames it is made of.

    `frame_ids` are those of the `FrameReceived` events (some may have been handed out by an earlier `receive`). It may
    come in the same list as its last frame, before that is acknowledged: store both, then acknowledge. If that frame is
    refused instead, forget the message: both come again when the instrument repeats the frame.
    """

    frame_ids: tuple[int, ...]
    payload: bytes


class MessageAbandoned(msgspec.Struct, frozen=True, gc=False):
    """Acknowledged frames whose message never ended (time-out, EOT after ETB, new ENQ). Kept, not applied."""

    frame_ids: tuple[int, ...]
    reason: str


class FrameRefused(msgspec.Struct, frozen=True, gc=False):
    """Bytes that failed their check (NAK sent, or skipped). `reason` is constant text; `raw` is bounded."""

    reason: str
    raw: bytes


class SendCompleted(msgspec.Struct, frozen=True, gc=False):
    """The message handed to `send` with this token has been accepted whole by the instrument."""

    token: int


class SendFailed(msgspec.Struct, frozen=True, gc=False):
    """The message with this token was given up (six refusals, no answer); the caller decides whether to try again."""

    token: int
    reason: str


LinkEvent = FrameReceived | MessageReceived | MessageAbandoned | FrameRefused | SendCompleted | SendFailed


class Link(ABC):
    """One end of one line. Not thread-safe; one owner."""

    @property
    def checked(self) -> bool:
        """A sum stands behind each frame and is verified: a damaged byte of the text is never handed out."""
        return False

    @abstractmethod
    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        """Take bytes as they came, however split or merged. Never raises for what the other side sent."""

    @abstractmethod
    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        """The frame is durable: put the acknowledgement in the output. Frames are acknowledged in their order.

        May return events: bytes that waited behind the frame are read now.
        """

    @abstractmethod
    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        """The frame could not be kept (disk full): answer busy or not acknowledged, so that the instrument keeps it."""

    @abstractmethod
    def send(self, payload: bytes, now: float) -> int:
        """Queue one message for the instrument; returns the token of `SendCompleted`/`SendFailed`."""

    @abstractmethod
    def bytes_to_send(self) -> bytes:
        """Drain what must be written to the port now."""

    @property
    @abstractmethod
    def wake_at(self) -> float | None:
        """When `wake` must be called at the latest, or None."""

    @abstractmethod
    def wake(self, now: float) -> list[LinkEvent]:
        """A timer ran out (15 s reply, 30 s receive, contention ...). Harmless when called early."""

    @abstractmethod
    def disconnected(self, now: float) -> list[LinkEvent]:
        """The port closed: the incomplete message is abandoned, pending sends fail; the link can be used again."""
