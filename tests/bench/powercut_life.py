"""One life of the store up to a power cut, and what must be true of it afterwards.

A life asks the real `Store` for everything a box asks it for: frames, messages of several frames, incomplete ones,
receipts, worklists, pruning; several pieces at once, so that they share a commit. What was answered before the cut must
be there afterwards; what was only asked for may be there, whole or not at all.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from edge.clock import FLOOR, Moment
from edge.store.ledger import Ledger
from edge.store.rows import NO_CONTENT, Draft, unread
from edge.store.store import Store
from protocols.model import Order
from protocols.uplink.envelope import MessageState, WorklistEntry
from tests.bench.powercut_disk import Said

LINKS = ("a", "b", "c")
AT = Moment(FLOOR + timedelta(days=1), True)
_EXPIRES = FLOOR + timedelta(days=30)


@dataclass(slots=True)
class LinkTruth:
    last_sequence: int = 0
    messages: dict[int, bytes] = field(default_factory=dict)
    """By sequence, the joined bytes of its frames."""
    open: dict[int, bytes] = field(default_factory=dict)
    """By journal id."""
    delivered_through: int = 0


@dataclass(slots=True)
class Truth:
    epoch: str
    links: dict[str, LinkTruth]
    revision: int = 0
    orders: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing the box asks the store for. `holds`: how the truth changes once it is answered."""

    work: Callable[[Ledger], Any]
    holds: Callable[[Truth, Any], None]
    link: str | None = None
    raw: bytes = b""
    prunes: bool = False
    revision: int = 0
    through: int = 0


class Life:
    """`say` notes in the recording what was asked and answered, in its order against the writes of the disk."""

    def __init__(self, store: Store, truth: Truth, pick: random.Random, say: Callable[[Said], None]) -> None:
        self._store = store
        self._truth = truth
        self._pick = pick
        self._say = say
        self._number = pick.randrange(10**9)

    def live(self, bursts: int) -> None:
        for _ in range(bursts):
            self._burst([self._piece() for _ in range(self._pick.choice((1, 1, 2, 4, 8)))])

    def _burst(self, pieces: list[Piece]) -> None:
        """Asked for together; over when the last has its answer."""
        left = threading.Semaphore(0)

        def ask(piece: Piece) -> None:
            def done(value: Any, error: Exception | None) -> None:
                assert error is None, error
                self._say(Said((piece, value)))
                piece.holds(self._truth, value)
                left.release()

            self._say(Said(piece))
            self._store.submit(piece.work, done)

        for each in pieces:
            ask(each)
        for _ in pieces:
            left.acquire()

    def _piece(self) -> Piece:
        """Pieces of one burst do not build on each other's answers, except in the store's own order."""
        kind = self._pick.choices(
            ("frame", "message", "end", "deliver", "worklist", "prune", "old orders"), (4, 4, 5, 2, 1, 1, 0.3)
        )[0]
        link = self._pick.choice(LINKS)
        if kind == "frame":
            return self._frames(link)
        if kind == "deliver":
            return self._deliver(link)
        if kind == "worklist":
            return self._worklist()
        if kind == "prune":
            limit = self._pick.choice((1, 5, 50))
            return Piece(lambda ledger: ledger.prune_delivered(2**62, limit), _pruned, prunes=True)
        if kind == "old orders":
            return Piece(lambda ledger: ledger.prune_worklist(0), lambda truth, _: None)
        return self._message(link, with_open=kind == "end")

    def _raw(self) -> bytes:
        self._number += 1
        return b"frame %d " % self._number + self._pick.randbytes(self._pick.choice((5, 100, 120, 1500))).hex().encode()

    def _frames(self, link: str) -> Piece:
        raw = self._raw()

        def holds(truth: Truth, kept: Any) -> None:
            truth.links[link].open[kept.frames[0]] = raw

        return Piece(lambda ledger: ledger.keep(link, [raw], AT), holds, link, raw)

    def _message(self, link: str, *, with_open: bool) -> Piece:
        raws = [self._raw() for _ in range(self._pick.choice((0, 1, 1, 3) if with_open else (1, 2)))]
        state = self._pick.random()
        draft = (
            unread(AT, "generic_astm", b"".join(raws))
            if state < 0.2
            else Draft(AT, "none", "", MessageState.DECODED if state < 0.9 else MessageState.INCOMPLETE, NO_CONTENT)
        )

        def work(ledger: Ledger) -> Any:
            mine = self._truth.links[link].open if with_open else {}
            earlier = [each for each in mine if ledger.is_open(each)]
            if not earlier and not raws:
                return None
            return ledger.keep(link, raws, AT, earlier, draft), tuple(earlier)

        def holds(truth: Truth, answer: Any) -> None:
            if answer is None:
                return
            kept, earlier = answer
            known = truth.links[link]
            known.messages[kept.sequence] = b"".join(known.open.pop(each) for each in earlier) + b"".join(raws)
            known.last_sequence = kept.sequence

        return Piece(work, holds, link, b"".join(raws))

    def _deliver(self, link: str) -> Piece:
        last = self._truth.links[link].last_sequence
        through = self._pick.randint(0, last)
        also = [through + 2] if through + 2 <= last else []

        def holds(truth: Truth, _: Any) -> None:
            known = truth.links[link]
            known.delivered_through = max(known.delivered_through, through)

        return Piece(lambda ledger: ledger.deliver(link, through, also), holds, link, through=through)

    def _worklist(self) -> Piece:
        specimen, code = f"s{self._pick.randrange(6)}", f"T{self._pick.randrange(99)}"
        revisions: list[int] = []

        def work(ledger: Ledger) -> int:
            revisions[:] = [ledger.worklist_revision + 1]
            return ledger.put_worklist(
                [WorklistEntry(revisions[0], specimen, {"a": Order(specimen, (code,))}, _EXPIRES)], None
            )

        def holds(truth: Truth, revision: int) -> None:
            truth.revision, truth.orders[specimen] = revision, code

        return Piece(work, holds, revision=1)


