"""Our own texts to an instrument: one at a time, again when one was refused or not answered, given up in the end."""

from __future__ import annotations

from collections import deque

from protocols.errors import LocalProtocolError
from protocols.links.contract import SendCompleted, SendFailed
from protocols.links.text_framing import Framing

Outcome = SendCompleted | SendFailed


class Sender:
    """`waits`: the instrument answers each of our texts; else a text is done when it is written."""

    def __init__(self, framing: Framing, reply_timeout_s: float, tries: int, *, waits: bool) -> None:
        self._framing = framing
        self._reply_timeout_s = reply_timeout_s
        self._tries = tries
        self._waits = waits
        self._queue: deque[tuple[int, bytes]] = deque()
        self._next_token = 1
        self._tried = 0
        self._is_due = True
        self._written: list[int] = []
        self._deadline: float | None = None
        self._needs_deadline = False

    @property
    def busy(self) -> bool:
        """Does a text of ours wait for its answer?"""
        return bool(self._queue) and not self._is_due

    def queue(self, payload: bytes) -> int:
        start = self._framing.start
        if not payload or (start and start in payload) or any(end in payload for end in self._framing.ends):
            raise LocalProtocolError("a text to send is empty or holds the codes that begin and end it")
        token = self._next_token
        self._next_token += 1
        self._queue.append((token, self._framing.wrap(payload)))
        return token

    def bytes_to_send(self) -> bytes:
        written = b""
        while self._queue and self._is_due:
            written += self._queue[0][1]
            if self._waits:
                self._is_due = False
                self._tried += 1
                self._needs_deadline = True
            else:
                self._written.append(self._queue.popleft()[0])
        return written

    @property
    def wake_at(self) -> float | None:
        return float("-inf") if self._written or self._needs_deadline else self._deadline

    def wake(self, now: float) -> list[Outcome]:
        events: list[Outcome] = [SendCompleted(token) for token in self._written]
        self._written.clear()
        if self._needs_deadline:
            self._needs_deadline = False
            self._deadline = now + self._reply_timeout_s
        if self._deadline is not None and now >= self._deadline:
            events += self._again("the instrument did not answer")
        return events

    def accepted(self, _now: float) -> list[Outcome]:
        """The instrument has our text; an answer that nobody waits for means nothing."""
        return [SendCompleted(self._next())] if self.busy else []

    def refused(self, _now: float) -> list[Outcome]:
        return self._again("the instrument refused it") if self.busy else []

    def disconnected(self) -> list[Outcome]:
        events: list[Outcome] = [SendCompleted(token) for token in self._written]
        events += [SendFailed(token, "the connection closed") for token, _ in self._queue]
        self._written.clear()
        self._queue.clear()
        self._rest()
        return events

    def _again(self, reason: str) -> list[Outcome]:
        self._deadline, self._needs_deadline = None, False
        if self._tried < self._tries:
            self._is_due = True
            return []
        return [SendFailed(self._next(), f"{reason} ({self._tries} times)")]

    def _next(self) -> int:
        token, _ = self._queue.popleft()
        self._rest()
        return token

    def _rest(self) -> None:
        self._tried, self._is_due, self._deadline, self._needs_deadline = 0, True, None, False
