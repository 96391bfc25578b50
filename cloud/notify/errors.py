"""Why a message was not taken by its channel."""

from __future__ import annotations


class DeliveryFailed(Exception):
    """One try failed. `permanent`: trying again cannot help (no such receiver, refused template)."""

    def __init__(self, code: str, *, permanent: bool, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent
        self.retry_after_s = retry_after_s


class UnofficialHost(RuntimeError):
    """In production only the channel's own hosts are spoken to: a stand-in would be a way around sign-in."""
