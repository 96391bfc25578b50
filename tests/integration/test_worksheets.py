"""Worksheets: made of what waits, typed into cell by cell or whole, wrong and doubled entries refused with the cure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from cloud.kit.db import begin
from cloud.lis.calculation import load as formulas
from cloud.lis.catalog.model import Test
from cloud.lis.results import choices
from cloud.lis.results.double_entry import FirstEntry
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.lis.worksheets import service
from cloud.lis.worksheets.model import Worksheet
from tests.support.bench import Bench, observed, set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("LIS-3", "LIS-18")

PAGE = "/staff/lis/worksheets"


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    """One site for the module: each test works on specimens and worksheets of its own."""
    with pytest.MonkeyPatch.context() as monkeypatch, database_server.clone() as url, cloud_on(url, monkeypatch):
        hire_cast()
        with begin() as session:
            bench = set_up(session)
            formulas.load(session)
            choices.load(session)
            PERSON.append(bench.person_id)
        with running_site() as running:
            yield running


PERSON: list[uuid.UUID] = []


@pytest.fixture(scope="module")
def technician(site: Site) -> Visitor:
    return site.staff("technician")


def tubes(*codes: str, number: int = 1) -> list[Specimen]:
    """Received tubes with these tests."""
    with begin() as session:
        bench = Bench(session, PERSON[0], {})
        return [bench.specimen(*codes) for _ in range(number)]


def made(visitor: Visitor, codes: str) -> str:
    """The address of a new worksheet; every worksheet before it is closed, so that its tubes are these tests'."""
    visitor.get(PAGE)
    answer = visitor.post(PAGE, {"tests": codes, "title": ""})
    assert answer.status_code == 200, answer.text[:400]
    assert answer.url.path.startswith(f"{PAGE}/"), answer.text
    return answer.url.path


def test_id(code: str) -> str:
    with begin() as session:
        return str(session.scalars(select(Test.id).where(Test.code == code)).one())


test_id.__test__ = False  # type: ignore[attr-defined]


def seen_on(visitor: Visitor, sheet: str, specimen: Specimen, code: str) -> str:
    page = visitor.get(sheet).text
    found = re.search(rf'data-cell="{specimen.id}:{test_id(code)}".*?name="seen" value="([^"]*)"', page, re.S)
    assert found, "the cell is on the page"
    return found[1]


def fill(visitor: Visitor, sheet: str, specimen: Specimen, code: str, value: str, **more: str) -> tuple[int, str]:
    """What leaving a cell sends, with what the page shows there."""
    seen = more.pop("seen", None)
    data = {
        "specimen": str(specimen.id),
        "test": test_id(code),
        "value": value,
        "seen": seen_on(visitor, sheet, specimen, code) if seen is None else seen,
        **more,
    }
    answer = visitor.post(f"{sheet}/cell", data, headers={"HX-Request": "true"})
    return answer.status_code, answer.text


def value_of(specimen: Specimen, code: str) -> str | None:
    with begin() as session:
        return session.scalar(
            select(Result.value_text)
            .join(Test, Test.id == Result.test_id)
            .where(Result.specimen_id == specimen.id, Test.code == code, Result.chosen)
        )


def finish(visitor: Visitor, sheet: str) -> None:
    visitor.post(f"{sheet}/close")


def test_a_worksheet_is_made_of_what_waits_the_oldest_first_and_typed_into(technician: Visitor) -> None:
    first, second = tubes("ESR", number=2)
    sheet = made(technician, "esr")
    page = technician.get(sheet).text
    assert page.index(first.barcode) < page.index(second.barcode)
    assert fill(technician, sheet, first, "ESR", "12")[0] == 200
    assert fill(technician, sheet, second, "ESR", ">140")[0] == 200
    assert (value_of(first, "ESR"), value_of(second, "ESR")) == ("12", ">140")
    with begin() as session:
        typed = session.scalars(select(Result).where(Result.specimen_id == first.id)).one()
        assert (typed.source, typed.entered_by is not None, typed.range_text is not None) == ("typed", True, True)
    finish(technician, sheet)


def test_a_tube_stands_on_one_open_worksheet_of_a_test_only(technician: Visitor) -> None:
    [tube] = tubes("ESR")
    sheet = made(technician, "ESR")
    assert tube.barcode in technician.get(sheet).text
    other = made(technician, "ESR")
    assert tube.barcode not in technician.get(other).text
    answer = technician.post(f"{other}/tube", {"code": tube.barcode})
    assert answer.status_code == 409
    assert "不能重复加入" in answer.text
    finish(technician, sheet)
    answer = technician.post(f"{other}/tube", {"code": tube.barcode})
    assert answer.status_code == 200
    assert tube.barcode in answer.text
    finish(technician, other)


