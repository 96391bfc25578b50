"""A stored message read by the driver of today: from the bytes on the wire to items, as the box would send them.

The bytes of the frames are put through a fresh link of the driver, as they came from the line; where that does not give
one message (a capture without control characters) they are taken apart as a captured file is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from cloud.kit.errors import Invalid
from cloud.kit.storable import storable_json
from cloud.web.i18n import mark as N_
from protocols.capture import Message, pieces, reader_of
from protocols.driver import Driver, discover
from protocols.errors import DriverOptionError
from protocols.links.contract import FrameReceived, Link, LinkEvent, MessageReceived
from protocols.model import Undecoded
from protocols.uplink.items import item_to_json
from protocols.uplink.versions import software_version, version_of

AUTO = "auto"
DECODED, UNDECODED = "decoded", "undecoded"
_ENQ, _STX, _EOT = b"\x05", b"\x02", b"\x04"
_SILENCE = b"silence"
_LATER_S = 3600.0
"""By then every link has taken silence for the end."""
_MOST_WAITS = 20
_POLLED = "modbus"
"""A link that asks by itself: with nobody there it would hear that there is no answer."""
_MOST_EVENTS = 100_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a driver makes of a message."""

    items: list[dict[str, Any]]
    driver: str
    driver_version: str
    state: str
    reason: str | None = None
    sender: str | None = None
    message_id: str | None = None
    charset: str | None = None
    failed: bool = False
    """The driver raised: nothing of this is to be applied."""

    def head(self) -> dict[str, Any]:
        """Everything but the items."""
        plain = asdict(self)
        del plain["items"], plain["failed"]
        return plain


def driver_of(driver_id: str, options: Mapping[str, object]) -> Driver | None:
    """The driver as the link has it; None for "auto". Raises Invalid for an unknown one or for wrong options."""
    if driver_id == AUTO:
        return None
    if driver_id not in discover():
        raise Invalid("redecode.driver", N_("没有名为 {driver} 的驱动。"), driver=driver_id)
    try:
        return discover()[driver_id].configured(options)
    except DriverOptionError as error:
        raise Invalid("redecode.options", N_("驱动不接受这条线路的选项：{reason}"), reason=str(error)) from error


def version(driver: Driver | None) -> str:
    return software_version() if driver is None else version_of(driver)


def read(raw: bytes, driver: Driver | None) -> Reading:
    """Never raises for what an instrument sent, nor for a driver's own fault."""
    try:
        payload, reader, reason = _payload(raw, driver)
        if reader is None:
            return _undecoded(driver, reason)
        decoded = reader.decode(payload)
    except Exception as fault:  # outer loop around drivers: the message stays as it is
        log.error("redecode_failed", driver=getattr(driver, "id", AUTO), fault=type(fault).__name__)
        return _undecoded(driver, f"the driver failed: {type(fault).__name__}", failed=True)
    lost = bool(decoded.items) and all(isinstance(each, Undecoded) for each in decoded.items)
    first = decoded.items[0] if lost else None
    plain: list[dict[str, Any]] = storable_json([item_to_json(each) for each in decoded.items])
    return Reading(
        items=plain,
        driver=reader.id,
        driver_version=version_of(reader),
        state=UNDECODED if lost else DECODED,
        reason=first.reason if isinstance(first, Undecoded) else None,
        sender=decoded.sender,
        message_id=decoded.message_id,
        charset=decoded.charset,
    )


def _undecoded(driver: Driver | None, reason: str, *, failed: bool = False) -> Reading:
    name, release = (driver.id, version_of(driver)) if driver is not None else ("unknown", "")
    item = storable_json(item_to_json(Undecoded(reason)))
    return Reading([item], name, release, UNDECODED, reason, failed=failed)


def _payload(raw: bytes, driver: Driver | None) -> tuple[bytes, Driver | None, str]:
    """(text of the one message, who reads it, why nobody does)."""
    if driver is not None and driver.protocol != _POLLED:
        whole = _through_the_link(raw, driver)
        if len(whole) == 1:
            return whole[0], driver, ""
    found = [each for each in pieces(raw, driver) if isinstance(each, Message)]
    if len(found) != 1:
        return b"", None, f"the stored bytes are {len(found)} messages, not one"
    if driver is not None:
        return found[0].payload, driver, ""
    reader, match = reader_of(found[0])
    return found[0].payload, reader, match.reason


def _through_the_link(raw: bytes, driver: Driver) -> list[bytes]:
    """The texts of the messages that a fresh link finds in the frames, each frame acknowledged.

    A link that waits for the end of the session, or for silence, gets both: neither is among the stored bytes.
    """
    for ending in (b"", _SILENCE, _EOT):
        link = driver.new_link()
        if raw[:1] == _STX:
            link.receive(_ENQ, 0.0)
        messages = _messages(link, link.receive(raw, 0.0), 0.0)
        if ending == _EOT:
            messages += _messages(link, link.receive(_EOT, 0.0), 0.0)
        if ending:
            messages += _when_nothing_more_comes(link)
        if messages:
            return messages
    return []


def _when_nothing_more_comes(link: Link) -> list[bytes]:
    """The link's own waiting runs out, one time after the other."""
    messages: list[bytes] = []
    for _ in range(_MOST_WAITS):
        due = link.wake_at
        if due is None or due > _LATER_S:
            break
        messages += _messages(link, link.wake(due), due)
    return messages


def _messages(link: Link, events: Iterable[LinkEvent], now: float) -> list[bytes]:
    waiting = list(events)
    messages: list[bytes] = []
    for _ in range(_MOST_EVENTS):
        if not waiting:
            break
        event = waiting.pop(0)
        if isinstance(event, FrameReceived):
            waiting += link.acknowledge(event.frame_id, now)
        elif isinstance(event, MessageReceived):
            messages.append(event.payload)
    return messages
