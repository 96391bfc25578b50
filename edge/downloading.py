"""Orders pushed to one instrument, and work taken back from it, when the worklist changes.

What is sent is written down before (`edge.store.orders`), goes out in a quiet moment, one tube at a time, and is tried
again with growing pauses until the instrument took it, said no, or the order ran out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from edge.clock import Clock
from edge.counts import Counts
from edge.errors import StoreError
from edge.order_plan import Abilities, Plan, plan
from edge.store import orders as book
from edge.store.orders import SentOrder, SentState
from edge.store.reader import Reader
from edge.store.store import Store
from protocols.driver import Driver
from protocols.links.contract import SendCompleted, SendFailed
from protocols.model import InstrumentEvent, Item, Order

QUIET_S = 1.0
"""The instrument said nothing for so long: we may speak."""
BETWEEN_S = 0.2
"""... and so long after it took an order of ours: it may have something to say before the next."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
_PIECES = 4
"""Pieces of the worklist read in one turn of the loop."""
_SAID_NO = "the instrument answered"
"""How a link begins its reason when the instrument itself refused (`protocols.links.answered`)."""
_OFFERS = 3
"""Times that an order is offered to an instrument that answers no."""
_ACCEPTED, _REFUSED = "order accepted", "order refused"
"""Events of `protocols.law_driver`; their detail begins with the number of the test."""

Send = Callable[[Sequence[bytes], Callable[[list[int]], None]], None]
"""Payloads, and who is told their tokens before any of them can have been sent."""

log = structlog.get_logger()


@dataclass(slots=True)
class _UnderWay:
    plan: Plan
    tokens: set[int] = field(default_factory=set)
    noted: bool = False
    """The link has taken all of it."""
    failure: str = ""

    def note(self, tokens: list[int]) -> None:
        self.tokens.update(tokens)
        self.noted = True


