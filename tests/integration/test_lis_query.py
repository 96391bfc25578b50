"""LIS-8: any combination of what is known finds the tubes and values, and nothing else."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from cloud.app import load_slices
from cloud.history import load
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import NotFound
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import Order
from cloud.lis.query import cumulative, finding, naming, rules, service
from cloud.lis.query.rules import Question
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.people.model import Person, PersonIdentifier, PersonLink
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, hire_cast, running_site

UNTIL = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
EVERYBODY = Subject(actor="test", sees_all=True)
WHOLE = {"since": "2026-01-01"}

pytestmark = pytest.mark.req("LIS-8")


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A laboratory with a past; the tests read it."""
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url:
        patch.setenv("XINGLIN_AUDIT_DIR", str(tmp_path_factory.mktemp("audit")))
        with cloud_on(url, patch):
            load_slices()
            load.run(260, seed=11, days=30, until=UNTIL, seal_after=False)
            hire_cast()
            with running_site() as site:
                yield site


def ask(**fields: str) -> list[finding.Hit]:
    """The whole answer, page after page."""
    question = rules.read({**WHOLE, **fields}, date(2026, 11, 20))
    assert not question.wrong
    with begin() as session:
        hits: list[finding.Hit] = []
        after = ""
        while True:
            answer = finding.find(session, EVERYBODY, question, after=after, limit=40)
            hits += answer.hits
            after = answer.after
            if not after:
                return hits


def test_every_page_together_is_the_whole_and_nothing_twice(site: Site) -> None:
    with begin() as session:
        received = set(session.scalars(select(Specimen.id).where(Specimen.received_at.is_not(None))))
    hits = ask()
    assert [each.specimen.id for each in hits]
    assert {each.specimen.id for each in hits} == received
    assert len(hits) == len(received)
    moments = [each.at for each in hits]
    assert moments == sorted(moments, key=lambda each: each or UNTIL, reverse=True)


