"""Boxes for tests: registered gateways, envelopes as a box sends them, and a laboratory that only keeps a ledger."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cloud.gateways.model import Gateway
from cloud.gateways.service import register_gateway
from cloud.hospital.model import Campus
from cloud.kit.db import begin
from cloud.lis.results.service import MessageSource
from protocols.model import Item, Observation
from protocols.uplink.envelope import Envelope, Message, MessageState

MORNING = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)
EPOCH = "5f3a9c0e11d2b744"


def registered(*boxes: tuple[str, int]) -> None:
    """Register (gateway id, partition) pairs, and the campus they stand in."""
    with begin() as session:
        campus = session.scalar(select(Campus).where(Campus.code == "T1"))
        if campus is None:
            campus = Campus(code="T1", name="测试院区")
            session.add(campus)
            session.flush()
        for gateway, partition in boxes:
            if session.get(Gateway, gateway) is None:
                register_gateway(session, id=gateway, name=gateway, campus_id=campus.id, partition=partition)


def message(sequence: int, *, specimen: str = "", state: MessageState = MessageState.DECODED, **more: Any) -> Message:
    """One instrument message whose bytes name its sequence."""
    specimen = specimen or f"2603{sequence:06d}"
    raw = more.pop("raw", f"\x02R|{sequence}|^^^WBC|6.{sequence % 10}|10*9/L||N||F\r\x03".encode())
    items: tuple[Item, ...] = (Observation(specimen=specimen, code="WBC", value=f"6.{sequence % 10}", unit="10*9/L"),)
    if state is not MessageState.DECODED:
        items = ()
    return Message(
        sequence=sequence,
        received_at=MORNING,
        clock_sure=True,
        driver="sysmex_xn",
        driver_version="1",
        state=state,
        raw=raw,
        items=more.pop("items", items),
        **more,
    )


def envelope(gateway: str, link: str, sequences: Iterable[int] | Sequence[Message], *, epoch: str = EPOCH) -> Envelope:
    messages = tuple(each if isinstance(each, Message) else message(each) for each in sequences)
    return Envelope(gateway, epoch, link, messages)


LEDGER = (
    "CREATE TABLE IF NOT EXISTS test_ledger (number bigserial PRIMARY KEY, inbox_id uuid NOT NULL,"
    " gateway text NOT NULL, epoch text NOT NULL, link text NOT NULL, sequence bigint NOT NULL, worker int NOT NULL)"
)


def make_ledger() -> None:
    with begin() as session:
        session.execute(text(LEDGER))


def keep_in_ledger(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
    """An `ingest` that writes one row for each call and has no protection of its own: an effect done twice shows."""
    session.execute(
        text(
            "INSERT INTO test_ledger (inbox_id, gateway, epoch, link, sequence, worker)"
            " VALUES (:inbox_id, :gateway, :epoch, :link, :sequence, :worker)"
        ),
        {
            "inbox_id": source.inbox_id,
            "gateway": source.gateway,
            "epoch": source.epoch,
            "link": source.link,
            "sequence": source.sequence,
            "worker": os.getpid(),
        },
    )


def ledger() -> list[Any]:
    """Every row, in the order in which it was applied."""
    with begin() as session:
        return list(session.execute(text("SELECT * FROM test_ledger ORDER BY number")))


def applied_sequences(gateway: str, link: str, *, epoch: str = EPOCH) -> list[int]:
    return [each.sequence for each in ledger() if (each.gateway, each.link, each.epoch) == (gateway, link, epoch)]
