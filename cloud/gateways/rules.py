"""Pure decisions of receiving: receipts, gaps, shares of partitions, when to ask again. No session, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from protocols.uplink.envelope import Receipt

MAX_SEQUENCE = 2**63 - 1
GAP_GRACE = timedelta(seconds=2)
"""A redelivered publish may still be under way; asking at once would only cost a duplicate."""
GAP_REPEAT_FIRST = timedelta(seconds=15)
GAP_REPEAT_MAX = timedelta(minutes=10)
WORKLIST_PATIENCE = timedelta(seconds=10)
CLOCK_AHEAD = timedelta(minutes=5)
COMMIT_GRACE = timedelta(seconds=10)
"""A box notes the moment of a message before the message is durable and counted; a worn disk takes seconds."""


@dataclass(slots=True)
class Intake:
    """What is committed of one link: every sequence up to `through`, and those of `beyond`."""

    through: int = 0
    beyond: set[int] = field(default_factory=set)
    lost: set[tuple[int, int]] = field(default_factory=set)
    """Ranges declared lost, as far as they were asked for."""

    def add(self, sequences: Iterable[int]) -> None:
        """These are committed now."""
        self.beyond.update(each for each in sequences if each > self.through)
        while self.through + 1 in self.beyond:
            self.through += 1
            self.beyond.discard(self.through)

    def skip(self, lost: Sequence[tuple[int, int]]) -> None:
        """Ranges declared lost count as committed once everything before them is. `lost` is in rising order."""
        self.lost.update(lost)
        for first, last in lost:
            if first <= self.through + 1 <= last:
                self.through = last
                self.beyond = {each for each in self.beyond if each > last}
                self.add(())

    def receipt(self, epoch: str, link: str, touched: Iterable[int]) -> Receipt:
        """A receipt that covers `touched` (all committed; a repeat like the first time) and everything before.

        A box that sends a part of what was declared lost still has it: then the rest is not covered with it.
        """
        found = set(touched)
        living = [first for first, last in self.lost if any(first <= each <= last for each in found)]
        through = min([self.through, *(first - 1 for first in living)])
        also = tuple(sorted(each for each in found if each > through and (each <= self.through or each in self.beyond)))
        return Receipt(epoch, link, through, also)


@dataclass(frozen=True, slots=True)
class Run:
    """What may be applied now of the sequences that are stored, and where the link stops."""

    sequences: tuple[int, ...]
    applied_through: int
    """The cursor after `sequences` were applied, ranges declared lost passed."""
    gap: tuple[int, int] | None
    """First and last missing sequence in front of the next stored one."""


def next_run(applied_through: int, stored: Sequence[int], lost: Sequence[tuple[int, int]]) -> Run:
    """`stored`: sequences beyond the cursor in rising order; `lost`: declared ranges in rising order."""
    cursor = applied_through
    run: list[int] = []
    for sequence in stored:
        cursor = _pass_lost(cursor, lost)
        if sequence <= cursor:
            run.append(sequence)  # arrived although it was declared lost: applied in its turn
            continue
        if sequence != cursor + 1:
            return Run(tuple(run), cursor, (cursor + 1, sequence - 1))
        run.append(sequence)
        cursor = sequence
    return Run(tuple(run), _pass_lost(cursor, lost), None)


def _pass_lost(cursor: int, lost: Sequence[tuple[int, int]]) -> int:
    for first, last in lost:
        if first <= cursor + 1 <= last:
            cursor = last
    return cursor


def gap_request_due(since: datetime, requested_at: datetime | None, requests: int, now: datetime) -> bool:
    """Ask after a short grace, then ever more rarely: the box may be away for days."""
    if requested_at is None:
        return now - since >= GAP_GRACE
    wait = min(GAP_REPEAT_FIRST * 2 ** min(max(requests - 1, 0), 10), GAP_REPEAT_MAX)
    return bool(now - requested_at >= wait)


def fair_share(partitions: int, workers: Sequence[str], me: str) -> int:
    """How many of the partitions `me` should hold when `workers` (with `me`) live; they add up to all of them."""
    ranks = sorted({*workers, me})
    base, rest = divmod(partitions, len(ranks))
    return base + (1 if ranks.index(me) < rest else 0)


def newer_state(
    known_at: datetime | None, known_epoch: str | None, at: datetime, epoch: str, now: datetime, *, sure: bool = True
) -> bool:
    """Whether a box's description of itself replaces the stored one.

    Its clock may have been wrong: a stored time well ahead of ours, or another epoch, never blocks a newer description;
    and a box that does not trust its clock (`sure` false, it woke up in 1970) is always heard, else it would not get
    what it misses of its worklist.
    """
    if known_at is None or known_epoch != epoch or not sure:
        return True
    return at >= known_at or known_at > now + CLOCK_AHEAD


def received_surely_before(at: datetime) -> datetime:
    """Messages received before this moment (the box's clock) are counted in what the box said at `at`."""
    return at - COMMIT_GRACE


def received_at(of_box: datetime, clock_sure: bool, stored_at: datetime) -> datetime:
    """When the box received a message, as far as its clock can be believed: never after we stored it."""
    return min(of_box, stored_at) if clock_sure else stored_at


def worklist_to_send(reported: int, sent: int, newest: int, sent_at: datetime | None, now: datetime) -> bool:
    """Whether changes must be published (again) to a box that says it stores everything up to `reported`.

    What was published a moment ago may still be on its way: then its next description decides.
    """
    if reported >= newest:
        return False
    return sent <= reported or sent_at is None or now - sent_at >= WORKLIST_PATIENCE


def missing_tail(last_sequence: int, waiting: int, through: int) -> tuple[int, int] | None:
    """Sequences that the box believes delivered and that are not stored here; None when the counts agree."""
    if waiting == 0 and last_sequence > through:
        return through + 1, last_sequence
    return None
