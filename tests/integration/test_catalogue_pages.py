"""The catalogue's pages over HTTP: one person writes, another approves; the workbook; a mapping tried on a message."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from openpyxl import load_workbook
from sqlalchemy import select

from cloud.kit.db import begin
from cloud.kit.errors import Forbidden
from cloud.lis.catalog import content, guards, record, service
from cloud.lis.catalog.changes import CatalogChange, CatalogImport
from cloud.lis.catalog.model import Panel, Test, Tube
from cloud.lis.catalog.record import Editor
from cloud.lis.instruments import service as instruments
from cloud.lis.orders.model import Order
from cloud.lis.specimens import service as specimens
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.lab import Lab, open_lab
from tests.support.site import Site, Visitor, hire_cast, running_site
from tests.support.transcripts import read_case

CATALOG = "/staff/lis/catalog"
CAPTURE = Path(__file__).parents[1] / "transcripts" / "sysmex_xn" / "results_with_flags_and_histograms"
SOURCE = "本室验证报告 2026-11"


@pytest.fixture(scope="module")
def lab(database_server: DatabaseServer) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patched, database_server.clone() as url, cloud_on(url, patched):
        hire_cast()
        yield open_lab()


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def reviewer(site: Site) -> Visitor:
    return site.staff("reviewer")


@pytest.fixture(scope="module")
def director(site: Site) -> Visitor:
    return site.staff("director")


def stamp_of(page: str) -> str:
    return re.findall(r'name="stamp" value="([^"]*)"', page)[0]


def lines_of(page: str, label: str) -> list[str]:
    """What the approvals page would post for the rows of this subject."""
    return re.findall(rf'value="([a-z]+:[0-9a-f-]+:[^"]+)" aria-label="{label}', page)


@pytest.mark.req("LIS-16")
def test_a_range_is_written_by_one_person_and_approved_by_another_who_sees_what_changed(
    reviewer: Visitor, director: Visitor
) -> None:
    page = reviewer.get(f"{CATALOG}/tests/FERR?add=range")
    assert 'id="catalog-form"' in page.text
    typed = {"sex": "F", "age_min_days": "18岁", "age_max_days": "", "low": "13", "high": "150", "source": SOURCE}
    typed |= {"valid_from": "2026-11-01", "reason": "按试剂说明书"}
    wrong = reviewer.post(f"{CATALOG}/tests/FERR/range", {**typed, "age_min_days": "成人", "low": "abc"})
    assert wrong.status_code == 422
    assert "成人" in wrong.text
    assert 'value="abc"' in wrong.text, "what was typed is kept"
    done = reviewer.post(f"{CATALOG}/tests/FERR/range", typed)
    assert done.status_code == 200
    assert "13-150" not in done.text
    assert "待批准" in done.text
    own = lines_of(reviewer.get(f"{CATALOG}/approvals?changed=true").text, "FERR")
    assert own == [], "only who may approve has boxes"
    shown = director.get(f"{CATALOG}/approvals?changed=true").text
    assert "按试剂说明书" in shown
    assert "钱审核" in shown
    approved = director.post(f"{CATALOG}/approvals", {"verdict": "approve", "lines": lines_of(shown, "FERR")})
    assert approved.status_code == 200
    with begin() as session:
        test = service.test_by_code(session, "FERR")
        assert test is not None
        (band,) = service.ranges(session, test.id)
        assert (band.state, band.sex, band.age_min_days, str(band.low)) == ("approved", "F", 6574, "13.000000")
        (change,) = service.history(session, test.id)
        assert (change.made_by_name, change.decided_by_name, change.state) == ("钱审核", "孙主任", "applied")


@pytest.mark.req("LIS-16", "SEC-1")
def test_nobody_approves_their_own_change_nor_one_that_was_changed_after_they_looked(
    reviewer: Visitor, director: Visitor
) -> None:
    page = director.get(f"{CATALOG}/tests/TSH?edit=general").text
    fields = dict(re.findall(r'<input[^>]* name="(\w+)" type="text" value="([^"]*)"', page))
    chosen = re.findall(r'<select[^>]*name="(\w+)".*?</select>', page, re.DOTALL)
    assert "section" in chosen
    given = {**fields, "section": "immunology", "value_type": "numeric", "specimen_type": "serum", "tube_id": "YELLOW"}
    given |= {"orderable": "yes", "decimals": "2", "reason": "位数", "stamp": stamp_of(page)}
    assert director.post(f"{CATALOG}/tests/TSH/edit", given).status_code == 200
    own = director.get(f"{CATALOG}/approvals?changed=true").text
    (line,) = lines_of(own, "TSH")
    assert "disabled" in own.split(f'value="{line}"')[1].split(">")[0]
    assert director.post(f"{CATALOG}/approvals", {"verdict": "approve", "lines": line}).status_code == 403
    stale = reviewer.post(f"{CATALOG}/tests/TSH/edit", given)
    assert stale.status_code == 422
    assert "页面打开之后内容又有变更" in stale.text
    with begin() as session:
        test = service.test_by_code(session, "TSH")
        assert test is not None
        record.change(session, content.TEST, test.id, {"decimals": 1}, Editor("staff:x", "李四", "再改"))
    assert director.post(f"{CATALOG}/approvals", {"verdict": "approve", "lines": line}).status_code == 409


@pytest.mark.req("LIS-16")
def test_many_drafts_are_approved_at_once_and_one_that_cannot_be_takes_all_back(director: Visitor) -> None:
    page = director.get(f"{CATALOG}/approvals?kind=goal").text
    lines = re.findall(r'value="(goal:[0-9a-f-]+:[^"]+)"', page)
    assert len(lines) > 30
    broken = [*lines[:5], lines[5].rpartition(":")[0] + ":v9"]
    assert director.post(f"{CATALOG}/approvals", {"verdict": "approve", "lines": broken}).status_code == 409
    assert len(re.findall(r'value="(goal:[^"]+)"', director.get(f"{CATALOG}/approvals?kind=goal").text)) == len(lines)
    assert director.post(f"{CATALOG}/approvals", {"verdict": "approve", "lines": lines}).status_code == 200
    assert re.findall(r'value="(goal:[^"]+)"', director.get(f"{CATALOG}/approvals?kind=goal").text) == []
    assert director.post(f"{CATALOG}/approvals", {"verdict": "approve"}).status_code == 422


@pytest.mark.req("LIS-16")
def test_a_test_a_panel_and_a_tube_are_made_with_pinyin_from_the_name(reviewer: Visitor) -> None:
    reviewer.get(f"{CATALOG}/tests/new")
    typed = {"code": "ZNS", "name": "血清锌", "name_en": "Zinc", "short_name": "Zn", "section": "chemistry"}
    typed |= {"value_type": "numeric", "unit": "μmol/L", "decimals": "1", "specimen_type": "serum", "tube_id": "RED"}
    typed |= {"orderable": "yes", "price_fen": "25.50", "pinyin": "", "reason": "新开展"}
    refused = reviewer.post(f"{CATALOG}/tests", {**typed, "code": "ALT"})
    assert refused.status_code == 422
    assert "已有相同的记录" in refused.text
    made = reviewer.post(f"{CATALOG}/tests", typed)
    assert "血清锌" in made.text
    reviewer.get(f"{CATALOG}/panels/new")
    panel = {
        "code": "TRACE",
        "name": "微量元素",
        "name_en": "Trace elements",
        "short_name": "微量",
        "section": "chemistry",
    }
    panel |= {"pinyin": "", "reason": "新"}
    assert reviewer.post(f"{CATALOG}/panels", {**panel, "tests": "ZNS NOPE"}).status_code == 422
    assert reviewer.post(f"{CATALOG}/panels", {**panel, "tests": "ZNS FE"}).status_code == 200
    reviewer.get(f"{CATALOG}/tubes/new")
    tube = {"code": "NAVY", "name": "深蓝帽", "cap_colour": "深蓝", "colour_hex": "#1A237E", "volume_ml": "4"}
    assert reviewer.post(f"{CATALOG}/tubes", {**tube, "specimen_type": "serum", "reason": "新"}).status_code == 200
    with begin() as session:
        test = session.scalars(select(Test).where(Test.code == "ZNS")).one()
        assert (test.pinyin, test.price_fen, test.state) == ("xqx", 2550, "draft")
        found = session.scalars(select(Panel).where(Panel.code == "TRACE")).one()
        assert [each.code for each in service.panel_tests(session, found.id)] == ["ZNS", "FE"]
        assert session.scalars(select(Tube).where(Tube.code == "NAVY")).one().edited_by is not None
    assert "TRACE" in reviewer.get(f"{CATALOG}/panels?q=wlys").text


@pytest.mark.req("LIS-16", "SEC-1")
def test_a_technician_reads_the_catalogue_and_changes_nothing(site: Site) -> None:
    technician = site.staff("technician")
    page = technician.get(f"{CATALOG}/tests/K")
    assert page.status_code == 200
    assert 'data-key="e"' not in page.text
    assert 'id="catalog-form"' not in technician.get(f"{CATALOG}/tests/K?edit=general").text
    for path in ("tests/K/edit", "tests/K/range", "tests", "panels", "approvals", "exchange"):
        assert technician.post(f"{CATALOG}/{path}", {"reason": "x", "verdict": "approve"}).status_code == 403, path
    assert technician.get("/staff/lis/mapping").status_code == 403


@pytest.mark.req("LIS-16", "SEC-1")
def test_where_authority_is_enforced_a_role_alone_neither_edits_nor_approves(
    reviewer: Visitor, director: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def nobody(_session: object, _staff: object, act: str, codes: Iterable[str]) -> None:
        asked.append((act, tuple(codes)))
        raise Forbidden("authority.none", "未授权。")

    page = reviewer.get(f"{CATALOG}/tests/LH?add=critical").text
    assert 'id="catalog-form"' in page
    monkeypatch.setattr(guards, "_guards", [nobody])
    typed = {"low": "1", "source": SOURCE, "valid_from": "2026-11-01", "reason": "x"}
    assert reviewer.post(f"{CATALOG}/tests/LH/critical", typed).status_code == 422
    lines = re.findall(r'value="(range:[^"]+)"', director.get(f"{CATALOG}/approvals?kind=range").text)
    assert director.post(f"{CATALOG}/approvals", {"verdict": "approve", "lines": lines[:1]}).status_code == 403
    assert [act for act, _ in asked] == ["catalog.edit", "catalog.approve"]
    assert asked[0][1] == ("LH",)
    assert len(asked[1][1]) == 1


@pytest.mark.req("LIS-16")
def test_the_workbook_goes_out_comes_in_with_its_differences_and_is_applied_once(
    reviewer: Visitor, director: Visitor
) -> None:
    reviewer.get(f"{CATALOG}/exchange")
    taken = reviewer.http.get(f"{CATALOG}/exchange/catalogue.xlsx")
    assert taken.headers["content-type"].startswith("application/vnd.openxmlformats")
    book = load_workbook(io.BytesIO(taken.content))
    page = book["检验项目"]
    headings = [cell.value for cell in page[1]]
    row = next(row for row in page.iter_rows(min_row=2) if row[0].value == "CEA")
    row[headings.index("小数位")].value = 1
    out = io.BytesIO()
    book.save(out)
    files = {"file": ("字典.xlsx", out.getvalue())}
    assert reviewer.post(f"{CATALOG}/exchange", {"reason": " "}, files=files).status_code == 422
    nothing = reviewer.post(f"{CATALOG}/exchange", {"reason": "x"}, files={"file": ("a.xlsx", b"no")})
    assert nothing.status_code == 422
    reviewer.get(f"{CATALOG}/exchange")
    shown = reviewer.post(f"{CATALOG}/exchange", {"reason": "年度修订"}, files=files)
    assert "CEA 癌胚抗原" in shown.text
    assert shown.text.count("data-line") == 1
    with begin() as session:
        test = service.test_by_code(session, "CEA")
        assert test is not None
        assert test.decimals == 2, "only looked at"
    (digest,) = re.findall(r'name="digest" value="(\w+)"', shown.text)
    assert reviewer.post(f"{shown.url.path}/apply", {"digest": "other"}).status_code == 409
    assert reviewer.post(f"{shown.url.path}/apply", {"digest": digest}).status_code == 200
    assert reviewer.post(f"{shown.url.path}/apply", {"digest": digest}).status_code == 409
    with begin() as session:
        test = service.test_by_code(session, "CEA")
        assert test is not None
        assert test.decimals == 1
        kept = session.scalars(select(CatalogImport).where(CatalogImport.applied_at.is_not(None))).one()
        assert (kept.lines, kept.made_by_name) == (1, "钱审核")
        origin = select(CatalogChange.origin).where(CatalogChange.subject_id == test.id)
        assert session.scalar(origin) == "sheet"


@pytest.mark.req("LIS-16", "GW-11")
def test_a_mapping_is_tried_on_a_capture_and_says_of_every_code_what_it_becomes(reviewer: Visitor, lab: Lab) -> None:
    with begin() as session:
        xn = instruments.instrument_of(session, "gw-1", "xn")
        assert xn is not None
        plt = instruments.channel_of(session, xn.id, "PLT")
        assert plt is not None
        instruments.unmap_channel(session, plt.id, by="system")
    reviewer.get(f"/staff/lis/mapping?instrument={xn.id}")
    capture = read_case(CAPTURE).device_bytes()
    page = reviewer.post(
        "/staff/lis/mapping",
        {"instrument": str(xn.id), "driver": "auto"},
        files=_log(capture),
    )
    assert page.status_code == 200, page.text[-800:]
    verdicts = dict(re.findall(r'data-code="([^"]+)" data-verdict="(\w+)"', page.text))
    assert verdicts["RET%"] == "mapped", verdicts
    assert verdicts["HGB"] == "unit", "the capture says g/L, the channel g/dL: held, not multiplied"
    assert verdicts["PLT"] == "unknown"
    lost = reviewer.post(
        "/staff/lis/mapping",
        {"instrument": str(xn.id), "driver": "auto"},
        files=_log(b"\x00\x01 nothing"),
    )
    assert "无法解码" in lost.text


def _log(data: bytes) -> dict[str, tuple[str, bytes]]:
    return {"file": ("line.log", data)}


@pytest.mark.req("LIS-1", "LIS-3")
def test_the_order_form_asks_women_for_phase_and_week_and_keeps_them(site: Site, lab: Lab) -> None:
    technician = site.staff("technician")
    assert 'name="cycle_phase"' in technician.get(f"/staff/lis/orders/new?person={lab.wang}").text
    assert 'name="cycle_phase"' not in technician.get(f"/staff/lis/orders/new?person={lab.li}").text
    technician.get(f"/staff/lis/orders/new?person={lab.wang}")
    order = {"person_id": str(lab.wang), "department": "NK", "items": ["FSH"], "gestation_weeks": "12周"}
    refused = technician.post("/staff/lis/orders", order)
    assert refused.status_code == 422
    assert "12周" in refused.text
    assert technician.post("/staff/lis/orders", {**order, "gestation_weeks": "12+3"}).status_code == 200
    with begin() as session:
        placed = session.scalars(select(Order).order_by(Order.id.desc())).first()
        assert placed is not None
        assert placed.gestation_weeks == 12


@pytest.mark.req("LIS-16")
def test_lint_catalog_ends_with_one_where_something_is_wrong(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from cloud import __main__ as program

    monkeypatch.setattr(program, "_prepare", lambda *_given, **_named: None)
    runner = CliRunner()
    with begin() as session:
        test = service.test_by_code(session, "CA199")
        assert test is not None
        given = {"low": "1", "high": "2", "source": SOURCE, "valid_from": "2026-11-01"}
        editor = Editor("staff:x", "李四", "试")
        record.create(session, content.RANGE, {**given, "age_max_days": 10}, editor, test_id=test.id)
        record.create(session, content.RANGE, {**given, "age_min_days": 20}, editor, test_id=test.id)
    result = runner.invoke(program.program, ["lint-catalog"])
    assert result.exit_code == 1
    assert "error CA199: age_gap 10-20" in result.output
    assert "tea_unset" not in result.output
    assert "hint  " in runner.invoke(program.program, ["lint-catalog", "--all"]).output


@pytest.mark.req("LIS-16")
def test_the_order_page_asks_for_the_phase_where_a_range_needs_it_and_the_review_page_shows_what_was_told(
    lab: Lab, site: Site, reviewer: Visitor
) -> None:
    ward = site.staff("technician")
    asked = {"person_id": str(lab.wang), "department": "NK", "items": ["LH"]}

    def place(**more: object) -> tuple[int, str, str]:
        ward.get("/staff/lis/orders/new")
        answer = ward.post("/staff/lis/orders", {**asked, **more})
        return answer.status_code, answer.text, answer.url.path.rsplit("/", 1)[-1]

    status, page, _ = place()
    assert (status, "LH 的参考区间按月经周期或孕周划分" in page) == (422, True)
    assert 'name="phase_asked" value="yes"' in page
    assert 'name="items" value="LH"' in page, "what was picked is kept"
    told = place(cycle_phase="luteal", phase_asked="yes")[2]
    untold = place(phase_asked="yes")[2]
    assert place(items=["WBC"])[0] == 200, "nothing of this test depends on it"
    shown = []
    for order in (told, untold):
        with begin() as session:
            tube = specimens.print_labels(session, uuid.UUID(order), by="staff:nurse")[0]
            specimens.receive(session, tube.accession, by="staff:desk")
        shown.append(reviewer.get(f"/staff/lis/review/{tube.id}").text)
    assert "黄体期" in shown[0]
    assert "data-phase" not in shown[1], "no value waits for it yet"


@pytest.mark.req("LIS-16")
def test_a_tests_page_says_by_which_changes_it_is_held(director: Visitor) -> None:
    page = director.get("/staff/lis/catalog/tests/NA").text
    assert "3 天内与上次相差超过 13 mmol/L 时挂起" in page
    assert "AACC 2011" in page
    assert "没有差值限值" in director.get("/staff/lis/catalog/tests/ESR").text
