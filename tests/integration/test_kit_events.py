"""Facts: stored in the transaction that made them true, with a job for each subscriber; old shapes still read."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from cloud.kit import events, jobs
from cloud.kit.db import begin
from cloud.kit.events import Event, StoredEvent, event_type, on, publish, upcast
from cloud.kit.ids import new_id

SPECIMEN = uuid.UUID("01890000-0000-7000-8000-000000000001")


@dataclass(frozen=True, kw_only=True)
class TubeSpun(Event):
    """Version 3: the speed got a unit, the operator a name."""

    type: ClassVar[str] = "test.tube_spun"
    version: ClassVar[int] = 3
    speed_rpm: int
    at: datetime
    day: date
    volume_ml: Decimal
    tubes: tuple[uuid.UUID, ...] = ()
    operator: str | None = None


SAMPLES: dict[int, dict[str, Any]] = {
    1: {"speed": 3000, "at": "2026-01-02T03:04:05+00:00", "day": "2026-01-02", "volume_ml": "2.50"},
    2: {"speed_rpm": 3000, "at": "2026-01-02T03:04:05+00:00", "day": "2026-01-02", "volume_ml": "2.50"},
    3: {
        "speed_rpm": 3000,
        "at": "2026-01-02T03:04:05+00:00",
        "day": "2026-01-02",
        "volume_ml": "2.50",
        "tubes": [],
        "operator": "unknown",
    },
}
"""One payload of each version as it was stored."""

_seen: list[Event] = []


@pytest.fixture
def spinning(database: str) -> Iterator[None]:
    kept = (dict(events._types), dict(events._subscribers), dict(events._upcasters), dict(jobs._registry))
    event_type(TubeSpun)
    upcast(TubeSpun.type, 1)(lambda old: {**{k: v for k, v in old.items() if k != "speed"}, "speed_rpm": old["speed"]})
    upcast(TubeSpun.type, 2)(lambda old: {**old, "operator": "unknown"})
    _seen.clear()

    @on(TubeSpun, "test.first")
    def first(session: Session, event: TubeSpun) -> None:
        _seen.append(event)

    @on(TubeSpun, "test.second")
    def second(session: Session, event: TubeSpun) -> None:
        _seen.append(event)

    yield
    stores = (events._types, events._subscribers, events._upcasters, jobs._registry)
    for store, before in zip(stores, kept, strict=True):
        store.clear()
        store.update(before)  # type: ignore[arg-type]


def _spun() -> TubeSpun:
    return TubeSpun(
        aggregate_id=SPECIMEN,
        speed_rpm=3000,
        at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        day=date(2026, 1, 2),
        volume_ml=Decimal("2.50"),
        tubes=(SPECIMEN,),
    )


def _waiting(session: Session) -> list[dict[str, Any]]:
    rows = session.execute(text("SELECT args FROM procrastinate_jobs ORDER BY id"))
    return [row.args for row in rows]


@pytest.mark.usefixtures("spinning")
def test_a_fact_is_stored_with_one_job_for_each_subscriber() -> None:
    with begin() as session:
        publish(session, _spun())
    with begin() as session:
        stored = session.scalars(select(StoredEvent)).one()
        assert (stored.type, stored.version, stored.aggregate_id) == ("test.tube_spun", 3, SPECIMEN)
        assert [each["name"] for each in _waiting(session)] == ["test.first", "test.second"]


@pytest.mark.usefixtures("spinning")
def test_a_unit_of_work_that_fails_leaves_neither_fact_nor_job() -> None:
    with pytest.raises(RuntimeError), begin() as session:  # noqa: PT012
        publish(session, _spun())
        raise RuntimeError("something later in the same unit of work")
    with begin() as session:
        assert session.scalars(select(StoredEvent)).all() == []
        assert _waiting(session) == []


@pytest.mark.usefixtures("spinning")
def test_a_reaction_gets_the_fact_as_it_was_announced() -> None:
    with begin() as session:
        publish(session, _spun())
        waiting = _waiting(session)
    for each in waiting:
        jobs.execute(each["name"], each["args"], begin)
    assert _seen == [_spun(), _spun()]


@pytest.mark.usefixtures("spinning")
@pytest.mark.parametrize("version", SAMPLES)
def test_a_fact_stored_by_an_older_program_is_read_as_todays(version: int) -> None:
    loaded = events.load(TubeSpun.type, version, SPECIMEN, SAMPLES[version])
    assert isinstance(loaded, TubeSpun)
    assert (loaded.speed_rpm, loaded.volume_ml, loaded.operator) == (3000, Decimal("2.50"), "unknown")


@dataclass(frozen=True, kw_only=True)
class SeriesMeasured(Event):
    """Fields that hold several values."""

    type: ClassVar[str] = "test.series_measured"
    values: tuple[Decimal, ...]
    moments: tuple[datetime, ...]
    days: tuple[date, ...]
    limits: tuple[Decimal, Decimal | None]
    of_tube: dict[str, Decimal]
    names: tuple[str, ...]
    until: datetime | None = None


def test_several_values_of_one_field_come_back_as_what_they_were() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    said = SeriesMeasured(
        aggregate_id=SPECIMEN,
        values=(Decimal("2.50"), Decimal("0.1")),
        moments=(now, now),
        days=(date(2026, 1, 2),),
        limits=(Decimal("1.5"), None),
        of_tube={"purple": Decimal("2.0")},
        names=("a", "b"),
        until=now,
    )
    payload = {key: events._plain(value) for key, value in asdict(said).items() if key != "aggregate_id"}
    known = dict(events._types)
    try:
        event_type(SeriesMeasured)
        assert events.load(SeriesMeasured.type, 1, SPECIMEN, json.loads(json.dumps(payload))) == said
    finally:
        events._types.clear()
        events._types.update(known)


def test_a_moment_without_a_zone_is_refused(database: str) -> None:
    naive = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  that is the point
    with pytest.raises(StatementError, match="naive"), begin() as session:  # noqa: PT012
        session.add(StoredEvent(type="x", version=1, aggregate_id=new_id(), payload={}, occurred_at=naive))
        session.flush()


def test_a_moment_comes_back_in_utc(database: str) -> None:
    shanghai = datetime.fromisoformat("2026-01-02T08:00:00+08:00")
    with begin() as session:
        session.add(StoredEvent(type="x", version=1, aggregate_id=new_id(), payload={}, occurred_at=shanghai))
    with begin() as session:
        stored = session.scalars(select(StoredEvent.occurred_at)).one()
    assert (stored, stored.tzinfo) == (datetime(2026, 1, 2, tzinfo=UTC), UTC)
