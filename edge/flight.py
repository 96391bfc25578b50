"""Which messages are on their way to the cloud: sent, and not yet covered by a receipt. No I/O, no clock of its own.

A link's messages go in the order of their sequence. They are sent again after a reconnect, or when no receipt came in
time; never because of a missing PUBACK. The window is shared by all links: a link that is up to date goes before those
with a backlog and always finds room, and the backlogs take turns.

Until the cloud has answered on this connection only a few messages are under way, and when it has been silent for a
receipt's time only one is tried again, then the next: an outage behind the broker makes no heap of duplicates in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_FIRST = 20
"""Messages under way on a new connection before the first receipt."""
_FIRST_PATIENCE_S = 5.0
"""The first messages of a connection may meet a broker without a subscriber: tried again soon, then ever later."""
_MAX_BYTES = 4 * 1024 * 1024


class Turn(NamedTuple):
    """Send what follows `after` of this link, at most `room` messages."""

    link: str
    after: int
    room: int


@dataclass(slots=True)
class _LinkFlight:
    sent_through: int = 0
    received_through: int = 0
    sent: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Sequence: when, how many bytes."""
    has_more: bool = True
    backlog: bool = False

    def start_over(self) -> None:
        self.sent.clear()
        self.sent_through = 0
        self.has_more = True


class Flight:
    """`window`: messages under way at most, over all links; `batch`: in one publish. `now` is monotonic seconds."""

    def __init__(self, window: int, receipt_timeout_s: float, batch: int = 20, max_bytes: int = _MAX_BYTES) -> None:
        self._window = window
        self._batch = batch
        self._timeout_s = receipt_timeout_s
        self._max_bytes = max_bytes
        self._links: dict[str, _LinkFlight] = {}
        self._turns: list[str] = []
        self._allowance = min(window, _FIRST)
        self._patience_s = min(_FIRST_PATIENCE_S, receipt_timeout_s)
        self._heard_at: float | None = None
        self._under_way = self._bytes = 0

    @property
    def under_way(self) -> int:
        return self._under_way

    @property
    def backlog(self) -> list[str]:
        """Links with more behind what was read last."""
        return [link for link, flight in self._links.items() if flight.backlog and flight.has_more]

    def announce(self, link: str) -> None:
        """This link has something new."""
        self._of(link).has_more = True

    def next_turn(self) -> Turn | None:
        """Whose turn it is, or None when nothing can be sent now."""
        heard = self._heard_at is not None
        window = self._window if heard else self._allowance
        room = window - self._under_way
        if room <= 0 or self._bytes >= self._max_bytes:
            return None
        kept_free = window // 5 if heard else 0
        waiting = [link for link in self._turns if self._links[link].has_more]
        for link in (*(each for each in waiting if not self._links[each].backlog), *waiting):
            flight = self._links[link]
            limit = min(room - kept_free if flight.backlog else room, self._batch)
            # A backlog goes in whole batches: receipts make room in such pieces.
            if limit > 0 and (not flight.backlog or limit >= min(self._batch, window // 4)):
                self._turns.remove(link)
                self._turns.append(link)
                return Turn(link, flight.sent_through, limit)
        return None

    def sent(self, link: str, sizes: Mapping[int, int], now: float, *, more: bool) -> None:
        """`sizes`: bytes of each sequence; `more`: there is something behind them."""
        flight = self._of(link)
        for sequence, size in sizes.items():
            if sequence > flight.received_through:  # else its receipt came while it was being sent again
                self._forget(flight, sequence)
                flight.sent[sequence] = now, size
                self._under_way += 1
                self._bytes += size
            flight.sent_through = max(flight.sent_through, sequence)
        flight.backlog = more
        flight.has_more = True  # until a read says otherwise: the last one may have stopped for the size of a message

    def dry(self, link: str) -> None:
        """A read found nothing."""
        self._of(link).backlog = False

    def reading(self, link: str) -> None:
        """What waits of this link is read now; an `announce` from here on says that there is more."""
        self._of(link).has_more = False

    def received(self, link: str, through: int, also: Iterable[int], now: float) -> None:
        """A receipt came (and is durable)."""
        self._heard_at = now
        flight = self._of(link)
        for each in [each for each in flight.sent if each <= through]:
            self._forget(flight, each)
        for each in also:
            self._forget(flight, each)
        flight.sent_through = max(flight.sent_through, through)
        flight.received_through = max(flight.received_through, through)

    def again(self, link: str) -> None:
        """What was sent of this link and has no receipt is sent again: the broker refused it."""
        flight = self._of(link)
        for each in list(flight.sent):
            self._forget(flight, each)
        flight.start_over()

    def start_over(self) -> None:
        """A new connection: what has no receipt is sent again, in order, a few first."""
        for link in self._links:
            self.again(link)
        self._heard_at = None
        self._allowance = min(self._window, _FIRST)
        self._patience_s = min(_FIRST_PATIENCE_S, self._timeout_s)

    def overdue(self, now: float) -> list[str]:
        """Links whose oldest message has waited too long for its receipt; they are sent again from there.

        While the cloud answers at all these are whole links; when it is silent, one message of one link after another.
        """
        silent = self._heard_at is None or now - self._heard_at >= self._timeout_s
        patience_s = self._patience_s if self._heard_at is None else self._timeout_s
        late = [
            link
            for link, flight in self._links.items()
            if flight.sent and now - min(at for at, _ in flight.sent.values()) >= patience_s
        ]
        if late and silent:
            self.start_over()
            self._allowance = 1
            self._patience_s = min(2 * patience_s, self._timeout_s)
        for link in late:
            self.again(link)
        return late

    @property
    def look_again_s(self) -> float:
        """When `overdue` is worth asking again, at the latest."""
        return self._patience_s if self._heard_at is None else self._timeout_s

    def _forget(self, flight: _LinkFlight, sequence: int) -> None:
        found = flight.sent.pop(sequence, None)
        if found is not None:
            self._under_way -= 1
            self._bytes -= found[1]

    def _of(self, link: str) -> _LinkFlight:
        if link not in self._links:
            self._links[link] = _LinkFlight()
            self._turns.append(link)
        return self._links[link]
