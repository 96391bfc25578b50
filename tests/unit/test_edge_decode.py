"""`edge decode`: what a captured file holds, however it was stored."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.decode import main
from protocols.capture import pieces, read_capture
from protocols.driver import discover
from protocols.model import Undecoded
from protocols.provenance import record_bytes
from tests.support.transcripts import ROOT, cases_of, read_case, replay
from tests.support.wire import frame, session

pytestmark = pytest.mark.req("GW-12")

XN = read_case(ROOT / "sysmex_xn" / "results_with_flags_and_histograms")
MESSAGE = (
    b"H|\\^&|||XN-550^00\rO|1||^^   202611020017^B|^^^^WBC\rR|1|^^^^WBC^1|8.13|10*3/uL||N||F||||20261102081407\rL|1|N\r"
)
KEYS = ("specimen", "code", "value", "unit", "flags", "observed_at")


def decoded(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes, driver: str | None = None) -> list[Any]:
    path = tmp_path / "capture.bin"
    path.write_bytes(data)
    assert main([path], driver) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_capture_prints_one_object_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = decoded(capsys, tmp_path, XN.device_bytes())
    observations = [line for line in lines if line["kind"] == "observation"]
    assert len(observations) == 8
    assert all(key in line for line in observations for key in KEYS)
    assert [observations[0][key] for key in KEYS] == [
        "202611020017",
        "WBC",
        "18.13",
        "10*3/uL",
        ["H"],
        "2026-11-02T08:14:07",
    ]
    assert {line["driver"] for line in lines} == {"sysmex_xn"}


@pytest.mark.parametrize(
    "stored",
    [
        session(MESSAGE),
        session(MESSAGE).replace(b"\r\n", b"\n"),
        session(MESSAGE).replace(b"\r\n", b"\n").replace(b"\r", b"\n"),
        session(MESSAGE).strip(b"\x05\x04"),
        b"\x06\x04\n" + session(MESSAGE),
        b"\x06\x06" + frame(1, MESSAGE),
        MESSAGE,
        MESSAGE.replace(b"\r", b"\n"),
        MESSAGE.replace(b"\r", b"\r\n"),
        b"\x05\n1" + MESSAGE.replace(b"\r", b"\n"),
        frame(1, MESSAGE)[:-5],
        b"".join(frame(n, record + b"\r") for n, record in enumerate(MESSAGE.split(b"\r")[:-1], start=1)),
    ],
    ids=range(12),
)
def test_however_it_was_stored(capsys: pytest.CaptureFixture[str], tmp_path: Path, stored: bytes) -> None:
    lines = decoded(capsys, tmp_path, stored)
    assert [(line["kind"], line["specimen"], line["value"]) for line in lines] == [
        ("observation", "202611020017", "8.13")
    ]


def test_two_sessions_without_eot_between_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = decoded(capsys, tmp_path, session(MESSAGE)[:-1] + b"\n" + session(MESSAGE)[:-1])
    assert len(lines) == 2


def test_wrong_checksum_is_undecoded_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = decoded(capsys, tmp_path, session(MESSAGE).replace(b"8.13", b"9.13"))
    assert [line["kind"] for line in lines] == ["undecoded"]
    assert "checksum" in lines[0]["reason"]
    assert "9.13" in lines[0]["text"]


def test_wrong_checksum_in_one_of_many_frames(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    middle = frame(2, b"R|1|^^^^WBC|8.13\r").replace(b"8.13", b"8.14")
    lines = decoded(capsys, tmp_path, b"\x05" + frame(1, b"H|\\^&\r") + middle + frame(3, b"L|1|N\r") + b"\x04")
    assert {line["kind"] for line in lines} == {"undecoded"}
    assert "checksum" in lines[0]["reason"]


def test_lost_frame_is_undecoded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = decoded(capsys, tmp_path, b"\x05" + frame(1, b"H|\\^&\r") + frame(3, b"L|1|N\r") + b"\x04")
    assert {line["kind"] for line in lines} == {"undecoded"}


def test_frame_that_was_repeated_counts_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = decoded(capsys, tmp_path, b"\x05" + frame(1, MESSAGE) + frame(1, MESSAGE) + b"\x04")
    assert [line["value"] for line in lines] == ["8.13"]


def test_hl7_with_line_feeds_and_without_blocks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    case = read_case(ROOT / "mindray_bs" / "results")
    wire = decoded(capsys, tmp_path, case.device_bytes())
    stored = case.device_bytes().replace(b"\x0b", b"").replace(b"\x1c\r", b"").replace(b"\r", b"\n")
    assert decoded(capsys, tmp_path, stored) == wire
    assert [line["value"] for line in wire] == ["16.200000", "-"]


def test_controls_and_queries_have_their_own_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for driver, case, kind in (
        ("mindray_bs", "quality_control", "qc"),
        ("sysmex_xn", "quality_control", "qc"),
        ("sysmex_xn", "host_query", "host_query"),
        ("mindray_bs", "host_query", "host_query"),
    ):
        lines = decoded(capsys, tmp_path, read_case(ROOT / driver / case).device_bytes())
        assert kind in {line["kind"] for line in lines}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"\x00\x01\x80\x90\xff", "known"),
    ],
)
def test_what_nobody_reads_is_undecoded_with_the_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes, word: str
) -> None:
    lines = decoded(capsys, tmp_path, data)
    assert [line["kind"] for line in lines] == ["undecoded"]
    assert word in lines[0]["reason"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b'<?xml version="1.0"?><HEL.R01/>', "POCT1-A"),
        (b"<report/>", "XML"),
        (b"\x02\x1emtrsl|\x1epi|", "VIDAS"),
        (b"a\tb\tc\td\n1\t2\t3\t4\n", "tabs"),
    ],
)
def test_what_no_driver_takes_is_named_by_its_look(monkeypatch: pytest.MonkeyPatch, data: bytes, word: str) -> None:
    """A box of an older version, without the driver of the family, says what it met."""
    monkeypatch.setattr("protocols.capture.discover", dict)
    (found,) = read_capture(data)
    assert isinstance(found.item, Undecoded)
    assert word in found.item.reason
    assert found.item.text == data.decode()


def test_bytes_before_the_first_header_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A capture that begins in the middle of a message: its rest is no result, and is not dropped either."""
    lines = decoded(capsys, tmp_path, b"R|7|^^^^HGB^1|80|g/L\rL|1|N\r" + MESSAGE)
    assert [line["kind"] for line in lines] == ["undecoded", "observation"]
    assert "HGB" in lines[0]["text"]
    hl7 = read_case(ROOT / "mindray_bs" / "results").device_bytes().replace(b"\x0b", b"").replace(b"\x1c", b"")
    lines = decoded(capsys, tmp_path, b"OBX|9|NM|HGB||80\r" + hl7)
    assert lines[0]["kind"] == "undecoded"
    assert "HGB" in lines[0]["text"]


