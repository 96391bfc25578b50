"""What an assembly line does with a tube stands on the tube's timeline; tubes of nobody stay visible."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import db
from cloud.kit.db import begin
from cloud.lis.results.model import InstrumentNotice
from cloud.lis.results.service import ingest
from cloud.lis.specimens import lookup, rules
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.storage import service as storage
from protocols.model import SpecimenAction, SpecimenEvent
from tests.support.bench import Bench, set_up
from tests.support.lab import open_lab, order, react
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.req("GW-8")


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


def event(specimen: str | None, action: SpecimenAction, **more: str) -> SpecimenEvent:
    return SpecimenEvent(specimen, action, occurred_at="2026-11-23T09:15:00", module="IOM-1", **more)


def road(session: Session, specimen: Specimen) -> list[tuple[str, str, dict[str, object]]]:
    return [(each.type, each.place, each.detail) for each in specimens.timeline(session, specimen.id)]


def test_steps_of_the_line_stand_on_the_tubes_timeline(session: Session) -> None:
    bench = set_up(session)
    tube = bench.specimen("WBC")
    outcome = ingest(
        session,
        bench.source(link="track"),
        [
            event(tube.accession, SpecimenAction.ARRIVED),
            event(tube.accession, SpecimenAction.ROUTED, destination="XN-1"),
            event(tube.accession, SpecimenAction.STORED, rack="S12", position="45"),
        ],
    )
    assert (outcome.line_events, outcome.unknown_tubes) == (3, 0)
    assert {step for step in (each[0] for each in road(session, tube)) if step.startswith("line_")} == {
        "line_arrived",
        "line_routed",
        "line_stored",
    }
    stored = next(each for each in road(session, tube) if each[0] == "line_stored")
    assert stored == ("line_stored", "IOM-1", {"rack": "S12", "position": "45"})
    session.refresh(tube)
    assert tube.state == SpecimenState.RECEIVED, "the line moves no state"


def test_an_aliquot_without_a_barcode_of_ours_belongs_to_its_parent(session: Session) -> None:
    bench = set_up(session)
    tube = bench.specimen("WBC")
    aliquot = event("A-77", SpecimenAction.ALIQUOTED, parent=tube.accession, volume_ul="250")
    ingest(session, bench.source(link="track"), [aliquot])
    (step,) = [each for each in road(session, tube) if each[0] == "line_aliquoted"]
    assert step[2] == {"parent": tube.accession, "volume_ul": "250", "aliquot": "A-77"}


def test_a_tube_of_nobody_is_kept_with_its_barcode(session: Session) -> None:
    bench = set_up(session)
    outcome = ingest(
        session,
        bench.source(link="track"),
        [event("999", SpecimenAction.STORED, rack="S1"), event(None, SpecimenAction.FAILED, detail="barcode not read")],
    )
    assert (outcome.line_events, outcome.unknown_tubes) == (2, 2)
    kept = session.scalars(select(InstrumentNotice).order_by(InstrumentNotice.ordinal)).all()
    assert [(each.name, each.specimen, each.detail) for each in kept] == [
        ("tube stored", "999", None),
        ("tube failed", None, "barcode not read"),
    ]


def test_a_message_taken_in_again_writes_no_step_twice(session: Session) -> None:
    bench = set_up(session)
    tube = bench.specimen("WBC")
    once = bench.source(link="track")
    for _ in range(2):
        ingest(session, once, [event(tube.accession, SpecimenAction.STORED)])
    assert [each[0] for each in road(session, tube)].count("line_stored") == 1


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def test_the_tubes_page_shows_where_the_line_put_it(site: Site) -> None:
    laboratory = open_lab()
    with begin() as session:
        placed = order(session, laboratory)
        (tube,) = specimens.print_labels(session, placed.id, by="system")
        bench = Bench(session, laboratory.wang, {})
        stored = event(tube.accession, SpecimenAction.STORED, rack="S12", position="45")
        ingest(session, bench.source(link="track"), [stored])
    page = site.staff("technician").get(f"/staff/lis/specimens/{tube.accession}").text
    for shown in ("流水线：入库存放", "IOM-1", "架 S12", "位置 45"):
        assert shown in page


def test_what_the_line_stores_and_throws_away_stands_in_the_same_racks_as_what_people_store(database: str) -> None:
    laboratory = open_lab()
    with begin() as session:
        first, second = (
            specimens.print_labels(session, order(session, laboratory).id, by="system")[0] for _ in range(2)
        )
        for tube in (first, second):
            specimens.receive(session, tube.accession, by="system")
        bench = Bench(session, laboratory.wang, {})
        ingest(
            session,
            bench.source(link="track"),
            [
                event(first.accession, SpecimenAction.STORED, rack="S12", position="45"),
                event(second.accession, SpecimenAction.STORED, rack="S12", position="45"),
            ],
        )
    for _ in range(2):  # jobs run at least once
        react("lis.storage")
    with begin() as session:
        here = storage.tubes_in(session, storage.rack_by_code(session, "S12").id)
        assert {place: tube.accession for place, (_, tube) in here.items()} == {"45": second.accession}
        assert session.get_one(Specimen, first.id).whereabouts == "retrieved", "its place was given to another"
        later = SpecimenEvent(
            second.accession, SpecimenAction.DISPOSED, occurred_at="2026-11-23T19:15:00", module="IOM-1"
        )
        ingest(session, Bench(session, laboratory.wang, {}, sequence=1).source(link="track"), [later])
    react("lis.storage")
    with begin() as session:
        assert session.get_one(Specimen, second.id).whereabouts == "discarded"
        assert storage.tubes_in(session, storage.rack_by_code(session, "S12").id) == {}
        for tube in (first, second):
            steps = [(each.type, each.detail) for each in lookup.history(session, tube.id)]
            row = session.get_one(Specimen, tube.id)
            assert rules.replay(steps) == (row.state, row.whereabouts)
