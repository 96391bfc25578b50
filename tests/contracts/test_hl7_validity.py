"""Every HL7 message that a driver writes is one by the standard, and our splitter reads what hl7apy reads.

The judge is hl7apy, which knows each version's structures, cardinalities, types and lengths. What a vendor's document
wants otherwise is named here with its reason, and only that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hl7apy import load_reference
from hl7apy.parser import parse_message, parse_segment

from protocols.capture import pieces
from protocols.driver import Driver, discover
from protocols.messages.hl7 import Segment, read_messages
from protocols.model import Order
from tests.support.hl7_oracle import STRICT, TOLERANT, assembled, plain
from tests.support.transcripts import cases_of, read_case, replay

CAPTURES = Path(__file__).parents[3] / "shared" / "transcripts"
NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
DRIVERS = sorted((each for each in discover().values() if each.protocol == "hl7"), key=lambda each: each.id)
CASES = [
    pytest.param(driver, folder, id=f"{driver.id}/{folder.name}")
    for driver in DRIVERS
    for folder in cases_of(driver.id)
]
DEVIATIONS = {
    ("mindray_bs", "DSR^Q03"): "QRD-7 RD has no quantity and QRD-9 to 11 are not filled, as in Mindray's manual",
    ("mindray_cl", "DSR^Q03"): "QRD-7 RD has no quantity and QRD-9 to 11 are not filled, as in Mindray's manual",
    ("urit_8030", "DSR^Q03"): "Mindray's dialogue",
    ("mindray_bc", "ORR^O02"): "the test mode stands in an OBX behind OBR, as in Mindray's manual",
    ("roche_cobas_pro", "RSP^K11^RSP_K11"): "QPD-4 to 12 are Roche's, echoed",
    ("roche_cobas_x800", "RSP^K11^RSP_K11"): "QPD-4 and 5 (rack and position) are LAW's, echoed",
    ("roche_cobas_x800", "ACK^R22^ACK"): "MSH-5 is the analyzer's own name, longer than 20 letters",
    ("ihe_law", "RSP^K11^RSP_K11"): "QPD-4 to 7 (rack, tray, position) are LAW's, echoed",
    ("ihe_law", "OML^O33^OML_O33"): "SAC-11 of a tray is a letter and a number (B4), echoed",
    ("cepheid_genexpert_hl7", "RSP^Z02"): "a message of Cepheid's own",
}
"""What STRICT refuses, by driver and MSH-9, and why we write it all the same."""
BY_VENDOR = ("DSR^Q03", "ORR^O02", "RSP^Z02")

pytestmark = pytest.mark.req("GW-4")


def written(driver: Driver, folder: Path) -> list[str]:
    case = read_case(folder)
    blocks = b"".join(data for _, data in replay(driver, case).answers).split(b"\x0b")[1:]
    return [each.split(b"\x1c")[0].decode(case.charset) for each in blocks]


def version_of(text: str) -> str:
    return text.split("\r", 1)[0].split("|")[11]


def kind(text: str) -> str:
    return text.split("|")[8]


@pytest.mark.parametrize(("driver", "folder"), CASES)
def test_what_we_write_is_valid_by_the_standard(driver: Driver, folder: Path) -> None:
    for text in written(driver, folder):
        try:
            message = assembled(text, STRICT)
        except Exception as fault:  # hl7apy raises many kinds
            if (driver.id, kind(text)) not in DEVIATIONS:
                raise AssertionError(f"{kind(text)} is not valid") from fault
        else:
            assert plain(message.to_er7()) == plain(text)


@pytest.mark.parametrize(("driver", "folder"), CASES)
def test_every_segment_that_we_write_is_read_back_the_same(driver: Driver, folder: Path) -> None:
    """Vendors' own messages too: each segment parses by itself."""
    for text in written(driver, folder):
        for line in plain(text):
            read = parse_segment(line, version=version_of(text), validation_level=TOLERANT)
            assert plain(read.to_er7()) == [line]


