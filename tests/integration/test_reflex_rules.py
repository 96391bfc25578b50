"""Reflex and repeat rules on real specimens: what an approved rule does, once, and what stops it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin, new_session
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.lis.calculation.model import AddedItem
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.reflex import service
from cloud.lis.reflex.model import ReflexAction, ReflexRule
from cloud.lis.reflex.rule import Act, Rule
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.lis.worklists.service import wanted_by_gateway
from cloud.people.model import Person
from cloud.staff.access import CurrentStaff
from cloud.staff.roles import permissions_of
from tests.support.bench import Bench, observed, set_up
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("LIS-3")


def person(*roles: str) -> CurrentStaff:
    return CurrentStaff(uuid.uuid4(), roles[0], roles[0], roles, permissions_of(roles), uuid.uuid4())


AUTHOR, APPROVER = person("director"), person("director")
FT4 = Rule("TSH > 10[mIU/L]", Act.ADD, ("FT4",), charged=True)


@pytest.fixture(scope="module")
def laboratory(database_server: DatabaseServer) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch, database_server.clone() as url, cloud_on(url, monkeypatch):
        with begin() as session:
            set_up(session)
        yield


@pytest.fixture
def bench(laboratory: None) -> Iterator[Bench]:
    """Each test works in a transaction that is taken back."""
    with new_session() as session:
        wang = session.scalars(select(Person.id)).first()
        assert wang is not None
        yield Bench(session, wang, {each.code: each for each in session.scalars(select(Test))})
        session.rollback()


def in_force(bench: Bench, rule: Rule, code: str = "R1") -> ReflexRule:
    row = service.save(bench.session, code, rule, title="复查规则", source="本室规程 01", by=AUTHOR)
    return service.approve(bench.session, row.id, by=APPROVER)


def send(bench: Bench, specimen: Specimen, at: str = "09:00:00", **values: str) -> None:
    seen = [observed(specimen, code, value, observed_at=f"2026-11-23T{at}") for code, value in values.items()]
    ingest(bench.session, bench.source(), seen)


def actions(bench: Bench, specimen: Specimen) -> list[ReflexAction]:
    found = select(ReflexAction).where(ReflexAction.specimen_id == specimen.id).order_by(ReflexAction.number)
    return list(bench.session.scalars(found))


def chosen(bench: Bench, specimen: Specimen, code: str) -> Result:
    test = bench.tests[code].id
    return bench.session.scalars(
        select(Result).where(Result.specimen_id == specimen.id, Result.test_id == test, Result.chosen)
    ).one()


def test_a_test_is_added_on_the_same_specimen_with_its_reason_and_goes_to_the_analyzer(bench: Bench) -> None:
    rule = in_force(bench, FT4)
    specimen = bench.specimen("TSH")
    send(bench, specimen, TSH="12.500")
    added = bench.session.scalars(select(AddedItem)).one()
    assert (added.reason, added.charged, added.rule_id) == ("reflex", True, rule.id)
    item = bench.session.get_one(OrderItem, added.order_item_id)
    assert (item.specimen_id, item.state) == (specimen.id, ItemState.RECEIVED)
    [orders] = wanted_by_gateway(bench.session, specimen).values()
    assert "FT4" in orders["xn"]["codes"]
    [action] = actions(bench, specimen)
    assert (action.done, action.detail["read"], action.detail["added"]) == (True, {"TSH": "12.500"}, ["FT4"])
    recorded = bench.session.scalars(select(AuditEntry).where(AuditEntry.action == "reflex.add")).one()
    assert recorded.actor == "rule:R1/1"


def test_a_rule_acts_once_however_often_the_values_come(bench: Bench) -> None:
    in_force(bench, FT4)
    specimen = bench.specimen("TSH")
    for at in ("09:00:00", "09:10:00", "09:20:00"):
        send(bench, specimen, at, TSH="12.5")
    assert len(actions(bench, specimen)) == 1


def test_a_value_that_does_not_meet_the_condition_and_a_draft_do_nothing(bench: Bench) -> None:
    service.save(bench.session, "R1", FT4, title="复查规则", source="本室规程 01", by=AUTHOR)
    high = bench.specimen("TSH")
    send(bench, high, TSH="12.5")
    assert actions(bench, high) == []
    in_force(bench, FT4)
    normal = bench.specimen("TSH")
    send(bench, normal, TSH="3.1")
    assert actions(bench, normal) == []


def test_what_is_ordered_already_or_needs_another_tube_is_kept_with_why(bench: Bench) -> None:
    in_force(bench, FT4)
    both = bench.specimen("TSH", "FT4")
    send(bench, both, TSH="12.5")
    assert [(each.done, each.why) for each in actions(bench, both)] == [(False, "ordered_already")]
    in_force(bench, Rule("TSH > 10[mIU/L]", Act.ADD, ("U_PRO",)), "R2")
    urine = bench.specimen("TSH")
    send(bench, urine, TSH="12.5")
    assert {(each.code, each.why) for each in actions(bench, urine)} == {("R1", ""), ("R2", "other_specimen")}


def test_a_repeat_is_asked_for_a_limited_number_of_times(bench: Bench) -> None:
    in_force(bench, Rule("K > 6[mmol/L]", Act.REPEAT, ("K",), times=2))
    specimen = bench.specimen("K")
    for at in ("09:00:00", "09:10:00", "09:20:00"):
        send(bench, specimen, at, K="7.10")
    assert [each.number for each in actions(bench, specimen)] == [1, 2]
    last = chosen(bench, specimen, "K")
    assert (last.run, last.rerun_requested_at) == (3, None), "the third value is left to a person"
    runs = bench.session.scalars(select(Result).where(Result.specimen_id == specimen.id)).all()
    assert len(runs) == 3, "every run is kept"


def test_a_dilution_stands_with_the_request_and_the_first_value_stays(bench: Bench) -> None:
    in_force(bench, Rule("flag(ALT) = 'H' and ALT > 1000[U/L]", Act.DILUTE, ("ALT",), dilution="10"))
    specimen = bench.specimen("ALT")
    send(bench, specimen, ALT="1200.0")
    waiting = chosen(bench, specimen, "ALT")
    assert waiting.rerun_requested_at is not None
    assert waiting.details["rerun"]["dilution"] == "10"
    assert waiting.value_text == "1200.0"


def test_a_comment_is_said_once(bench: Bench) -> None:
    in_force(bench, Rule("K > 6[mmol/L]", Act.COMMENT, ("K",), text="请结合溶血情况", times=3))
    specimen = bench.specimen("K")
    send(bench, specimen, K="7.10")
    send(bench, specimen, "09:30:00", K="7.20")
    assert chosen(bench, specimen, "K").comments == ["请结合溶血情况"]


def test_no_specimen_is_acted_on_more_than_ten_times(bench: Bench) -> None:
    for number in range(12):
        in_force(bench, Rule("K > 6[mmol/L]", Act.COMMENT, ("K",), text=f"说明 {number}"), f"C{number:02d}")
    specimen = bench.specimen("K")
    send(bench, specimen, K="7.10")
    assert len(actions(bench, specimen)) == 10


@pytest.mark.req("LIS-16", "SEC-1")
def test_who_wrote_a_rule_does_not_approve_it_and_faults_and_circles_are_refused(bench: Bench) -> None:
    session = bench.session
    row = service.save(session, "R1", FT4, title="甲功复查", source="本室规程 01", by=AUTHOR)
    with pytest.raises(Forbidden):
        service.approve(session, row.id, by=AUTHOR)
    with pytest.raises(Forbidden):
        service.approve(session, row.id, by=person("technician"))
    service.approve(session, row.id, by=APPROVER)
    with pytest.raises(Conflict):
        service.approve(session, row.id, by=APPROVER)
    back = Rule("FT4 < 10[pmol/L]", Act.ADD, ("TSH",))
    with pytest.raises(Invalid):
        service.save(session, "R2", back, title="回环", source="x", by=AUTHOR)
    with pytest.raises(Forbidden):
        service.save(session, "R3", FT4, title="x", source="x", by=person("technician"))
    with pytest.raises(Invalid):
        service.save(session, "R3", FT4, title="x", source=" ", by=AUTHOR)


def test_a_new_version_ends_the_one_before_and_a_retired_rule_is_silent(bench: Bench) -> None:
    in_force(bench, FT4)
    second = in_force(bench, Rule("TSH > 20[mIU/L]", Act.ADD, ("FT4",)))
    specimen = bench.specimen("TSH")
    send(bench, specimen, TSH="12.5")
    assert actions(bench, specimen) == []
    with pytest.raises(Invalid):
        service.retire(bench.session, second.id, by=APPROVER, reason="")
    service.retire(bench.session, second.id, by=APPROVER, reason="不再需要")
    send(bench, specimen, "10:00:00", TSH="25.0")
    assert actions(bench, specimen) == []
