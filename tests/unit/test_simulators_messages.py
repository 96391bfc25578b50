"""The simulators' messages, read by nothing of ours: what an instrument's document says must stand on the wire."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import pytest

from simulators.analyzers.astm_session import checksum, frames_by_message, frames_by_record
from simulators.analyzers.blood import Tube, blood_count, chemistry
from simulators.analyzers.command import read_line
from simulators.analyzers.mindray_bs import MindrayBS
from simulators.analyzers.sysmex_xn import PARAMETERS, SysmexXN
from simulators.his.messages import order, registration
from simulators.his.orders import enough_for, visits
from simulators.ledger import Ledger, LedgerReader
from simulators.mllp import field, segment
from simulators.people import check_character, invent

NOW = datetime(2026, 11, 23, 8, 5, 9, tzinfo=UTC)
TODAY = date(2026, 11, 23)


def test_the_checksum_is_that_of_a_captured_frame() -> None:
    # The published example of ASTM E1381: the frame "1H|\^&" + CR + ETX.
    assert checksum(b"1H|\\^&\r\x03") == b"%02X" % (sum(b"1H|\\^&\r\x03") % 256)
    assert checksum(b"2P|1\r\x03") == b"3F"


def test_a_long_record_goes_on_in_the_next_frame_after_etb() -> None:
    made = frames_by_record(["H|1", "O|" + "x" * 500])
    assert [each[1:2] for each in made] == [b"1", b"2", b"3", b"4"]
    assert [each[-5:-4] for each in made] == [b"\x03", b"\x17", b"\x17", b"\x03"]
    text = b"".join(each[2:-5] for each in made)
    assert text == b"H|1\rO|" + b"x" * 500 + b"\r"


def test_an_xn_on_a_network_puts_the_whole_message_in_one_frame() -> None:
    (only,) = frames_by_message(["H|1", "L|1|N"])
    assert only == b"\x021H|1\rL|1|N\r\x03" + checksum(b"1H|1\rL|1|N\r\x03") + b"\r\n"


def test_frame_numbers_run_from_1_to_7_and_on_from_0() -> None:
    numbers = [each[1:2] for each in frames_by_record([f"R|{at}" for at in range(10)])]
    assert numbers == [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"0", b"1", b"2"]


def test_an_xn_asks_for_the_orders_of_a_barcode() -> None:
    records = SysmexXN().query("260000017", 3, 7, NOW)
    assert records[1] == "Q|1|3^7^             260000017^B||||20261123080509"
    assert records[0].split("|")[4].split("^")[0] == "   XN-1000"


@pytest.mark.parametrize(
    ("line", "codes", "report"),
    [
        ("O|1|3^7^             260000017^B||^^^^WBC\\^^^^NEUT%||20261123|||||N||||||||||||||Q", ("WBC", "NEUT%"), "Q"),
        ("O|1|3^7^             260000017^B|||||||||||||||||||||||Y", (), "Y"),
    ],
)
def test_an_xn_reads_the_hosts_answer(line: str, codes: tuple[str, ...], report: str) -> None:
    answer = SysmexXN().read_answer(f"H|\\^&\rP|1\r{line}\rL|1|N\r".encode())
    assert answer is not None
    assert (answer.barcode, answer.codes, answer.report_type) == ("260000017", codes, report)


def test_an_xn_measures_only_what_was_ordered() -> None:
    records, measured = SysmexXN().results(
        Tube("260000017"), ["HGB", "PLT", "UNKNOWN"], seed=3, rack=1, position=1, at=NOW
    )
    assert [each.code for each in measured] == ["HGB", "PLT"]
    results = [each.split("|") for each in records if each.startswith("R|")]
    numeric = [each for each in results if each[2].split("^")[4] in PARAMETERS]
    assert [(each[2], each[3], each[4]) for each in numeric] == [
        (f"^^^^{each.code}^1", each.value, each.unit) for each in measured
    ]
    assert {"^^^^SCAT_WDF", "^^^^DIST_PLT"} <= {each[2] for each in results}
    assert all(each[12] == "20261123080509" for each in results)


def test_a_bs_sends_one_test_in_a_message_and_its_number_in_obx_3() -> None:
    analyzer = MindrayBS()
    tube = Tube("260000025")
    (found,) = analyzer.measure(tube, ["16"], seed=1)
    segments = analyzer.results(tube, [found], analyzer.next_number(), NOW, 4)
    assert field(segment(segments, "MSH"), 16) == "0"
    assert field(segment(segments, "OBR"), 2) == "260000025"
    assert field(segment(segments, "OBR"), 15) == "serum"
    obx = segment(segments, "OBX")
    assert (field(obx, 3), field(obx, 4), field(obx, 5), field(obx, 6), field(obx, 11)) == (
        "16", "GLU", found.value, "mmol/L", "F",
    )  # fmt: skip


def test_a_bs_control_result_says_so_in_msh_16_and_carries_its_target() -> None:
    segments, found = MindrayBS().control("12", "H", "2611", "9", seed=1, at=NOW)
    assert field(segment(segments, "MSH"), 16) == "2"
    obr = segment(segments, "OBR")
    assert (field(obr, 2), field(obr, 13), field(obr, 14), field(obr, 17), field(obr, 20), field(obr, 21)) == (
        "12", "SIMTROL", "2611", "H", found.value, "umol/L",
    )  # fmt: skip


def test_a_bs_reads_the_tests_from_dsp_29_on() -> None:
    lines = [
        "MSH|^~\\&|||||||DSR^Q03|5|P|2.3.1",
        "DSP|21||260000025|||",
        "DSP|29||1^^^|||",
        "DSP|30||16^GLU^^|||",
        "DSC||",
    ]
    assert MindrayBS().read_order(lines) == ("260000025", ("1", "16"))


def test_the_same_seed_and_barcode_give_the_same_blood() -> None:
    assert blood_count(5, Tube("1")) == blood_count(5, Tube("1"))
    assert blood_count(5, Tube("1")) != blood_count(6, Tube("1"))
    assert chemistry(5, Tube("1")) != chemistry(5, Tube("2"))


def test_a_blood_count_hangs_together() -> None:
    for number in range(300):
        _, values = blood_count(11, Tube(str(number)))
        assert sum(values[f"{part}%"] for part in ("NEUT", "LYMPH", "MONO", "EO", "BASO")) == pytest.approx(100)
        assert values["RBC"] * values["MCV"] / 10 == pytest.approx(values["HCT"])
        assert all(value >= 0 for value in values.values())


def test_a_morning_has_abnormal_and_critical_tubes_but_not_only() -> None:
    counts = [blood_count(1, Tube(str(number)))[1] for number in range(500)]
    anaemic = sum(each["HGB"] < 10 for each in counts)
    critical = sum(each["PLT"] < 30 or each["HGB"] < 6 for each in counts)
    assert 10 < anaemic < 150
    assert 2 < critical < 40


def test_every_invented_identity_number_has_a_right_check_character_and_no_place() -> None:
    seen = list(islice(invent(4, TODAY), 2000))
    assert check_character("11010519491231002") == "X"  # the example of GB 11643-1999
    for each in seen:
        assert len(each.id_number) == 18
        assert each.id_number.startswith("999")
        assert check_character(each.id_number[:17]) == each.id_number[17]
        assert int(each.id_number[16]) % 2 == (each.sex == "M")
        assert each.id_number[6:14] == each.birth_date.replace("-", "")
        assert each.phone.startswith("000")
        assert len(each.phone) == 11
    for name in ("mrn", "card", "id_number", "phone"):
        assert len({getattr(each, name) for each in seen}) == 2000


def test_a_bounded_morning_needs_exactly_the_tubes_it_was_asked_for() -> None:
    for tubes in (1, 2, 7, 50):
        found = enough_for(tubes, 9, TODAY)
        assert sum(each.tubes for each in found) == tubes
        assert len({each.placer for each in found}) == len(found)


def test_an_order_names_each_item_under_the_placers_number() -> None:
    visit = next(each for each in visits(2, TODAY) if len(each.items) > 2)
    segments = order(visit, "H1", NOW)
    assert field(segment(segments, "MSH"), 9) == "OML^O21^OML_O21"
    items = [each.split("|")[4].split("^")[0] for each in segments if each.startswith("OBR|")]
    assert tuple(items) == visit.items
    assert {each.split("|")[2] for each in segments if each.startswith("ORC|")} == {visit.placer}
    code, name, patient_class = visit.department
    pv1 = segment(segments, "PV1")
    assert (field(pv1, 2), field(pv1, 3).split("^")[0], field(pv1, 3).split("^")[8]) == (patient_class, code, name)
    assert field(pv1, 19) == visit.number
    assert field(segment(segments, "ORC"), 9) == "20261123080509"
    assert field(segment(segments, "ORC"), 17) == f"{code}^{name}"
    assert field(segment(segments, "TQ1"), 9) == visit.priority
    pid = segment(segments, "PID")
    assert (field(pid, 5), field(pid, 8), field(pid, 13)) == (visit.person.name, visit.person.sex, visit.person.phone)
    assert visit.person.id_number in segment(registration(visit, "H2", NOW), "PID")[3]


def test_a_ledger_is_followed_while_it_is_written_and_a_half_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger, reader = Ledger(path, "xn1"), LedgerReader(path)
    assert reader.new() == []
    ledger.write("connected")
    assert [each["event"] for each in reader.new()] == ["connected"]
    with path.open("a") as file:
        file.write('{"event": "hal')
    assert reader.new() == []
    with path.open("a") as file:
        file.write('f"}\n')
    assert [each["event"] for each in reader.new()] == ["half"]
    ledger.close()


def test_a_tube_is_put_on_by_its_barcode_or_with_its_donor() -> None:
    assert read_line("260000017\n") == Tube("260000017")
    assert read_line('{"tube": "5", "sex": "M", "age": 7}') == Tube("5", "M", 7)
    assert read_line("   \n") is None
