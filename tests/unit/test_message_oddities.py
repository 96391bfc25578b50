"""What instruments do to records, segments and characters that no standard knows: read, or shown, never dropped."""

from __future__ import annotations

from base64 import b64encode

import pytest

from protocols.driver import discover
from protocols.messages.astm import read_message
from protocols.messages.charset import decode_text
from protocols.messages.embedded import from_base64, media_type
from protocols.messages.hl7 import declared_charset, read_messages
from protocols.messages.hl7_spans import segment_span
from protocols.model import Attachment, InstrumentEvent, Item, Observation, QcMark, Undecoded

MSH = b"MSH|^~\\&|A|B|||20261123080000||ORU^R01|7|P|2.3.1\r"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


def hl7(*segments: bytes) -> tuple[Item, ...]:
    return discover()["generic_hl7"].decode(MSH + b"\r".join(segments) + b"\r").items


def astm(*records: str, charset: str = "utf-8") -> tuple[Item, ...]:
    payload = "\r".join(["H|\\^&|||X", *records, "L|1|N", ""]).encode(charset)
    return discover()["generic_astm"].decode(payload).items


def values(items: tuple[Item, ...]) -> list[tuple[str | None, str, str | None]]:
    return [(each.specimen, each.code, each.value) for each in items if isinstance(each, Observation)]


# ---------------------------------------------------------------------- characters


@pytest.mark.req("GW-3")
@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_name_cut_inside_a_character_spoils_no_other_field(charset: str) -> None:
    cut = "欧阳娜娜".encode(charset)[:-1] + b"|"
    payload = b"P|1||||" + cut + "F|检验科|阴性\rR|1|^^^A|弱阳性\r".encode(charset)
    text, used = decode_text(payload)
    assert used == charset
    assert "检验科|阴性\rR|1|^^^A|弱阳性" in text


@pytest.mark.req("GW-3")
@pytest.mark.parametrize("text", ["5 µmol/L 37 °C", "Müller, Größe 180", "patiënt naïef", "à jeun, prélevé à 8 h"])
def test_western_letters_are_not_taken_for_chinese(text: str) -> None:
    assert decode_text(text.encode("latin-1")) == (text, "latin-1")


@pytest.mark.req("GW-3")
def test_noise_before_a_delimiter_does_not_swallow_it() -> None:
    message = read_message(b"H|\\^&\rR|1|^^^ALT|17|U/L\x8d^x||N\r")
    assert message.records[1].component(5, 2) == "x"


@pytest.mark.req("GW-4")
@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        ("8859/1", "utf-8"),
        ("8859/1", "gb18030"),
        ("ASCII", "gb18030"),
        ("GB 18030-2000", "utf-8"),
        ("UNICODE", "gb18030"),
    ],
)
def test_wrong_character_set_in_msh_18_is_found_out(declared: str, sent: str) -> None:
    payload = MSH[:-1] + f"||||||{declared}\rOBX|1|ST|1||检验科阳性\r".encode(sent)
    assert read_messages(payload)[0].segments[1].text(5) == "检验科阳性"


@pytest.mark.req("GW-4")
def test_declared_western_characters_are_believed() -> None:
    payload = MSH[:-1] + b"||||||8859/1\rOBX|1|NM|1||5|\xb5mol/L\r"
    assert read_messages(payload)[0].segments[1].text(6) == "µmol/L"


@pytest.mark.req("GW-4")
def test_japanese_in_seven_bits_is_read_by_the_repeats_of_msh_18() -> None:
    payload = MSH[:-1] + b"||||||~ISO IR87\r" + "OBX|1|ST|1||陰性|\r".encode("iso2022_jp")
    assert declared_charset(payload) == "iso2022_jp"
    assert read_messages(payload)[0].segments[1].text(5) == "陰性"


@pytest.mark.req("GW-3")
def test_byte_order_mark_hides_no_header() -> None:
    assert read_message("\ufeffH|\\^&|||X\r".encode()).header is not None
    assert read_messages(b"\xef\xbb\xbf" + MSH)[0].control_id == "7"


# ---------------------------------------------------------------------- ASTM


