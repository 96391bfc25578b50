"""Calculated tests of a specimen: from chosen operands, again when one changes, never over a released value."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock, jobs
from cloud.kit.db import begin, new_session
from cloud.lis.calculation import load as formulas
from cloud.lis.calculation.model import AddedItem, Formula
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.reports import service as reports
from cloud.lis.results import review, sheets
from cloud.lis.results.calculating import follow
from cloud.lis.results.correction import Correction
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.people.rules import PersonDetails
from cloud.people.service import register
from tests.support.bench import Bench, observed, pathologist, set_up
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("LIS-3", "LIS-5")

CALCULATED_HERE = ("EGFR", "LDL", "NONHDL", "GLB", "AG_RATIO", "IBIL", "AGAP", "CA_ADJ", "CCR")


@pytest.fixture(scope="module")
def laboratory(database_server: DatabaseServer) -> Iterator[None]:
    """One database for the module; each test works in a transaction that is taken back."""
    with pytest.MonkeyPatch.context() as monkeypatch, database_server.clone() as url, cloud_on(url, monkeypatch):
        with begin() as session:
            set_up(session)
            formulas.load(session)
            calculated = select(Test.id).where(Test.code.in_(CALCULATED_HERE))
            for channel in session.scalars(select(InstrumentChannel).where(InstrumentChannel.test_id.in_(calculated))):
                session.delete(channel)
        yield


@pytest.fixture
def bench(laboratory: None) -> Iterator[Bench]:
    with new_session() as session:
        yield Bench(session, fifty(session, "F"), {each.code: each for each in session.scalars(select(Test))})
        session.rollback()


def fifty(session: Session, sex: str) -> uuid.UUID:
    """Somebody who is 50 today: the reference has 68.63 (F) and 91.69 (M) for 88.4 μmol/L."""
    today = clock.today()
    born = date(today.year - 50, today.month, min(today.day, 28))
    return register(session, PersonDetails(name="王五十", sex=sex, birth_date=born, identifiers=()), by="system").id


def send(bench: Bench, specimen: Specimen, at: str = "09:00:00", **values: str) -> None:
    """The analyzer sends values; `at`: the time of day it says."""
    moment = f"2026-11-23T{at}"
    ingest(
        bench.session,
        bench.source(),
        [observed(specimen, code, value, observed_at=moment) for code, value in values.items()],
    )


def chosen(session: Session, specimen: Specimen, code: str) -> Result | None:
    return session.scalar(
        select(Result)
        .join(Test, Test.id == Result.test_id)
        .where(Result.specimen_id == specimen.id, Test.code == code, Result.chosen)
        .execution_options(populate_existing=True)
    )


def value(bench: Bench, specimen: Specimen, code: str) -> str | None:
    found = chosen(bench.session, specimen, code)
    return None if found is None else found.value_text


def release(bench: Bench, specimen: Specimen) -> object:
    session, by = bench.session, pathologist()
    review.mark_reviewed(session, specimen.id, by=by, version=sheets.version_of(session, specimen.id))
    return reports.release(session, specimen.id, by=by, version=sheets.version_of(session, specimen.id), partial=True)


def test_an_ordered_calculated_test_appears_with_its_formula_and_operands(bench: Bench) -> None:
    specimen = bench.specimen("CREA", "EGFR")
    send(bench, specimen, CREA="88.4")
    found = chosen(bench.session, specimen, "EGFR")
    assert found is not None
    assert (found.source, found.instrument_id, found.unit, found.state) == (
        "calculated",
        None,
        "mL/min/1.73m²",
        ResultState.RECEIVED,
    )
    told = found.details["calculation"]
    assert [(each["test"], each["value"], each["unit"]) for each in told["operands"]] == [("CREA", "88.4", "μmol/L")]
    assert (told["sex"], told["age"], told["formula"]["version"]) == ("F", 50, 1)
    assert found.decision["versions"]["formula"] == told["formula"]
    assert found.draft, "a draft formula marks what it calculates"
    formula = bench.session.get_one(Formula, found.formula_id)
    assert told["expression"] == formula.expression


@pytest.mark.req("LIS-5")
def test_sex_and_age_are_the_persons_whatever_the_instrument_says(bench: Bench) -> None:
    """The observation's own reference range and comments are information; a man's formula is used for a man."""
    session = bench.session
    hers, his = bench.specimen("CREA", "EGFR"), bench.specimen("CREA", "EGFR", person_id=fifty(session, "M"))
    for specimen in (hers, his):
        says = observed(specimen, "CREA", "88.4", reference_range="M 18-60", comments=("SEX=M AGE=70",))
        ingest(session, bench.source(), [says])
    assert (value(bench, hers, "EGFR"), value(bench, his, "EGFR")) == ("69", "92")


def test_a_rerun_of_an_operand_calculates_again_and_keeps_the_first(bench: Bench) -> None:
    specimen = bench.specimen("TC", "HDL", "TG", "LDL")
    send(bench, specimen, TC="5.20", HDL="1.30")
    assert value(bench, specimen, "LDL") is None
    send(bench, specimen, TG="1.70")
    assert value(bench, specimen, "LDL") == "3.13"
    send(bench, specimen, "09:30:00", TC="6.20")
    assert value(bench, specimen, "LDL") == "4.13"
    runs = bench.session.scalars(
        select(Result)
        .where(Result.source == "calculated", Result.test_id == bench.tests["LDL"].id)
        .order_by(Result.run)
    ).all()
    assert [(each.value_text, each.state, each.chosen) for each in runs] == [
        ("3.13", ResultState.SUPERSEDED, False),
        ("4.13", ResultState.RECEIVED, True),
    ]


def test_the_same_message_again_calculates_nothing_again(bench: Bench) -> None:
    specimen = bench.specimen("CREA", "EGFR")
    send(bench, specimen, CREA="88.4")
    send(bench, specimen, CREA="88.4")
    assert follow(bench.session, specimen) == []
    rows = bench.session.scalars(select(Result.id).where(Result.source == "calculated")).all()
    assert len(rows) == 1


def test_outside_of_its_limits_a_formula_says_so_and_is_held(bench: Bench) -> None:
    specimen = bench.specimen("TC", "HDL", "TG", "LDL")
    send(bench, specimen, TC="7.00", HDL="0.90", TG="4.60")
    found = chosen(bench.session, specimen, "LDL")
    assert found is not None
    assert (found.number, found.held) == (None, True)
    assert "4.5 mmol/L" in found.value_text
    assert [each["code"] for each in found.decision["reasons"]] == ["not_calculated"]


@pytest.mark.parametrize(("sent", "code"), [(">900.0", "operand_sign"), ("溶血", "operand_text")])
def test_a_sign_or_a_word_is_never_calculated_with(bench: Bench, sent: str, code: str) -> None:
    specimen = bench.specimen("CREA", "EGFR")
    send(bench, specimen, CREA=sent)
    found = chosen(bench.session, specimen, "EGFR")
    assert found is not None
    assert (found.value_text, found.number, found.held) == ("无法计算", None, True)
    assert found.details["calculation"]["code"] == code


def test_an_operand_in_an_unexpected_unit_blocks(bench: Bench) -> None:
    specimen = bench.specimen("CREA", "EGFR")
    ingest(bench.session, bench.source(), [observed(specimen, "CREA", "0.70", unit="mg/dL")])
    found = chosen(bench.session, specimen, "EGFR")
    assert found is not None
    assert (found.number, found.details["calculation"]["code"]) == (None, "operand_unit")


def test_a_held_operand_holds_what_is_calculated_from_it_until_a_person_saw_it(bench: Bench) -> None:
    specimen = bench.specimen("CREA", "EGFR")
    ingest(bench.session, bench.source(), [observed(specimen, "CREA", "88.4", flags=("A",))])
    found = chosen(bench.session, specimen, "EGFR")
    assert found is not None
    assert found.held
    assert {"code": "operand_held", "holds": True, "fields": {"tests": ["CREA"]}} in found.decision["reasons"]


def test_while_an_operand_is_measured_again_there_is_no_calculated_value(bench: Bench) -> None:
    specimen, by = bench.specimen("CREA", "EGFR"), pathologist()
    send(bench, specimen, CREA="88.4")
    creatinine = chosen(bench.session, specimen, "CREA")
    assert creatinine is not None
    version = sheets.version_of(bench.session, specimen.id)
    review.request_rerun(bench.session, specimen.id, by=by, version=version, result_id=creatinine.id)
    assert value(bench, specimen, "EGFR") is None
    states = {each.test_id: each.state for each in bench.items_of(specimen)}
    assert states[bench.tests["EGFR"].id] == ItemState.RECEIVED
    send(bench, specimen, "10:00:00", CREA="176.8")
    assert value(bench, specimen, "EGFR") == "30"


def test_choosing_another_run_of_an_operand_calculates_from_it(bench: Bench) -> None:
    specimen, by = bench.specimen("CREA", "EGFR"), pathologist()
    send(bench, specimen, CREA="88.4")
    first = chosen(bench.session, specimen, "CREA")
    send(bench, specimen, "09:30:00", CREA="176.8")
    assert first is not None
    version = sheets.version_of(bench.session, specimen.id)
    review.choose(bench.session, specimen.id, by=by, version=version, result_id=first.id, reason="第二次吸样不足")
    assert value(bench, specimen, "EGFR") == "69"


def test_a_typed_operand_calculates_too_and_a_typed_value_is_not_replaced(bench: Bench) -> None:
    specimen, by, session = bench.specimen("CREA", "EGFR"), pathologist(), bench.session
    review.enter(session, specimen.id, by=by, version=0, test_id=bench.tests["CREA"].id, value="88.4")
    assert value(bench, specimen, "EGFR") == "69"
    version = sheets.version_of(session, specimen.id)
    egfr = bench.tests["EGFR"].id
    review.enter(session, specimen.id, by=by, version=version, test_id=egfr, value="90", reason="按外院公式")
    send(bench, specimen, "10:00:00", CREA="176.8")
    found = chosen(session, specimen, "EGFR")
    assert found is not None
    assert (found.value_text, found.source) == ("90", "typed")


def test_tests_that_add_themselves_come_uncharged_with_the_reason(bench: Bench) -> None:
    specimen = bench.specimen("TP", "ALB", "TBIL", "DBIL")
    send(bench, specimen, TP="72.0", ALB="42.0", TBIL="20.0", DBIL="6.0")
    assert [value(bench, specimen, code) for code in ("GLB", "AG_RATIO", "IBIL")] == ["30.0", "1.40", "14.0"]
    added = bench.session.scalars(select(AddedItem)).all()
    assert {(each.reason, each.charged) for each in added} == {("calculated", False)}
    assert len(added) == 3
    items = bench.session.scalars(select(OrderItem.state).where(OrderItem.id.in_([e.order_item_id for e in added])))
    assert set(items) == {ItemState.RESULTED}


def test_a_measured_test_is_waited_for_and_never_calculated(bench: Bench) -> None:
    specimen = bench.specimen("HCT", "RBC", "MCV")
    send(bench, specimen, HCT="0.405", RBC="4.50")
    assert value(bench, specimen, "MCV") is None


@pytest.mark.req("LIS-7")
def test_a_released_value_is_never_overwritten_the_new_one_is_listed_beside_it(bench: Bench) -> None:
    specimen, by, session = bench.specimen("CREA", "EGFR"), pathologist(), bench.session
    send(bench, specimen, CREA="88.4")
    release(bench, specimen)
    from cloud.lis.reports import amending
    from cloud.lis.reports.model import Report

    report = session.scalar(select(Report).where(Report.specimen_id == specimen.id))
    assert report is not None
    amending.amend(
        session,
        report.id,
        by=by,
        version=report.version,
        corrections=[Correction(bench.tests["CREA"].id, value="176.8")],
        reason="标本复查",
    )
    found = chosen(session, specimen, "EGFR")
    assert found is not None
    assert (found.value_text, found.state) == ("69", ResultState.RELEASED)
    [listed] = session.scalars(select(Result).where(Result.source == "calculated", Result.after_release)).all()
    assert (listed.value_text, listed.chosen, listed.state) == ("30", False, ResultState.RECEIVED)
    assert follow(session, specimen) == [], "listed once"


def test_an_operand_of_another_tube_within_its_window_is_used_by_a_job(bench: Bench) -> None:
    session = bench.session
    urine, blood = bench.specimen("U_CREA", "U_VOL24", "CCR"), bench.specimen("CREA")
    send(bench, urine, U_CREA="8.80", U_VOL24="1440")
    assert value(bench, urine, "CCR") is None
    send(bench, blood, CREA="88.0")
    jobs.registered()["lis.results.calculate"].run(session, specimen_id=str(urine.id))
    assert value(bench, urine, "CCR") == "100.0"
    found = chosen(session, urine, "CCR")
    assert found is not None
    assert {each["specimen"] for each in found.details["calculation"]["operands"]} == {str(urine.id), str(blood.id)}


def test_an_operand_of_another_tube_beyond_its_window_is_not_used(bench: Bench) -> None:
    session = bench.session
    urine, blood = bench.specimen("U_CREA", "U_VOL24", "CCR"), bench.specimen("CREA")
    assert blood.collected_at is not None
    blood.collected_at -= timedelta(hours=49)
    session.flush()
    send(bench, blood, CREA="88.0")
    send(bench, urine, U_CREA="8.80", U_VOL24="1440")
    assert value(bench, urine, "CCR") is None


def test_a_new_verdict_keeps_what_the_formula_said(bench: Bench) -> None:
    specimen, by = bench.specimen("CREA", "EGFR"), pathologist()
    send(bench, specimen, CREA="88.4")
    version = sheets.version_of(bench.session, specimen.id)
    review.judge_again(bench.session, specimen.id, by=by, version=version)
    found = chosen(bench.session, specimen, "EGFR")
    assert found is not None
    assert found.decision["versions"]["formula"]["version"] == 1
    assert found.draft
