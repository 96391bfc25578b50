"""Reading and building HL7 v2."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from protocols.messages.hl7 import (
    acknowledgement_type,
    build,
    declared_charset,
    escape,
    read_delimiters,
    read_messages,
    reply_header,
    unescape,
    wants,
)

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)

pytestmark = pytest.mark.req("GW-4")


def header(fields: str) -> bytes:
    return b"MSH|^~\\&|" + fields.encode()


def test_fields_of_msh_count_from_the_separator() -> None:
    message = read_messages(header("Mindray|BS-480|||20261101||ORU^R01|77|P|2.3.1"))[0]
    assert message.header.raw(1) == "|"
    assert message.header.raw(2) == "^~\\&"
    assert message.header.raw(3) == "Mindray"
    assert (message.kind, message.control_id) == ("ORU^R01", "77")


def test_other_segments_count_from_their_first_field() -> None:
    message = read_messages(header("A") + b"\rOBX|1|NM|2^GLU||5.1~5.2|mmol/L")[0]
    obx = message.segments[1]
    assert obx.raw(1) == "1"
    assert obx.components(3) == ["2", "GLU"]
    assert obx.repeats(5) == ["5.1", "5.2"]
    assert obx.raw(99) == ""


def test_other_delimiters_are_taken_from_msh() -> None:
    message = read_messages(b"MSH#*!$%#A\rOBX#1##2*GLU##5!6\r")[0]
    assert message.segments[1].components(3) == ["2", "GLU"]
    assert message.segments[1].repeats(5) == ["5", "6"]
    assert read_delimiters("MSH|^~").sub == "&"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_segments_end_with_cr_lf_or_both(end: str) -> None:
    message = read_messages(end.join(["MSH|^~\\&|A", "PID|1", "OBX|1", ""]).encode())[0]
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "OBX"]


def test_batch_holds_its_messages() -> None:
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + header("A") + b"\rOBX|1\r" + header("B") + b"\rOBX|1\rBTS|2\rFTS|1\r"
    assert [len(message.segments) for message in read_messages(batch)] == [2, 2]


@pytest.mark.parametrize("payload", [b"", b"\r\r", b"OBX|1", b"MS", b"\xff\xfe"])
def test_what_is_no_message_gives_none(payload: bytes) -> None:
    assert read_messages(payload) == []


@pytest.mark.parametrize(
    ("declared", "charset"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("UNICODE", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("8859/1", "iso8859-1"),
        ("", None),
    ],
)
def test_characters_declared_in_msh_18(declared: str, charset: str | None) -> None:
    assert declared_charset(header(f"A|B|||||ORU^R01|1|P|2.3.1||||||{declared}")) == charset


def test_wrong_msh_18_does_not_spoil_the_text() -> None:
    payload = header("A|B|||x||ORU^R01|1|P|2.3.1||||||UNICODE") + "\rOBX|1|ST|1||阳性".encode("gb18030")
    message = read_messages(payload)[0]
    assert message.charset == "gb18030"
    assert message.segments[1].text(5) == "阳性"


def test_gbk_characters_with_separators_as_second_bytes_stay_whole() -> None:
    payload = header("A") + b"\rNTE|1||" + "王僜區東的检验".encode("gb18030") + b"\r"
    assert read_messages(payload)[0].segments[1].text(3) == "王僜區東的检验"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"a\F\b\S\c\R\d\E\e\T\f", "a|b^c~d\\e&f"),
        (r"\X41\\X42\ ", "AB "),
        (r"one\.br\two", "one\ntwo"),
        (r"\H\bold\N\ ", "bold "),
        (r"C:\data", r"C:\data"),
        (r"\Q\ ", r"\Q\ "),
        ("\\", "\\"),
    ],
)
def test_escape_is_understood_or_stays(text: str, plain: str) -> None:
    assert unescape(text) == plain


def test_what_is_escaped_comes_back() -> None:
    text = "a|b^c~d\\e&f\ng"
    assert unescape(escape(text)) == text
    assert "\r" not in escape("a\rb")


def test_reply_exchanges_sender_and_receiver() -> None:
    request = read_messages(header("Mindray|BS-480|LIS|LAB|20261101||ORU^R01|77|P|2.3.1||||0||ASCII|||"))[0].header
    fields = reply_header(request, "ACK^R01", NOW)
    assert build([fields]) == b"MSH|^~\\&|LIS|LAB|Mindray|BS-480|20261102083000||ACK^R01|77|P|2.3.1||||||ASCII\r"


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("ORU^R01", "ACK^R01"), ("OUL^R22^OUL_R22", "ACK^R22^ACK"), ("ORU", "ACK"), ("", "ACK")],
)
def test_type_of_the_acknowledgement_follows_the_request(kind: str, answer: str) -> None:
    assert acknowledgement_type(read_messages(header(f"A|B|||x||{kind}|1"))[0].header) == answer


@pytest.mark.parametrize(
    ("accept", "application", "modes"),
    [
        ("", "", ["original"]),
        ("", "2", ["original"]),
        ("AL", "NE", ["commit"]),
        ("AL", "AL", ["commit", "application"]),
        ("NE", "AL", ["application"]),
        ("NE", "NE", []),
    ],
)
def test_acknowledgement_mode_is_that_of_msh_15_and_16(accept: str, application: str, modes: list[str]) -> None:
    request = read_messages(header(f"A|B|||x||ORU^R01|1|P|2.5.1|||{accept}|{application}"))[0].header
    assert list(wants(request)) == modes


@pytest.mark.parametrize("charset", ["8859/\x00", "8859/99", "UNDEFINED", "8859/1\udc80"])
def test_a_character_set_that_nobody_knows_ends_in_no_fault(charset: str) -> None:
    header = f"MSH|^~\\&|Mindray|BS-380|||20261123080000||ORU^R01|1|P|2.3.1||||0||{charset}|||"
    payload = header.encode("utf-8", "surrogatepass") + b"\rPID|1||\xd5\xc5\r"
    (message,) = read_messages(payload)
    assert len(message.segments) == 2
