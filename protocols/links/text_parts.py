"""What of a message in several texts has come, and whether the next text belongs to it.

A refused text leaves a doubt: the instrument should repeat it, but some go on. Then the message has a hole: what came
before the hole and the rest of that message are abandoned (kept, not applied), and never joined with what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher

_BURST = 8
"""Bytes that one disturbance of a line damages; a text that differs by no more is the repetition."""
_ALIKE = 0.9


@dataclass(frozen=True, slots=True)
class Part:
    """What a text says about its place in a message."""

    sample: bytes
    """All that names the sample: texts of one message have it in common."""
    number: int | None
    """From 0 on; None: the last one."""


def unnumbered(_body: bytes) -> Part | None:
    return None


class Parts:
    """The texts of the message that is coming.

    `part_of` reads a body, `start` is how many bytes stand before it, `memory_s` how long a refusal is remembered.
    """

    def __init__(self, part_of: Callable[[bytes], Part | None], start: int, memory_s: float) -> None:
        self._part_of = part_of
        self._start = start
        self._memory_s = memory_s
        self._frames: list[tuple[int, bytes]] = []
        self._refused = b""
        self._refused_at = 0.0
        self.broken = False
        """Texts of this message are missing."""

    def __bool__(self) -> bool:
        return bool(self._frames)

    @property
    def frame_ids(self) -> tuple[int, ...]:
        return tuple(frame_id for frame_id, _ in self._frames)

    @property
    def payload(self) -> bytes:
        return b"\n".join(body for _, body in self._frames)

    @property
    def size(self) -> int:
        return sum(len(body) for _, body in self._frames)

    def add(self, frame_id: int, body: bytes) -> None:
        self._frames.append((frame_id, body))

    def take_back(self, frame_id: int) -> None:
        """The text could not be kept: the instrument still has it."""
        self._frames = [each for each in self._frames if each[0] != frame_id]

    def clear(self) -> None:
        self._frames.clear()
        self.broken = False

    def forget(self) -> None:
        """Nothing that was refused will be repeated: the line is new."""
        self._refused = b""

    def refused(self, raw: bytes, now: float) -> None:
        """A text was refused, or bytes were dropped that may have been one or the rest of one."""
        self._refused = (self._refused + raw)[:4096] if self.awaits_repeat(now) else raw[:4096]
        self._refused_at = now

    def judge(self, raw: bytes, body: bytes, now: float) -> tuple[str, bool]:
        """Why the parts so far are to be abandoned before `body` (empty: it continues them), and whether `body` is

        itself only the rest of a message with a hole. What was refused before is settled by this.
        """
        refused = self._refused if self.awaits_repeat(now) else b""
        self._refused = b""
        part, before = self._part_of(body), self._last_part()
        if self.broken and part is not None and part.number == 0:
            return "its rest did not come", False
        if part is not None and before is not None and part.sample != before.sample:
            return "the next sample began before this message ended", bool(part.number)
        if not refused or self.broken or self._is_repeat(refused, raw, part):
            return "", self.broken
        return "a refused text was not repeated", self._is_rest(refused, body, part, before)

    def _is_rest(self, refused: bytes, body: bytes, part: Part | None, before: Part | None) -> bool:
        """Is a text behind the hole what is left of the message that the hole is in?"""
        if part is None:
            return bool(self._frames)
        if part.number is not None:
            return part.number > 0
        if before is not None:
            return True
        place = body.find(part.sample)
        for written in (refused, refused[self._start :]):  # its start code may have been lost
            lost = self._part_of(written)
            damage = _differing(written[place : place + len(part.sample)], part.sample)
            is_whole = lost is not None and lost.number is None  # as it seems: its number may be what was damaged
            if damage <= (0 if is_whole else _BURST):
                return True
        return False

    def _last_part(self) -> Part | None:
        return self._part_of(self._frames[-1][1]) if self._frames else None

    def awaits_repeat(self, now: float) -> bool:
        """Was something refused a short while ago?"""
        return bool(self._refused) and now - self._refused_at <= self._memory_s

    def _is_repeat(self, refused: bytes, raw: bytes, part: Part | None) -> bool:
        if part is None and not self._frames:
            return True  # nothing has come that it could be joined with
        span = _differing(refused, raw)
        lost = self._part_of(refused[self._start :])
        if part is not None and (lost is None or lost.number != part.number):
            return span <= (1 if len(refused) == len(raw) else _BURST)
        return span <= _BURST or SequenceMatcher(None, refused, raw, autojunk=False).ratio() >= _ALIKE


def _differing(one: bytes, other: bytes) -> int:
    """How many bytes lie between the first and the last difference."""
    shorter = min(len(one), len(other))
    head = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    tail = next((place for place in range(shorter - head) if one[-1 - place] != other[-1 - place]), shorter - head)
    return max(len(one), len(other)) - head - tail
