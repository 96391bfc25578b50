"""Is a link that runs with a new configuration at least as well as before? Pure: numbers in, a reason out.

Silence is neither good nor bad, and the cloud is not asked: an instrument that is switched off, or a cable that was
pulled, would else take back a good configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

_FAILED_S = 30.0
"""A port that stays shut for so long, or for a quarter of a shorter window, does not open by itself."""
_NOISE = 5
"""Frames that failed their check before they mean anything."""
_MESSAGES = 3
_FAULTS = 3
_WORSE = 0.3


@dataclass(frozen=True, slots=True)
class Watched:
    """One link, since it runs with its settings."""

    failed_s: float = 0.0
    """For so long its port could not be opened, without a break."""
    was_open: bool = False
    """An instrument was connected, or its line open, at some time."""
    messages: int = 0
    refused: int = 0
    """Frames and bytes that failed their check."""
    faults: int = 0
    tried: int = 0
    """Messages that were read with its settings to see whether they decode,"""
    unread: int = 0
    """and those of them that did not."""

    @property
    def noise(self) -> float:
        """Share of what came that failed its check."""
        return self.refused / (self.refused + self.messages) if self.refused else 0.0

    @property
    def unread_share(self) -> float:
        return self.unread / self.tried if self.tried else 0.0


def fault_of(now: Watched, before: Watched | None, window_s: float) -> str:
    """Why the link is worse than with its previous settings, `before`; "" while nothing speaks against it.

    `before` is None where nothing is known of it: the link is new, or the daemon has been started since.
    """
    if now.failed_s >= min(_FAILED_S, window_s / 4) and not (before and before.failed_s > 0):
        return "its port cannot be opened"
    if now.faults >= _FAULTS and now.faults > now.messages and not (before and before.faults >= before.messages > 0):
        return "its link fails again and again"
    usual = before.noise if before else 0.0
    if now.refused >= _NOISE and now.noise > usual + _WORSE:
        return f"{now.refused} frames failed their check and {now.messages} messages came"
    usual = before.unread_share if before else 0.0
    if now.tried >= _MESSAGES and now.unread_share > usual + _WORSE:
        return f"{now.unread} of {now.tried} messages cannot be decoded"
    return ""


def not_reopened(now: Watched, before: Watched | None) -> str:
    """At the end of the window: a line that we open ourselves was open before and never since."""
    return "it was open before and could not be opened since" if before and before.was_open and not now.was_open else ""