def test_each_named_deviation_is_still_one() -> None:
    """A deviation that no message shows any more is struck from the list."""
    refused: set[tuple[str, str]] = set()
    for parameters in CASES:
        driver, folder = parameters.values
        assert isinstance(driver, Driver)
        assert isinstance(folder, Path)
        for text in written(driver, folder):
            try:
                assembled(text, STRICT)
            except Exception:  # hl7apy raises many kinds
                refused.add((driver.id, kind(text)))
    assert refused == set(DEVIATIONS)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.id)
def test_orders_sent_without_a_query_are_valid(driver: Driver) -> None:
    new = Order(specimen="202611020303", codes=("1", "2"), priority="S", specimen_type="SER")
    taken_back = Order(specimen="202611020304", codes=("3",), cancelled=True, numbers=("202611020304.3.7",))
    for payload in driver.download([new, taken_back], NOW):
        text = payload.decode("utf-8")
        if kind(text) not in BY_VENDOR:
            assert plain(assembled(text, STRICT).to_er7()) == plain(text)


# ---------------------------------------------------------------------- reading


def _payloads() -> list[object]:
    found: list[object] = []
    for driver in DRIVERS:
        for folder in cases_of(driver.id):
            for number, payload in enumerate(replay(driver, read_case(folder)).payloads):
                found.append(pytest.param(payload, id=f"{driver.id}/{folder.name}/{number}"))
    for name in ("cepheid_genexpert_hl7", "siemens_clinitek", "mindray_bc5380"):
        for file in sorted((CAPTURES / name).iterdir()) if (CAPTURES / name).is_dir() else []:
            for number, piece in enumerate(pieces(file.read_bytes())):
                if hasattr(piece, "payload"):
                    found.append(pytest.param(piece.payload, id=f"capture/{name}/{number}"))
    return found


def fields_by_hl7apy(line: str, version: str) -> dict[int, str]:
    """Each field that this version of the segment has, as hl7apy writes it again."""
    segment = parse_segment(line, version=version, validation_level=TOLERANT)
    encoded = segment.to_er7().split("|")
    known = len(load_reference(segment.name, "Segment", version)[1])
    fields = encoded if segment.name != "MSH" else ["MSH", "|", *encoded[1:]]
    return dict.fromkeys(range(known + 1), "") | dict(enumerate(fields[: known + 1]))


def same(field: str) -> str:
    """Trailing separators say nothing; hl7apy writes an escape that it does not know with its sign escaped."""
    return field.replace("\\E\\", "\\").rstrip("^&~")


def our_fields(segment: Segment) -> dict[int, str]:
    first = 3 if segment.name == "MSH" else 1
    return {number: raw for number in range(first, len(segment.fields)) if (raw := segment.raw(number))}


@pytest.mark.parametrize("payload", _payloads())
def test_our_splitter_reads_what_hl7apy_reads(payload: bytes) -> None:
    for message in read_messages(payload):
        version = message.header.text(12) or "2.3.1"
        for segment in message.segments:
            theirs = fields_by_hl7apy(segment.line.rstrip("\x00"), version)
            for number, raw in our_fields(segment).items():
                if number in theirs:
                    assert same(theirs[number]) == same(raw), (segment.line, number)
                else:
                    beyond = segment.name == "QPD" or (segment.name, number) == ("OBX", 29)
                    assert beyond, "only a query's own parameters, and OBX-29 that LAW takes from a later version"


def test_hl7apy_takes_a_whole_result_message_of_law() -> None:
    """The tree of an OUL^R22 by hl7apy holds the results that we read from the same bytes."""
    folder = next(each for each in cases_of("ihe_law") if each.name == "results")
    payload = replay(discover()["ihe_law"], read_case(folder)).payloads[0]
    tree = parse_message(payload.decode(), validation_level=TOLERANT, find_groups=False)
    codes = [segment.obx_3.obx_3_1.value for segment in tree.children if segment.name == "OBX"]
    assert codes == [segment.component(3, 1) for segment in read_messages(payload)[0].segments if segment.name == "OBX"]
    assert len(codes) == 4
