"""Which messages are on their way to the cloud: sent, and not yet covered by a receipt. No I/O, no clock of its own.

A link's messages go in the order of their sequence. They are sent again after a reconnect, or when no receipt came in
time; never because of a missing PUBACK. The window is shared by all links, and each link gets its turn: one with a long
backlog holds no other up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _LinkFlight:
    sent_through: int = 0
    received_through: int = 0
    sent_at: dict[int, float] = field(default_factory=dict)
    has_more: bool = True


class Flight:
    """`window`: messages under way at most, over all links. `now` is a monotonic time in seconds."""

    def __init__(self, window: int, receipt_timeout_s: float) -> None:
        self._window = window
        self._timeout_s = receipt_timeout_s
        self._links: dict[str, _LinkFlight] = {}
        self._turns: list[str] = []

    @property
    def under_way(self) -> int:
        return sum(len(each.sent_at) for each in self._links.values())

    def announce(self, link: str) -> None:
        """This link has something new."""
        self._of(link).has_more = True

    def next_link(self) -> tuple[str, int, int] | None:
        """(link, send what follows this sequence, at most so many), or None when nothing can be sent now."""
        room = self._window - self.under_way
        if room <= 0:
            return None
        for _ in range(len(self._turns)):
            link = self._turns.pop(0)
            self._turns.append(link)
            flight = self._links[link]
            if flight.has_more:
                return link, flight.sent_through, room
        return None

    def sent(self, link: str, sequences: Iterable[int], now: float) -> None:
        flight = self._of(link)
        for each in sequences:
            if each > flight.received_through:  # else its receipt came while it was being sent again
                flight.sent_at[each] = now
            flight.sent_through = max(flight.sent_through, each)

    def exhausted(self, link: str) -> None:
        """Nothing of this link waits behind what was sent."""
        self._of(link).has_more = False

    def received(self, link: str, through: int, also: Iterable[int]) -> None:
        """A receipt came (and is durable)."""
        flight = self._of(link)
        for each in [each for each in flight.sent_at if each <= through]:
            del flight.sent_at[each]
        for each in also:
            flight.sent_at.pop(each, None)
        flight.sent_through = max(flight.sent_through, through)
        flight.received_through = max(flight.received_through, through)

    def start_over(self) -> None:
        """A new connection: what has no receipt is sent again, in order."""
        for flight in self._links.values():
            flight.sent_at.clear()
            flight.sent_through = 0
            flight.has_more = True

    def overdue(self, now: float) -> list[str]:
        """Links whose oldest message has waited too long for its receipt; they are sent again from there."""
        late = [
            link
            for link, flight in self._links.items()
            if flight.sent_at and now - min(flight.sent_at.values()) >= self._timeout_s
        ]
        for link in late:
            flight = self._links[link]
            flight.sent_at.clear()
            flight.sent_through = 0
            flight.has_more = True
        return late

    def _of(self, link: str) -> _LinkFlight:
        if link not in self._links:
            self._links[link] = _LinkFlight()
            self._turns.append(link)
        return self._links[link]