@pytest.mark.parametrize("few", [0, 2000])
def test_a_narrowing_finds_the_same_whichever_way_it_is_looked_up(
    site: Site, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is rare is fetched by id, what is common is met in time: the same lines either way."""
    monkeypatch.setattr(finding, "FEW", few)
    with begin() as session:
        order = session.scalars(select(Order).join(Specimen, Specimen.order_id == Order.id).limit(1)).one()
        doctor, department = order.ordered_by, order.department_id
        expected = set(
            session.scalars(
                select(Specimen.id)
                .join(Order, Order.id == Specimen.order_id)
                .where(Order.ordered_by == doctor, Order.department_id == department, Specimen.received_at.is_not(None))
            )
        )
        code = session.scalar(select(load.hospital.Department.code).where(load.hospital.Department.id == department))
        test = session.scalars(select(Test).where(Test.code == "GLU")).one()
        high = set(
            session.scalars(
                select(Result.id).where(Result.test_id == test.id, Result.chosen, Result.number >= Decimal(6))
            )
        )
    assert {each.specimen.id for each in ask(doctor=doctor, department=str(code))} == expected
    found = ask(test="GLU", low="6")
    assert {each.result.id for each in found if each.result} == high
    assert high
    assert all(each.result and each.result.number and each.result.number >= 6 for each in found)


def test_a_patient_is_found_by_name_initials_number_card_id_and_telephone(site: Site) -> None:
    with begin() as session:
        person = session.scalars(
            select(Person)
            .join(Specimen, Specimen.person_id == Person.id)
            .where(Specimen.received_at.is_not(None))
            .limit(1)
        ).one()
        numbers = session.scalars(select(PersonIdentifier.value).where(PersonIdentifier.person_id == person.id)).all()
        words = [
            person.name,
            person.initials,
            person.initials.upper(),
            *numbers,
            numbers[0].lower(),
            person.id_number,
            person.phone,
        ]
        own = set(
            session.scalars(
                select(Specimen.id).where(Specimen.person_id == person.id, Specimen.received_at.is_not(None))
            )
        )
    for word in words:
        assert own <= {each.specimen.id for each in ask(patient=str(word))}, word
    assert {each.specimen.id for each in ask(patient=numbers[0])} == own
    assert ask(patient="查无此人") == []


def test_files_that_were_merged_are_one_person(site: Site) -> None:
    with begin() as session:
        link = session.scalars(select(PersonLink)).first()
        assert link is not None
        number = session.scalar(select(PersonIdentifier.value).where(PersonIdentifier.person_id == link.surviving_id))
        both = set(
            session.scalars(
                select(Specimen.id).where(
                    Specimen.person_id.in_([link.surviving_id, link.retired_id]), Specimen.received_at.is_not(None)
                )
            )
        )
        seen = cumulative.cumulative(session, EVERYBODY, link.retired_id)
        assert seen.person.id == link.surviving_id
        assert seen.files == 2
        assert {each.specimen.person_id for each in seen.columns} <= {link.surviving_id, link.retired_id}
    assert {each.specimen.id for each in ask(patient=str(number))} == both


def test_flag_state_priority_instrument_and_barcode_narrow(site: Site) -> None:
    with begin() as session:
        instrument = load.instruments.instruments(session)[0]
        by_instrument = set(
            session.scalars(select(Result.specimen_id).where(Result.instrument_id == instrument.id, Result.chosen))
        )
        barcode = session.scalars(select(Specimen.barcode).where(Specimen.received_at.is_not(None)).limit(1)).one()
    assert {each.specimen.id for each in ask(instrument=instrument.code)} == by_instrument
    assert [each.specimen.barcode for each in ask(barcode=barcode)] == [barcode]
    assert [each.specimen.barcode for each in ask(barcode=barcode, state="cancelled")] == [barcode], "a scan finds it"
    assert {each.specimen.priority for each in ask(priority="S")} == {"S"}
    assert {each.specimen.state for each in ask(state="done")} == {"done"}
    assert all(each.abnormal for each in ask(flag="abnormal"))
    assert {each.result.flag for each in ask(test="HGB", flag="L") if each.result} <= {"L"}
    assert ask(barcode="999999999999") == []
    assert ask(test="NO_SUCH_TEST") == []


def test_a_patients_page_shows_every_column_once_and_draws_the_course(site: Site) -> None:
    with begin() as session:
        busiest = (
            session.execute(
                select(Specimen.person_id)
                .where(Specimen.state == "done")
                .group_by(Specimen.person_id)
                .order_by(func.count().desc())
            )
            .scalars()
            .first()
        )
        assert busiest is not None
        columns: list[object] = []
        before = None
        while True:
            page = cumulative.cumulative(session, EVERYBODY, busiest, before=before)
            columns += [each.specimen.id for each in page.columns]
            for group in page.groups:
                assert all(len(row.cells) == len(page.columns) for row in group.rows)
            if not page.older:
                break
            before = datetime.fromisoformat(page.older)
        assert len(columns) == len(set(columns))
        assert len(columns) >= session.scalar(
            select(func.count()).where(Specimen.person_id == busiest, Specimen.state == "done")
        )
        course = cumulative.courses(session, busiest, ["CREA"])[0]
        assert course.chart is not None
        assert len(course.chart.dots) == len(course.points)


def test_nobody_without_the_right_to_see_patients_finds_any(site: Site) -> None:
    stranger = Subject(actor="staff:none")
    with begin() as session:
        assert finding.find(session, stranger, rules.read(WHOLE, date(2026, 11, 20))).hits == ()
        person = session.scalars(select(Specimen.person_id).limit(1)).one()
        with pytest.raises(NotFound):
            cumulative.cumulative(session, stranger, person)


def test_a_question_about_everybody_looks_back_a_month_and_says_so() -> None:
    assert rules.read({"flag": "H"}, date(2026, 11, 20)).since == date(2026, 10, 20)
    assert rules.read({"flag": "H", "patient": "王"}, date(2026, 11, 20)).since is None
    assert rules.read({}, date(2026, 11, 20)).empty


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"since": "20.11.2026"}, "since"),
        ({"since": "2026-11-20", "until": "2026-11-01"}, "until"),
        ({"test": "K", "low": "zwei"}, "low"),
        ({"test": "K", "low": "NaN"}, "low"),
        ({"test": "K", "low": "5", "high": "4"}, "high"),
        ({"low": "5"}, "test"),
    ],
)
def test_what_cannot_be_read_is_named_and_not_asked(typed: dict[str, str], field: str) -> None:
    assert [name for name, _ in rules.read(typed, date(2026, 11, 20)).wrong] == [field]


def test_short_codes_find_tests(site: Site) -> None:
    with begin() as session:
        assert next(each.code for each in naming.by_short_code(session, "xhdb")) == "HGB"
        assert next(each.code for each in naming.by_short_code(session, "K")) == "K"
        assert naming.by_short_code(session, "  ") == []


def test_the_page_answers_saves_and_pages_by_keyboard_keys(site: Site) -> None:
    reviewer = site.staff("reviewer")
    page = reviewer.get("/staff/lis/query", params={"since": "2026-01-01"})
    assert page.status_code == 200
    rows = re.findall(r'<td class="barcode">', page.text)
    assert len(rows) == finding.SHOWN
    further = re.search(r'rel="next" href="([^"]+)" data-key="\]"', page.text)
    assert further is not None
    assert reviewer.get(further[1].replace("&amp;", "&")).status_code == 200
    kept = reviewer.post("/staff/lis/query/saved", {"name": "全部", "flag": "H"})
    assert kept.status_code == 200
    assert "since=" not in str(kept.url), "a saved question without a date looks back from the day it is asked"
    assert "全部" in reviewer.get("/staff/lis/query").text
    assert "全部" not in site.staff("technician").get("/staff/lis/query").text, "saved questions are one's own"
    assert reviewer.post("/staff/lis/query/saved", {"name": "", "flag": "H"}).status_code == 422
    mine = re.search(r"/staff/lis/query/saved/([0-9a-f-]+)/delete", reviewer.get("/staff/lis/query").text)
    assert mine is not None
    stranger = site.staff("technician")
    stranger.get("/staff/lis/query")
    assert stranger.post(f"/staff/lis/query/saved/{mine[1]}/delete").status_code == 404
    assert reviewer.post(f"/staff/lis/query/saved/{mine[1]}/delete").status_code == 200


def test_an_export_holds_the_whole_answer_and_is_in_the_audit_trail(site: Site) -> None:
    reviewer = site.staff("reviewer")
    csv = reviewer.get("/staff/lis/query/export", params={"since": "2026-01-01", "test": "K", "form": "csv"})
    lines = csv.content.decode("utf-8-sig").strip().splitlines()
    assert len(lines) - 1 == len(ask(test="K"))
    book = reviewer.get("/staff/lis/query/export", params={"since": "2026-01-01", "test": "K", "form": "xlsx"})
    with zipfile.ZipFile(io.BytesIO(book.content)) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<row>") == len(lines)
    with begin() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "query.export")).all()
    assert [(each.after["rows"], each.after["form"]) for each in entries] == [
        (len(lines) - 1, "csv"),
        (len(lines) - 1, "xlsx"),
    ]
    assert all(each.after["question"]["test"] == "K" for each in entries)
    refused = site.staff("technician").get("/staff/lis/query/export", params={"since": "2026-01-01"})
    assert refused.status_code == 403


def test_a_cell_that_a_spreadsheet_would_run_stays_text() -> None:
    from cloud.lis.query.workbook import as_csv, as_xlsx

    assert as_csv([["=1+1", "-3.5", "@x"]]).decode("utf-8-sig").strip() == "'=1+1,-3.5,'@x"
    with zipfile.ZipFile(io.BytesIO(as_xlsx([["=1+1", 3, None]], sheet="a"))) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "=1+1" in sheet


def test_an_empty_question_is_neither_saved_nor_exported(site: Site) -> None:
    reviewer = site.staff("reviewer")
    assert reviewer.get("/staff/lis/query/export").status_code == 422
    with begin() as session, pytest.raises(service.Invalid):
        service.save(session, session.scalars(select(Person.id).limit(1)).one(), "x", Question())
