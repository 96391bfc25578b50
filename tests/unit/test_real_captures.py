"""Bytes that real analyzers sent, replayed from the workplace's captures where they are at hand (never copied here).

The counts are taken from the files by a plain split in this test, which knows nothing of `protocols`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge.decode import lines
from protocols.capture import pieces, read_capture
from protocols.driver import discover
from protocols.links.contract import Link
from tests.support.wire import Bench

CAPTURES = Path(__file__).parents[3] / "shared" / "transcripts"
pytestmark = [
    pytest.mark.req("GW-3", "GW-4", "GW-11"),
    pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of real analyzers are not at hand"),
]

READ = [
    ("sysmex_xn/sysmex_xn550.txt", "sysmex_xn"),
    ("sysmex_xp/sysmex_xp100.txt", "generic_astm"),
    ("roche_cobas_c311/cobas_c311.txt", "generic_astm"),
    ("roche_cobas_e411/roche_enquiry.txt", "generic_astm"),
    ("roche_cobas_e411/roche_multi_frame_bytes.txt.bin", "generic_astm"),
    ("cepheid_genexpert/genexpert.txt", "generic_astm"),
    ("horiba_yumizen/result.astm", "generic_astm"),
    ("erba_em200/em_200_sample.txt", "generic_astm"),
    ("erba_em200/em_200_query_sample.txt", "generic_astm"),
    ("erba_xl640/2020-09-28-13-30-07-568972", "generic_astm"),
    ("erba_xl640/2020-09-28-13-30-19-744851", "generic_astm"),
    ("erba_xl640/2020-09-28-13-31-05-332826", "generic_astm"),
    ("cepheid_genexpert_hl7/ORU_R30.txt", "cepheid_genexpert_hl7"),
    ("siemens_clinitek/siemens_control.txt", "siemens_clinitek"),
    ("mindray_bc5380/mindray-bc5380-c.3.3.EXCERPT-16of64obx.hl7", "mindray_bc"),
]
NOT_READ_YET = ["biomerieux_mini_vidas/mini_vidas.txt", "bd_facscalibur/Facscalibur.exp"]


def held(data: bytes) -> Counter[str]:
    """Results and queries that stand in a file, by a plain split: lines that begin with R, OBX, Q or QRD."""
    joined = re.sub(rb"\x17[0-9A-Fa-f]{2}\r?\n?\x02[0-7]", b"", data)
    plain = re.split(r"[\r\n]+", joined.decode("latin-1"))
    starts = [re.sub(r"^[\x00-\x1f]*[0-7]?(?=[HPORCQLM]\|)", "", line) for line in plain]
    count = Counter(line.split("|", 1)[0] for line in starts)
    return Counter(results=count["R"] + count["OBX"], queries=count["Q"] + count["QRD"])


def decoded(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(data, "capture")]


@pytest.mark.parametrize(("file", "driver"), READ, ids=[file for file, _ in READ])
def test_everything_that_a_capture_holds_is_decoded(file: str, driver: str) -> None:
    data = (CAPTURES / file).read_bytes()
    found = decoded(data)
    kinds = Counter(line["kind"] for line in found)
    assert kinds["undecoded"] == 0, found
    assert kinds["observation"] + kinds["qc"] == held(data)["results"]
    assert kinds["host_query"] == held(data)["queries"]
    assert {line["driver"] for line in found} == {driver}
    for line in found:
        if line["kind"] in ("observation", "qc"):
            assert line["code"]
            assert line["specimen"]
            assert line["observed_at"]


@pytest.mark.parametrize("file", NOT_READ_YET)
def test_what_no_driver_reads_is_undecoded_with_the_reason(file: str) -> None:
    found = decoded((CAPTURES / file).read_bytes())
    assert [line["kind"] for line in found] == ["undecoded"]
    assert "no driver reads it yet" in found[0]["reason"]


@pytest.mark.parametrize(("file", "driver"), READ, ids=[file for file, _ in READ])
def test_capture_on_a_live_line_gives_the_same_items(file: str, driver: str) -> None:
    """The messages of the file, sent by a link of our own byte by byte, decode to the same items."""
    data = (CAPTURES / file).read_bytes()
    reader = discover()[driver]
    from_file = [found.item for found in read_capture(data, reader)]
    sent = [piece.payload for piece in pieces(data) if hasattr(piece, "payload")]
    line = Bench(reader.new_link())
    for payload in sent:
        line.hear_each(bytes([each]) for each in framed(reader.new_link(), payload))
        line.wait(1)
    assert [item for message in line.messages for item in reader.decode(message).items] == from_file


def framed(link: Link, payload: bytes) -> bytes:
    """What an instrument would write for `payload`."""
    if payload.startswith(b"MSH"):
        return b"\x0b" + payload + b"\x1c\r"
    link.send(payload.replace(b"\n", b""), 0.0)
    out = b""
    while data := link.bytes_to_send():
        out += data
        link.receive(b"\x06", 0.0)
    return out


def test_values_of_a_few_captures_by_eye() -> None:
    def one(file: str, code: str) -> dict[str, Any]:
        return next(line for line in decoded((CAPTURES / file).read_bytes()) if line.get("code") == code)

    wbc = one("sysmex_xn/sysmex_xn550.txt", "WBC")
    assert (wbc["specimen"], wbc["value"], wbc["unit"], wbc["flags"]) == ("27", "8.13", "10*3/uL", ["N"])
    tsh = one("roche_cobas_e411/roche_multi_frame_bytes.txt.bin", "7/1/not")
    assert (tsh["value"], tsh["unit"]) == ("9.61", "ug/dl"), "the frame cut its code in two"
    glucose = one("erba_em200/em_200_sample.txt", "GLU")
    assert (glucose["value"], glucose["flags"]) == ("115.5", ["H"])
    xp = one("sysmex_xp/sysmex_xp100.txt", "WBC")
    assert (xp["value"], xp["specimen"]) == ("5.5", "113"), "padding is trimmed"
    nitrite = one("siemens_clinitek/siemens_control.txt", "NIT")
    assert (nitrite["kind"], nitrite["value"]) == ("qc", "Negative")
