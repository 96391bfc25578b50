"""What both sides hold of a link, so that they can be compared: numbers and hashes of ranges of sequences.

The box says it every hour on ``up/<link>/counts`` for what it holds and has a receipt for, and whenever the cloud asks
(``down/count``). The cloud compares with what it stores and asks for smaller ranges where the two differ, down to
single messages. A hash is SHA-256 over, for each message of the range in rising sequence, its sequence (8 bytes, big
endian) and the SHA-256 of its raw bytes (32 bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from protocols.uplink.payload import dump, load
from protocols.uplink.topics import VERSION, UplinkError, check_name

KIND = "counts"
MOST_RANGES = 1024


@dataclass(frozen=True, slots=True)
class RangeCount:
    """Sequences `first` to `last`, both included: how many are held, and the hash over them."""

    first: int
    last: int
    count: int
    digest: str
    damaged: int = 0
    """Of these the side's own stored copy is damaged: its bytes prove nothing."""


class RollingDigest:
    """The hash of a range, message by message in rising sequence."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, sequence: int, sha256: bytes) -> None:
        """`sha256`: of the message's raw bytes, 32 bytes."""
        self._hash.update(sequence.to_bytes(8, "big") + sha256)
        self.count += 1

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()


def digest_of(messages: Iterable[tuple[int, bytes]]) -> tuple[int, str]:
    """(count, hash in hex) of (sequence, SHA-256 of the raw bytes) in rising sequence."""
    rolling = RollingDigest()
    for sequence, sha256 in messages:
        rolling.add(sequence, sha256)
    return rolling.count, rolling.hex


@dataclass(frozen=True, slots=True)
class Counts:
    """What a box holds of one link."""

    gateway: str
    epoch: str
    link: str
    run: str
    """Drawn by whoever began this comparison: all that is said and asked for it carries it."""
    at: datetime
    held_from: int
    """The lowest sequence that the box still holds; what is before it was delivered and pruned."""
    through: int
    """The cloud gave receipts for everything up to this sequence."""
    ranges: tuple[RangeCount, ...]

    def to_bytes(self) -> bytes:
        return dump(
            {
                "v": VERSION,
                "gateway": self.gateway,
                "epoch": self.epoch,
                "link": self.link,
                "run": self.run,
                "at": self.at.isoformat(),
                "held_from": self.held_from,
                "through": self.through,
                "ranges": [[each.first, each.last, each.count, each.digest, each.damaged] for each in self.ranges],
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> Counts:
        data = load(payload)
        try:
            counts = cls(
                check_name(data["gateway"]),
                check_name(data["epoch"]),
                check_name(data["link"]),
                check_name(data["run"]),
                datetime.fromisoformat(data["at"]),
                int(data["held_from"]),
                int(data["through"]),
                tuple(
                    RangeCount(int(each[0]), int(each[1]), int(each[2]), str(each[3]), int(each[4]))
                    for each in data["ranges"]
                ),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UplinkError(f"not counts: {error}") from error
        if counts.at.tzinfo is None or not _rising([(each.first, each.last) for each in counts.ranges]):
            raise UplinkError("counts without a zone, or of ranges that do not rise")
        return counts


@dataclass(frozen=True, slots=True)
class CountRequest:
    """The cloud asks a box for the counts of these ranges; none: of everything that it holds and has a receipt for."""

    epoch: str
    link: str
    run: str
    ranges: tuple[tuple[int, int], ...] = ()

    def to_bytes(self) -> bytes:
        ranges = [list(each) for each in self.ranges]
        return dump({"v": VERSION, "epoch": self.epoch, "link": self.link, "run": self.run, "ranges": ranges})

    @classmethod
    def from_bytes(cls, payload: bytes) -> CountRequest:
        data = load(payload)
        try:
            request = cls(
                check_name(data["epoch"]),
                check_name(data["link"]),
                check_name(data["run"]),
                tuple((int(first), int(last)) for first, last in data.get("ranges", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not a count request: {error}") from error
        if not _rising(request.ranges):
            raise UplinkError("a count request for ranges that do not rise")
        return request


def split(first: int, last: int, parts: int) -> list[tuple[int, int]]:
    """The range in at most `parts` ranges of about the same size."""
    size = max(1, -(-(last - first + 1) // parts))
    return [(start, min(start + size - 1, last)) for start in range(first, last + 1, size)]


def _rising(ranges: Iterable[tuple[int, int]]) -> bool:
    found = list(ranges)
    after = [each[0] for each in found[1:]]
    return (
        len(found) <= MOST_RANGES
        and all(1 <= first <= last for first, last in found)
        and all(last < next_first for (_, last), next_first in zip(found, after, strict=False))
    )
