"""Drivers of texts and files: settings of one instrument, what is not understood, captures of real instruments."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protocols.capture import read_capture
from protocols.driver import Driver, discover, identify
from protocols.errors import DriverOptionError
from protocols.messages.printed_times import DateOrder, iso_clock, iso_date
from protocols.messages.strip_lines import StripLine, strip_line
from protocols.messages.table import TableError, delimiter_of, file_text, rows_of, xml_rows
from protocols.model import HostQuery, Kind, Observation, Order, Undecoded

pytestmark = pytest.mark.req("GW-5")

CAPTURES = Path(__file__).parents[3] / "shared" / "transcripts"
NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
PADS = frozenset({"LEU", "PRO", "SG", "PH", "NIT"})


def driver(name: str, **options: object) -> Driver:
    return discover()[name].configured(options)


def results(name: str, payload: bytes, **options: object) -> list[Observation]:
    return [each for each in driver(name, **options).decode(payload).items if isinstance(each, Observation)]


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("sysmex_xn", {"columns": 1}, "columns"),
        ("biomerieux_mini_vidas", {"date_order": "month first"}, "date_order"),
        ("beckman_au", {"model": "au9000"}, "model"),
        ("beckman_au", {"sample_id": "20"}, "sample_id"),
        ("beckman_au", {"sample_id": 400}, "sample_id"),
        ("beckman_au", {"bcc": 1}, "bcc"),
        ("beckman_au", {"sampel_id": 20}, "sampel_id"),
        ("hitachi_7xxx", {"ending": "BCC"}, "ending"),
        ("hitachi_7xxx", {"baud": 9600}, "baud"),
        ("sysmex_kx21", {"model": "KX-22"}, "model"),
        ("generic_text", {"framing": "stx"}, "framing"),
        ("generic_text", {"idle_s": 0}, "idle_s"),
        ("generic_text", {"delimiter": ","}, "columns"),
        ("generic_text", {"codes": "pH"}, "codes"),
        ("generic_file", {"columns": {"specimen": "ID", "colour": "x"}}, "columns.colour"),
        ("generic_file", {"columns": {"specimen": "ID"}}, "columns"),
        ("generic_file", {"columns": {"specimen": "", "code": "a", "value": "b"}}, "columns.specimen"),
        ("generic_file", {"format": "xml"}, "format"),
        ("generic_file", {"encoding": "gbk-2030"}, "encoding"),
        ("generic_file", {"delimiter": ";;"}, "delimiter"),
        ("generic_file", {"header": False}, "header"),
        ("generic_file", {"skip": -1}, "skip"),
        ("generic_file", {"decimal_comma": "yes"}, "decimal_comma"),
    ],
)
def test_a_setting_that_cannot_be_taken_is_named_with_its_cure(name: str, options: dict[str, Any], key: str) -> None:
    with pytest.raises(DriverOptionError) as refused:
        driver(name, **options)
    assert refused.value.key == key
    assert refused.value.cure


def test_the_settings_of_one_instrument_leave_the_driver_of_the_others_alone() -> None:
    own = driver("beckman_au", model="au5800", sample_id=20)
    assert own is not discover()["beckman_au"]
    assert discover()["beckman_au"].profile.sample_id == 13  # type: ignore[attr-defined]
    assert driver("sysmex_xn") is discover()["sysmex_xn"]


def test_an_au_with_a_longer_sample_number_is_read_by_its_own_columns() -> None:
    text = b"D 001203 0007" + b"2611000200010001".rjust(20) + b"    E021 95.20  "
    assert [each.specimen for each in results("beckman_au", text, sample_id=20)] == ["2611000200010001"]


def test_an_au_may_be_answered_without_tests_instead_of_se() -> None:
    text = b"R 001203 0007261100020001 "
    own = driver("beckman_au", no_order="empty")
    assert list(own.respond(text, own.decode(text), {}, NOW)) == [b"S 001203 0007261100020001     E"]


def test_cancelled_orders_and_codes_that_an_au_has_no_room_for_are_not_sent() -> None:
    text = b"R 001203 0007261100020001 "
    own = driver("beckman_au")
    decoded = own.decode(text)
    assert isinstance(decoded.items[0], HostQuery)
    orders = {
        "261100020001": [
            Order("261100020001", ("21", "GLUCOSE")),
            Order("261100020001", ("30",), cancelled=True),
            Order("261100020001", ("21", "011")),
        ]
    }
    assert list(own.respond(text, decoded, orders, NOW)) == [b"S 001203 0007261100020001     E02100110"]


# ---------------------------------------------------------------------- what is not understood


def test_a_result_that_was_cut_off_is_said_and_the_others_are_kept() -> None:
    found = driver("beckman_au").decode(b"D 001203 0007261100020001     E021 95.20  011").items
    assert [type(each) for each in found] == [Observation, Undecoded]


def test_a_text_without_a_result_is_carried_whole() -> None:
    text = b"Maintenance report\r\nLamp was changed\r\n"
    assert driver("generic_text").decode(text).items == (Undecoded("a text without a result", text.decode(), 0),)


def test_a_table_whose_columns_nobody_named_is_carried_whole() -> None:
    found = driver("generic_file").decode(b"a,b,c\n1,2,3\n").items
    assert [each.kind for each in found] == [Kind.UNDECODED]


def test_the_name_the_sex_and_the_age_on_a_printout_are_never_read() -> None:
    text = b"ID: 7\r\nName: Invented\r\nSex: F\r\nAge: 44\r\nGLU 5.6 mmol/L\r\n"
    found = driver("generic_text").decode(text).items
    assert [type(each) for each in found] == [Observation]


def test_numbers_in_unicode_digits_are_no_numbers() -> None:
    assert driver("hitachi_7xxx").decode(":A  ³".encode("latin-1") * 20).items
    assert driver("sysmex_kx21").decode(b"D1U" + b"\xb3" * 120).items


# ---------------------------------------------------------------------- lines and times


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("*LEU  +1    70 CELL/uL", StripLine("LEU", "70", "CELL/uL", "+1", True)),
        ("NIT neg", StripLine("NIT", "neg", None, None, False)),
        ("NIT   -", StripLine("NIT", "-", None, None, False)),
        ("NIT +    pos", StripLine("NIT", "pos", None, "+", False)),
        ("PRO ++++2000 mg/dl", StripLine("PRO", "2000", "mg/dl", "++++", False)),
        ("PRO 2+ 100mg/dL *", StripLine("PRO", "100", "mg/dL", "2+", True)),
        ("S.G  >=1.030", StripLine("S.G", ">=1.030", None, None, False)),
        ("pH 6.5", StripLine("pH", "6.5", None, None, False)),
        ("LEU", StripLine("LEU", None, None, None, False)),
        ("LEUKAEMIA 3", None),
        ("Operator 7", None),
        ("", None),
    ],
)
def test_a_pad_is_read_as_it_is_printed(line: str, expected: StripLine | None) -> None:
    found = strip_line(line, PADS)
    if expected is not None and found is not None and expected.value == "pos":
        expected = StripLine("NIT", "pos", None, "+", False)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("10/25/24", DateOrder.MDY, "2024-10-25"),
        ("25.10.2024", DateOrder.DMY, "2024-10-25"),
        ("24-10-25", DateOrder.YMD, "2024-10-25"),
        ("2024/10/25", None, "2024-10-25"),
        ("10/25/24", None, None),
        ("25/10/24", DateOrder.MDY, None),
        ("06-Janvier-15", None, "2015-01-06"),
        ("02NOV26", None, "2026-11-02"),
        ("NOV-02-2026", None, "2026-11-02"),
        ("12 août 2015", None, "2015-08-12"),
        ("3-Juin-15", None, "2015-06-03"),
        ("3-Juillet-15", None, "2015-07-03"),
        ("31-Feb-2026", None, None),
        ("yesterday", None, None),
    ],
)
def test_a_date_is_read_by_the_instruments_setting_and_never_guessed(
    text: str, order: DateOrder | None, expected: str | None
) -> None:
    assert iso_date(text, order) == expected


def test_a_clock_is_read_with_or_without_seconds() -> None:
    assert [iso_clock(each) for each in ("9:05", "15:15:06", "15h30mn00s", "24:00", "x")] == [
        "09:05:00", "15:15:06", "15:30:00", None, None,
    ]  # fmt: skip


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_a_chinese_table_is_read_in_the_character_sets_of_laboratories(encoding: str) -> None:
    text = "条码,项目,结果\r\n261100020001,血糖测定结果,5.6\r\n"
    assert file_text(text.encode(encoding))[0] == text
    found = results("generic_file", text.encode(encoding))
    assert [(each.specimen, each.code, each.value) for each in found] == [("261100020001", "血糖测定结果", "5.6")]


def test_latin_1_is_read_where_the_link_says_so() -> None:
    assert file_text("Probe;µmol/l".encode("latin-1"), "latin-1") == ("Probe;µmol/l", "latin-1")


def test_a_declared_character_set_that_the_bytes_contradict_does_not_lose_the_file() -> None:
    assert file_text("血糖测定".encode("gb18030"), "utf-8")[0] == "血糖测定"


def test_quoted_cells_may_hold_delimiters_and_line_ends() -> None:
    rows = list(rows_of('id,comment\r\n1,"a, b\r\nc"\r\n\r\n2,d\r\n', ","))
    assert [dict(row.cells) for row in rows] == [{"id": "1", "comment": "a, b\nc"}, {"id": "2", "comment": "d"}]


def test_two_columns_of_one_name_are_both_kept() -> None:
    assert list(next(iter(rows_of("id,x,x\n1,2,3\n", ","))).cells) == ["id", "x", "x (3)"]


def test_a_row_longer_than_its_header_keeps_its_rest() -> None:
    assert dict(next(iter(rows_of("id,x\n1,2,3\n", ","))).cells) == {"id": "1", "x": "2", "3": "3"}


def test_the_delimiter_is_the_one_that_every_line_has() -> None:
    assert delimiter_of("a;b;c\n1,5;2;3\n") == ";"
    assert delimiter_of("a\tb\n1\t2\n") == "\t"
    assert delimiter_of("one line") is None


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><Row a="1">&x;</Row></r>',
        '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r>&b;</r>',
    ],
)
def test_an_xml_file_that_declares_entities_is_refused(text: str) -> None:
    with pytest.raises(TableError, match="DTD"):
        list(xml_rows(text, "Row"))
    found = driver("generic_file", format="xml", row="Row").decode(text.encode()).items
    assert [each.kind for each in found] == [Kind.UNDECODED]


def test_xml_rows_are_read_without_their_namespaces() -> None:
    text = '<r xmlns="urn:x"><Row id="1"><Value unit="g">5</Value></Row></r>'
    assert [dict(row.cells) for row in xml_rows(text, "Row")] == [{"@id": "1", "Value": "5", "Value/@unit": "g"}]


def test_columns_may_be_numbered_where_there_is_no_header() -> None:
    found = results(
        "generic_file", b"261100020001;GLU;5,6\n", delimiter=";", header=False, decimal_comma=True,
        columns={"specimen": 1, "code": 2, "value": 3},
    )  # fmt: skip
    assert [(each.specimen, each.code, each.value) for each in found] == [("261100020001", "GLU", "5.6")]


# ---------------------------------------------------------------------- captures

real = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of real analyzers are not at hand")


@real
def test_the_capture_of_a_mini_vidas_is_read_whole() -> None:
    data = (CAPTURES / "biomerieux_mini_vidas" / "mini_vidas.txt").read_bytes()
    found = list(read_capture(data))
    assert {each.driver for each in found} == {"biomerieux_mini_vidas"}
    assert [each.item.kind for each in found] == [Kind.OBSERVATION] * data.count(b"\x1ert")


@real
def test_a_damaged_capture_of_a_mini_vidas_is_said_to_be_damaged() -> None:
    data = (CAPTURES / "biomerieux_mini_vidas" / "mini_vidas.txt").read_bytes()
    found = list(read_capture(data.replace(b"qn0.05", b"qn0.06")))
    assert [each.item.kind for each in found] == [Kind.UNDECODED]


@real
def test_the_export_of_a_facscalibur_is_read_whole() -> None:
    """The cells that count are counted here by a plain split: not a dot, in a column of percents, counts or ratios."""
    data = (CAPTURES / "bd_facscalibur" / "Facscalibur.exp").read_bytes()
    header, *rows = [line.split(b"\t") for line in data.split(b"\r") if line.strip()]
    counts = [
        place
        for place, name in enumerate(header)
        if b"%" in name or name.endswith((b"Abs Cnt", b"Ratio", b"Events")) or name.startswith((b"WBC", b"Lymph"))
    ]
    held = sum(1 for row in rows for place in counts if row[place] not in (b".", b""))
    found = list(read_capture(data))
    assert {each.driver for each in found} == {"bd_facscalibur"}
    assert [each.item.kind for each in found] == [Kind.OBSERVATION] * held
    specimens = {each.item.specimen for each in found if isinstance(each.item, Observation)}
    assert specimens == {row[header.index(b"Sample ID")].decode() for row in rows}


def test_files_that_nobody_knows_are_recognised_as_such() -> None:
    assert identify(b"hello")[0] is None
    assert identify(b"\x89PNG\r\n\x1a\n" + bytes(100))[0] is None
