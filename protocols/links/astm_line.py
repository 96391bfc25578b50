"""The line of an ASTM link: its state and the table of the moves it may make, what waits to be read, the timer.

`AstmReceiving` reads from it, `AstmLink` writes to it. Times are monotonic seconds.
"""

from __future__ import annotations

import re
from enum import Enum, StrEnum, auto
from typing import Final

from protocols.errors import LocalProtocolError
from protocols.links.astm_frames import AstmOptions
from protocols.links.contract import Link

_FILLER = re.compile(rb"[\r\n\x00\x06\x15]+")
_FILLER_BYTES = b"\r\n\x00\x06\x15"
SHOWN = 512
"""Bytes of what was refused that an event carries."""


class State(StrEnum):
    NEUTRAL = "neutral"
    AWAITING_FRAME = "awaiting frame"
    HOLDING_FRAME = "holding frame"
    """A frame was handed out and waits for `acknowledge` or `refuse`; nothing behind it is read."""
    AWAITING_ENQ_REPLY = "awaiting reply to ENQ"
    AWAITING_FRAME_REPLY = "awaiting reply to frame"

    __hash__ = str.__hash__  # Enum's own is Python code, run at each move


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.NEUTRAL: frozenset({State.AWAITING_FRAME, State.HOLDING_FRAME, State.AWAITING_ENQ_REPLY}),
    State.AWAITING_FRAME: frozenset({State.HOLDING_FRAME, State.NEUTRAL, State.AWAITING_FRAME}),
    State.HOLDING_FRAME: frozenset({State.AWAITING_FRAME, State.NEUTRAL}),
    State.AWAITING_ENQ_REPLY: frozenset({State.AWAITING_FRAME_REPLY, State.NEUTRAL}),
    State.AWAITING_FRAME_REPLY: frozenset({State.AWAITING_FRAME_REPLY, State.NEUTRAL}),
}
"""HOLDING_FRAME from NEUTRAL and back: a message without frames."""


class Wait(Enum):
    """What the reader waits for when bytes are missing, and so what silence then means."""

    NOTHING = auto()
    FRAME = auto()
    INSIDE_FRAME = auto()
    FRAME_END = auto()
    SETTLE = auto()
    GARBAGE = auto()
    BARE_MESSAGE = auto()


class AstmLine(Link):
    """See the module."""

    def __init__(self, options: AstmOptions) -> None:
        self.options = options
        self.state = State.NEUTRAL
        self._buffer = bytearray()
        self._output = bytearray()
        self._scanned = 0
        """Bytes of the buffer that were looked at already and hold no end."""
        self._wait = Wait.NOTHING
        self._deadline: float | None = None

    def _move_to(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise LocalProtocolError(f"the ASTM link cannot go from {self.state} to {state}")
        self.state = state
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self._wait, self._deadline = Wait.NOTHING, None
        self._scanned = 0

    def _wait_for(self, wait: Wait, until: float) -> bool:
        """Nothing can be read now; says False for the reading loop."""
        self._wait, self._deadline = wait, until
        return False

    def _drop(self, count: int) -> bytes:
        dropped = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._scanned = 0
        return dropped

    def _drop_filler(self) -> None:
        """CR LF of the frame before, padding, acknowledgements that nobody waits for."""
        if self._buffer and self._buffer[0] in _FILLER_BYTES:
            filler = _FILLER.match(self._buffer)
            if filler is not None:
                self._drop(filler.end())
