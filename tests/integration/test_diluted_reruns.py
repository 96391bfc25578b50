"""Diluted reruns: told to the analyzer whose orders can say it, else made by hand; the factor counts once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin, new_session
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.reflex import service as rules
from cloud.lis.reflex.rule import Act, Rule
from cloud.lis.results import dilution, reruns, review
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.results.sheets import version_of
from cloud.lis.results.typed import TypedValue
from cloud.lis.results.value_entry import enter_value
from cloud.lis.specimens.model import Specimen
from cloud.lis.worklists.service import wanted_by_gateway
from cloud.people.access import Subject
from cloud.people.model import Person
from cloud.staff.access import CurrentStaff
from cloud.staff.roles import permissions_of
from tests.support.bench import Bench, observed, set_up, technician
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("LIS-3")
BY = technician()


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


def analyzer(bench: Bench, driver: str) -> None:
    bench.session.scalars(select(Instrument)).one().driver = driver
    bench.session.flush()


def chosen(bench: Bench, specimen: Specimen, code: str = "AFP") -> Result:
    return bench.session.scalars(
        select(Result).where(Result.specimen_id == specimen.id, Result.test_id == bench.tests[code].id, Result.chosen)
    ).one()


def measured(
    bench: Bench, specimen: Specimen, value: str, minutes: int = 5, code: str = "AFP", **said: object
) -> Result:
    """A value measured that many minutes from now."""
    at = clock.local(clock.now() + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat(timespec="seconds")
    ingest(bench.session, bench.source(), [observed(specimen, code, value, observed_at=at, **said)])
    return chosen(bench, specimen, code)


def under_rerun(bench: Bench, value: str = ">1000", code: str = "AFP") -> tuple[Specimen, Result]:
    specimen = bench.specimen(code)
    result = measured(bench, specimen, value, -60, code)
    version = version_of(bench.session, specimen.id)
    review.request_rerun(bench.session, specimen.id, by=BY, version=version, result_id=result.id)
    return specimen, result


def ordered(bench: Bench, specimen: Specimen) -> list[list[str]]:
    """The dilutions in the worklist of the box."""
    found: list[list[str]] = wanted_by_gateway(bench.session, specimen)["box-1"]["xn"].get("dilutions", [])
    return found


def codes(result: Result) -> set[str]:
    return {each["code"] for each in result.decision["reasons"]}


def test_a_dilution_reaches_the_worklist_of_an_analyzer_that_can_be_told(bench: Bench) -> None:
    analyzer(bench, "diasorin_liaison")
    specimen, result = under_rerun(bench)
    assert ordered(bench, specimen) == []
    dilution.ask(bench.session, result.id, "1:10", by=BY)
    assert ordered(bench, specimen) == [["AFP", "10"]]
    after = measured(bench, specimen, "1820", dilution="1:10")
    assert after.value_text == "1820", "the analyzer multiplied it"
    assert (after.details["dilution"], after.run) == ("1:10", 2)
    assert ordered(bench, specimen) == [], "the next order is of the whole specimen"


def test_a_dilution_that_a_rule_asks_for_reaches_the_worklist_too(bench: Bench) -> None:
    analyzer(bench, "diasorin_liaison")
    author, approver = (
        CurrentStaff(uuid.uuid4(), name, name, ("director",), permissions_of(("director",)), uuid.uuid4())
        for name in ("author", "approver")
    )
    rule = Rule("AFP > 1000[μg/L]", Act.DILUTE, ("AFP",), dilution="20")
    row = rules.save(bench.session, "D1", rule, title="AFP 稀释", source="本室规程 02", by=author)
    rules.approve(bench.session, row.id, by=approver)
    specimen = bench.specimen("AFP")
    measured(bench, specimen, "1200", -60)
    assert ordered(bench, specimen) == [["AFP", "20"]]


def test_an_analyzer_that_cannot_be_told_leaves_it_to_the_technician(bench: Bench) -> None:
    analyzer(bench, "sysmex_xn")
    specimen, result = under_rerun(bench)
    dilution.ask(bench.session, result.id, "10", by=BY)
    assert ordered(bench, specimen) == []
    [row] = [
        each for each in reruns.waiting(bench.session, Subject("system", sees_all=True)) if each.result.id == result.id
    ]
    assert (row.dilution, row.diluting, row.by_hand) == ("10", (), "")


def test_a_dilution_by_hand_is_in_the_next_value_and_in_no_other(bench: Bench) -> None:
    analyzer(bench, "diasorin_liaison")
    specimen, result = under_rerun(bench)
    dilution.ask(bench.session, result.id, "10", by=BY)
    dilution.declare(bench.session, result.id, "10", by=BY)
    assert ordered(bench, specimen) == [], "or the analyzer would dilute the diluted tube"
    first = measured(bench, specimen, "182.0", 5)
    assert (first.value_text, first.raw_value, first.details["hand_dilution"]) == ("1820.00", "182.0", "10")
    assert "hand_dilution" in codes(first)
    again = measured(bench, specimen, "182.0", 5)
    assert again.id == first.id, "sent once more by itself it is the same value"
    second = measured(bench, specimen, "182.0", 9)
    assert (second.value_text, second.run) == ("182.0", 3), "nobody said that this run is of a diluted tube"


def test_the_bound_of_a_sign_is_multiplied_and_never_rounded(bench: Bench) -> None:
    specimen, result = under_rerun(bench)
    dilution.declare(bench.session, result.id, "3", by=BY)
    assert measured(bench, specimen, ">1000.55").value_text == ">3001.65"


def test_a_value_that_may_be_multiplied_already_is_left_alone_and_held(bench: Bench) -> None:
    specimen, result = under_rerun(bench)
    dilution.declare(bench.session, result.id, "10", by=BY)
    twice = measured(bench, specimen, "1820", dilution="1:10")
    assert (twice.value_text, twice.held) == ("1820", True)
    assert "dilution_doubt" in codes(twice)
    specimen, result = under_rerun(bench)
    dilution.declare(bench.session, result.id, "10", by=BY)
    before = measured(bench, specimen, "990", -30)
    assert (before.value_text, before.held) == ("990", True), "measured before the tube was diluted"
    assert "dilution_doubt" in codes(before)


def test_a_value_typed_after_a_dilution_by_hand_is_multiplied_by_what_is_typed_only(bench: Bench) -> None:
    def typed(text: str, **said: str) -> Result:
        specimen, result = under_rerun(bench)
        dilution.declare(bench.session, result.id, "10", by=BY)
        value = TypedValue(text, **said)
        return enter_value(bench.session, specimen, bench.tests["AFP"], value, by=BY, seen=result.id, reason="复检")

    with_factor = typed("182*10")
    assert (with_factor.value_text, "dilution_doubt" in codes(with_factor)) == ("1820.00", False)
    without = typed("182")
    assert (without.value_text, "dilution_doubt" in codes(without)) == ("182", True)


def test_what_was_said_of_the_dilution_is_in_the_audit_trail(bench: Bench) -> None:
    specimen, result = under_rerun(bench)
    dilution.ask(bench.session, result.id, "10", by=BY)
    dilution.declare(bench.session, result.id, "5", by=BY)
    entries = bench.session.scalars(
        select(AuditEntry)
        .where(AuditEntry.aggregate_id == str(specimen.id), AuditEntry.kind == "specimen")
        .order_by(AuditEntry.number)
    ).all()
    assert [each.action for each in entries][-2:] == ["result.rerun_dilution", "result.diluted_by_hand"]
    dilution.ask(bench.session, result.id, "", by=BY)
    assert measured(bench, specimen, "700").value_text == "700", "taken back"


@pytest.mark.parametrize("factor", ["1", "0", "abc", "1.5", "100001", "-3"])
def test_a_factor_that_is_none_is_refused(bench: Bench, factor: str) -> None:
    _, result = under_rerun(bench)
    with pytest.raises(Invalid):
        dilution.declare(bench.session, result.id, factor, by=BY)


def test_a_ratio_and_a_value_that_is_not_waited_for_cannot_be_diluted(bench: Bench) -> None:
    _, ratio = under_rerun(bench, "9.9", "INR")
    with pytest.raises(Invalid) as refused:
        dilution.declare(bench.session, ratio.id, "10", by=BY)
    assert refused.value.code == "rerun.no_dilution"
    specimen = bench.specimen("AFP")
    plain = measured(bench, specimen, "5")
    with pytest.raises(Conflict):
        dilution.ask(bench.session, plain.id, "10", by=BY)
