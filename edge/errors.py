"""Errors of the box, cut by who must act: the engineer who wrote the configuration, the disk, the network."""

from __future__ import annotations

from dataclasses import dataclass


class EdgeError(Exception):
    """Root of every error that the box expects."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing wrong in a configuration file: where (line from 1), what, and what to do about it."""

    line: int
    what: str
    cure: str


class ConfigError(EdgeError):
    """The configuration cannot be used; `mistakes` names everything that is wrong, in the order of the file."""

    def __init__(self, file: str, mistakes: list[Mistake]) -> None:
        self.file = file
        self.mistakes = sorted(mistakes)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        return [f"{self.file}:{each.line}: {each.what} — {each.cure}" for each in self.mistakes]


class StoreError(EdgeError):
    """The box's store could not keep something; nothing of it was kept. The instrument must be refused."""


class StoreFull(StoreError):
    """No room: the disk or the configured bound is reached. Delivered messages are pruned; then it works again."""


class StoreBusy(StoreError):
    """Another process has this store open, or the writer has stopped."""


class BrokerUnreachable(EdgeError):
    """No connection to the cloud's broker; the box goes on serving the bench and tries again."""
