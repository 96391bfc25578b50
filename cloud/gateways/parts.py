"""Envelopes that came in parts: kept until all are there, then as if they had come whole.

Everything happens in the transaction that stores what came with them; a part has no receipt, its message has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.gateways.arrivals import Arrival, Refusal, read_envelope
from cloud.gateways.model import MessagePart
from cloud.kit import clock
from protocols.uplink import parts
from protocols.uplink.envelope import Envelope, RefusedMessage
from protocols.uplink.parts import Part
from protocols.uplink.topics import Topic, UplinkError, up_topic

KEPT_FOR = timedelta(days=30)
"""A box that never sent the rest was replaced meanwhile."""

log = structlog.get_logger(__name__)

_WHOLE = (MessagePart.gateway, MessagePart.epoch, MessagePart.link, MessagePart.sequence, MessagePart.sha256)
Whole = tuple[str, str, str, int, str]


def read_part(arrival: Arrival, topic: Topic) -> Part:
    part = Part.from_bytes(arrival.payload)
    if (part.gateway, part.link) != (topic.gateway, topic.name):
        raise UplinkError(f"a part of {part.gateway}/{part.link} on the topic {arrival.topic}")
    return part


def take(
    session: Session, found: Sequence[Part], partition: int
) -> tuple[list[tuple[Envelope, tuple[RefusedMessage, ...]]], list[Refusal]]:
    """Keep these parts; the envelopes that are complete with them, and those that cannot be put together."""
    if not found:
        return [], []
    rows = [
        {
            "gateway": each.gateway,
            "epoch": each.epoch,
            "link": each.link,
            "sequence": each.sequence,
            "sha256": each.sha256,
            "number": each.number,
            "of": each.of,
            "content": each.content,
        }
        for each in found
    ]
    session.execute(insert(MessagePart).on_conflict_do_nothing(), rows)
    gateways = {each.gateway for each in found}
    session.execute(
        delete(MessagePart).where(MessagePart.gateway.in_(gateways), MessagePart.stored_at < clock.now() - KEPT_FOR)
    )
    envelopes, refused = [], []
    for whole in _complete(session, found):
        topic = Topic(partition, whole[0], "up", whole[2])
        arrival = Arrival(up_topic(partition, whole[0], whole[2]), b"")
        try:
            arrival = Arrival(arrival.topic, parts.join(_pieces(session, whole), whole[4]))
            envelopes.append(read_envelope(arrival, topic))
        except UplinkError as error:
            refused.append(Refusal(arrival, whole[0], f"{error} (message {whole[3]}, in parts)"))
        session.execute(delete(MessagePart).where(tuple_(*_WHOLE) == whole))
    return envelopes, refused


def _complete(session: Session, found: Sequence[Part]) -> list[Whole]:
    touched = {(each.gateway, each.epoch, each.link, each.sequence, each.sha256) for each in found}
    counted = session.execute(
        select(*_WHOLE)
        .where(tuple_(*_WHOLE).in_(sorted(touched)))
        .group_by(*_WHOLE)
        .having(func.count() == func.max(MessagePart.of))
    )
    return [(row.gateway, row.epoch, row.link, row.sequence, row.sha256) for row in counted]


def _pieces(session: Session, whole: Whole) -> list[bytes]:
    contents = select(MessagePart.content).where(tuple_(*_WHOLE) == whole).order_by(MessagePart.number)
    return list(session.scalars(contents))
