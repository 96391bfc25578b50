"""Reading what arrived: from a publish to an envelope, a box's state or the reason why it is neither; inbox rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

from cloud.gateways import rules
from cloud.gateways.model import GatewayStatus, MessageStatus
from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.kit.storable import storable, storable_json
from protocols.model import Kind
from protocols.uplink.counts import Counts
from protocols.uplink.envelope import (
    Envelope,
    GatewayState,
    Message,
    MessageState,
    RefusedMessage,
    Topic,
    UplinkError,
)
from protocols.uplink.items import item_to_json

LinkKey = tuple[str, str, str]
"""Gateway, epoch, link."""
Identity = tuple[str, str, str, int]
InboxRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One publish as the broker handed it over."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """An arrival that is kept in quarantine; `gateway` where the topic names one."""

    arrival: Arrival
    gateway: str | None
    reason: str


class RegisteredGateway(Protocol):
    """What is known of a box when its publish is judged."""

    @property
    def partition(self) -> int: ...
    @property
    def state(self) -> GatewayStatus: ...


def check_sender(gateway: RegisteredGateway | None, topic: Topic) -> None:
    if gateway is None:
        raise UplinkError(f"unknown gateway {topic.gateway}: register it, it will send again")
    if gateway.state != GatewayStatus.ACTIVE:
        raise UplinkError(f"gateway {topic.gateway} is locked out")
    if gateway.partition != topic.partition:
        raise UplinkError(
            f"gateway {topic.gateway} belongs to partition {gateway.partition} and sent in {topic.partition}:"
            " correct its configuration, it will send again"
        )


def read_state(arrival: Arrival, topic: Topic) -> GatewayState:
    state = GatewayState.from_bytes(arrival.payload)
    if state.gateway != topic.gateway:
        raise UplinkError(f"a state of {state.gateway} on the topic of {topic.gateway}")
    if state.at.tzinfo is None:
        raise UplinkError("the state's time has no zone")
    return state


def read_counts(arrival: Arrival, topic: Topic) -> Counts:
    said = Counts.from_bytes(arrival.payload)
    if (said.gateway, said.link) != (topic.gateway, topic.name):
        raise UplinkError(f"counts of {said.gateway}/{said.link} on the topic {arrival.topic}")
    return said


def read_envelope(arrival: Arrival, topic: Topic) -> tuple[Envelope, tuple[RefusedMessage, ...]]:
    envelope, refused = Envelope.salvage(arrival.payload)
    if envelope.gateway != topic.gateway:
        raise UplinkError(f"an envelope of {envelope.gateway} on the topic of {topic.gateway}")
    if topic.direction != "up" or envelope.link != topic.name:
        raise UplinkError(f"an envelope of link {envelope.link} on the topic {arrival.topic}")
    sequences = [each.sequence for each in envelope.messages] + [each.sequence for each in refused]
    if max(sequences) > rules.MAX_SEQUENCE:
        raise UplinkError("a sequence beyond 63 bits")
    return envelope, refused


def state_json(state: GatewayState) -> dict[str, Any]:
    """As it travelled, safe for the database."""
    data: dict[str, Any] = storable_json(json.loads(state.to_bytes()))
    return data


_BOX_STATES = {
    MessageState.DECODED: MessageStatus.PENDING,
    MessageState.UNDECODED: MessageStatus.UNDECODED,
    MessageState.INCOMPLETE: MessageStatus.INCOMPLETE,
}


def message_row(key: LinkKey, message: Message) -> InboxRow:
    return {
        **_identity_columns(key, message.sequence),
        "received_at": message.received_at,
        "clock_sure": message.clock_sure,
        "driver": storable(message.driver),
        "driver_version": storable(message.driver_version),
        "raw": message.raw,
        "sha256": message.digest,
        "items": storable_json([item_to_json(each) for each in message.items]),
        "undecoded": sum(each.kind == Kind.UNDECODED for each in message.items),
        "sender": storable(message.sender),
        "message_id": storable(message.message_id),
        "charset": storable(message.charset),
        "state": _BOX_STATES[message.state],
        "reason": storable(message.reason),
    }


def refused_row(key: LinkKey, refused: RefusedMessage) -> InboxRow:
    return {
        **_identity_columns(key, refused.sequence),
        "received_at": clock.now(),
        "clock_sure": False,
        "driver": "",
        "driver_version": "",
        "raw": refused.raw,
        "sha256": hashlib.sha256(refused.raw).hexdigest(),
        "items": [],
        "undecoded": 0,
        "sender": None,
        "message_id": None,
        "charset": None,
        "state": MessageStatus.QUARANTINED,
        "reason": storable(refused.reason),
    }


def _identity_columns(key: LinkKey, sequence: int) -> InboxRow:
    return {"id": new_id(), "gateway": key[0], "epoch": key[1], "link": key[2], "sequence": sequence}


REUSED = "reused-"
"""How the epoch begins under which messages are kept whose identity was used before with other bytes."""


def set_aside(row: InboxRow) -> InboxRow:
    """A message whose identity was used before with other bytes, whole, for a person to judge.

    A box restored from an old copy numbers new messages like old ones. Each is kept once, under an epoch of its own
    drawn from its first epoch and its bytes: no sequence is counted there, so it makes no gap and waits for none.
    """
    drawn = hashlib.sha256(f"{row['epoch']}/{row['sha256']}".encode()).hexdigest()[:32]
    reason = (
        f"sequence {row['sequence']} of epoch {row['epoch']} came before with other bytes:"
        " was the box restored from an old copy?"
    )
    if row["reason"]:
        reason += f" ({row['reason']})"
    state = MessageStatus.QUARANTINED if row["state"] == MessageStatus.PENDING else row["state"]
    return {**row, "epoch": REUSED + drawn, "state": state, "reason": reason}
