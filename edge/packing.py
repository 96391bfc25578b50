"""Messages into payloads that the broker takes. Runs beside the loop; no connection, no clock.

What is larger than the broker's limit goes as single messages, and a single message that is still too large in parts
(`protocols.uplink.parts`): nothing is left out of it and the messages behind it go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from protocols.uplink import parts
from protocols.uplink.envelope import Message, MessageState, encode_envelope, encode_message

UNLIMITED = 200 * 1024 * 1024
"""MQTT itself ends at 256 MB."""
_LEAST = 2048
_SUSPICIOUS = 8 * 1024
"""A smaller publish did not break a connection by its size."""
_BREAKS = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Packet:
    """One publish: a batch of whole messages, or all parts of one."""

    sequences: tuple[int, ...]
    kind: str
    """Of its topic: "" for an envelope."""
    payloads: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.payloads))


class SizeLimit:
    """The largest payload: as the broker told when it took the connection, or learned from what it refused."""

    def __init__(self) -> None:
        self._told = self._learned = UNLIMITED
        self._broke_at, self._breaks = UNLIMITED, 0

    @property
    def payload_bytes(self) -> int:
        return min(self._told, self._learned)

    def told(self, packet_bytes: int | None, topic_bytes: int = 256) -> None:
        """For this connection; None: the broker said nothing. A packet is a payload, its topic and a few bytes."""
        self._told = UNLIMITED if packet_bytes is None else max(packet_bytes - topic_bytes, _LEAST)

    def refused(self, payload_bytes: int) -> None:
        """The broker refused a payload of this size for its size."""
        self._learned = max(min(self._learned, payload_bytes // 2), _LEAST)
        log.warning("cloud.payload_too_large", bytes=payload_bytes, limit=self.payload_bytes)

    def broke(self, unanswered: int, answered: int) -> None:
        """A connection ended; the largest publish that the broker had not answered, and the largest that it had.

        Once is a network's fault; when it happens again and again with a large publish, the broker does not take it.
        """
        if unanswered < _SUSPICIOUS or unanswered <= answered:
            self._broke_at, self._breaks = UNLIMITED, 0
            return
        self._broke_at, self._breaks = min(self._broke_at, unanswered), self._breaks + 1
        if self._breaks >= _BREAKS:
            self.refused(self._broke_at)
            self._broke_at, self._breaks = UNLIMITED, 0


def pack(gateway: str, epoch: str, link: str, messages: Sequence[Message], limit: int) -> list[Packet]:
    """All of them in their order, in as few publishes as `limit` allows."""
    packets: list[Packet] = []
    head = len(encode_envelope(gateway, epoch, link, ()))

    def close(batch: list[tuple[int, bytes]]) -> None:
        sequences = tuple(sequence for sequence, _ in batch)
        envelope = encode_envelope(gateway, epoch, link, [text for _, text in batch])
        if len(envelope) <= limit:
            packets.append(Packet(sequences, "", (envelope,)))
            return
        cut = parts.cut(gateway, epoch, link, sequences[0], envelope, limit)
        log.info("message.in_parts", link=link, sequence=sequences[0], bytes=len(envelope), parts=len(cut))
        packets.append(Packet(sequences, parts.KIND, tuple(each.to_bytes() for each in cut)))

    batch: list[tuple[int, bytes]] = []
    size = head
    for sequence, text in _encoded(messages):
        if batch and size + len(text) + 1 > limit:
            close(batch)
            batch, size = [], head
        batch.append((sequence, text))
        size += len(text) + 1
    if batch:
        close(batch)
    return packets


def _encoded(messages: Iterable[Message]) -> Iterable[tuple[int, bytes]]:
    for each in messages:
        try:
            yield each.sequence, encode_message(each)
        except (ValueError, TypeError, OverflowError) as error:  # half a character: one value must not hold a link up
            log.error("message.not_encodable", sequence=each.sequence, driver=each.driver, fault=type(error).__name__)
            reason = f"the decoded values cannot be written ({type(error).__name__}): decode again from the raw bytes"
            bare = {"items": (), "state": MessageState.UNDECODED, "reason": reason}
            nothing = dict.fromkeys(("sender", "message_id", "charset"))
            yield each.sequence, encode_message(replace(each, **bare, **nothing))  # type: ignore[arg-type]
