"""What a message says, in the words of its driver: the one the link names, or the one that recognises the message.

Nothing here refuses an instrument: what cannot be read becomes an undecoded message with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import structlog

from edge.config import AUTO
from edge.faults import where
from edge.recognising_link import RecognisingLink, driver_of_family, family_of
from protocols.driver import Driver, discover, identify
from protocols.links.contract import Link
from protocols.model import Decoded, HostQuery, Order, Undecoded
from protocols.uplink.envelope import MessageState
from protocols.uplink.versions import software_version as software_version
from protocols.uplink.versions import version_of as version_of

UNKNOWN_DRIVER = "unknown"
_UNREAD = Decoded(())

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reading:
    """One message and what was made of it."""

    payload: bytes
    driver: Driver | None
    """Who answers it; None where no driver speaks its protocol."""
    driver_id: str
    driver_version: str
    state: MessageState
    decoded: Decoded | None
    """None: kept unread, for no answer needs what it holds; `interpret` reads it when it is sent to the cloud."""
    reason: str | None = None
    is_owed: bool = True
    """Does the instrument wait for an answer of ours?"""

    @property
    def queries(self) -> list[HostQuery]:
        items = self.decoded.items if self.decoded is not None else ()
        return [each for each in items if isinstance(each, HostQuery)]


class Interpreter:
    """`driver_id` is a driver's or "auto"; `options` are the link's, for its driver alone."""

    def __init__(self, driver_id: str, options: Mapping[str, object] | None = None) -> None:
        self.driver_id = driver_id
        self.driver = None if driver_id == AUTO else discover()[driver_id].configured(options or {})
        """None: each message is recognised by itself."""
        self._has_options = bool(options)
        if driver_id == AUTO:
            tuple(discover().values())  # read now, not while the first message waits
        self._heard_before: Driver | None = None

    def new_link(self) -> Link:
        return RecognisingLink() if self.driver is None else self.driver.new_link()

    def hear(self, payload: bytes) -> Reading:
        """Read only what an answer needs; the rest is read on its way to the cloud."""
        driver = self.driver
        if driver is None or self._has_options:  # nobody knows the link's options later
            return self.read(payload)
        try:
            owed = driver.must_answer(payload)
            if owed and driver.must_read(payload):
                return self.read(payload)
        except Exception as fault:  # outer loop around drivers, as in `read`
            log.error("driver.failed", driver=driver.id, fault=where(fault))
            return self.read(payload)
        return Reading(payload, driver, driver.id, "", MessageState.UNDECODED, None, is_owed=owed)

    def read(self, payload: bytes) -> Reading:
        """Never raises for what an instrument sent, nor for a driver's own fault."""
        driver, reason = self.driver, ""
        if driver is None:
            driver, match = identify(payload, self._heard_before)
            self._heard_before = driver
            reason = match.reason
        if driver is None:
            return self._unknown(payload, reason)
        try:
            decoded = driver.decode(payload)
        except Exception as fault:  # outer loop around drivers: the bytes are kept and a person sees them
            log.error("driver.failed", driver=driver.id, fault=where(fault))
            return self._undecoded(payload, driver, f"the driver failed: {type(fault).__name__}")
        if decoded.items and all(isinstance(each, Undecoded) for each in decoded.items):
            first = decoded.items[0]
            reason = first.reason if isinstance(first, Undecoded) else ""
            return _reading(payload, driver, MessageState.UNDECODED, decoded, reason)
        return _reading(payload, driver, MessageState.DECODED, decoded)

    def _unknown(self, payload: bytes, reason: str) -> Reading:
        """No driver knows the message: a driver of the same protocol still says that it arrived."""
        family = family_of(payload)
        answering = driver_of_family(family) if family else None
        decoded = Decoded((Undecoded(reason),))
        return Reading(payload, answering, UNKNOWN_DRIVER, "", MessageState.UNDECODED, decoded, reason)

    def _undecoded(self, payload: bytes, driver: Driver, reason: str) -> Reading:
        return _reading(payload, driver, MessageState.UNDECODED, Decoded((Undecoded(reason),)), reason)


@cache
def interpreter_of(driver_id: str) -> Interpreter:
    """A driver that this release does not have any more leaves its messages to be recognised."""
    return Interpreter(driver_id if driver_id in discover() else AUTO)


def interpret(driver_id: str, payload: bytes) -> Reading:
    """What a message says that was kept unread; in any thread."""
    return interpreter_of(driver_id).read(payload)


def answers(reading: Reading, orders: Mapping[str, Sequence[Order]], now: datetime) -> Sequence[bytes]:
    """What we owe for a message that is durable."""
    if reading.driver is None or not reading.is_owed:
        return ()
    return reading.driver.respond(reading.payload, reading.decoded or _UNREAD, orders, now)


def refusals(reading: Reading, reason: str, now: datetime) -> Sequence[bytes]:
    """What we say when the message could not be kept."""
    return reading.driver.refuse(reading.payload, reason, now) if reading.driver else ()


def _reading(
    payload: bytes, driver: Driver, state: MessageState, decoded: Decoded, reason: str | None = None
) -> Reading:
    return Reading(payload, driver, driver.id, version_of(driver), state, decoded, reason)
