"""What the box says of itself to the cloud: how often, and with what beside the links and the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from edge.clock import Clock
from edge.clock_eras import ClockEras
from edge.config import CloudSection, GatewaySection
from edge.packing import SizeLimit
from edge.tls import own_validity
from protocols.uplink.states import GatewayState
from protocols.uplink.topics import state_topic

if TYPE_CHECKING:
    from edge.broker import BrokerConnection
    from edge.store.store import Store

_EVERY_S = 30.0
_AT_MOST_EVERY_S = 0.5

log = structlog.get_logger()


class Stating:
    """Times are the loop's, seconds. `state` makes what the box says; `due` is when it wants to be said."""

    def __init__(
        self,
        gateway: GatewaySection,
        state: Callable[[], GatewayState],
        clock: Clock,
        store: Store,
        limit: SizeLimit,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when something should be said soon."""
        self._gateway = gateway
        self._state = state
        self._clock = clock
        self._store = store
        self._limit = limit
        self._changed = changed
        self._said_at = 0.0
        self._certificate_until: datetime | None = None
        self.due = 0.0
        self.eras = ClockEras(store, clock, self.soon)

    def at_once(self) -> None:
        self.due = 0.0
        self._changed()

    def soon(self) -> None:
        """But not with every publish of a long worklist."""
        self.due = min(self.due, self._said_at + _AT_MOST_EVERY_S)
        self._changed()

    def told_the_time(self, at: datetime) -> None:
        doubt = self._clock.doubt
        self._clock.told(at)
        if doubt != self._clock.doubt:
            self.soon()

    def say(self, connection: BrokerConnection, now: float) -> None:
        self.due, self._said_at = now + _EVERY_S, now
        state = replace(
            self._state(),
            certificate_days=self.certificate_days(),
            clock_doubt=self._clock.doubt,
            corrections=tuple(self.eras.corrections(self._store.epoch)),
        )
        payload = state.to_bytes()
        if len(payload) > self._limit.payload_bytes:  # it would cost the connection, again and again
            log.error("state.too_large", bytes=len(payload), limit=self._limit.payload_bytes)
            return
        # Half an hour's worth of old states in the broker's queue help nobody when the cloud is back.
        connection.publish(state_topic(self._gateway.partition, self._gateway.id), payload, int(2 * _EVERY_S))

    # ------------------------------------------------------------------ the box's certificate

    def read_certificate(self, settings: CloudSection) -> None:
        """From its file, in any thread."""
        validity = own_validity(settings)
        self._certificate_until = validity.not_after if validity else None

    def certificate_days(self) -> int | None:
        """Whole days until it runs out; None: there is none, or nobody has read it yet."""
        if self._certificate_until is None:
            return None
        return (self._certificate_until - self._clock.now().at).days

    def with_certificate(self, reason: str) -> str:
        """Why there is no connection, with the certificate where that has run out."""
        days = self.certificate_days()
        if days is None or days >= 0 or not self._clock.now().sure:
            return reason
        return f"{reason}; the box's certificate ran out on {self._certificate_until:%Y-%m-%d}"
