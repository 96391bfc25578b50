"""The pages of formulas: checked while one types, kept with examples, approved by another; tried on a real specimen."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Forbidden, Invalid
from cloud.lis.calculation import load as formulas
from cloud.lis.calculation import service
from cloud.lis.calculation.formula import Definition, Example
from cloud.lis.calculation.model import Formula
from cloud.lis.calculation.reading import read_form, written
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.orders.model import OrderItem
from cloud.lis.reflex.model import ReflexRule
from cloud.lis.results.service import ingest
from cloud.staff.access import CurrentStaff
from cloud.staff.roles import permissions_of
from cloud.staff.service import create_account
from tests.support.bench import Bench, observed, set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import PASSWORD, Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("LIS-16", "LIS-3")

PAGE = "/staff/lis/formulas"
PERSON: list[uuid.UUID] = []


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as monkeypatch, database_server.clone() as url, cloud_on(url, monkeypatch):
        hire_cast()
        with begin() as session:
            create_account(session, login="deputy", name="副主任", password=PASSWORD, roles=["director"])
            bench = set_up(session)
            PERSON.append(bench.person_id)
            formulas.load(session)
            for code in ("EGFR", "OSM"):
                test = session.scalars(select(Test.id).where(Test.code == code)).one()
                channel = session.scalars(select(InstrumentChannel).where(InstrumentChannel.test_id == test)).one()
                session.delete(channel)
        with running_site() as running:
            yield running


@pytest.fixture(scope="module")
def director(site: Site) -> Visitor:
    return site.staff("director")


def typed(**changed: str) -> dict[str, str]:
    """The editor's form for an osmolality with another factor."""
    return {
        "test": "OSM",
        "expression": "(1.86*NA + GLU + UREA + 9[mmol/L]) * 1[mOsm*L/kg/mmol]",
        "examples": "NA=140, GLU=5, UREA=5 -> 279.4",
        "source": "本室验证报告 2026-07",
        "reason": "改用本室验证的公式",
        **changed,
    }


def faults_of(page: str) -> list[tuple[str, str]]:
    return [(cell, code) for code, cell in re.findall(r'data-fault="(\w+)" data-cell="([\w.]+)"', page)]


@pytest.mark.parametrize(
    ("changed", "fault", "shown"),
    [
        ({"expression": "NA + GLUC"}, ("expression", "name_unknown"), "<mark>GLUC</mark>"),
        ({"expression": "NA - ALB"}, ("expression", "units_differ"), "mol/L"),
        ({"operands": "CREA == x"}, ("operands", "table_line"), "CREA == x"),
        ({"limits": "age >= 18 : 仅成人"}, ("limit.0", "units_differ"), "<mark>age &gt;= 18</mark>"),
        ({"examples": "NA=140, GLU=5, UREA=5 -> 280"}, ("example.0", "example_differs"), "279"),
        ({"examples": ""}, ("examples", "example_missing"), "算例"),
    ],
)
def test_the_editor_says_what_is_wrong_at_its_cell_and_stores_nothing(
    director: Visitor, changed: dict[str, str], fault: tuple[str, str], shown: str
) -> None:
    director.get(f"{PAGE}/OSM/edit")
    live = director.post(f"{PAGE}/check", typed(**changed), headers={"HX-Request": "true"})
    assert faults_of(live.text) == [fault]
    assert shown in live.text
    assert director.post(PAGE, typed(**changed)).status_code == 422
    with begin() as session:
        osmolality = select(Test.id).where(Test.code == "OSM").scalar_subquery()
        assert session.scalar(select(func.count()).where(Formula.test_id == osmolality, Formula.version > 1)) == 0


def test_a_changed_formula_is_a_draft_that_another_person_approves(director: Visitor, site: Site) -> None:
    director.get(f"{PAGE}/GLB/edit")
    data = typed(test="GLB", expression="TP - ALB", examples="TP=70, ALB=40 -> 30")
    saved = director.post(PAGE, data)
    assert saved.status_code == 200
    with begin() as session:
        glb = session.scalars(select(Test.id).where(Test.code == "GLB")).one()
        draft = session.scalars(select(Formula).where(Formula.test_id == glb, Formula.version == 2)).one()
        assert (draft.state, draft.approved_by) == ("draft", None)
    own = director.post(f"{PAGE}/versions/{draft.id}/approve")
    assert (own.status_code, "不能批准" in own.text) == (403, True)
    deputy = site.staff("deputy")
    deputy.get(f"{PAGE}/GLB")
    assert deputy.post(f"{PAGE}/versions/{draft.id}/approve").status_code == 200
    assert deputy.post(f"{PAGE}/versions/{draft.id}/approve").status_code == 409
    with begin() as session:
        states = session.execute(
            select(Formula.version, Formula.state).where(Formula.test_id == glb).order_by(Formula.version)
        )
        assert [tuple(row) for row in states] == [(1, "retired"), (2, "approved")]
        recorded = session.scalars(select(AuditEntry.action).where(AuditEntry.action.startswith("formula."))).all()
        assert {"formula.edit", "formula.approve"} <= set(recorded)


