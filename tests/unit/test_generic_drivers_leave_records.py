"""A table and a printout are never what ASTM records or HL7 segments became when they lost their framing."""

from __future__ import annotations

import pytest

from protocols.driver import discover
from tests.support.transcripts import cases_of, read_case, replay

pytestmark = pytest.mark.req("GW-11", "GW-13")

GENERIC = ("generic_file", "generic_text")
each_generic = pytest.mark.parametrize("name", GENERIC)
CASES = [
    pytest.param(driver.id, folder, id=f"{driver.id}/{folder.name}")
    for driver in sorted(discover().values(), key=lambda each: each.id)
    if driver.protocol in ("astm", "hl7")
    for folder in cases_of(driver.id)
]


@each_generic
@pytest.mark.parametrize(("driver", "folder"), CASES)
def test_records_and_segments_are_left_to_their_drivers(name: str, driver: str, folder: object) -> None:
    """With any line end, behind a stray line, and from the second record on (the header was lost)."""
    for payload in replay(discover()[driver], read_case(folder)).payloads:  # type: ignore[arg-type]
        records = payload.replace(b"\n", b"\r")
        for text in (records, records.replace(b"\r", b"\n"), records.replace(b"\r", b"\r\n"), b"noise 1\r" + records):
            assert discover()[name].split(text) is None
            assert discover()[name].fingerprint(text).score == 0.0


@each_generic
@pytest.mark.parametrize(
    "text",
    [
        b"1H|\\^&|||X\r2P|1\r3O|1|7\r4R|1|^^^GLU|5.1|mmol/L\r",
        b"P|1|||\rO|1|7|||\rR|1|^^^GLU|5.1|mmol/L\rR|2|^^^UREA|5.1|mmol/L\rL|1|N\r",
        b"O|1|7||^^^GLU\r\nR|1|^^^GLU|5.1|mmol/L\r\n",
        b"PID|1||x|\rOBR|1|2|3|\rOBX|1|NM|GLU||5.1|mmol/L\r",
        b"\xef\xbb\xbfMSH|^~\\&|A||||2|\rOBX|1|NM|GLU||5.1\r",
        b"BHS|^~\\&|A||\rMSH|^~\\&|A\rOBX|1|NM|GLU||5.1|g|\r",
        b"H`^~&`x`y`z`w\rR`1`a`b`3.4`g\r",
    ],
    ids=["frame_numbers", "no_header", "two_records", "no_msh", "byte_order_mark", "batch", "backtick"],
)
def test_text_that_lost_its_framing_or_header_is_no_table_and_no_printout(name: str, text: bytes) -> None:
    assert discover()[name].split(text) is None


def test_a_table_and_a_printout_are_still_taken() -> None:
    table = b"Sample ID;Test;Result;Unit\r\n7;GLU;5.1;mmol/L\r\nP;1;2;x\r\n"
    assert discover()["generic_file"].split(table) == [table]
    printout = b"Sample ID: 7\r\nGLU 5.1 mmol/L\r\nHb 140 g/L\r\n"
    assert discover()["generic_text"].split(printout)
