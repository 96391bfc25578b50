"""The catalogue as a workbook: out and in again is nothing; what differs is shown, what is wrong names its cell."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator

import pytest
from openpyxl import load_workbook
from openpyxl.workbook import Workbook
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.app import load_slices
from cloud.kit.db import begin, new_session
from cloud.kit.errors import Invalid
from cloud.lis.catalog import approving, content, importing, record, service, workbook
from cloud.lis.catalog.changes import CatalogChange
from cloud.lis.catalog.importing import Outcome
from cloud.lis.catalog.model import ReferenceRange, Test
from cloud.lis.catalog.record import Editor
from cloud.lis.instruments.model import InstrumentChannel
from tests.support.bench import set_up
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("LIS-16")
EDITOR, DIRECTOR = Editor("staff:writer", "钱组长", "年度修订", "sheet"), "staff:director"
Edit = Callable[[Workbook], None]


@pytest.fixture(scope="module")
def laboratory(database_server: DatabaseServer) -> Iterator[bytes]:
    """One database for the module with its catalogue taken out once; each test's transaction is taken back."""
    with pytest.MonkeyPatch.context() as patched, database_server.clone() as url, cloud_on(url, patched):
        load_slices()
        with begin() as session:
            set_up(session)
            yield_this = importing.exported(session)
        yield yield_this


@pytest.fixture
def session(laboratory: bytes) -> Iterator[Session]:
    with new_session() as session:
        yield session
        session.rollback()