@pytest.mark.parametrize(
    ("code", "typed", "cure"),
    [
        ("GLU", "abc", "不是数字"),
        ("GLU", "5.2 U/L", "不能换算为 mmol/L"),
        ("HBSAG", "9", "1=阴性"),
        ("TRUST", "很多", "1:80"),
    ],
)
def test_a_wrong_entry_is_refused_in_its_cell_with_what_would_be_right(
    technician: Visitor, code: str, typed: str, cure: str
) -> None:
    [tube] = tubes(code)
    sheet = made(technician, code)
    status, cell = fill(technician, sheet, tube, code, typed)
    assert status == 422
    assert cure in cell
    assert f'value="{typed}"' in cell, "what was typed stays to be mended"
    assert value_of(tube, code) is None
    finish(technician, sheet)


def test_grades_titres_units_and_dilutions_are_typed_short_and_kept_whole(technician: Visitor) -> None:
    [urine] = tubes("U_PRO", "U_GLU")
    [serum], [syphilis] = tubes("GLU", "ALT"), tubes("TRUST")
    sheets = [made(technician, "U_PRO U_GLU"), made(technician, "GLU ALT"), made(technician, "TRUST")]
    fill(technician, sheets[0], urine, "U_PRO", "2")
    fill(technician, sheets[0], urine, "U_GLU", "5")
    fill(technician, sheets[2], syphilis, "TRUST", "8")
    fill(technician, sheets[1], serum, "GLU", "100 mg/dL")
    _, cell = fill(technician, sheets[1], serum, "ALT", "81.5*10")
    assert (value_of(urine, "U_PRO"), value_of(urine, "U_GLU")) == ("2+", "±")
    assert (value_of(syphilis, "TRUST"), value_of(serum, "GLU"), value_of(serum, "ALT")) == ("1:8", "5.55", "815.0")
    assert "81.5*10" in cell, "what was typed stands beside the value"
    with begin() as session:
        kept = {
            code: (row.raw_value, row.raw_unit, row.details.get("dilution"))
            for row, code in session.execute(
                select(Result, Test.code).join(Test, Test.id == Result.test_id).where(Result.specimen_id == serum.id)
            )
        }
    assert kept["GLU"] == ("100 mg/dL", "mg/dL", None)
    assert kept["ALT"] == ("81.5*10", None, "10")
    for each in sheets:
        finish(technician, each)


def test_flag_critical_and_calculated_values_show_at_once(technician: Visitor) -> None:
    [tube] = tubes("K", "TP", "ALB")
    sheet = made(technician, "K TP ALB")
    _, cell = fill(technician, sheet, tube, "K", "7.1")
    assert "is-critical" in cell
    assert "危急值" in cell
    finish(technician, sheet)


def test_a_value_is_never_written_over_unseen_and_never_without_a_reason(technician: Visitor, site: Site) -> None:
    [tube] = tubes("GLU")
    sheet = made(technician, "GLU")
    colleague = site.staff("reviewer")
    colleague.get(sheet)
    assert fill(colleague, sheet, tube, "GLU", "5.1")[0] == 200
    status, cell = fill(technician, sheet, tube, "GLU", "6.9", seen="")
    assert status == 409
    assert "5.1" in cell
    assert fill(technician, sheet, tube, "GLU", "6.9")[0] == 422
    assert value_of(tube, "GLU") == "5.1"
    assert fill(technician, sheet, tube, "GLU", "6.9", reason="抄录错误")[0] == 200
    assert value_of(tube, "GLU") == "6.9"
    finish(technician, sheet)


def test_an_analyzers_value_that_came_meanwhile_is_shown_before_it_is_replaced(technician: Visitor) -> None:
    [tube] = tubes("GLU")
    sheet = made(technician, "GLU")
    with begin() as session:
        bench = Bench(session, tube.person_id, {})
        ingest(session, bench.source(), [observed(tube, "GLU", "5.30")])
    status, cell = fill(technician, sheet, tube, "GLU", "9.9", seen="")
    assert (status, "5.30" in cell, value_of(tube, "GLU")) == (409, True, "5.30")
    finish(technician, sheet)


def test_a_test_that_is_typed_twice_counts_when_both_agree(technician: Visitor, site: Site) -> None:
    [tube] = tubes("ESR")
    with begin() as session:
        service.set_double(session, uuid.UUID(test_id("ESR")), "other", by="staff:director")
    sheet = made(technician, "ESR")
    assert "已录一次" in fill(technician, sheet, tube, "ESR", "15")[1]
    assert value_of(tube, "ESR") is None
    status, cell = fill(technician, sheet, tube, "ESR", "15")
    assert (status, "另一人" in cell) == (409, True)
    colleague = site.staff("reviewer")
    colleague.get(sheet)
    assert "与首次录入不同" in fill(colleague, sheet, tube, "ESR", "51")[1]
    assert value_of(tube, "ESR") is None
    assert fill(technician, sheet, tube, "ESR", "51")[0] == 200
    assert value_of(tube, "ESR") == "51"
    with begin() as session:
        assert session.scalars(select(FirstEntry)).all() == []
        service.set_double(session, uuid.UUID(test_id("ESR")), "", by="staff:director")
    finish(technician, sheet)


