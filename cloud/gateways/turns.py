"""Whose turn it is to be applied: a link that has just got something goes before those that are far behind.

After an outage some links have thousands of messages to be applied; what another link has just sent waits for one run
of one of them, at most.
"""

from __future__ import annotations

from cloud.gateways.apply import RUN
from cloud.gateways.arrivals import LinkKey

LONG_RUN = RUN
SHORT_RUN = 10
"""What has just come is one message or a few."""


class Turns:
    """A link is in one of three places, or done."""

    def __init__(self) -> None:
        self._fresh: dict[LinkKey, None] = {}
        self._behind: dict[LinkKey, None] = {}
        self._at_a_gap: set[LinkKey] = set()

    def touch(self, key: LinkKey, new: int = 1) -> None:
        """It has so many new messages: where they are many, it is catching up."""
        self._at_a_gap.discard(key)
        if new > SHORT_RUN and key not in self._fresh:
            self._behind[key] = None
        if key not in self._behind:
            self._fresh[key] = None

    def look_again(self) -> None:
        """A gap may have been declared lost."""
        self._fresh |= dict.fromkeys(sorted(self._at_a_gap))
        self._at_a_gap.clear()

    def next(self) -> tuple[LinkKey, int] | None:
        """Whose turn it is, and how many messages it may take at most: who shows itself to be behind gets long ones."""
        for waiting, run in ((self._fresh, SHORT_RUN), (self._behind, LONG_RUN)):
            for key in waiting:
                del waiting[key]
                return key, run
        return None

    def became(self, key: LinkKey, what: str) -> None:
        """ "more": there is more than one run took; "waits" at a gap; "done"."""
        if what == "more":
            self._fresh.pop(key, None)
            self._behind[key] = None
        elif what == "waits":
            self._at_a_gap.add(key)