class Downloads:
    """Of one link; called on the event loop."""

    def __init__(
        self,
        link: str,
        driver: Driver,
        can: Abilities,
        store: Store,
        reader: Reader,
        clock: Clock,
        counts: Counts,
        *,
        quiet: Callable[[], bool],
        send: Send,
        wall: Callable[[], datetime],
    ) -> None:
        """`quiet`: is the connection open, and did nothing come since it was asked last?"""
        self._link, self._driver, self._can = link, driver, can
        self._store, self._reader, self._clock, self._counts = store, reader, clock, counts
        self._quiet, self._send, self._wall, self._quiet_s = quiet, send, wall, QUIET_S
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._writing = False
        self._under_way: _UnderWay | None = None
        self._looked_through = 0
        self._failures = 0
        self._again = dict.fromkeys(reader.ask(book.unfinished, link), 0.0)
        """Tubes to be tried again, and when (loop time)."""

    # ------------------------------------------------------------------ what happens on the link

    def opened(self) -> None:
        self._open = True
        self._failures = 0
        self._look_in(self._quiet_s)

    def closed(self) -> None:
        """The link has failed what was under way, or was thrown away."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._under_way is not None:
            self._under_way.failure = self._under_way.failure or "the connection closed"
            self._under_way.tokens.clear()
            self._ended(self._under_way)

    def worklist_moved(self) -> None:
        self._look_in(self._quiet_s)

    def sent(self, event: SendCompleted | SendFailed) -> bool:
        """Was it of ours?"""
        current = self._under_way
        if current is None or event.token not in current.tokens:
            return False
        current.tokens.discard(event.token)
        if isinstance(event, SendFailed):
            current.failure = event.reason
        if not current.tokens:
            self._ended(current)
        return True

    def heard(self, items: Sequence[Item]) -> None:
        """What the instrument did with single tests of an order."""
        for each in items:
            if isinstance(each, InstrumentEvent) and each.name == _REFUSED and each.specimen and each.detail:
                self._note_refusal(each.specimen, each.detail)

    def told(self, orders: Mapping[str, Sequence[Order]], from_cloud: Collection[str]) -> None:
        """The instrument has the answer to a query: this is what it holds now."""
        if not (self._can.by_number or self._can.pushes):
            return
        at = self._clock.now()
        for specimen, known in orders.items():
            codes = {
                code: number
                for order in known
                for code, number in zip(order.codes, order.numbers or [""] * len(order.codes), strict=True)
            }
            if not codes:
                continue
            found = self._reader.ask(book.wanted_of, self._link, specimen, at)
            # What came from the worklist and is not on it any more was taken back while the answer was on its way.
            gone = specimen not in from_cloud and (found is None or found.order is None)
            sent = self._reader.ask(book.sent_of, self._link, specimen)
            held = sent.codes if sent is not None else {}
            revision, expires_at = (found.revision, found.expires_at) if found else (0, at.microseconds + book.LIFE)
            self._again.pop(specimen, None)
            now_held = SentOrder(specimen, revision, SentState.SENT, {**held, **codes}, (), 0, "", expires_at)
            self._write(now_held, taken_back=gone)
            if gone:
                self._look_in(self._quiet_s)

    # ------------------------------------------------------------------ looking

    def _look_in(self, seconds: float) -> None:
        if self._open and self._timer is None:
            self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._open or self._under_way is not None or self._writing:
            return  # what is under way looks again when it has ended
        if not self._quiet():
            self._failures = 0  # it lives
            self._look_in(self._quiet_s)
            return
        found = self._next()
        if found is not None:
            self._begin(found)

    def _next(self) -> Plan | None:
        """The next tube that the instrument must hear of; arranges the next look where there is none now."""
        at, now = self._clock.now(), self._wall()
        if self._reader.worklist_revision() < self._looked_through:
            self._looked_through = 0  # it begins anew after damage
        for specimen in [each for each, due in self._again.items() if due <= self._loop.time()]:
            found = self._reader.ask(book.wanted_of, self._link, specimen, at)
            made = plan(found, self._can, now) if found is not None else None
            if made is not None:
                return made
            del self._again[specimen]
        if self._can.by_number:
            for each in self._reader.ask(book.taken_back, self._link, at):
                if each.specimen in self._again:
                    continue
                made = plan(each, self._can, now)
                if made is not None:
                    return made
                if each.sent is not None:  # nothing of it has a number: nothing is to be said, now or later
                    self._write(replace(each.sent, codes={}, pending=()))
        for _ in range(_PIECES):
            piece = self._reader.ask(book.wanted, self._link, self._looked_through, at)
            for each in piece:
                if each.specimen not in self._again and (made := plan(each, self._can, now)) is not None:
                    return made
                self._looked_through = each.revision
            if not piece:
                if self._again:
                    self._look_in(max(self._quiet_s, min(self._again.values()) - self._loop.time()))
                return None
        self._look_in(0.05)
        return None

    # ------------------------------------------------------------------ sending

    def _begin(self, made: Plan) -> None:
        """Written down, then sent, if the line is still quiet."""
        self._writing = True

        def done(_value: object, error: StoreError | None) -> None:
            self._writing = False
            if error is not None:  # a full disk: nothing goes out that could not be remembered
                self._look_in(_FIRST_PAUSE_S)
            elif not self._open or not self._quiet():
                self._again[made.under_way.specimen] = 0.0
                self._look_in(self._quiet_s)
            else:
                self._go(made)

        at = self._clock.now()
        self._store.submit(lambda ledger: book.put_sent(ledger.connection, self._link, made.under_way, at), done)

    def _go(self, made: Plan) -> None:
        now = self._wall()
        payloads = [payload for order in made.orders for payload in self._driver.download([order], now)]
        current = self._under_way = _UnderWay(made)
        if not payloads:
            self._ended(current)  # the driver has no words for it after all
            return
        self._send(payloads, current.note)
        if not current.noted and self._under_way is current:
            current.failure = "the link did not take it"
            self._ended(current)

    def _ended(self, current: _UnderWay) -> None:
        """Every message of the tube has its fate."""
        self._under_way = None
        sent = current.plan.under_way
        specimen, reason = sent.specimen, current.failure
        if not reason:
            self._failures = 0
            self._counts.sent_orders += 1
            self._again.pop(specimen, None)
            self._write(current.plan.done)
            log.info("order.sent", link=self._link, specimen=specimen, tests=len(sent.pending))
            self._quiet()  # what it said was about this order
            self._look_in(min(self._quiet_s, BETWEEN_S))
            return
        self._failures += 1
        self._counts.failed_orders += 1
        if reason.startswith(_SAID_NO) and sent.tries >= _OFFERS:
            self._again.pop(specimen, None)
            self._refused(replace(sent, state=SentState.REFUSED, pending=(), reason=reason))
        else:
            self._write(replace(sent, state=SentState.FAILED, reason=reason))
            self._again[specimen] = self._loop.time() + _pause_s(sent.tries)
            log.warning("order.failed", link=self._link, specimen=specimen, tries=sent.tries, reason=reason)
        self._look_in(max(self._quiet_s, _pause_s(self._failures) if not reason.startswith(_SAID_NO) else 0.0))

    def _note_refusal(self, specimen: str, detail: str) -> None:
        sent = self._reader.ask(book.sent_of, self._link, specimen)
        if sent is None:
            return
        for code, number in sent.codes.items():
            # Refused when it was offered again: it was taken the first time, and the answer was lost.
            if number and detail.split(" ", 1)[0] == number and sent.tries <= 1:
                self._refused(
                    replace(
                        sent,
                        state=SentState.REFUSED,
                        codes={**sent.codes, code: ""},
                        pending=tuple(each for each in sent.pending if each != code),
                        reason=f"refused: {code}",
                    )
                )
                return

    def _refused(self, sent: SentOrder) -> None:
        self._counts.refused_orders += 1
        log.error("order.refused", link=self._link, specimen=sent.specimen, reason=sent.reason)
        self._write(sent)

    def _write(self, sent: SentOrder, taken_back: bool | None = None) -> None:
        at = self._clock.now()

        def done(_value: object, error: StoreError | None) -> None:
            if error is not None:  # it stays as it was written before it went out: tried again under the same numbers
                log.warning("order.not_written", link=self._link, specimen=sent.specimen, reason=str(error))

        self._store.submit(lambda ledger: book.put_sent(ledger.connection, self._link, sent, at, taken_back), done)


def _pause_s(failures: int) -> float:
    """With jitter: a hundred analyzers behind one switch come back at once."""
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * float(2 ** min(max(failures - 1, 0), 10)))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards no secret
