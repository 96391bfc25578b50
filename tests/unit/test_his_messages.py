"""What a message of the HIS says and what our ORU says, bytes in and values out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hl7apy.parser import parse_message

from cloud.his import answers, mapping
from cloud.his.oru import oru
from cloud.his.reading import (
    Unreadable,
    read_diagnosis,
    read_merge,
    read_orders,
    read_patient,
    read_time,
    read_visit,
)
from cloud.lis.reports.view import ReportContent, ReportItem
from protocols.messages.hl7 import Hl7Message, read_messages
from tests.support.his import adt, header, oml, order_line, person

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


def read(payload: bytes) -> Hl7Message:
    return read_messages(payload)[0]


def test_a_patient_is_read_with_all_numbers() -> None:
    patient = read_patient(read(adt("A04", "1", person())))
    assert [(each.value, each.type) for each in patient.identifiers] == [
        ("P7001", "MR"),
        ("CP7001", "CARD"),
        ("999001198503020001", "NI"),
    ]
    assert (patient.name, patient.sex, patient.birth_date) == ("王小梅", "F", date(1985, 3, 2))
    assert patient.phone == "00013800001"


@pytest.mark.parametrize(
    ("written", "name"), [("王^小梅", "王小梅"), ("Smith^John", "Smith John"), ("王&x^小梅", "王小梅"), ('""', "")]
)
def test_a_name_in_parts_is_put_together_as_its_script_does(written: str, name: str) -> None:
    assert read_patient(read(adt("A04", "1", f"PID|1||P1^^^HIS^MR||{written}||1985"))).name == name


def test_a_patient_without_a_number_cannot_be_filed() -> None:
    with pytest.raises(Unreadable, match="PID-3"):
        read_patient(read(adt("A04", "1", "PID|1||||王小梅")))
    with pytest.raises(Unreadable, match="PID is missing"):
        read_patient(read(adt("A04", "1")))


def test_merge_names_the_file_that_ends() -> None:
    message = read(adt("A40", "1", person(), "MRG|P9^^^HIS^MR~C9^^^HIS^CARD"))
    assert [each.value for each in read_merge(message)] == ["P9", "C9"]


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("20261123081500", datetime(2026, 11, 23, 8, 15, tzinfo=SHANGHAI)),
        ("20261123", datetime(2026, 11, 23, tzinfo=SHANGHAI)),
        ("20261123081500.123+0900", datetime(2026, 11, 23, 8, 15, tzinfo=timezone(timedelta(hours=9)))),
        ("20261323081500", None),
        ("2026", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_a_time_stamp_is_read_in_its_own_zone_or_the_hospitals(written: str, moment: datetime | None) -> None:
    assert read_time(written, SHANGHAI) == moment


def test_orders_are_read_with_their_group_item_priority_and_department() -> None:
    message = read(oml("1", *order_line("D1", "CBC"), *order_line("D1", "CRP", priority="S"), "DG1|1||^发热待查"))
    lines = read_orders(message, SHANGHAI)
    assert [(each.key, each.item, each.control, each.priority) for each in lines] == [
        ("D1", "CBC", "NW", "R"),
        ("D1", "CRP", "NW", "S"),
    ]
    assert lines[0].ordered_at == datetime(2026, 11, 23, 8, 12, tzinfo=SHANGHAI)
    assert (lines[0].ordered_by, lines[0].department_code, lines[0].department_name) == ("李医生", "NK", "内科门诊")
    assert (read_visit(message).number, read_visit(message).bed) == ("V0001", "12")
    assert read_diagnosis(message) == "发热待查"


def test_the_placers_group_number_joins_lines_with_numbers_of_their_own() -> None:
    lines = [line.replace("ORC|NW|D1||", "ORC|NW|D1||G1") for line in order_line("D1", "CBC")]
    assert read_orders(read(oml("1", *lines)), SHANGHAI)[0].key == "G1"


def test_an_order_without_a_number_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="ORC-2"):
        read_orders(read(oml("1", "ORC|NW", "OBR|1|||CBC")), SHANGHAI)
    with pytest.raises(Unreadable, match="ORC is missing"):
        read_orders(read(oml("1")), SHANGHAI)


def test_an_answer_carries_the_number_the_reason_and_the_characters_of_its_request() -> None:
    request = read(oml("77", charset="GB 18030-2000"))
    assert request.charset == "gb18030"
    answer = answers.application(request, "AE", "没有这些检验项目：X。", None, NOW)
    back = read(answer)
    msa = back.first("MSA")
    assert back.charset == "gb18030"
    assert msa is not None
    assert (msa.text(1), msa.text(2), msa.text(3)) == ("AE", "77", "没有这些检验项目：X。")
    assert back.kind == "ACK^O21"
    assert (back.header.text(3), back.header.text(5)) == ("XINGLIN", "HIS")


def test_an_accepted_order_is_answered_with_our_order_number() -> None:
    outcome = {"orders": [{"placer": "D1", "number": "L10000017", "order": "", "control": "NW"}]}
    back = read(answers.application(read(oml("77")), "AA", None, outcome, NOW))
    orc = back.first("ORC")
    assert back.kind == "ORL^O22"
    assert orc is not None
    assert (orc.text(2), orc.text(3)) == ("D1", "L10000017")


@pytest.mark.parametrize(
    ("mode", "codes"), [("|", ["AA"]), ("AL|AL", ["CA", "AA"]), ("AL|NE", ["CA"]), ("NE|NE", []), ("NE|AL", ["AA"])]
)
def test_the_sender_gets_the_acknowledgements_it_asked_for(mode: str, codes: list[str]) -> None:
    request = read((header("ADT^A04", "5").replace("2.5.1||||||", f"2.5.1|||{mode}||") + "\r").encode())
    found = answers.wanted(request, answers.application(request, "AA", None, None, NOW))
    assert [read(each).first("MSA").text(1) for each in found] == codes  # type: ignore[union-attr]


def content(**more: object) -> ReportContent:
    values: dict[str, object] = {
        "hospital": "杏林医院",
        "campus": "本部",
        "title": "血常规",
        "report_number": "10000017",
        "accession": "10000017",
        "barcode": "10000017",
        "patient_name": "王|小梅",
        "sex": "F",
        "age_text": "41岁",
        "birth_date": "1985-03-02",
        "mrn": "P7001",
        "department": "内科门诊",
        "ordered_by": "李医生",
        "visit_number": "V0001",
        "diagnosis": None,
        "order_number": "L10000017",
        "placer_number": "D1",
        "priority": "R",
        "specimen_type": "blood",
        "ordered_at": "2026-11-23T00:12:00+00:00",
        "collected_at": "2026-11-23T00:20:00+00:00",
        "received_at": "2026-11-23T00:40:00+00:00",
        "released_at": "2026-11-23T00:59:00+00:00",
        "reviewed_by": "赵检验",
        "released_by": "钱审核",
        "kind": "final",
        "version": 1,
        "comment": None,
        "reason": None,
        "draft": False,
        "items": (
            item("WBC", "6.52", "10*9/L"),
            item("TSH", "<0.01", "mIU/L", flag="L"),
            item("HBSAG", "阳性(+)", "", flag="A"),
        ),
    }
    return ReportContent(**(values | more))  # type: ignore[arg-type]


def item(code: str, value: str, unit: str, flag: str = "N") -> ReportItem:
    return ReportItem(
        code, code, code, code, value, unit, flag, "3.5-9.5", "", loinc="6690-2" if code == "WBC" else None
    )


def our_oru(**more: object) -> bytes:
    recalled = bool(more.pop("recalled", False))
    return oru(
        content(**more), control_id="XL0000000001", now=NOW, zone=SHANGHAI, names=mapping.outgoing(), recalled=recalled
    )


def test_a_report_goes_out_with_every_value_its_type_and_the_hospitals_time() -> None:
    message = read(our_oru())
    assert (message.kind, message.control_id) == ("ORU^R01", "XL0000000001")
    assert message.header.text(7) == "20261123090000"
    values = [each for each in message.segments if each.name == "OBX"]
    assert [(each.text(2), each.component(3, 1), each.raw(5), each.text(6), each.text(8)) for each in values] == [
        ("NM", "WBC", "6.52", "10*9/L", "N"),
        ("SN", "TSH", "<^0.01", "mIU/L", "L"),
        ("ST", "HBSAG", "阳性(+)", "", "A"),
    ]
    obr, pid = message.first("OBR"), message.first("PID")
    assert obr is not None
    assert pid is not None
    assert (obr.text(2), obr.text(3), obr.text(22), obr.text(25)) == ("D1", "10000017", "20261123085900", "F")
    assert (pid.component(3, 1), pid.text(5)) == ("P7001", "王|小梅")


@pytest.mark.parametrize(
    ("more", "of_report", "status"),
    [
        ({"kind": "preliminary"}, "P", "P"),
        ({"kind": "amended"}, "C", "C"),
        # Table 0123 (of a report) has no W, table 0085 (of a value) has.
        ({"kind": "final", "recalled": True}, "C", "W"),
    ],
)
def test_a_reports_status_says_whether_it_may_be_used(more: dict[str, object], of_report: str, status: str) -> None:
    message = read(our_oru(**more))
    obr = message.first("OBR")
    assert obr is not None
    assert obr.text(25) == of_report
    assert {each.text(11) for each in message.segments if each.name == "OBX"} == {status}


def test_hl7apy_reads_our_message_as_a_valid_oru() -> None:
    text = our_oru().decode().replace("\n", "\r")
    message = parse_message(text, find_groups=True)
    assert message.validate()