@pytest.mark.req("GW-3")
def test_hexadecimal_escape_beyond_ascii_is_the_letter_it_means() -> None:
    assert astm("R|1|^^^GLU|5.1|&XB5&mol/L")[0].unit == "µmol/L"  # type: ignore[union-attr]


@pytest.mark.req("GW-3")
def test_every_result_keeps_the_specimen_of_its_own_order() -> None:
    items = astm(
        "P|1",
        "O|1|S1",
        "R|1|^^^A|1|||||||||20261123080000",
        "O|2|S2",
        "R|1|^^^A|2",
        "P|2",
        "R|1|^^^A|3",
        "O|1|S3|||||||||Q",
        "R|1|^^^A|4",
        "C|1|I|seen by hand|G",
        "M|1|HISTOGRAM|x",
        "C|2|I|of the manufacturer's record|G",
    )
    assert values(items) == [("S1", "A", "1"), ("S2", "A", "2"), (None, "A", "3"), ("S3", "A", "4")]
    results = [each for each in items if isinstance(each, Observation)]
    assert [each.observed_at for each in results] == ["2026-11-23T08:00:00", None, None, None]
    assert results[3].qc == QcMark(material="S3")
    assert results[3].comments == ("seen by hand",)
    assert [each.name for each in items if isinstance(each, InstrumentEvent)] == ["manufacturer record", "comment"]


@pytest.mark.req("GW-3")
def test_two_messages_with_other_delimiters_stand_in_one_payload() -> None:
    first, second = "H|\\^&|||A\rO|1|S1\rR|1|^^^X|a\\b\rL|1\r", "H!`%#!!!B\rO!1!S2\rR!1!%%%Y!1#F#2!g/L!!H`A\rL!1\r"
    items = discover()["generic_astm"].decode((first + second).encode()).items
    assert values(items) == [("S1", "X", "a\\b"), ("S2", "Y", "1!2")]
    assert items[1].flags == ("H", "A")  # type: ignore[union-attr]


# ---------------------------------------------------------------------- HL7


@pytest.mark.req("GW-4", "GW-11")
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_picture_whose_base64_is_wrapped_comes_whole(end: str) -> None:
    text = b64encode(PICTURE).decode()
    wrapped = end.join(text[start : start + 76] for start in range(0, len(text), 76))
    items = hl7(f"OBR|1|S1{end}OBX|1|ED|PIC||^Image^PNG^Base64^{wrapped}||||||F{end}OBX|2|NM|WBC||5".encode())
    assert values(items) == [("S1", "PIC", None), ("S1", "WBC", "5")]
    assert items[0].attachments == (Attachment("PIC", "image/png", PICTURE),)  # type: ignore[union-attr]
    assert items[0].status == "F"  # type: ignore[union-attr]


@pytest.mark.req("GW-4", "GW-11")
def test_picture_of_megabytes_and_its_neighbours_are_read() -> None:
    large = PICTURE * 4000
    image = b"^Image^BMP^Base64^" + b64encode(large)
    items = hl7(b"OBR|1|S1", b"OBX|1|ED|PIC||" + image + b"~" + image, b"OBX|2|NM|WBC||5")
    assert [len(each.data) for each in items[0].attachments] == [len(large)] * 2  # type: ignore[union-attr]
    assert values(items)[1] == ("S1", "WBC", "5")


@pytest.mark.req("GW-11")
@pytest.mark.parametrize(
    ("kind", "sent", "value", "attachments"),
    [
        ("ED", "^Image^PNG^Hex^89504e47", None, (Attachment("C", "image/png", b"\x89PNG"),)),
        ("ED", "^TEXT^^A^abcd", "^TEXT^^A^abcd", ()),
        ("ED", "^Image^PNG^Base64^%%%", "^Image^PNG^Base64^%%%", ()),
        ("ED", "^Image^PNG^Base64", "^Image^PNG^Base64", ()),
        ("RP", "C:\\E\\WBC.bmp^^Image^BMP", None, (Attachment("C", "image/bmp", reference="C:\\WBC.bmp"),)),
        ("SN", ">^100", ">100", ()),
        ("NM", "5.1~5.2", "5.1~5.2", ()),
        ("CE", "POS^positive^L~NEG", "POS^positive^L~NEG", ()),
    ],
)
def test_value_by_its_type(kind: str, sent: str, value: str | None, attachments: tuple[Attachment, ...]) -> None:
    items = hl7(f"OBX|1|{kind}|C||{sent}".encode())
    assert (items[0].value, items[0].attachments) == (value, attachments)  # type: ignore[union-attr]