def test_one_tubes_page_asks_for_the_second_entry_too_and_never_shows_the_first_value(
    technician: Visitor, site: Site
) -> None:
    [tube] = tubes("ESR")
    with begin() as session:
        service.set_double(session, uuid.UUID(test_id("ESR")), "other", by="staff:director")
    page = f"/staff/lis/review/{tube.id}"
    colleague = site.staff("reviewer")

    def enter(visitor: Visitor, value: str) -> str:
        shown = re.search(r'name="version" value="(\d+)"', visitor.get(page).text)
        assert shown
        return visitor.post(f"{page}/enter", {"version": shown[1], "test_id": test_id("ESR"), "value": value}).text

    first = enter(technician, "7315")
    assert "已录入一次，待第二次录入" in first
    assert "7315" not in first, "the second person types what is on the instrument, not what the first typed"
    assert "另一人" in enter(technician, "7315")
    assert "与首次录入不一致" in enter(colleague, "7351")
    assert value_of(tube, "ESR") is None
    assert "待第二次" not in enter(technician, "7351")
    assert value_of(tube, "ESR") == "7351"
    with begin() as session:
        service.set_double(session, uuid.UUID(test_id("ESR")), "", by="staff:director")


def test_the_whole_sheet_is_saved_at_once_and_only_wrong_cells_are_refused(technician: Visitor) -> None:
    good, wrong = tubes("GLU", number=2)
    sheet = made(technician, "GLU")
    technician.get(sheet)
    glucose = test_id("GLU")
    answer = technician.post(f"{sheet}/all", {f"v:{good.id}:{glucose}": "5.0", f"v:{wrong.id}:{glucose}": "五"})
    assert "已保存 1 格" in answer.text
    assert "不是数字" in answer.text
    assert (value_of(good, "GLU"), value_of(wrong, "GLU")) == ("5.0", None)
    finish(technician, sheet)


def test_a_closed_sheet_and_a_foreign_cell_take_nothing(technician: Visitor) -> None:
    [tube] = tubes("GLU")
    [other] = tubes("TP")
    sheet = made(technician, "GLU")
    assert fill(technician, sheet, other, "GLU", "5.0", seen="")[0] == 404
    assert technician.post(f"{sheet}/tube", {"code": other.barcode}).status_code == 409
    finish(technician, sheet)
    status, cell = fill(technician, sheet, tube, "GLU", "5.0", seen="")
    assert (status, value_of(tube, "GLU")) == (409, None)
    assert "已完成" in cell


def test_unknown_and_too_many_tests_are_named(technician: Visitor) -> None:
    technician.get(PAGE)
    answer = technician.post(PAGE, {"tests": "ZZZZZ"})
    assert (answer.status_code, "ZZZZZ" in answer.text) == (422, True)
    answer = technician.post(PAGE, {"tests": "CHEM"})
    assert (answer.status_code, "最多" in answer.text) == (422, True)


@pytest.mark.req("SEC-1")
def test_who_has_no_right_sees_no_worksheet(site: Site) -> None:
    with begin() as session:
        sheet = session.scalars(select(Worksheet.id)).first()
    cashier = site.staff("cashier")
    assert cashier.get(PAGE).status_code == 403
    assert cashier.get(f"{PAGE}/{sheet or uuid.uuid4()}").status_code == 403


@pytest.mark.req("LIS-16")
def test_words_short_keys_and_double_entry_are_set_on_a_page_and_hold_at_once(site: Site, technician: Visitor) -> None:
    director, page = site.staff("director"), f"{PAGE}/settings"
    director.get(page)
    wrong = director.post(page, {"test": "S_FORM", "words": "软便", "double": ""})
    assert (wrong.status_code, "第 1 行" in wrong.text) == (422, True)
    twice = director.post(page, {"test": "S_FORM", "words": "1 = 软便\n1 = 硬便", "double": ""})
    assert (twice.status_code, "重复" in twice.text) == (422, True)
    kept = director.post(page, {"test": "s_form", "words": "7 = 果酱样便 ; 3", "double": "same"})
    assert kept.status_code == 200
    assert "7 = 果酱样便 ; 3" in kept.text
    [tube] = tubes("S_FORM")
    sheet = made(technician, "S_FORM")
    assert "已录一次" in fill(technician, sheet, tube, "S_FORM", "7")[1]
    assert fill(technician, sheet, tube, "S_FORM", "果酱样便")[0] == 200
    assert value_of(tube, "S_FORM") == "果酱样便"
    finish(technician, sheet)
    assert technician.get(page).status_code == 403
    assert director.get(f"{page}?test=NOPE").text.count("NOPE") >= 1
