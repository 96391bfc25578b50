"""Tubes drawn at a time: two cortisols a day, a glucose series after the load, two sets of a culture."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.catalog import service as catalog
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import OrderItem
from cloud.lis.reports import beside
from cloud.lis.results import judging
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens import collecting, policy, regrouping, requirements, timed, tubes
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenPolicy
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.lab import Lab, open_lab, order, react

pytestmark = pytest.mark.req("LIS-1", "LIS-2")
NURSE = "staff:nurse"


@pytest.fixture(scope="module")
def lab(database_server: DatabaseServer) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        yield open_lab()


@pytest.fixture
def ten_minutes(lab: Lab) -> Iterator[None]:
    with begin() as session:
        policy.set_value(session, "timed_minutes", 10, by="staff:director", reason="护理规定")
    yield
    with begin() as session:
        session.delete(session.scalars(select(SpecimenPolicy)).one())


def drawn_for(lab: Lab, *items: str) -> list[str]:
    """The accessions of an order's tubes in the order in which they are listed at the bedside."""
    with begin() as session:
        placed = order(session, lab, items)
        specimens.print_labels(session, placed.id, by=NURSE)
        waiting = collecting.waiting_for(session, lab.wang)
        return [each.accession for each in waiting if each.order_id == placed.id]


def due(accession: str) -> timed.Due:
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        return timed.due_of(session, [tube]).get(tube.id, timed.NOTHING)


def at_bedside(lab: Lab, accession: str, **more: object) -> list[str]:
    with begin() as session:
        asked = collecting.collect_at_bedside(session, accession, by=NURSE, person_id=lab.wang, **more)[1]  # type: ignore[arg-type]
        return [each.sentence.format(**each.fields) for each in asked]


def the_order(accession: str) -> uuid.UUID:
    with begin() as session:
        return specimens.by_barcode(session, accession).order_id


def test_one_test_for_two_times_of_the_day_is_two_tubes_each_with_its_label_and_its_time(lab: Lab) -> None:
    morning, afternoon = drawn_for(lab, "CORT@08:00", "CORT@16:00")
    with begin() as session:
        both = [specimens.by_barcode(session, each) for each in (morning, afternoon)]
        labels = [tubes.label_of(each).tests for each in tubes.views(session, both)]
    assert ["08:00" in labels[0], "16:00" in labels[1]] == [True, True]
    times = [due(each).at for each in (morning, afternoon)]
    assert [clock.local(each).strftime("%H:%M") for each in times if each] == ["08:00", "16:00"]
    assert all(each is not None and each > clock.now() - timedelta(minutes=1) for each in times)


def test_the_same_test_for_the_same_time_is_ordered_once_and_for_another_time_added(lab: Lab) -> None:
    with begin() as session:
        placed = order(session, lab, ("CORT@08:00", "CORT@08:00"))
        orders.add_tests(session, placed.id, ["CORT@08:00", "CORT@16:00"], by=NURSE)
        assert [each.timing for each in orders.items_of(session, placed.id)] == ["08:00", "16:00"]


def test_a_glucose_series_counts_from_the_load_and_a_tube_off_its_time_asks_why(lab: Lab, ten_minutes: None) -> None:
    series = drawn_for(lab, *(f"GLU@load+{minutes}" for minutes in (0, 30, 60, 120)))
    assert [due(each).timing for each in series] == ["load+0", "load+30", "load+60", "load+120"]
    assert at_bedside(lab, series[0]) == [], "the first is drawn before the glucose"
    (unknown,) = at_bedside(lab, series[1], confirmed=("timed",))
    assert "尚未登记服糖时间" in unknown
    with begin() as session:
        timed.begin(session, the_order(series[0]), "load", by=NURSE, at=clock.now() - timedelta(minutes=35))
    assert at_bedside(lab, series[1]) == [], "five minutes late is within what the director allows"
    (early,) = at_bedside(lab, series[2], confirmed=("timed",), reason="  ")
    assert "早 25 分钟" in early
    assert at_bedside(lab, series[2], confirmed=("timed",), reason="患者要求提前离院") == []
    with begin() as session:
        step = specimens.timeline(session, specimens.by_barcode(session, series[2]).id)[-1]
        assert (step.type, step.reason, step.detail["off_minutes"]) == ("collected", "患者要求提前离院", -25)
        assert "早 25 分钟" in tubes.details(step.detail)
        with pytest.raises(Conflict, match="off_time"):
            timed.refuse_off_time(session, specimens.by_barcode(session, series[3]), clock.now())


def test_the_time_of_the_load_is_corrected_with_a_reason_until_a_tube_was_drawn_by_it(lab: Lab) -> None:
    first, second = drawn_for(lab, "GLU@load+0", "GLU@load+120")
    placed, now = the_order(first), clock.now()
    with begin() as session:
        timed.begin(session, placed, "load", by=NURSE, at=now - timedelta(minutes=20))
        with pytest.raises(Invalid, match="start_known"):
            timed.begin(session, placed, "load", by=NURSE)
        with pytest.raises(Invalid, match="start_in_future"):
            timed.begin(session, placed, "load", by=NURSE, at=now + timedelta(hours=1), reason="误")
        with pytest.raises(Invalid, match="start_unknown"):
            timed.begin(session, placed, "set", by=NURSE)
        timed.begin(session, placed, "load", by=NURSE, at=now - timedelta(minutes=120), reason="时间看错")
    assert due(second).at == now
    assert at_bedside(lab, second, confirmed=("timed",)) == []
    with begin() as session, pytest.raises(Conflict, match="start_used"):
        timed.begin(session, placed, "load", by=NURSE, at=now, reason="再改")


