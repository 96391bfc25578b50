"""Reading and building ASTM records: delimiters of each header, escapes, characters."""

from __future__ import annotations

import pytest

from protocols.messages.astm import STANDARD, build_message, escape, read_delimiters, read_message, unescape
from protocols.messages.charset import decode_text
from protocols.messages.times import iso_time
from protocols.model import read_quantity

pytestmark = pytest.mark.req("GW-3")


@pytest.mark.parametrize(
    ("header", "repeat", "component", "escape_sign"),
    [
        ("H|\\^&", "\\", "^", "&"),
        ("H|`^&||||", "`", "^", "&"),
        ("H|@^\\|URM", "@", "^", "\\"),
        ("H|\\\\^&|||", "\\\\", "^", "&"),
        ("H|\\", "\\", "^", "&"),
        ("H", "\\", "^", "&"),
        ("H!$%#!", "$", "%", "#"),
    ],
)
def test_delimiters_are_those_of_the_header(header: str, repeat: str, component: str, escape_sign: str) -> None:
    found = read_delimiters(header)
    assert (found.repeat, found.component, found.escape) == (repeat, component, escape_sign)


def test_second_header_changes_the_delimiters() -> None:
    message = read_message(b"H|\\^&\rO|1|A\\B\rH|`^&\rO|1|A`B\r")
    assert message.records[1].repeats(3) == [["A"], ["B"]]
    assert message.records[3].repeats(3) == [["A"], ["B"]]


def test_escapes_are_taken_away_after_splitting() -> None:
    message = read_message(b"H|\\^&\rR|1|^^^A&S&B|1&F&2^3&E&|&R&\r")
    result = message.records[1]
    assert result.component(3, 4) == "A^B"
    assert result.components(4) == ["1|2", "3&"]
    assert result.text(5) == "\\"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a&X41&b", "aAb"),
        ("a&XB0A1&b", "a啊b"),
        ("a&H&b&N&c", "abc"),
        ("a&Zvendor&b", "ab"),
        ("R&D", "R&D"),
        ("A & B & C", "A & B & C"),
        ("&", "&"),
        ("&&", "&&"),
        ("x&F", "x&F"),
        ("&XZZ&", "&XZZ&"),
    ],
)
def test_escape_is_understood_or_stays(text: str, plain: str) -> None:
    assert unescape(text, STANDARD, "gb18030") == plain


def test_what_is_escaped_comes_back() -> None:
    text = "a|b^c\\d&e"
    assert unescape(escape(text), STANDARD) == text


def test_records_end_with_cr_lf_or_both() -> None:
    for end in (b"\r", b"\n", b"\r\n"):
        records = read_message(end.join([b"H|\\^&", b"P|1", b"L|1|N", b""])).records
        assert [record.kind for record in records] == ["H", "P", "L"]


def test_gbk_text_is_split_as_characters() -> None:
    """The second byte of 僜 is 5C, of 區 5E, of 東 7C: splitting bytes would tear the names apart."""
    for name, separator in (("王僜", b"\\"), ("区區丽华", b"^"), ("李東明光", b"|")):
        assert separator in name.encode("gb18030")
        raw = b"H|\\^&\rC|1|I|" + name.encode("gb18030") + b"\r"
        message = read_message(raw)
        assert message.charset == "gb18030"
        assert message.records[1].text(4) == name


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        (b"WBC", "ascii"),
        ("白细胞".encode(), "utf-8"),
        ("白细胞".encode("gb18030"), "gb18030"),
        ("µmol/L".encode("latin-1"), "latin-1"),
        ("37 °C".encode("latin-1"), "latin-1"),
        (b"\xff\xfe\x00", "latin-1"),
    ],
)
def test_characters_are_found_by_validity(data: bytes, charset: str) -> None:
    assert decode_text(data)[1] == charset


def test_declared_characters_that_the_bytes_contradict_are_dropped() -> None:
    assert decode_text("白细胞".encode("gb18030"), "utf-8") == ("白细胞", "gb18030")
    assert decode_text("é".encode("iso8859-2"), "iso8859-2") == ("é", "iso8859-2")
    assert decode_text("é".encode(), "no-such-charset") == ("é", "utf-8")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("20240627135407", "2024-06-27T13:54:07"),
        ("202406271354", "2024-06-27T13:54:00"),
        ("20240627", "2024-06-27"),
        ("20240627135407.5+0800", "2024-06-27T13:54:07.5+08:00"),
        ("  ", None),
        ("20241350", "20241350"),
        ("yesterday", "yesterday"),
    ],
)
def test_times_are_iso_without_an_invented_zone(text: str, time: str | None) -> None:
    assert iso_time(text) == time


@pytest.mark.parametrize(
    ("text", "number", "comparator"),
    [("<3.00", "3.00", "<"), ("≥ 5", "5", ">="), ("-1.5e2", "-1.5E+2", None), ("7", "7", None)],
)
def test_number_keeps_its_digits_and_comparator(text: str, number: str, comparator: str | None) -> None:
    quantity = read_quantity(text)
    assert quantity is not None
    assert (str(quantity.number), quantity.comparator) == (number, comparator)


@pytest.mark.parametrize("text", ["POS", "----", "1:160", "", "-1^0.325", None])
def test_what_is_no_number_is_none(text: str | None) -> None:
    assert read_quantity(text) is None


def test_built_message_is_read_back() -> None:
    payload = build_message([("H", "\\^&"), ("P", "1", "", escape("a^b")), ("L", "1", "N")])
    assert payload == b"H|\\^&\rP|1||a&S&b\rL|1|N\r"
    assert read_message(payload).records[1].text(4) == "a^b"