def changed(data: bytes, edit: Edit) -> bytes:
    book = load_workbook(io.BytesIO(data))
    edit(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def at(book: Workbook, sheet: str, key: str, heading: str) -> str:
    """The cell of the row that begins with `key`."""
    page = book[sheet]
    column = next(cell.column_letter for cell in page[1] if cell.value == heading)
    row = next(row[0].row for row in page.iter_rows(min_row=2) if row[0].value == key)
    return f"{column}{row}"


def put(book: Workbook, sheet: str, key: str, heading: str, value: object) -> str:
    place = at(book, sheet, key, heading)
    book[sheet][place] = value
    return place


def import_(session: Session, data: bytes) -> Outcome:
    return importing.applied(session, data, EDITOR)


def test_what_is_taken_out_and_put_in_again_changes_nothing(session: Session, laboratory: bytes) -> None:
    rows = session.scalar(select(func.count()).select_from(CatalogChange))
    outcome = import_(session, laboratory)
    assert (outcome.lines, outcome.faults) == ([], [])
    assert outcome.unchanged > 400
    saved_by_a_spreadsheet_program = changed(laboratory, lambda book: None)
    assert import_(session, saved_by_a_spreadsheet_program).lines == []
    assert session.scalar(select(func.count()).select_from(CatalogChange)) == rows


def test_a_dry_run_shows_the_differences_and_keeps_nothing(session: Session, laboratory: bytes) -> None:
    def edit(book: Workbook) -> None:
        put(book, "检验项目", "FERR", "小数位", 0)
        book["参考区间"].append(["FERR", "女", "18岁", None, "血清", None, None, None, None, None, 13, 150])
        page = book["参考区间"]
        last = page.max_row
        headings = [cell.value for cell in page[1]]
        page.cell(last, headings.index("生效日期") + 1, "2027-01-01")
        page.cell(last, headings.index("来源") + 1, "本室验证报告 2026-11")

    data = changed(laboratory, edit)
    outcome = importing.tried(session, data, EDITOR)
    assert outcome.faults == []
    said = {
        each.label: (each.fresh, [(d.label, d.before, d.after) for d in each.differences]) for each in outcome.lines
    }
    assert said["FERR 铁蛋白"][0], "the new range"
    assert {each.sheet for each in outcome.lines} == {"检验项目", "参考区间"}
    assert ("小数位", "1", "0") in [(d.label, d.before, d.after) for each in outcome.lines for d in each.differences]
    test = service.test_by_code(session, "FERR")
    assert test is not None
    assert (test.decimals, service.ranges(session, test.id)) == (1, [])
    again = import_(session, data)
    assert again.digest == outcome.digest, "what was looked at is what is applied"
    session.refresh(test)
    (row,) = service.ranges(session, test.id)
    assert (test.decimals, row.state, row.high, row.age_min_days) == (0, "draft", 150, 6574)
    origins = session.scalars(select(CatalogChange.origin).where(CatalogChange.test_id == test.id)).all()
    assert set(origins) == {"sheet"}
    assert import_(session, data).lines == [], "the same file again is nothing"


def test_every_fault_names_its_sheet_and_cell_and_nothing_is_half_applied(session: Session, laboratory: bytes) -> None:
    places: dict[str, str] = {}

    def edit(book: Workbook) -> None:
        places["decimals"] = put(book, "检验项目", "ALT", "小数位", "两位")
        places["tube"] = put(book, "检验项目", "AST", "试管", "GOLD")
        places["low"] = put(book, "参考区间", "PLT", "下限", 999)
        places["sex"] = put(book, "参考区间", "WBC", "性别", "妇")
        places["tests"] = put(book, "组合", "ELEC", "项目", "K NA NOPE")
        places["source"] = put(book, "危急值界限", "GLU", "来源", None)
        places["factor"] = put(book, "仪器通道", "XN1", "换算系数", 0)
        page = book["组合"]
        page.append([page["A2"].value])
        places["twice"] = f"A{page.max_row}"

    outcome = importing.tried(session, changed(laboratory, edit), EDITOR)
    found = {(each.sheet, each.cell) for each in outcome.faults}
    assert found == {
        ("检验项目", places["decimals"]),
        ("检验项目", places["tube"]),
        ("参考区间", places["low"]),
        ("参考区间", places["sex"]),
        ("组合", places["tests"]),
        ("组合", places["twice"]),
        ("危急值界限", places["source"]),
        ("仪器通道", places["factor"]),
    }
    messages = {each.cell: each.message for each in outcome.faults if each.sheet == "检验项目"}
    assert "两位" in messages[places["decimals"]]
    assert "GOLD" in messages[places["tube"]]


def test_columns_sheets_and_codes_that_nobody_knows_are_named(session: Session, laboratory: bytes) -> None:
    def edit(book: Workbook) -> None:
        book["试管"]["D1"] = "颜色名"
        book.create_sheet("备注")["A1"] = "x"
        book["质量目标"].append(["NOPE", 5, None, None, "2026-11-01", "某标准"])
        book["检验项目"]["A3"] = None

    faults = importing.tried(session, changed(laboratory, edit), EDITOR).faults
    assert {(each.sheet, each.cell) for each in faults} >= {("试管", "D1"), ("备注", ""), ("检验项目", "A3")}
    assert any(each.sheet == "质量目标" and "NOPE" in each.message for each in faults)


def test_an_approved_row_keeps_holding_and_a_change_that_waits_is_not_lost(session: Session, laboratory: bytes) -> None:
    test = service.test_by_code(session, "FERR")
    assert test is not None
    approving.approve(session, content.TEST, test.id, by=DIRECTOR)
    record.change(session, content.TEST, test.id, {"method": "化学发光"}, EDITOR)
    assert import_(session, importing.exported(session)).lines == []
    import_(session, changed(importing.exported(session), _put_decimals))
    assert (test.decimals, test.method) == (1, "")
    approving.approve(session, content.TEST, test.id, by=DIRECTOR)
    assert (test.decimals, test.method, test.version) == (3, "化学发光", 2)


def _put_limit(book: Workbook) -> None:
    put(book, "参考区间", "PLT", "上限", 360)


def _put_decimals(book: Workbook) -> None:
    put(book, "检验项目", "FERR", "小数位", 3)


def test_an_approved_range_gets_a_new_version_from_the_sheet(session: Session, laboratory: bytes) -> None:
    test = service.test_by_code(session, "PLT")
    assert test is not None
    (old,) = service.ranges(session, test.id)
    approving.approve(session, content.RANGE, old.id, by=DIRECTOR)
    outcome = import_(session, changed(laboratory, _put_limit))
    assert [each.differences[0].after for each in outcome.lines] == ["360"]
    versions = service.ranges(session, test.id)
    assert [(each.version, each.state, each.high) for each in versions] == [(2, "draft", 360), (1, "approved", 350)]


def test_a_row_marked_out_of_use_goes_out_of_use(session: Session, laboratory: bytes) -> None:
    def edit(book: Workbook) -> None:
        put(book, "检验项目", "ANA", "停用", "是")
        put(book, "参考区间", "PLT", "停用", "是")

    import_(session, changed(laboratory, edit))
    session.expire_all()
    ana, plt = service.test_by_code(session, "ANA"), service.test_by_code(session, "PLT")
    assert ana is not None
    assert plt is not None
    assert (ana.state, [each.state for each in service.ranges(session, plt.id)]) == ("retired", ["retired"])
    again = importing.exported(session)
    assert import_(session, again).lines == []


def test_a_text_that_begins_like_a_formula_is_a_text(session: Session, laboratory: bytes) -> None:
    test = service.test_by_code(session, "FERR")
    assert test is not None
    test.collection_note = "=1+1"
    session.flush()
    book = load_workbook(io.BytesIO(importing.exported(session)))
    cell = book["检验项目"][at(book, "检验项目", "FERR", "采集要求")]
    assert (cell.value, cell.data_type) == ("=1+1", "s")


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("kind", ["text", "empty", "bomb", "other zip"])
def test_a_file_that_is_no_workbook_or_unpacks_too_large_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"" if kind == "empty" else b"code,name\n"
    if kind in ("bomb", "other zip"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/worksheets/sheet1.xml", b" " * (3 << 20))
        data = out.getvalue()
    if kind == "bomb":
        monkeypatch.setattr(workbook, "LARGEST_UNPACKED", 1 << 20)
    with pytest.raises(Invalid):
        workbook.read(data)


def test_the_workbook_holds_every_test_range_and_channel(session: Session, laboratory: bytes) -> None:
    book = load_workbook(io.BytesIO(laboratory))
    for sheet, table in (("检验项目", Test), ("参考区间", ReferenceRange), ("仪器通道", InstrumentChannel)):
        assert book[sheet].max_row == 1 + (session.scalar(select(func.count()).select_from(table)) or 0)