def test_driver_may_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = decoded(capsys, tmp_path, session(MESSAGE), driver="generic_astm")
    assert {line["driver"] for line in lines} == {"generic_astm"}


def test_unknown_driver_is_named_with_the_known_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([tmp_path / "x"], "sysmex_xm") == 2
    said = capsys.readouterr().err
    assert "sysmex_xm" in said
    assert "sysmex_xn" in said


def test_missing_file_is_named_and_the_others_are_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(session(MESSAGE))
    assert main([tmp_path / "missing", good], None) == 2
    output = capsys.readouterr()
    assert "missing" in output.err
    assert len(output.out.splitlines()) == 1


def test_standard_input_and_folders_are_read_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "a", "deeper/c"):
        path = tmp_path / "captures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(session(MESSAGE))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(session(MESSAGE))))
    assert main([tmp_path / "captures", Path("-")], None) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == ["a", "b", "deeper/c", "-"]
    assert {line["value"] for line in lines} == {"8.13"}


def test_raw_bytes_stand_beside_what_was_read_from_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(session(MESSAGE))
    assert main([path], None, raw=True) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["raw"] == "R|1|^^^^WBC^1|8.13|10*3/uL||N||F||||20261102081407"
    assert MESSAGE[line["raw_from"] : line["raw_to"]].decode() == line["raw"]
    assert line["message"] == 1


def test_table_is_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(session(MESSAGE))
    assert main([path], None, raw=True, table=True) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "x: 1 items"
    assert said[1].split() == ["kind", "specimen", "code", "value", "unit", "flags", "observed_at", "driver", "also"]
    assert said[2].split()[:5] == ["observation", "202611020017", "WBC", "8.13", "10*3/uL"]
    assert said[3].strip() == "R|1|^^^^WBC^1|8.13|10*3/uL||N||F||||20261102081407"


@pytest.mark.parametrize("driver", sorted(discover()))
def test_every_value_is_found_in_the_bytes_of_its_record(driver: str) -> None:
    """GW-12, over all transcripts: from the value back to where it stood."""
    reader = discover()[driver]
    for folder in cases_of(driver):
        for payload in replay(reader, read_case(folder)).payloads:
            if payload.count(b"MSH|") > 1:
                continue  # a batch: the record counts within its message
            for item in reader.decode(payload).items:
                raw = record_bytes(payload, item.record, reader.protocol)
                assert raw in payload
                value = getattr(item, "value", None)
                if value and value.isascii() and value.isdigit():
                    assert value.encode() in raw, (driver, folder.name, item)


def test_element_of_a_document_is_found_with_all_that_stands_in_it() -> None:
    document = b'<?xml version="1.0"?><!-- <A/> --><OBS.R01><HDR/><SVC a="x>y"><OBS V="5"/></SVC></OBS.R01>'
    assert record_bytes(document, 1, "poct1a") == b"<HDR/>"
    assert record_bytes(document, 2, "poct1a") == b'<SVC a="x>y"><OBS V="5"/></SVC>'
    assert record_bytes(document, 3, "poct1a") == b'<OBS V="5"/>'
    assert record_bytes(document, 9, "poct1a") == document, "not found: the whole message"
    assert record_bytes(document, None, "poct1a") == document


def test_nothing_in_a_capture_makes_reading_it_fail() -> None:
    dice = random.Random("captures 2026")
    stored = [read_case(folder).device_bytes() for each in discover() for folder in cases_of(each)[:1]]
    stored += [MESSAGE, session(MESSAGE), b"<HEL.R01>", b"a\tb\n"]
    for _ in range(3000):
        data = bytearray(dice.choice(stored)[:3000])
        for _ in range(dice.randrange(6)):
            place = dice.randrange(len(data) + 1)
            data[place : place + dice.randrange(40)] = dice.choice((dice.randbytes(3), b"\x02", b"\rH|", b"\x03", b""))
        for piece in pieces(bytes(data)):
            assert isinstance(piece, Undecoded) or piece.payload
