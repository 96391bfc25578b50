"""All about one value under review: its course, the analyzer that measured it with the newest controls of that channel,
and what it was calculated from.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.qc.model import QcResult
from cloud.lis.results.history_chart import Point, chart
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.people.identity import person_ids
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

PREVIOUS = 12
"""So many earlier values are drawn and listed."""
CONTROLS_SINCE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Previous:
    """An earlier released value of the same test of this person."""

    at: datetime
    value: str
    unit: str
    flag: str
    specimen_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Detail:
    """What the panel beneath the results shows of the selected line."""

    test: Test
    result: Result | None
    previous: tuple[Previous, ...]
    chart: Markup | None
    instrument: Instrument | None
    controls: tuple[QcResult, ...]
    """The newest control of each material and level on this channel within a day; they are shown, not judged."""
    controls_at: datetime | None
    """When the newest one came, however long ago."""
    calculation: dict[str, Any] | None
    """Expression, operands and parameters, where the value was calculated."""


def detail(session: Session, specimen: Specimen, test_id: uuid.UUID) -> Detail:
    """Raises `NotFound` for a test that is not ordered on this specimen. Who may see the person is the caller's."""
    row = session.execute(
        select(Test, Result)
        .join(OrderItem, OrderItem.test_id == Test.id)
        .outerjoin(
            Result,
            (Result.order_item_id == OrderItem.id) & (Result.specimen_id == OrderItem.specimen_id) & Result.chosen,
        )
        .where(
            OrderItem.specimen_id == specimen.id, OrderItem.test_id == test_id, OrderItem.state != ItemState.CANCELLED
        )
    ).first()
    if row is None:
        raise NotFound("test.unknown", N_("这份标本没有这个项目。"))
    test, result = row.Test, row.Result
    rows = _previous(session, specimen, test)
    instrument = session.get(Instrument, result.instrument_id) if result is not None and result.instrument_id else None
    controls = _controls(session, instrument, test)
    recent = clock.now() - CONTROLS_SINCE
    return Detail(
        test=test,
        result=result,
        previous=tuple(
            Previous(
                each.observed_at or each.received_at, each.value_text, each.unit or "", each.flag, each.specimen_id
            )
            for each in rows
        ),
        chart=_chart(test, result, rows),
        instrument=instrument,
        controls=tuple(each for each in controls if each.received_at >= recent),
        controls_at=max((each.received_at for each in controls), default=None),
        calculation=result.details.get("calculation") if result is not None else None,
    )


def _previous(session: Session, specimen: Specimen, test: Test) -> Sequence[Result]:
    """Newest first, of this person and the files merged into it."""
    return session.scalars(
        select(Result)
        .where(
            Result.person_id.in_(person_ids(session, specimen.person_id)),
            Result.test_id == test.id,
            Result.chosen,
            Result.state == ResultState.RELEASED,
            Result.specimen_id != specimen.id,
        )
        .order_by(Result.received_at.desc())
        .limit(PREVIOUS)
    ).all()


def _chart(test: Test, result: Result | None, previous: Sequence[Result]) -> Markup | None:
    """Only numbers in the catalogue's unit: others cannot stand on one axis."""
    shown = [*previous, *([result] if result is not None else [])]
    points = [
        Point(
            each.observed_at or each.received_at,
            each.number,
            f"{each.comparator or ''}{each.value_text} {each.unit or ''}".strip(),
            each.flag,
            present=result is not None and each.id == result.id,
        )
        for each in shown
        if each.number is not None and each.unit == test.unit
    ]
    low, high = (result.range_low, result.range_high) if result is not None else (None, None)
    return chart(points, low, high, _("{test} 历次结果").format(test=test.name))


def _controls(session: Session, instrument: Instrument | None, test: Test) -> list[QcResult]:
    if instrument is None:
        return []
    rows = session.scalars(
        select(QcResult)
        .where(QcResult.instrument_id == instrument.id, QcResult.test_id == test.id, QcResult.superseded.is_(False))
        .order_by(QcResult.received_at.desc())
        .limit(24)
    )
    newest: dict[tuple[str | None, str | None], QcResult] = {}
    for row in rows:
        newest.setdefault((row.material, row.level), row)
    return list(newest.values())
