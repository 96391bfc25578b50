"""Forms of reports on PostgreSQL: what is frozen at release, what a change of the form leaves alone, the pages."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud.explain.paper import paper
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin, new_session
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.instruments.model import ChannelKind, Instrument
from cloud.lis.instruments.service import Channel, map_channel
from cloud.lis.reports import form_store, samples, typesetting
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.forms import FormSettings, brought_along
from cloud.lis.reports.model import ReportForm, ReportVersion
from cloud.lis.reports.printing import rendered
from cloud.lis.reports.view import ReportContent
from cloud.lis.results import review, sheets
from cloud.lis.results.model import ResultAttachment
from cloud.lis.results.service import ingest
from cloud.lis.specimens.concession import concede
from cloud.lis.specimens.model import Specimen
from cloud.staff.model import StaffAccount
from tests.support.bench import Bench, Technologist, observed, pathologist, set_up, technician
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.req("LIS-7")
PAGE = "/staff/lis/report-forms"


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    """One laboratory; each test of the pages looks at a form of its own."""
    furnished = database_server.furnished
    with pytest.MonkeyPatch.context() as patch, database_server.clone(furnished) as url, cloud_on(url, patch):
        hire_cast()
        with running_site() as running:
            yield running


@pytest.fixture
def bench(site: Site) -> Iterator[Bench]:
    """The bench in a transaction that is given up afterwards."""
    with new_session() as session:
        yield set_up(session)
        session.rollback()


def words(pdf: bytes) -> str:
    return "".join("".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def released(
    bench: Bench, specimen: Specimen | None = None, by: Technologist | None = None, **values: str
) -> ReportContent:
    """The frozen content of a new report of these values."""
    tube = specimen or bench.specimen(*values)
    ingest(bench.session, bench.source(), [observed(tube, code, value) for code, value in values.items()])
    version = sheets.version_of(bench.session, tube.id)
    review.mark_reviewed(bench.session, tube.id, by=by or technician(), version=version)
    report = reports.release(bench.session, tube.id, by=by or pathologist(), version=version + 1, confirm_critical=True)
    return reports.released(bench.session, report.id).content


def changed(session: Session, code: str, *, active: bool = True, **settings: object) -> None:
    """A further version of the form, with these settings otherwise."""
    before = form_store.by_code(session, code)
    new = FormSettings.from_json({**before.settings.to_json(), **settings})
    form_store.change(
        session, code, new, active=active, version=before.version, by="staff:x", by_name="孙主任", reason="改"
    )


def test_a_report_keeps_its_form_and_prints_the_same_from_what_is_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = released(bench, ALT="62", AST="30")
    assert content.form is not None
    assert (content.form.code, content.form.version) == ("general", 1)
    first = rendered(content, materials=form_store.materials(bench.session, content))
    changed(bench.session, "general", heading="检验科报告", paper="a5")
    monkeypatch.setattr(typesetting, "source", lambda: typesetting.PAPER.name + " changed with the next release")
    assert rendered(content, materials=form_store.materials(bench.session, content)) == first
    monkeypatch.undo()
    later = released(bench, ALT="61", AST="30")
    assert later.form is not None
    assert later.form.version == 2
    assert "检验科报告" in words(rendered(later, materials=form_store.materials(bench.session, later)))
    assert "检验科报告" not in words(first)


@pytest.mark.req("LIS-5")
def test_the_paper_of_a_report_is_set_again_from_what_is_stored_and_compared(bench: Bench) -> None:
    content = released(bench, ALT="62")
    row = bench.session.scalars(select(ReportVersion)).one()
    assert paper(bench.session, row, content).same is None  # nothing is printed yet
    reports.pdf(bench.session, row.report_id)
    assert paper(bench.session, row, content).same is True
    assert paper(bench.session, row, replace(content, patient_name="别人")).same is False
    assert paper(bench.session, row, replace(content, form=None)).same is None
    bench.session.execute(text("SET LOCAL session_replication_role = replica"))
    bench.session.execute(text("UPDATE lab_report_source SET engine = 'typst 0.1'"))
    assert paper(bench.session, row, content).same is None  # another typesetter: the text is the same, not the bytes


def test_a_stored_form_or_source_is_never_changed(bench: Bench) -> None:
    released(bench, ALT="62")
    for statement in ("UPDATE lab_report_form SET name = 'x'", "DELETE FROM lab_report_source"):
        with pytest.raises(DBAPIError, match="append-only"), bench.session.begin_nested():
            bench.session.execute(text(statement))


@pytest.mark.req("LIS-2")
def test_a_concession_and_what_the_analyzer_said_of_the_serum_stand_on_the_report(bench: Bench) -> None:
    session, specimen = bench.session, bench.specimen("K")
    instrument = session.scalars(select(Instrument.id)).one()
    for code, kind in (("HEM", ChannelKind.HAEMOLYSIS), ("LIPX", ChannelKind.LIPAEMIA), ("ICT", ChannelKind.ICTERUS)):
        map_channel(session, instrument, Channel(code, "", sendable=False, kind=kind), by="staff:x")
    session.flush()
    said = [
        observed(specimen, "HEM", "312", flags=("A",)),
        observed(specimen, "LIPX", "40"),
        observed(specimen, "ICT", "2+"),
    ]
    ingest(session, bench.source(), said)
    concede(session, specimen.barcode, by="staff:x", reason_code="volume_wrong", agreed_with="李护士")
    content = released(bench, specimen, K="4.1")
    concession, serum = content.remarks
    assert "李护士" in concession
    assert serum == "仪器提示标本溶血（仪器指数 312）、黄疸（仪器指数 2+），可能影响部分项目结果。"
    printed = words(rendered(content, materials=form_store.materials(session, content)))
    assert "让步检验" in printed
    assert "溶血（仪器指数312）" in printed


def test_a_serum_index_without_a_word_of_the_analyzer_is_no_remark(bench: Bench) -> None:
    session, specimen = bench.session, bench.specimen("K")
    instrument = session.scalars(select(Instrument.id)).one()
    map_channel(session, instrument, Channel("HEM", "", sendable=False, kind=ChannelKind.HAEMOLYSIS), by="staff:x")
    session.flush()
    ingest(session, bench.source(), [observed(specimen, "HEM", "35")])
    assert released(bench, specimen, K="4.1").remarks == ()


def test_earlier_values_and_courses_are_frozen_with_the_report(bench: Bench) -> None:
    changed(bench.session, "general", previous=3, trends=2)
    for value in ("50", "55", "58", "60"):
        released(bench, ALT=value, AST="30")
    wrong = bench.specimen("ALT", "AST")
    released(bench, wrong, ALT="444", AST="30")
    report = reports.report_of(bench.session, wrong.id)
    assert report is not None
    reports.recall(bench.session, report.id, by=pathologist(), reason="标本弄错")
    content = released(bench, ALT="71", AST="31")
    alt = next(each for each in content.items if each.code == "ALT")
    assert (alt.previous_value, [each.value for each in alt.earlier]) == ("60", ["58", "55"])  # never a recalled one
    assert [each.code for each in content.trends] == ["ALT", "AST"]
    assert [point.value for point in content.trends[0].points] == ["50", "55", "58", "60", "71"]
    released(bench, ALT="987", AST="31")
    again = ReportContent.from_json(content.to_json())
    assert again == content
    assert "987" not in words(rendered(again, materials=form_store.materials(bench.session, again)))


def test_where_the_previous_report_was_recalled_the_one_before_it_is_printed(bench: Bench) -> None:
    released(bench, ALT="50")
    wrong = bench.specimen("ALT")
    released(bench, wrong, ALT="444")
    report = reports.report_of(bench.session, wrong.id)
    assert report is not None
    assert [each.previous_value for each in released(bench, ALT="52").items] == ["444"]  # as it stood at that moment
    reports.recall(bench.session, report.id, by=pathologist(), reason="标本弄错")
    last = bench.specimen("ALT")
    released(bench, last, ALT="55")
    void = reports.report_of(bench.session, last.id)
    assert void is not None
    reports.recall(bench.session, void.id, by=pathologist(), reason="标本弄错")
    assert [each.previous_value for each in released(bench, ALT="54").items] == ["52"]


def test_pictures_that_came_with_the_values_are_printed_and_those_on_the_analyzer_are_not(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    for at, (name, kind, data) in enumerate(
        (
            ("WBC", "application/json", samples.curve(0, peaks=2)),
            ("WDF", "image/png", samples.dots(1)),
            ("RBC", "image/png", b""),
        )
    ):
        bench.session.add(
            ResultAttachment(
                specimen_id=specimen.id, inbox_id=uuid.uuid4(), ordinal=at, code=name, name=name, media_type=kind,
                data=data, reference=None if data else "PNG/1.PNG", received_at=datetime.now(UTC),
            )
        )  # fmt: skip
    bench.session.flush()
    content = released(bench, specimen, WBC="6.2")
    assert content.form is not None
    assert content.form.code == "hematology"
    assert [each.name for each in content.images] == ["WBC", "WDF"]
    made = rendered(content, materials=form_store.materials(bench.session, content))
    assert len(PdfReader(io.BytesIO(made)).pages[0].images) == 1  # the curve is drawn


def test_a_signature_on_file_is_printed_and_stays_on_what_was_released_with_it(bench: Bench) -> None:
    account = StaffAccount(login="qian", name="钱审核", password_hash="", roles=["director"])
    bench.session.add(account)
    bench.session.flush()
    signer = Technologist("钱审核", pathologist().permissions, account.id)
    form_store.set_signature(bench.session, account.id, samples.dots(4), by="staff:x", reason="入职")
    content = released(bench, by=signer, ALT="20")
    assert {each.act for each in content.signatures} == {"review", "release"}
    form_store.set_signature(bench.session, account.id, None, by="staff:x", reason="离职")
    assert released(bench, by=signer, ALT="21").signatures == ()
    made = rendered(content, materials=form_store.materials(bench.session, content))
    assert len(PdfReader(io.BytesIO(made)).pages[0].images) > 0


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n broken", b"\xff\xd8\xff" + b"0" * 300_001])
def test_what_is_no_picture_is_no_signature(bench: Bench, image: bytes) -> None:
    with pytest.raises(Invalid, match="signature"):
        form_store.set_signature(bench.session, uuid.uuid4(), image, by="staff:x", reason="入职")


def test_an_amendment_names_every_change_and_the_version_it_replaces(bench: Bench) -> None:
    specimen = bench.specimen("ALT")
    before = released(bench, specimen, ALT="62")
    report = reports.report_of(bench.session, specimen.id)
    assert report is not None
    alt = bench.session.scalars(select(Test.id).where(Test.code == "ALT")).one()
    corrections = [Correction(alt, value="22")]
    amend(bench.session, report.id, by=pathologist(), reason="复核", corrections=corrections, comment="已与临床沟通")
    after = reports.released(bench.session, report.id).content
    told = {each.what: (each.before, each.after) for each in after.changes}
    assert told["丙氨酸氨基转移酶"] == ("62↑ U/L", "22 U/L")
    assert told["备注"] == ("", "已与临床沟通")
    assert after.supersedes_at == before.released_at
    printed = words(reports.copy(bench.session, report.id, by=technician()).data)
    assert "取代" in printed
    old = reports.copy(bench.session, report.id, by=technician(), version=1)
    assert "旧版本" in words(old.data)
    assert "62↑" in words(old.data)


def test_a_bilingual_copy_leaves_the_archived_one_alone(bench: Bench) -> None:
    content = released(bench, ALT="62")
    row = bench.session.scalars(select(ReportVersion)).one()
    archived = reports.pdf(bench.session, row.report_id)
    copy = reports.copy(bench.session, row.report_id, by=technician(), bilingual=True)
    assert "Alanineaminotransferase" in words(copy.data)
    assert reports.pdf(bench.session, row.report_id) == archived
    assert "Alanine" not in words(archived)
    assert content.items[0].name_en == "Alanine aminotransferase"


def test_a_form_is_not_changed_without_a_reason_nor_from_an_old_page(bench: Bench) -> None:
    look = brought_along()["urine"].settings
    same = {"active": True, "by": "staff:x", "by_name": "孙主任"}
    with pytest.raises(Invalid, match=r"settings\.reason"):
        form_store.change(bench.session, "urine", look, version=1, reason=" ", **same)
    form_store.change(bench.session, "urine", look, version=1, reason="改", **same)
    with pytest.raises(Conflict, match=r"form\.stale"):
        form_store.change(bench.session, "urine", look, version=1, reason="改", **same)
    general = brought_along()["general"].settings
    with pytest.raises(Invalid, match=r"form\.general"):
        form_store.change(bench.session, "general", general, version=1, reason="改", **{**same, "active": False})
    entry = bench.session.scalars(select(AuditEntry).where(AuditEntry.action == "report.form")).one()
    assert entry.reason == "改"
    stored = bench.session.scalars(
        select(ReportForm.version).where(ReportForm.code == "urine").order_by(ReportForm.version)
    )
    assert list(stored) == [1, 2]


def typed(**more: object) -> dict[str, object]:
    """The page of the qualitative form as it is sent."""
    return {
        "version": "1", "layout": "qualitative", "paper": "a5", "heading": "血清学报告单", "previous": "1",
        "trends": "0", "pictures": "0", "methods": "true", "active": "true", "value_types": ["qualitative", "titre"],
        "reason": "改标题",
    } | more  # fmt: skip


@pytest.mark.req("LIS-16", "SEC-1")
def test_the_director_changes_a_form_on_its_page_and_others_only_look(site: Site) -> None:
    technologist, director = site.staff("technician"), site.staff("director")
    assert technologist.get(PAGE).status_code == 200
    page = technologist.get(f"{PAGE}/qualitative")
    assert "data:image/png;base64," in page.text
    assert "由检验科主任更改" in page.text
    assert technologist.post(f"{PAGE}/qualitative", typed()).status_code == 403
    assert technologist.get(f"{PAGE}/signatures").status_code == 403
    assert director.post(f"{PAGE}/qualitative", typed()).status_code in (200, 303)
    with begin() as session:
        form = form_store.by_code(session, "qualitative")
        assert (form.version, form.settings.heading, form.settings.methods) == (2, "血清学报告单", True)
        assert form.settings.value_types == ("qualitative", "titre")
    sample = technologist.get(f"{PAGE}/qualitative/sample.pdf?case=amended")
    assert "血清学报告单" in words(sample.content)
    assert "样张" in words(sample.content)
    assert "血清学报告单" not in words(technologist.get(f"{PAGE}/qualitative/sample.pdf?version=1").content)
    assert technologist.get(f"{PAGE}/qualitative/picture.png").content.startswith(b"\x89PNG")
    assert technologist.get(f"{PAGE}/nothing").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""}, {"layout": "poster"}, {"paper": "letter"}, {"previous": "4"}, {"trends": "x"}, {"heading": " "},
        {"panels": "NOPE"}, {"referrals": "ALT"}, {"referrals": "NOPE=某检验所"}, {"sections": ["kitchen"]},
        {"footnote": "长" * 121},
    ],
)  # fmt: skip
def test_what_no_form_can_be_is_refused_and_what_was_typed_stays(site: Site, wrong: dict[str, object]) -> None:
    answer = site.staff("director").post(f"{PAGE}/narrative", typed(**{"heading": "留着", "version": "1", **wrong}))
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "heading" in wrong or 'value="留着"' in answer.text
    with begin() as session:
        assert form_store.by_code(session, "narrative").version == 1


def test_the_preview_follows_what_is_typed_and_stores_nothing(site: Site) -> None:
    director = site.staff("director")
    seen = {director.post(f"{PAGE}/urine/preview", typed(paper=paper)).text for paper in ("a4", "a5")}
    assert len(seen) == 2
    assert "NOPE" in director.post(f"{PAGE}/urine/preview", typed(panels="NOPE")).text
    with begin() as session:
        assert form_store.by_code(session, "urine").version == 1
        assert session.scalars(select(Panel.id).limit(1)).first() is not None


@pytest.mark.req("LIS-8", "SEC-1")
def test_values_over_time_are_printed_without_what_was_recalled_and_the_print_is_on_record(site: Site) -> None:
    with begin() as session:
        bench = set_up(session)
        person = bench.person_id
        for value in ("61", "62", "777"):
            tube = bench.specimen("ALT")
            released(bench, tube, ALT=value)
        report = reports.report_of(session, tube.id)
        assert report is not None
        reports.recall(session, report.id, by=pathologist(), reason="标本弄错")
    page = site.staff("technician")
    assert f"/staff/lis/cumulative/{person}/pdf" in page.get(f"/staff/lis/cumulative/{person}").text
    said = words(page.get(f"/staff/lis/cumulative/{person}/pdf").content)
    for wanted in (
        "历次结果汇总",
        "王小明",
        "P000001",
        "丙氨酸氨基转移酶",
        "61↑",
        "62↑",
        "赵检验",
        "以各次正式报告为准",
    ):
        assert wanted in said, wanted
    assert "777" not in said
    assert site.staff("nurse").get(f"/staff/lis/cumulative/{person}/pdf").status_code == 403
    with begin() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "cumulative.print")).one()
        assert entry.aggregate_id == str(person)
