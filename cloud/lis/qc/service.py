"""Storing control results. They never become patients' results, whatever stands in their specimen field."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.qc.model import QcResult
from protocols.model import Observation


class Source(Protocol):
    """The message that carried them."""

    @property
    def inbox_id(self) -> uuid.UUID: ...
    @property
    def gateway(self) -> str: ...
    @property
    def link(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...


def store(
    session: Session,
    source: Source,
    instrument_id: uuid.UUID | None,
    test_ids: Mapping[str, uuid.UUID],
    controls: Sequence[tuple[int, Observation]],
) -> None:
    """Add control results with their place in the message; the caller makes sure that a message is stored once."""
    for ordinal, control in controls:
        mark, quantity = control.qc, control.quantity
        session.add(
            QcResult(
                instrument_id=instrument_id,
                gateway=source.gateway,
                link=source.link,
                test_id=test_ids.get(control.code),
                inbox_id=source.inbox_id,
                ordinal=ordinal,
                material=mark.material if mark else None,
                level=mark.level if mark else None,
                lot=mark.lot if mark else None,
                specimen=control.specimen,
                code=control.code,
                value=control.value,
                number=quantity.number if quantity else None,
                comparator=quantity.comparator if quantity else None,
                unit=control.unit,
                flags=list(control.flags),
                observed_at=clock.from_instrument(control.observed_at),
                observed_at_raw=control.observed_at,
                received_at=source.received_at,
            )
        )


def latest(
    session: Session, *, instrument_id: uuid.UUID | None = None, limit: int = 200
) -> list[tuple[QcResult, Instrument | None, Test | None]]:
    """The newest control results, of one instrument or of all."""
    query = (
        select(QcResult, Instrument, Test)
        .outerjoin(Instrument, Instrument.id == QcResult.instrument_id)
        .outerjoin(Test, Test.id == QcResult.test_id)
        .where(QcResult.superseded.is_(False))
        .order_by(QcResult.received_at.desc(), QcResult.ordinal)
        .limit(limit)
    )
    if instrument_id is not None:
        query = query.where(QcResult.instrument_id == instrument_id)
    return [(control, instrument, test) for control, instrument, test in session.execute(query)]