def test_without_a_limit_of_the_director_a_difference_is_shown_and_no_reason_is_asked(lab: Lab) -> None:
    (tube,) = drawn_for(lab, "CORT@2026-01-02T08:00+08:00")
    (late,) = at_bedside(lab, tube)
    assert "应于 01-02 08:00 采集，现在晚" in late
    assert at_bedside(lab, tube, confirmed=("timed",)) == []


def test_a_test_that_is_always_drawn_after_a_meal_brings_its_time_with_it(lab: Lab) -> None:
    with begin() as session:
        test = catalog.test_by_code(session, "GLU_2H")
        assert test is not None
        with pytest.raises(Invalid, match="source_missing"):
            requirements.set_test(session, test.id, {"timing": "餐后 120"}, by=NURSE)
        with pytest.raises(Invalid, match="timing_one"):
            requirements.set_test(session, test.id, {"timing": "8:00 16:00", "source": "项目定义"}, by=NURSE)
        requirements.set_test(session, test.id, {"timing": "餐后 120", "source": "项目名称"}, by=NURSE)
    fasting, after = drawn_for(lab, "GLU", "GLU_2H")
    assert (due(fasting).timing, due(after).timing, due(after).waits_for) == ("", "meal+120", "meal")


def test_tubes_of_different_times_are_not_merged_and_a_rejected_one_keeps_its_time(lab: Lab) -> None:
    from cloud.lis.specimens import refusal

    first, second = drawn_for(lab, "GLU@load+30", "GLU@load+60")
    with begin() as session, pytest.raises(Conflict, match="other_time"):
        regrouping.merge(session, first, second, by=NURSE, reason="省管")
    with begin() as session:
        specimens.receive(session, first, by=NURSE)
        again = refusal.reject(session, first, by=NURSE, reason_code="clotted").replacement
        assert again is not None
        accession = again.accession
    assert due(accession).timing == "load+30"


def test_the_report_says_for_what_time_the_tube_was_drawn(lab: Lab) -> None:
    timed_tube, plain = drawn_for(lab, "GLU@load+60")[0], drawn_for(lab, "GLU")[0]
    with begin() as session:
        assert beside.remarks(session, specimens.by_barcode(session, timed_tube)) == ("采集时点：服糖后60分钟。",)
        assert beside.remarks(session, specimens.by_barcode(session, plain)) == ()


def test_a_time_more_added_after_the_labels_were_printed_gets_a_tube_of_its_own(lab: Lab) -> None:
    first = drawn_for(lab, "CORT@08:00")
    with begin() as session:
        orders.add_tests(session, the_order(first[0]), ["CORT@16:00"], by=NURSE)
    react()
    with begin() as session:
        items = session.execute(
            select(OrderItem.timing, Specimen.accession)
            .join(Specimen, Specimen.id == OrderItem.specimen_id)
            .where(OrderItem.order_id == the_order(first[0]))
            .order_by(OrderItem.timing)
        ).all()
    assert [each.timing for each in items] == ["08:00", "16:00"]
    assert len({each.accession for each in items}) == 2


# ---------------------------------------------------------------------- what a timed value is judged by


def judged_by(lab: Lab, accession: str, code: str) -> judging.Background:
    with begin() as session:
        test = catalog.test_by_code(session, code)
        assert test is not None
        return judging.background(session, specimens.by_barcode(session, accession), [test])


def released(lab: Lab, accession: str, code: str, value: str) -> None:
    """A value of this tube, released a while ago."""
    with begin() as session:
        test = catalog.test_by_code(session, code)
        assert test is not None
        tube = specimens.by_barcode(session, accession)
        item = session.scalars(
            select(OrderItem).where(OrderItem.specimen_id == tube.id, OrderItem.test_id == test.id)
        ).one()
        session.add(
            Result(
                order_item_id=item.id,
                specimen_id=tube.id,
                person_id=tube.person_id,
                test_id=test.id,
                source="manual",
                value_text=value,
                number=Decimal(value),
                unit=test.unit,
                raw_value=value,
                chosen=True,
                state=ResultState.RELEASED,
                received_at=clock.now(),
            )
        )


@pytest.mark.req("LIS-4")
def test_an_hour_after_the_load_no_fasting_range_judges_and_no_fasting_value_is_compared(lab: Lab) -> None:
    fasting, after_an_hour = drawn_for(lab, "GLU@load+0", "GLU@load+60")
    test_id = next(iter(judged_by(lab, fasting, "GLU").facts))
    assert test_id in judged_by(lab, fasting, "GLU").ranges
    assert test_id not in judged_by(lab, after_an_hour, "GLU").ranges
    assert judged_by(lab, after_an_hour, "GLU").facts[test_id].to_json()["timing"] == "load+60"
    assert test_id in judged_by(lab, after_an_hour, "GLU").criticals
    released(lab, fasting, "GLU", "5.1")
    assert judged_by(lab, after_an_hour, "GLU").previous == {}
    (untimed,) = drawn_for(lab, "GLU")
    assert judged_by(lab, untimed, "GLU").previous[test_id].value_text == "5.1"


@pytest.mark.req("LIS-4")
def test_a_timed_value_is_held_against_one_drawn_alike(lab: Lab) -> None:
    first = drawn_for(lab, "CORT@08:00", "CORT@16:00")
    released(lab, first[0], "CORT", "400")
    released(lab, first[1], "CORT", "150")
    second = drawn_for(lab, "CORT@08:00", "CORT@16:00")
    compared = [[each.value_text for each in judged_by(lab, tube, "CORT").previous.values()] for tube in second]
    assert compared == [["400"], ["150"]]
    (untimed,) = drawn_for(lab, "CORT")
    assert judged_by(lab, untimed, "CORT").previous == {}
