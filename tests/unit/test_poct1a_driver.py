"""What a POCT1-A document says: nothing is resolved, nothing dropped, a control is never a patient's value."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocols.capture import read_capture
from protocols.driver import discover, identify
from protocols.errors import DriverOptionError
from protocols.instruments.generic_poct1a import GenericPoct1a
from protocols.instruments.nova_statstrip import NovaStatStrip
from protocols.instruments.siemens_dca import SiemensDca
from protocols.links.contract import FrameReceived, LinkEvent, MessageReceived
from protocols.links.poct1a import Poct1aLink
from protocols.messages.poct1a import NotReadable, build, control_id_of, kind_of, leaf, numbered, read
from protocols.model import Attachment, InstrumentEvent, Item, Observation, QcMark, Undecoded

pytestmark = pytest.mark.req("GW-11")
CAPTURES = Path(__file__).parents[3] / "shared" / "transcripts" / "siemens_dca_poct1a"
NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
DRIVER = GenericPoct1a()


def obs(inside: str, *, kind: str = "OBS.R01", declaration: str = "", header: str = "") -> bytes:
    head = f'<HDR><HDR.control_id V="7"/><HDR.version_id V="POCT1"/>{header}</HDR>'
    return f"{declaration}<{kind}>{head}{inside}</{kind}>".encode()


def service(inside: str, *, holder: str = "PT", role: str = "OBS", around: str = "") -> str:
    return f'<SVC><SVC.role_cd V="{role}"/><{holder}>{inside}</{holder}>{around}</SVC>'


def one(body: str = "", **attributes: str) -> str:
    written = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<OBS><OBS.observation_id V="GLU"/><OBS.value{written}/>{body}</OBS>'


def items(document: bytes) -> list[Item]:
    return list(DRIVER.decode(document).items)


def value(document: bytes) -> Observation:
    found = items(document)[0]
    assert isinstance(found, Observation), found
    return found


# ---------------------------------------------------------------------- reading XML


@pytest.mark.parametrize(
    ("charset", "declared"),
    [
        ("utf-8", None), ("utf-8", "utf-8"), ("gb18030", "GB2312"), ("gb18030", None), ("latin-1", "ISO-8859-1"),
        ("cp1252", "windows-1252"), ("utf-8", "us-ascii"), ("utf-8", "no-such-set"), ("utf-16", "UTF-16"),
        ("utf-16-be", "UTF-16"), ("utf-8-sig", "utf-8"), ("big5", "big5"),
    ],
)  # fmt: skip
def test_text_is_read_in_the_character_set_it_came_in(charset: str, declared: str | None) -> None:
    word = "µmol" if charset in ("latin-1", "cp1252") else "血糖測定" if charset == "big5" else "血糖测定"
    encoding = f' encoding="{declared}"' if declared else ""
    text = obs(service(one(V="5.1", U=word)), declaration=f'<?xml version="1.0"{encoding}?>').decode()
    assert value(text.encode(charset)).unit == word


@pytest.mark.parametrize(
    "bomb",
    [
        '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]>{}<x>&c;</x>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>{}<x>&b;</x>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/p.dtd"> %p;]>{}',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">{}<x V="&undeclared;"/>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">{}<x>&undeclared;</x>',
        '<!DOCTYPE a [<!ENTITY b "ha">]>{}',
    ],
)
def test_no_entity_is_ever_resolved(bomb: str) -> None:
    declaration, _, rest = bomb.partition("{}")
    document = obs(service(one(V="5.1")) + rest, declaration=declaration)
    found = items(document)
    assert len(found) == 1
    assert isinstance(found[0], Undecoded)
    assert "entity" in found[0].reason
    reply = DRIVER.respond(document, DRIVER.decode(document), {}, NOW)
    assert b'<ACK.type_cd V="AE" />' in reply[0]


def test_nested_entities_cost_neither_time_nor_memory() -> None:
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(12))
    started = time.process_time()
    with pytest.raises(NotReadable):
        read(f"<!DOCTYPE l [{lines}]><OBS.R01 V='&l11;'/>".encode())
    assert time.process_time() - started < 1


def test_type_declaration_alone_is_harmless() -> None:
    assert value(obs(service(one(V="5.1")), declaration='<!DOCTYPE OBS.R01 SYSTEM "OBS.dtd">')).value == "5.1"


def test_what_senders_forget_to_escape_is_mended() -> None:
    assert value(obs(service(one(V="<3.0", U="a&b")))).value == "<3.0"
    assert value(obs(service(one(V="<LOD", U="a&amp;b & c")))).unit == "a&b & c"
    assert value(obs(service(one(V="&lt;3.0")))).value == "<3.0"


def test_control_bytes_in_the_text_do_not_cost_the_document() -> None:
    assert value(obs(service(one(V="5.1\x01")))).value == "5.1\ufffd"


def test_unreadable_document_keeps_its_text_and_its_number() -> None:
    decoded = DRIVER.decode(obs("<SVC></PT>"))
    assert decoded.message_id == "7"
    assert isinstance(decoded.items[0], Undecoded)
    assert "not well-formed" in decoded.items[0].reason
    assert "<SVC></PT>" in decoded.items[0].text


@pytest.mark.parametrize("flood", ["<x>" * 200 + "</x>" * 200, "<x/>" * 100_001])
def test_no_document_makes_us_build_without_end(flood: str) -> None:
    assert isinstance(items(obs(flood))[0], Undecoded)


# ---------------------------------------------------------------------- observations


def test_value_keeps_all_that_the_device_said_of_it() -> None:
    around = (
        '<OPR><OPR.operator_id V=" N1 "/></OPR><RGT><RGT.lot_number V="L1"/></RGT><NTE><NTE.text V="whole"/></NTE>'
        '<XYZ><XYZ.new V="unheard of"/></XYZ>'
    )
    body = (
        '<OBS.interpretation_cd V="H"/><OBS.interpretation_cd V="A"/><OBS.normal_lo-hi_limit V="[3.9;6.1]"/>'
        '<OBS.status_cd V="A"/><OBS.method_cd V="X"/><OBS.vendor V="1" U="s"/><NTE><NTE.text V="own"/></NTE>'
    )
    found, event = items(obs(service('<PT.patient_id V="42"/>' + one(body, V=" 7.1 ", U="mmol/L"), around=around)))
    assert isinstance(found, Observation)
    assert (found.specimen, found.code, found.value, found.unit) == ("42", "GLU", "7.1", "mmol/L")
    assert (found.flags, found.reference_range, found.status) == (("H", "A"), "3.9-6.1", "F")
    assert (found.operator, found.reagent_lot) == ("N1", "L1")
    assert found.comments == ("method_cd=X", "vendor=1 s", "own", "whole")
    assert isinstance(event, InstrumentEvent)
    assert "XYZ.new=unheard of" in (event.detail or ""), "what no field is for stands beside the value"


def test_patients_file_is_not_read() -> None:
    personal = '<PT.patient_id V="42"/><PT.name V="Wang"/><PT.birth_date V="1970-01-01"/><PT.gender_cd V="F"/>'
    said = repr(items(obs(service(personal + one(V="7.1")))))
    assert "42" in said
    assert not any(word in said for word in ("Wang", "1970", "gender"))


def test_qualitative_value_stands_where_there_is_no_number() -> None:
    both = '<OBS><OBS.observation_id V="A"/><OBS.value V="1.2"/><OBS.qualitative_value V="weak"/></OBS>'
    alone = '<OBS><OBS.observation_id V="B"/><OBS.qualitative_value V="negative"/></OBS>'
    first, second, _ = items(obs(service(both + alone)))
    assert isinstance(first, Observation)
    assert isinstance(second, Observation)
    assert (first.value, first.comments) == ("1.2", ("qualitative_value=weak",))
    assert (second.value, second.comments) == ("negative", ())


def test_value_that_is_not_there_says_why() -> None:
    found = value(obs(service(one(NULL="NI", U="mmol/L"))))
    assert (found.value, found.unit, found.comments) == (None, "mmol/L", ("value NULL=NI",))


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [("[4;11.5]", "4-11.5"), ("[-2;3]", "[-2;3]"), ("]4;5]", "]4;5]"), ("[;5]", "[;5]"), ("4-5", "4-5"), ("[", "[")],
)
def test_limits_are_a_range_only_where_they_are_a_plain_one(sent: str, read_as: str) -> None:
    assert value(obs(service(one(f'<OBS.normal_lo-hi_limit V="{sent}"/>', V="5")))).reference_range == read_as


def test_picture_in_base64_is_decoded() -> None:
    picture = base64.b64encode(b"\x89PNG").decode()
    found = value(obs(service(one(f'<OBS.trace V="curve" ENC="B64">{picture}</OBS.trace>', V="5"))))
    assert found.attachments == (Attachment("curve", "application/octet-stream", b"\x89PNG"),)
    broken = value(obs(service(one('<OBS.trace ENC="B64">%%%</OBS.trace>', V="5"))))
    assert broken.comments == ("trace=%%% ENC=B64",)


@pytest.mark.parametrize(
    ("kind", "holder", "role"),
    [("OBS.R02", "CTC", "OBS"), ("OBS.R01", "CTC", "OBS"), ("OBS.R01", "PT", "LQC"), ("OBS.R02", "PT", "OBS")],
)
def test_control_is_known_by_its_document_its_holder_or_its_role(kind: str, holder: str, role: str) -> None:
    found = value(obs(service('<CTC.lot_number V="L"/>' + one(V="5"), holder=holder, role=role), kind=kind))
    assert found.qc == QcMark(lot="L")


def test_order_number_comes_before_the_patients() -> None:
    order = '<ORD><ORD.order_id V="202611020001"/></ORD>'
    assert value(obs(service('<PT.patient_id V="UNKNOWN"/>' + one(V="5"), around=order))).specimen == "202611020001"


def test_times_stay_as_the_device_sent_them() -> None:
    inside = service(one(V="5"), around="").replace("<PT>", '<SVC.observation_dttm V="2018-07-26T15:51:26"/><PT>')
    header = '<HDR.creation_dttm V="2006-01-01T13:40:59-08:00"/>'
    found, event = items(obs(inside, header=header))
    assert isinstance(found, Observation)
    assert isinstance(event, InstrumentEvent)
    assert found.observed_at == "2018-07-26T15:51:26"
    assert event.occurred_at == "2006-01-01T13:40:59-08:00"


def test_services_and_patients_of_one_document_are_kept_apart() -> None:
    two = service('<PT.patient_id V="1"/>' + one(V="5")) + service('<PT.patient_id V="2"/>' + one(V="6"))
    found = [each for each in items(obs(two)) if isinstance(each, Observation)]
    assert [(each.specimen, each.value) for each in found] == [("1", "5"), ("2", "6")]


@pytest.mark.parametrize("inside", ["", "<SVC/>", "<SVC><PT/></SVC>", service("<OBS/>"), '<FOO><FOO.bar V="1"/></FOO>'])
def test_document_without_a_value_is_seen_by_a_person(inside: str) -> None:
    assert isinstance(items(obs(inside))[0], Undecoded)


def test_message_of_the_vendors_own_is_kept_with_its_text() -> None:
    found = items(obs('<VEN><VEN.x V="1"/></VEN>', kind="VEN.STATE.R9"))
    assert isinstance(found[0], Undecoded)
    assert "VEN.x=1" in found[0].text


def test_strip_lot_of_a_nova_meter_is_told_from_its_controls() -> None:
    lots = "".join(
        f'<RGT><RGT.name V="">TY={kind}</RGT.name><RGT.lot_number V="{kind}1"/></RGT>' for kind in ("QC", "TS")
    )
    found = NovaStatStrip().decode(obs(service(one(V="5"), around=lots))).items[0]
    assert isinstance(found, Observation)
    assert found.reagent_lot == "TS1"


# ---------------------------------------------------------------------- building and settings


def test_what_we_write_is_escaped_and_read_again() -> None:
    document = numbered(build("ACK.R01", "2026-11-02T08:30:00+08:00", leaf("ACK.note_txt", "<\"'&\x00红>")), 12)
    message = read(document)
    assert message.control_id == "12"
    assert message.root.field("ACK.note_txt") == "<\"'&?红>"
    assert (kind_of(document), control_id_of(document)) == ("ACK.R01", "12")


def test_site_setting_of_continuous_mode() -> None:
    driver = SiemensDca().configured({"continuous": False})
    link = driver.new_link()
    assert isinstance(link, Poct1aLink)
    assert link.options.continuous is False
    assert SiemensDca().configured({}).new_link().options.continuous is True  # type: ignore[attr-defined]
    for wrong in ({"continuous": "no"}, {"speed": 1}):
        with pytest.raises(DriverOptionError):
            SiemensDca().configured(wrong)


# ---------------------------------------------------------------------- the capture of a real device

needs_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of real analyzers are not at hand")


@needs_captures
def test_captured_dca_vantage_is_led_through_its_conversation() -> None:
    """The device's bytes of the capture draw from us, in the same places, the kinds of document that its host sent."""
    link, driver, said = Poct1aLink(), SiemensDca(), []
    for file in sorted(CAPTURES.glob("*.xml")):
        data = file.read_bytes()
        if "host" in file.name:
            said.append((kind_of(data), said_in(link)))
            continue
        events: list[LinkEvent] = []
        for byte in data:
            events += link.receive(bytes([byte]), 1.0)
        while events:
            event = events.pop(0)
            if isinstance(event, FrameReceived):
                assert event.raw == data
                events += link.acknowledge(event.frame_id, 1.0)
            elif isinstance(event, MessageReceived):
                for reply in driver.respond(event.payload, driver.decode(event.payload), {}, NOW):
                    link.send(reply, 1.0)
    kinds = [kind for kind, _ in said]
    written = [kind for _, several in said for kind in several]
    assert kinds == ["ACK.R01", "ACK.R01", "REQ.R01", "ACK.R01", "DTV.R01"]
    assert written == kinds


def said_in(link: Poct1aLink) -> list[str]:
    data = link.bytes_to_send()
    return [kind_of(b"<?xml" + each) for each in data.split(b"<?xml") if each]


@needs_captures
def test_both_sides_of_the_capture_in_one_file_are_taken_apart() -> None:
    data = b"\n".join(file.read_bytes() for file in sorted(CAPTURES.glob("*.xml")))
    found = list(read_capture(data))
    values = [each.item for each in found if isinstance(each.item, Observation)]
    assert [(each.specimen, each.code, each.value, each.unit, each.flags) for each in values] == [
        ("1", "HbA1c", "64", "mmol/mol", ("H",)),
        ("1", "eAG", "183", "mg/dL", ()),
    ]
    assert {each.driver for each in found if isinstance(each.item, Observation)} == {"siemens_dca"}
    assert not [each.item for each in found if isinstance(each.item, Undecoded)]
    assert len(found) == 12


@needs_captures
def test_captured_device_names_itself() -> None:
    driver, match = identify((CAPTURES / "dca_01_device.xml").read_bytes())
    assert driver is discover()["siemens_dca"]
    assert match.score == 1.0
