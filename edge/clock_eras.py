"""Times that were taken by a clock that was not believed, and how wrong they turned out to be.

An era is a time with one offset between the monotonic clock and ours. Where each one began, in sequences, is kept in
the store; when the clock is believed again in the same boot, the difference of the offsets is what every earlier time
was wrong by. Messages that are sent after that carry the corrected time; of those that went before, the cloud is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

import structlog

from edge.clock import Clock, boot_id
from edge.errors import StoreError
from edge.store.ledger import Ledger
from edge.store.store import Store
from protocols.uplink.envelope import Message
from protocols.uplink.states import ClockCorrection

_KEY = "clock_eras"
_MOST = 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Era:
    boot: str
    base_us: int
    sure: bool
    epoch: str
    after: Mapping[str, int]
    """Last sequence of each link when it began."""
    shift_us: int | None = None
    """What is to be added to its times; None while nobody knows."""


class ClockEras:
    """Made before the ports open. Notes an era whenever the clock says so; the store keeps it before what follows."""

    def __init__(self, store: Store, clock: Clock, on_corrected: Callable[[], None] = lambda: None) -> None:
        """`on_corrected`: more times are known to be wrong, and by how much."""
        self._store = store
        self._clock = clock
        self._boot = boot_id()
        self._eras: list[Era] = []
        self._on_corrected = on_corrected
        clock.on_change = self.begin
        self.begin()

    def begin(self) -> None:
        """From here on times are taken with the clock's present offset."""
        base_us, sure, boot = self._clock.base_us, not self._clock.doubt, self._boot

        def work(ledger: Ledger) -> list[Era]:
            eras = _load(ledger)
            if sure:
                eras = [_shifted(each, boot, base_us) for each in eras]
            if sure and (not eras or eras[-1].sure):
                return eras  # nothing was in doubt before: nothing will have to be corrected
            rows = ledger.connection.execute(
                "SELECT name, (SELECT max(sequence) FROM outbox WHERE outbox.link = link.id) FROM link"
            )
            after = {name: last for name, last in rows if last is not None}
            epoch = ledger.connection.execute("SELECT value FROM box WHERE key = 'epoch'").fetchone()[0]
            eras = [*eras, Era(boot, base_us, sure, epoch, after)][-_MOST:]
            text = json.dumps([asdict(each) for each in eras])
            ledger.connection.execute("INSERT OR REPLACE INTO box (key, value) VALUES (?, ?)", (_KEY, text))
            return eras

        def done(eras: list[Era] | None, error: StoreError | None) -> None:
            if eras is None:
                log.warning("clock.era_not_noted", reason=str(error))
            elif eras != self._eras:
                self._eras = eras
                self._on_corrected()

        self._store.submit(work, done)

    def corrected(self, epoch: str, link: str, message: Message) -> Message:
        """With the right time where it is known by now."""
        if message.clock_sure:
            return message
        for correction in self.corrections(epoch):
            if correction.link == link and correction.first <= message.sequence <= correction.last:
                at = message.received_at + timedelta(microseconds=correction.shift_us)
                return replace(message, received_at=at, clock_sure=True)
        return message

    def corrections(self, epoch: str) -> list[ClockCorrection]:
        """Of all eras whose times are known to be wrong, and by how much."""
        found = []
        for era, following in zip(self._eras, self._eras[1:], strict=False):
            if era.shift_us is None or {era.epoch, following.epoch} != {epoch}:
                continue
            for link, last in following.after.items():
                first = era.after.get(link, 0) + 1
                if first <= last:
                    found.append(ClockCorrection(link, first, last, era.shift_us))
        return found


def _shifted(era: Era, boot: str, base_us: int) -> Era:
    if era.sure or era.shift_us is not None or era.boot != boot:
        return era
    return replace(era, shift_us=base_us - era.base_us)


def _load(ledger: Ledger) -> list[Era]:
    row = ledger.connection.execute("SELECT value FROM box WHERE key = ?", [_KEY]).fetchone()
    try:
        return [] if row is None else [Era(**each) for each in json.loads(row[0])]
    except (TypeError, ValueError):
        log.warning("clock.eras_unreadable")
        return []
