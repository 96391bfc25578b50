"""`./xinglin cloud load-history`: a made-up past that stands up to the product's own checks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psycopg
import pytest
from sqlalchemy import func, select, text

from cloud import config
from cloud.app import load_slices
from cloud.gateways.model import InboxMessage
from cloud.gateways.redecode.reading import driver_of, read
from cloud.history import load
from cloud.history.copying import begin_anew
from cloud.history.patients import plan
from cloud.history.values import draw
from cloud.kit import verify
from cloud.kit.db import begin, engine
from cloud.kit.live import libpq_url
from cloud.lis.orders.model import OrderItem
from cloud.lis.reports.model import Report, ReportVersion
from cloud.lis.reports.service import content_hash
from cloud.lis.reports.view import ReportContent
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen
from cloud.people.model import Person
from tests.support.databases import DatabaseServer, cloud_on

UNTIL = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def history(database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[load.Loaded]:
    """Loaded once: the tests only read it (what is refused writes nothing)."""
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url:
        patch.setenv("XINGLIN_AUDIT_DIR", str(tmp_path_factory.mktemp("audit")))
        with cloud_on(url, patch):
            load_slices()
            yield load.run(90, seed=7, days=20, until=UNTIL)


@pytest.mark.req("LIS-8")
def test_a_loaded_history_passes_the_audit_its_hashes_and_the_drivers(history: load.Loaded) -> None:
    assert verify.verify(begin).intact
    assert history.counts["specimens"] == 90
    with begin() as session:
        fewest = session.scalar(
            select(func.count()).select_from(OrderItem).group_by(OrderItem.specimen_id).order_by(func.count()).limit(1)
        )
        assert fewest >= 12
        for version in session.scalars(select(ReportVersion)):
            assert version.content_sha256 == content_hash(version.content)
            assert ReportContent.from_json(version.content).items
        for message in session.scalars(select(InboxMessage).limit(40)):
            reading = read(message.raw, driver_of(message.driver, {}))
            assert (reading.items, reading.sender) == (message.items, message.sender)
            assert reading.message_id == message.message_id


@pytest.mark.req("LIS-8")
def test_a_patients_values_lie_near_the_ones_before(history: load.Loaded) -> None:
    """Deltas mean something: the same person's haemoglobin moves less than one person's differs from another's."""
    with begin() as session:
        changes = session.scalars(
            select(func.abs(Result.delta_percent)).where(
                Result.delta_percent.is_not(None), Result.channel_code == "HGB"
            )
        ).all()
    assert changes
    assert sorted(changes)[len(changes) // 2] < 10


@pytest.mark.req("LIS-8")
def test_the_same_seed_draws_the_same_patients_and_values() -> None:
    first, second = (_drawn(7) for _ in range(2))
    assert first == second
    assert first != _drawn(8)


def _drawn(seed: int) -> list[object]:
    random = Random(seed)
    patients, visits = plan(random, specimens=40, start=0, end=20 * 86_400)
    assert sum(len(each.tubes) for each in visits) == 40
    tubes = [draw(random, each.patient, tube) for each in visits for tube in each.tubes]
    return [(each.id, each.name, each.birth) for each in patients] + tubes


@pytest.mark.req("LIS-8")
def test_nobody_in_it_can_be_a_real_person(history: load.Loaded) -> None:
    """Citizen numbers of no region, telephone numbers no network gives out, hospital numbers that say TEST."""
    with begin() as session:
        people = session.scalars(select(Person)).all()
        assert {each.id_number[:2] for each in people if each.id_number} == {"99"}
        assert {each.phone[:3] for each in people if each.phone} == {"100"}
        assert all(each.value.startswith(("TEST", "TC")) for person in people for each in person.identifiers)


@pytest.mark.req("LIS-8")
def test_a_second_history_is_refused_and_adds_nothing(history: load.Loaded) -> None:
    with pytest.raises(load.AlreadyThere):
        load.run(10)
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Specimen)) == 90
        assert session.scalar(select(func.count()).select_from(Report)) == history.counts["reports"]


@pytest.mark.req("LIS-8")
def test_a_history_never_comes_into_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "production")
    config.settings.cache_clear()
    with pytest.raises(load.NotInProduction):
        load.run(10)
    config.settings.cache_clear()


@pytest.mark.req("LIS-8")
def test_drawn_by_several_processes_and_frozen_on_the_way_it_is_the_same_history(
    history: load.Loaded, database_server: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = _told()
    monkeypatch.setattr(load, "FEW", 0)
    monkeypatch.setenv("XINGLIN_AUDIT_DIR", str(tmp_path))
    with database_server.clone() as url, cloud_on(url, monkeypatch):
        with begin() as session:
            before = session.execute(text("SELECT indexname FROM pg_indexes ORDER BY 1")).all()
        load.run(90, seed=7, days=20, until=UNTIL)
        assert _told() == here
        with begin() as session:
            assert session.execute(text("SELECT indexname FROM pg_indexes ORDER BY 1")).all() == before
        assert verify.verify(begin).intact


def _told() -> list[tuple[object, ...]]:
    columns = (Person.name, Specimen.barcode, Result.channel_code, Result.value_text, Result.received_at, Result.flag)
    with begin() as session:
        rows = session.execute(
            select(*columns)
            .join(Specimen, Specimen.id == Result.specimen_id)
            .join(Person, Person.id == Result.person_id)
            .order_by(Specimen.barcode, Result.ordinal)
        )
        return [tuple(row) for row in rows]


@pytest.mark.req("LIS-8")
def test_a_table_that_holds_something_is_never_emptied_for_speed(history: load.Loaded) -> None:
    url = libpq_url(engine().url.render_as_string(hide_password=False))
    with psycopg.connect(url) as connection:
        emptied = begin_anew(connection, ["person", "lab_order", "lab_result", "lab_worksheet"])
        counted = connection.execute("SELECT count(*) FROM lab_order").fetchone()
        connection.rollback()
    assert not {"person", "lab_order", "lab_result"} & emptied
    assert counted == (history.counts["orders"],)
