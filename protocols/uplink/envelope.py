"""Instrument messages on their way from a box to the cloud: envelopes. Version 1.

Identity of a message is `(gateway, epoch, link, sequence)`: `epoch` is drawn when the box's database is made,
`sequence` is gap-free per link from 1. A box forgets a message only when a `Receipt` covers it; a PUBACK proves
nothing. Raw bytes always travel, so that a corrected driver can decode them again.

Beside it: `topics` names and topics, `down` what the cloud says, `states` what a box says of itself, `parts` envelopes
too large for the broker, `counts` what both sides hold. This module gives most of their names too.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from protocols.model import Item
from protocols.uplink.down import GapRequest, Receipt, Worklist, WorklistEntry
from protocols.uplink.items import encode_item, item_from_json
from protocols.uplink.payload import dump, load
from protocols.uplink.states import GatewayState, LinkState
from protocols.uplink.topics import (
    ROOT,
    VERSION,
    Topic,
    UplinkError,
    check_name,
    down_topic,
    parse_topic,
    partition_filters,
    state_topic,
    up_topic,
)

__all__ = [
    "ROOT",
    "VERSION",
    "Envelope",
    "GapRequest",
    "GatewayState",
    "LinkState",
    "Message",
    "MessageState",
    "Receipt",
    "RefusedMessage",
    "Topic",
    "UplinkError",
    "Worklist",
    "WorklistEntry",
    "check_name",
    "down_topic",
    "encode_envelope",
    "encode_message",
    "parse_topic",
    "partition_filters",
    "state_topic",
    "up_topic",
]


class MessageState(StrEnum):
    """What the box made of the bytes."""

    DECODED = "decoded"
    UNDECODED = "undecoded"
    INCOMPLETE = "incomplete"
    """Acknowledged frames whose message never ended: kept and shown, never applied."""


@dataclass(frozen=True, slots=True)
class Message:
    """One instrument message as the box stored it."""

    sequence: int
    received_at: datetime
    """The box's clock when the last frame was durable, aware."""
    clock_sure: bool
    """False while the box does not trust its wall clock; order never depends on it."""
    driver: str
    driver_version: str
    state: MessageState
    raw: bytes
    """The bytes on the wire, frames joined in their order."""
    items: tuple[Item, ...]
    sender: str | None = None
    message_id: str | None = None
    charset: str | None = None
    reason: str | None = None
    """Why it is undecoded or incomplete."""

    @property
    def digest(self) -> str:
        """SHA-256 of the raw bytes, hex."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A message of a readable envelope that breaks the contract by itself: kept under its identity, never applied."""

    sequence: int
    reason: str
    raw: bytes
    """Its instrument bytes where they can be read, else its JSON."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One publish of one link: messages in rising sequence (a batch of at least one)."""

    gateway: str
    epoch: str
    link: str
    messages: tuple[Message, ...]

    def to_bytes(self) -> bytes:
        return encode_envelope(self.gateway, self.epoch, self.link, map(encode_message, self.messages))

    @classmethod
    def from_bytes(cls, payload: bytes) -> Envelope:
        data = load(payload)
        try:
            messages = tuple(_message_from_json(each) for each in data["messages"])
            envelope = cls(check_name(data["gateway"]), check_name(data["epoch"]), check_name(data["link"]), messages)
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not an envelope: {error}") from error
        if not messages:
            raise UplinkError("an envelope holds at least one message")
        return envelope

    @classmethod
    def salvage(cls, payload: bytes) -> tuple[Envelope, tuple[RefusedMessage, ...]]:
        """Every message that can be read, and those that cannot but have a sequence, so that one never blocks its link.

        Raises UplinkError where the envelope itself (version, names, a message without a sequence) cannot be read. The
        envelope may hold no message at all when each was refused.
        """
        data = load(payload)
        good: list[Message] = []
        refused: list[RefusedMessage] = []
        try:
            names = check_name(data["gateway"]), check_name(data["epoch"]), check_name(data["link"])
            for each in data["messages"]:
                sequence = int(each["sequence"])
                try:
                    good.append(_message_from_json(each))
                except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    if sequence < 1:
                        raise UplinkError("sequence starts at 1") from error
                    refused.append(RefusedMessage(sequence, f"not a message: {error}", _bytes_of(each)))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UplinkError(f"not an envelope: {error}") from error
        if not good and not refused:
            raise UplinkError("an envelope holds at least one message")
        return cls(*names, tuple(good)), tuple(refused)


def _bytes_of(data: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(data["raw"], validate=True)
    except (KeyError, TypeError, ValueError):
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def encode_envelope(gateway: str, epoch: str, link: str, messages: Iterable[bytes]) -> bytes:
    """An envelope of messages that are encoded already (`encode_message`)."""
    head = dump({"v": VERSION, "gateway": gateway, "epoch": epoch, "link": link})
    return head[:-1] + b',"messages":[' + b",".join(messages) + b"]}"


def encode_message(message: Message) -> bytes:
    """One message as it stands in an envelope. Raises UnicodeEncodeError for half a character (a lone surrogate)."""
    data: dict[str, Any] = {
        "sequence": message.sequence,
        "received_at": message.received_at.isoformat(),
        "clock_sure": message.clock_sure,
        "driver": message.driver,
        "driver_version": message.driver_version,
        "state": message.state,
        "raw": message.raw,
        "sha256": message.digest,
        "items": [msgspec.Raw(encode_item(each)) for each in message.items],
    }
    for key in ("sender", "message_id", "charset", "reason"):
        value = getattr(message, key)
        if value is not None:
            data[key] = value
    return msgspec.json.encode(data)


def _message_from_json(data: dict[str, Any]) -> Message:
    received_at = datetime.fromisoformat(data["received_at"])
    if received_at.tzinfo is None:
        raise UplinkError("received_at has no zone")
    message = Message(
        sequence=int(data["sequence"]),
        received_at=received_at,
        clock_sure=bool(data.get("clock_sure", True)),
        driver=str(data["driver"]),
        driver_version=str(data.get("driver_version", "")),
        state=MessageState(data["state"]),
        raw=base64.b64decode(data["raw"], validate=True),
        items=tuple(item_from_json(each) for each in data.get("items", ())),
        sender=data.get("sender"),
        message_id=data.get("message_id"),
        charset=data.get("charset"),
        reason=data.get("reason"),
    )
    if message.sequence < 1:
        raise UplinkError("sequence starts at 1")
    if data.get("sha256") != message.digest:
        raise UplinkError(f"message {message.sequence}: its bytes do not match its sha256")
    return message
