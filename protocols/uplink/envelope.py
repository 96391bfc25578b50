"""The contract between a box and the cloud: topics, envelopes, receipts, worklists, states. Version 1.

Identity of a message is `(gateway, epoch, link, sequence)`: `epoch` is drawn when the box's database is made,
`sequence` is gap-free per link from 1. A box forgets a message only when a `Receipt` covers it; a PUBACK proves
nothing. Raw bytes always travel, so that a corrected driver can decode them again.

Topics: ``xinglin/v1/<partition>/<gateway>/up/<link>`` (Envelope), ``.../state`` (GatewayState) from the box;
``.../down/receipt`` (Receipt), ``.../down/worklist`` (Worklist), ``.../down/gap`` (GapRequest) to the box.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from protocols.model import Item, Order
from protocols.uplink.items import item_from_json, item_to_json, order_from_json, order_to_json

VERSION = 1
ROOT = "xinglin/v1"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")


class UplinkError(ValueError):
    """A payload or topic that is not of this contract. The receiver keeps it in quarantine and says so."""


class MessageState(StrEnum):
    """What the box made of the bytes."""

    DECODED = "decoded"
    UNDECODED = "undecoded"
    INCOMPLETE = "incomplete"
    """Acknowledged frames whose message never ended: kept and shown, never applied."""


def check_name(name: str) -> str:
    """A gateway or link id that can stand in a topic; raises UplinkError otherwise."""
    if not _NAME.match(name):
        raise UplinkError(f"{name!r} is not a name: 1 to 64 of A-Z a-z 0-9 _ . - and starting with a letter or digit")
    return name


def up_topic(partition: int, gateway: str, link: str) -> str:
    return f"{ROOT}/{partition}/{check_name(gateway)}/up/{check_name(link)}"


def state_topic(partition: int, gateway: str) -> str:
    return f"{ROOT}/{partition}/{check_name(gateway)}/state"


def down_topic(partition: int, gateway: str, kind: str) -> str:
    """`kind` is "receipt", "worklist" or "gap"; a box subscribes to ``down_topic(p, g, "#")``."""
    if kind != "#":
        check_name(kind)
    return f"{ROOT}/{partition}/{check_name(gateway)}/down/{kind}"


def partition_filters(partition: int) -> tuple[str, str]:
    """What the ingest worker that leases `partition` subscribes to."""
    return f"{ROOT}/{partition}/+/up/+", f"{ROOT}/{partition}/+/state"


@dataclass(frozen=True, slots=True)
class Topic:
    partition: int
    gateway: str
    direction: str
    """"up", "state" or "down"."""
    name: str
    """Link id of "up", kind of "down", "" of "state"."""


def parse_topic(topic: str) -> Topic:
    parts = topic.split("/")
    if len(parts) < 5 or "/".join(parts[:2]) != ROOT or not parts[2].isdigit():
        raise UplinkError(f"not a topic of ours: {topic[:200]!r}")
    if parts[4] == "state" and len(parts) == 5:
        return Topic(int(parts[2]), check_name(parts[3]), "state", "")
    if parts[4] in ("up", "down") and len(parts) == 6:
        return Topic(int(parts[2]), check_name(parts[3]), parts[4], check_name(parts[5]))
    raise UplinkError(f"not a topic of ours: {topic[:200]!r}")


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
        return _dump(
            {
                "v": VERSION,
                "gateway": self.gateway,
                "epoch": self.epoch,
                "link": self.link,
                "messages": [_message_to_json(each) for each in self.messages],
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> Envelope:
        data = _load(payload)
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
        data = _load(payload)
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
        return _dump(data)


def _message_to_json(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = {
        "sequence": message.sequence,
        "received_at": message.received_at.isoformat(),
        "clock_sure": message.clock_sure,
        "driver": message.driver,
        "driver_version": message.driver_version,
        "state": str(message.state),
        "raw": base64.b64encode(message.raw).decode("ascii"),
        "sha256": message.digest,
        "items": [item_to_json(each) for each in message.items],
    }
    for key in ("sender", "message_id", "charset", "reason"):
        value = getattr(message, key)
        if value is not None:
            data[key] = value
    return data


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


@dataclass(frozen=True, slots=True)
class Receipt:
    """The cloud's database has committed every sequence up to `through` of this link, and each of `also`."""

    epoch: str
    link: str
    through: int
    also: tuple[int, ...] = ()

    def covers(self, sequence: int) -> bool:
        return sequence <= self.through or sequence in self.also

    def to_bytes(self) -> bytes:
        return _dump(
            {"v": VERSION, "epoch": self.epoch, "link": self.link, "through": self.through, "also": list(self.also)}
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> Receipt:
        data = _load(payload)
        try:
            return cls(
                check_name(data["epoch"]),
                check_name(data["link"]),
                int(data["through"]),
                tuple(int(each) for each in data.get("also", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not a receipt: {error}") from error


@dataclass(frozen=True, slots=True)
class GapRequest:
    """The cloud misses these sequences (both ends included) and asks for them; the box answers with envelopes."""

    epoch: str
    link: str
    first: int
    last: int

    def to_bytes(self) -> bytes:
        return _dump({"v": VERSION, "epoch": self.epoch, "link": self.link, "first": self.first, "last": self.last})

    @classmethod
    def from_bytes(cls, payload: bytes) -> GapRequest:
        data = _load(payload)
        try:
            return cls(check_name(data["epoch"]), check_name(data["link"]), int(data["first"]), int(data["last"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UplinkError(f"not a gap request: {error}") from error


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """Orders of one specimen for the links of one box. A later revision of the same specimen replaces it whole.

    `orders` maps link id to the order in that instrument's own codes; empty: the specimen is cancelled or done.
    """

    revision: int
    specimen: str
    orders: dict[str, Order]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Worklist:
    """Changes of a box's worklist. Applied in rising revision, each at most once, idempotent."""

    gateway: str
    entries: tuple[WorklistEntry, ...]
    after: int | None = None
    """These are all changes after this revision: the cloud read them from there. A box that stands lower lost a publish
    on the way, applies nothing and says its revision again. None: only an unbroken run of revisions proves it."""

    def to_bytes(self) -> bytes:
        return _dump(
            {
                "v": VERSION,
                "gateway": self.gateway,
                **({} if self.after is None else {"after": self.after}),
                "entries": [
                    {
                        "revision": each.revision,
                        "specimen": each.specimen,
                        "orders": {link: order_to_json(order) for link, order in each.orders.items()},
                        "expires_at": each.expires_at.isoformat(),
                    }
                    for each in self.entries
                ],
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> Worklist:
        data = _load(payload)
        try:
            return cls(
                check_name(data["gateway"]),
                tuple(
                    WorklistEntry(
                        revision=int(each["revision"]),
                        specimen=str(each["specimen"]),
                        orders={check_name(link): order_from_json(order) for link, order in each["orders"].items()},
                        expires_at=datetime.fromisoformat(each["expires_at"]),
                    )
                    for each in data["entries"]
                ),
                after=None if data.get("after") is None else int(data["after"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UplinkError(f"not a worklist: {error}") from error


@dataclass(frozen=True, slots=True)
class LinkState:
    link: str
    state: str
    """"open", "listening", "connecting", "closed" or "failed"."""
    driver: str
    last_received_at: datetime | None
    last_sequence: int
    waiting: int
    """Messages stored and not yet covered by a receipt."""
    refused_frames: int = 0
    answered_queries: int = 0


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What a box says of itself at every connect, every 30 s and whenever its worklist revision moved."""

    gateway: str
    epoch: str
    at: datetime
    clock_sure: bool
    software: str
    worklist_revision: int
    """Every revision up to this one is stored on the box. 0: it has none and needs all."""
    links: tuple[LinkState, ...]
    bytes_free: int = 0

    def to_bytes(self) -> bytes:
        return _dump(
            {
                "v": VERSION,
                "gateway": self.gateway,
                "epoch": self.epoch,
                "at": self.at.isoformat(),
                "clock_sure": self.clock_sure,
                "software": self.software,
                "worklist_revision": self.worklist_revision,
                "bytes_free": self.bytes_free,
                "links": [
                    {
                        "link": each.link,
                        "state": each.state,
                        "driver": each.driver,
                        "last_received_at": each.last_received_at and each.last_received_at.isoformat(),
                        "last_sequence": each.last_sequence,
                        "waiting": each.waiting,
                        "refused_frames": each.refused_frames,
                        "answered_queries": each.answered_queries,
                    }
                    for each in self.links
                ],
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> GatewayState:
        data = _load(payload)
        try:
            return cls(
                gateway=check_name(data["gateway"]),
                epoch=check_name(data["epoch"]),
                at=datetime.fromisoformat(data["at"]),
                clock_sure=bool(data.get("clock_sure", True)),
                software=str(data.get("software", "")),
                worklist_revision=int(data.get("worklist_revision", 0)),
                bytes_free=int(data.get("bytes_free", 0)),
                links=tuple(
                    LinkState(
                        link=check_name(each["link"]),
                        state=str(each["state"]),
                        driver=str(each.get("driver", "")),
                        last_received_at=datetime.fromisoformat(each["last_received_at"])
                        if each.get("last_received_at")
                        else None,
                        last_sequence=int(each.get("last_sequence", 0)),
                        waiting=int(each.get("waiting", 0)),
                        refused_frames=int(each.get("refused_frames", 0)),
                        answered_queries=int(each.get("answered_queries", 0)),
                    )
                    for each in data["links"]
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UplinkError(f"not a gateway state: {error}") from error


def _dump(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _load(payload: bytes) -> dict[str, Any]:
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise UplinkError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UplinkError("not a JSON object")
    if data.get("v") != VERSION:
        raise UplinkError(f"version {data.get('v')!r} is not known here; this side speaks {VERSION}")
    return data