@pytest.mark.req("GW-4")
def test_text_goes_on_behind_a_line_end_only_where_a_text_is_open() -> None:
    items = hl7(
        b"OBR|1|S1", b"OBX|1|FT|C||first line", b"second line||||||F", b"OBX 2|NM|WBC||5", b"NTE|1||see", b"slide"
    )
    assert values(items) == [("S1", "C", "first line\nsecond line")]
    assert [each.text for each in items if isinstance(each, Undecoded)] == ["OBX 2|NM|WBC||5"]
    assert [each.detail for each in items if isinstance(each, InstrumentEvent)] == ["see\nslide"]


@pytest.mark.req("GW-12")
def test_value_in_a_segment_of_several_lines_leads_back_to_its_bytes() -> None:
    payload = MSH + b"OBX|1|FT|C||first\rsecond||||||F\r\rOBX|2|NM|WBC||5\r"
    items = discover()["generic_hl7"].decode(payload).items
    spans = [segment_span(payload, each.record or 0) or (0, 0) for each in items]
    assert [payload[start:end] for start, end in spans] == [
        b"OBX|1|FT|C||first\rsecond||||||F",
        b"OBX|2|NM|WBC||5",
    ]
    assert segment_span(payload, 9) is None
    assert segment_span(payload * 2, 1) is None, "which of two messages?"


@pytest.mark.req("GW-4")
def test_batch_gives_the_results_of_every_message_with_its_own_delimiters() -> None:
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + MSH + b"OBR|1|S1\rOBX|1|NM|A||1\r"
    batch += b"MSH#*!$%#A####20261123##ORU*R01#8#P#2.3.1\rOBR#1#S2\rOBX#1#NM#B*name##2!3\rBTS|2\rFTS|1\r"
    items = discover()["generic_hl7"].decode(batch).items
    assert values(items) == [("S1", "A", "1"), ("S2", "B", "2~3")]
    assert not [each for each in items if isinstance(each, Undecoded)]


@pytest.mark.req("GW-4")
def test_what_stands_before_the_message_is_shown() -> None:
    items = discover()["generic_hl7"].decode(b"OBX|9|NM|LOST||1\r" + MSH + b"OBX|1|NM|A||1\r").items
    assert items[0] == Undecoded("text before the MSH segment", "OBX|9|NM|LOST||1")


@pytest.mark.req("GW-4")
def test_block_characters_left_in_the_text_end_a_segment() -> None:
    message = read_messages(b"\x0b" + MSH + b"OBX|1|NM|A||1\x1c\x0b" + MSH)
    assert [[segment.name for segment in each.segments] for each in message] == [["MSH", "OBX"], ["MSH"]]


# ---------------------------------------------------------------------- pictures


@pytest.mark.req("GW-11")
@pytest.mark.parametrize("text", ["", "=", "A", "****", "QUJD*", "QUJDR"])
def test_what_is_no_base64_is_none(text: str) -> None:
    assert from_base64(text) is None


@pytest.mark.req("GW-11")
def test_picture_is_known_by_its_first_bytes() -> None:
    assert media_type(PICTURE) == "image/png"
    assert media_type(b"BM....", "image/png") == "image/bmp"
    assert media_type(b"....", "application/dicom") == "application/dicom"


@pytest.mark.req("GW-11")
def test_picture_in_an_astm_result_is_kept_as_a_picture() -> None:
    items = astm("O|1|S1", f"R|1|^^^SCATTER|{b64encode(PICTURE).decode()}", f"R|2|^^^NOTE|{'A' * 80}")
    assert values(items) == [("S1", "SCATTER", None), ("S1", "NOTE", "A" * 80)]
    assert items[0].attachments == (Attachment("SCATTER", "image/png", PICTURE),)  # type: ignore[union-attr]