def test_every_version_stands_on_the_page_with_its_examples_calculated_now(director: Visitor) -> None:
    page = director.get(f"{PAGE}/EGFR").text
    assert "kidney.org" in page
    assert "75.50" in page
    assert "不符" not in page
    assert director.get(f"{PAGE}/NOPE").status_code == 404
    assert all(code in director.get(PAGE).text for code in ("EGFR", "LDL", "AGAP", "HOMA_IR"))


def test_a_formula_is_tried_on_a_real_specimen_without_storing_anything(director: Visitor) -> None:
    with begin() as session:
        bench = Bench(session, PERSON[0], {})
        specimen = bench.specimen("NA", "GLU", "UREA")
        values = [observed(specimen, code, value) for code, value in (("NA", "140"), ("GLU", "5"), ("UREA", "5"))]
        ingest(session, bench.source(), values)
    answer = director.get(f"{PAGE}/OSM/try?code={specimen.barcode}")
    assert answer.status_code == 200
    assert "<strong>290</strong>" in answer.text
    assert director.get(f"{PAGE}/OSM/try?code=999").status_code == 404


@pytest.mark.req("SEC-1")
def test_who_may_not_edit_or_approve_is_refused_by_the_server(site: Site) -> None:
    technician = site.staff("technician")
    assert technician.get(PAGE).status_code == 200
    assert technician.get(f"{PAGE}/new").status_code == 403
    technician.get(PAGE)
    assert technician.post(PAGE, typed()).status_code == 403
    assert technician.post(f"{PAGE}/versions/{uuid.uuid4()}/approve").status_code == 403
    assert site.staff("cashier").get(PAGE).status_code == 403


def person(name: str, *roles: str) -> CurrentStaff:
    return CurrentStaff(uuid.uuid4(), name, name, roles, permissions_of(roles), uuid.uuid4())


def test_the_verbs_refuse_whatever_the_page_would(site: Site) -> None:
    cyclic = Definition("ALB", "TP - GLB", examples=(Example({"TP": "70", "GLB": "30"}, "40"),))
    with begin() as session:
        with pytest.raises(Invalid):
            service.save(session, cyclic, source="x", by=person("甲", "director"))
        good = Definition("TSAT", "FE/TIBC", examples=(Example({"FE": "18", "TIBC": "60"}, "30.0"),))
        with pytest.raises(Forbidden):
            service.save(session, good, source="x", by=person("乙", "technician"))
        with pytest.raises(Invalid):
            service.save(session, good, source=" ", by=person("甲", "director"))


def test_what_is_stored_reads_back_as_it_was_written() -> None:
    for _, definition in formulas.definitions():
        again, faults = read_form(**written(definition))
        assert faults == []
        assert again == definition


def reflex(**changed: str) -> dict[str, str]:
    return {
        "code": "TSH-1",
        "title": "甲功复查",
        "condition": "TSH > 10[mIU/L] and not known(FT4)",
        "act": "add",
        "tests": "ft4",
        "times": "1",
        "source": "本室规程 07",
        **changed,
    }


def test_a_reflex_rule_is_written_with_its_faults_shown_and_acts_when_another_approved_it(
    director: Visitor, site: Site
) -> None:
    page = "/staff/lis/reflex"
    director.get(page)
    wrong = director.post(page, reflex(condition="TSH > 10"))
    assert wrong.status_code == 422
    assert faults_of(wrong.text) == [("condition", "units_differ")]
    assert 'value="TSH &gt; 10"' in wrong.text, "what was typed stays to be mended"
    assert director.post(page, reflex()).status_code == 200
    with begin() as session:
        rule = session.scalars(select(ReflexRule)).one()
        assert (rule.state, rule.tests) == ("draft", ["FT4"])
    assert director.post(f"{page}/{rule.id}/approve").status_code == 403
    deputy = site.staff("deputy")
    deputy.get(page)
    assert deputy.post(f"{page}/{rule.id}/approve").status_code == 200
    with begin() as session:
        bench = Bench(session, PERSON[0], {})
        specimen = bench.specimen("TSH")
        ingest(session, bench.source(), [observed(specimen, "TSH", "12.5")])
        ordered = session.scalars(
            select(Test.code).join(OrderItem, OrderItem.test_id == Test.id).where(OrderItem.specimen_id == specimen.id)
        )
        assert set(ordered) == {"TSH", "FT4"}
    assert deputy.post(f"{page}/{rule.id}/retire", {"reason": "改用新规程"}).status_code == 200
    assert site.staff("cashier").get(page).status_code == 403


def test_the_lists_of_reruns_and_of_recalculated_values_say_when_they_are_empty(site: Site) -> None:
    technician = site.staff("technician")
    assert "没有等待复检的结果" in technician.get("/staff/lis/reruns").text
    assert "没有发布后重算的结果" in technician.get("/staff/lis/recalculated").text
    assert site.staff("cashier").get("/staff/lis/reruns").status_code == 403