def _pruned(truth: Truth, _dropped: int) -> None:
    """Which ones went is the store's affair; only delivered ones may."""


# ---------------------------------------------------------------------- after the cut


class Lost(AssertionError):
    """Something that was answered as kept is not there."""


@dataclass(slots=True)
class Found:
    """What a start finds."""

    truth: Truth
    whole: bool


def look(path: Path) -> Found:
    """Open the store as a box does at its start, read everything, write one message, close it."""
    with Store(path) as store, closing(store.reader()) as reader:
        links = {
            each.link: LinkTruth(each.last_sequence, {}, {}, each.delivered_through) for each in reader.positions()
        }
        for link, frames in reader.open_frames().items():
            links[link].open = {each.id: each.raw for each in frames}
        for link, known in links.items():
            for message in reader.between(link, 1, 2**62, 10**6, 10**9):
                known.messages[message.sequence] = message.raw
        specimens = [f"s{number}" for number in range(6)]
        orders = {each: found[0].codes[0] for each, found in reader.orders("a", specimens, AT).items() if found}
        truth = Truth(store.epoch, links, reader.worklist_revision(), orders)
        for link, known in links.items():
            kept = store.write(
                lambda ledger, link=link: ledger.keep(link, [b"after"], AT, (), unread(AT, "generic_astm", b"after"))  # type: ignore[misc]
            )
            if kept.sequence != known.last_sequence + 1:
                raise Lost(f"link {link} goes on at {kept.sequence} behind {known.last_sequence}")
            known.last_sequence, known.messages[kept.sequence] = kept.sequence, b"after"
    with closing(sqlite3.connect(path)) as plain:
        whole = plain.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return Found(truth, whole)


def compare(before: Truth, in_doubt: list[Piece], found: Found) -> None:
    """Raises `Lost` where something answered is missing or something is there that nobody asked for."""
    after = found.truth
    if not found.whole:
        raise Lost("the file is damaged")
    if after.epoch != before.epoch:
        raise Lost("the epoch changed")
    pruning = any(each.prunes for each in in_doubt)
    for link, known in before.links.items():
        now = after.links.get(link, LinkTruth())
        doubtful = [each for each in in_doubt if each.link == link]
        _compare_link(link, known, now, doubtful, pruning)
    _compare_worklist(before, after, sum(each.revision for each in in_doubt))


def _compare_link(link: str, known: LinkTruth, now: LinkTruth, doubtful: list[Piece], pruning: bool) -> None:
    if now.delivered_through < known.delivered_through:
        raise Lost(f"{link}: a receipt through {known.delivered_through} is forgotten")
    if now.delivered_through > max([known.delivered_through, *(each.through for each in doubtful)]):
        raise Lost(f"{link}: delivered through {now.delivered_through}, which no receipt said")
    if now.last_sequence < known.last_sequence:
        raise Lost(f"{link}: sequence {known.last_sequence} would be given twice")
    if sorted(each for each in now.messages if each > now.delivered_through) != list(
        range(now.delivered_through + 1, now.last_sequence + 1)
    ):
        raise Lost(f"{link}: a hole in the sequences")
    for sequence, raw in known.messages.items():
        if sequence not in now.messages:
            if sequence > now.delivered_through:
                raise Lost(f"{link}: message {sequence} is gone")
        elif now.messages[sequence] != raw:
            raise Lost(f"{link}: message {sequence} has other bytes")
    new = {sequence: raw for sequence, raw in now.messages.items() if sequence > known.last_sequence}
    everything = b"|".join(new.values())
    for id_, raw in known.open.items():
        if now.open.get(id_) != raw and raw not in everything:
            raise Lost(f"{link}: frame {id_} is gone")
    asked = b"|".join([*known.open.values(), *(each.raw for each in doubtful)])
    for sequence, raw in new.items():
        if raw != b"after" and not _made_of(raw, asked):
            raise Lost(f"{link}: message {sequence} was never asked for")
    for id_, raw in now.open.items():
        if raw not in asked:
            raise Lost(f"{link}: frame {id_} was never asked for")


def _made_of(raw: bytes, asked: bytes) -> bool:
    pieces = [b"frame " + each for each in raw.split(b"frame ")[1:]]
    return all(each in asked for each in pieces)


def _compare_worklist(before: Truth, after: Truth, in_doubt: int) -> None:
    if not before.revision <= after.revision <= before.revision + in_doubt:
        raise Lost(f"worklist revision {before.revision} became {after.revision}")
    if after.revision == before.revision and after.orders != before.orders:
        raise Lost("orders differ under the same revision")
