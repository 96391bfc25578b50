"""Serum indices come on channels of their own, stay with the tube, and are read by rules and never reported."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from sqlalchemy import select

from cloud.kit.db import begin
from cloud.lis.instruments.model import ChannelKind, Instrument
from cloud.lis.instruments.service import Channel, map_channel
from cloud.lis.results.indices import indices_of
from cloud.lis.results.lines import desk
from cloud.lis.results.model import Result, UnmatchedResult
from cloud.lis.results.service import ingest
from cloud.people.access import Subject
from tests.support.bench import Bench, observed, set_up

pytestmark = pytest.mark.req("LIS-3", "LIS-5")


@pytest.fixture
def bench(database: str) -> Iterator[Bench]:
    """An analyzer whose codes LIPH, LIPI and LIPL are its indices."""
    with begin() as session:
        made = set_up(session)
        instrument = session.scalars(select(Instrument.id)).one()
        for code, kind in (
            ("HEM", ChannelKind.HAEMOLYSIS),
            ("ICT", ChannelKind.ICTERUS),
            ("LIP_IDX", ChannelKind.LIPAEMIA),
        ):
            map_channel(session, instrument, Channel(code, "", sendable=False, kind=kind), by="staff:x")
        session.flush()
        yield made


def test_indices_stay_with_the_tube_the_newest_counts_and_none_is_a_result(bench: Bench) -> None:
    session, specimen = bench.session, bench.specimen("K")
    seen = [observed(specimen, code, value) for code, value in (("K", "5.10"), ("HEM", "35"), ("ICT", "1+"))]
    ingest(session, bench.source(), seen)
    assert indices_of(session, specimen.id) == {"H": Decimal(35), "I": Decimal(1)}
    ingest(session, bench.source(), [observed(specimen, "HEM", ">500", observed_at="2026-11-23T09:30:00")])
    assert indices_of(session, specimen.id)["H"] == Decimal(500)
    assert session.scalars(select(UnmatchedResult)).all() == []
    assert [each.value_text for each in session.scalars(select(Result))] == ["5.10"]
    shown = {each.name: each.value for each in desk(session, Subject("staff:x", sees_all=True), specimen).messages}
    assert shown["ICT"] == "1+"
