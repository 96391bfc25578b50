"""Records and segments of any content: what was escaped comes back, the quick way reads as the slow, nothing raises."""

from __future__ import annotations

from base64 import b64encode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.driver import discover
from protocols.messages import astm, hl7
from protocols.messages.charset import decode_text
from protocols.messages.embedded import from_base64, from_hex, picture_in

SIGNS = st.permutations("|\\^&`@~!$%#*").map(lambda signs: "".join(signs[:5]))
PRINTED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
CHINESE = st.text(st.sampled_from("血红蛋白糖阳性阴弱张伟检验科王李|\\^&~ aZ09.%"), max_size=12)
WORDS = (PRINTED | CHINESE).map(str.strip)
MESSY = st.text(st.sampled_from("|\\^&~ \t\x1c\u3000\xa0AB41µ血."), max_size=12)


@pytest.mark.req("GW-3")
@settings(max_examples=300, deadline=None)
@given(signs=SIGNS, words=st.lists(WORDS, min_size=1, max_size=6), charset=st.sampled_from(["utf-8", "gb18030"]))
def test_what_is_escaped_in_a_component_is_read_again_with_the_delimiters_of_its_header(
    signs: str, words: list[str], charset: str
) -> None:
    delimiters = astm.Delimiters(*signs[:4])
    header = f"H{delimiters.field}{delimiters.definition()}{delimiters.field}"
    field = delimiters.component.join(astm.escape(word, delimiters) for word in words)
    repeated = delimiters.repeat.join([field, field])
    message = astm.read_message(f"{header}\rR{signs[0]}1{signs[0]}{repeated}\r".encode(charset), charset)
    result = message.records[1]
    assert result.components(3) == words
    assert result.repeats(3) == ([words, words] if repeated else [])


@pytest.mark.req("GW-4")
@settings(max_examples=300, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=6), charset=st.sampled_from(["utf-8", "gb18030"]))
def test_what_is_escaped_in_hl7_is_read_again(words: list[str], charset: str) -> None:
    field = "^".join(hl7.escape(word) for word in words)
    payload = f"MSH|^~\\&|A\rOBX|1|ST|{field}~{field}||x\r".encode(charset)
    segment = hl7.read_messages(payload, charset)[0].segments[1]
    assert segment.components(3) == words
    assert [segment.parts(each) for each in segment.repeats(3)] == [words, words]


@pytest.mark.req("GW-3", "GW-4")
@settings(max_examples=300, deadline=None)
@given(fields=st.lists(MESSY, min_size=1, max_size=8))
def test_the_quick_way_through_a_record_reads_the_same_as_the_slow_one(fields: list[str]) -> None:
    body = "|".join(fields)
    for record in astm.read_message(f"H|\\^&\rR|{body}\r".encode()).records:
        slow = msgspec.structs.replace(record, as_sent=False)
        assert all(record.text(n) == slow.text(n) for n in range(1, 12))
        assert all(record.components(n) == slow.components(n) for n in range(1, 12))
        assert all(record.repeats(n) == slow.repeats(n) for n in range(1, 12))
    for message in hl7.read_messages(f"MSH|^~\\&|A\rOBX|{body}\r".encode()):
        for segment in message.segments:
            plain = msgspec.structs.replace(segment, as_sent=False)
            assert all(segment.text(n) == plain.text(n) for n in range(12))
            assert all(segment.components(n) == plain.components(n) for n in range(12))


@pytest.mark.req("GW-3", "GW-4")
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), place=st.integers(0, 400), charset=st.sampled_from([None, "gb18030", "8859/1"]))
def test_no_bytes_raise_out_of_a_reader_or_a_generic_driver(data: bytes, place: int, charset: str | None) -> None:
    decode_text(data, charset)
    for head in (b"H|\\^&|||X\rO|1|S1\rR|1|^^^A|1|g/L||N\rM|1|", b"MSH|^~\\&|A|B\rOBR|1|S\rOBX|1|ED|A^B||^^^Base64^"):
        payload = head[:place] + data + head[place:]
        for name in ("generic_astm", "generic_hl7"):
            decoded = discover()[name].decode(payload)
            assert decoded.items or not payload.strip()


@pytest.mark.req("GW-3")
@given(
    lines=st.lists(PRINTED.filter(str.strip), max_size=6),
    ends=st.tuples(*[st.sampled_from(["\r", "\n", "\r\n"])] * 2),
)
def test_the_kind_of_line_end_changes_nothing(lines: list[str], ends: tuple[str, str]) -> None:
    one, other = (astm.read_message(end.join(["H|\\^&", *lines, ""]).encode()) for end in ends)
    assert [record.fields for record in one.records] == [record.fields for record in other.records]


@pytest.mark.req("GW-11")
@given(data=st.binary(min_size=1, max_size=300), width=st.integers(4, 80))
def test_base64_is_read_wrapped_and_without_its_padding(data: bytes, width: int) -> None:
    text = b64encode(data).decode()
    wrapped = "\n".join(text[start : start + width] for start in range(0, len(text), width))
    assert from_base64(wrapped) == from_base64(text.rstrip("=")) == data
    assert from_hex(data.hex(" ")) == data


@pytest.mark.req("GW-11")
@given(text=st.text(max_size=200))
def test_no_text_raises_where_a_picture_is_looked_for(text: str) -> None:
    assert from_base64(text) is None or text.strip()
    assert from_hex(text) is None or text.strip()
    picture_in(text)
