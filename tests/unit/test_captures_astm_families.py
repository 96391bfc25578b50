"""Captures of ASTM analyzers, each result held against a plain split of the file that knows nothing of `protocols`."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.decode import lines
from protocols.capture import pieces
from protocols.driver import Status, discover, identify
from protocols.messages.histograms import BadStream, read_stream

CAPTURES = Path(__file__).parents[3] / "shared" / "transcripts"
NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
pytestmark = [
    pytest.mark.req("GW-3", "GW-4", "GW-11"),
    pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of real analyzers are not at hand"),
]
Fields = list[str]


@dataclass(frozen=True)
class Family:
    """Where an instrument writes what, in the words of a plain split."""

    driver: str
    code: Callable[[Fields], str]
    specimen: Callable[[Fields], str]
    value: Callable[[Fields], str] = lambda r: r[3].strip()
    time: Callable[[Fields, Fields], str] = lambda r, o: r[12]


def _genexpert_code(r: Fields) -> str:
    test, assay, _, analyte, complementary = r[2].split("^")[3:8]
    if assay:
        return "^".join(filter(None, (test, complementary)))
    return "^".join((test, analyte, complementary) if complementary else (test, analyte))


XP = Family("sysmex_xp", lambda r: r[2].split("^")[4], lambda o: o[3].split("^")[2].strip())
XN = Family("sysmex_xn", lambda r: r[2].split("^")[4], lambda o: o[3].split("^")[2].strip())
C311 = Family(
    "roche_c311",
    lambda r: re.split("[/^]", r[2])[3],
    lambda o: o[2].split("^")[1].strip(),
    time=lambda r, o: o[22],
)
E411 = Family(
    "roche_e411",
    lambda r: re.split("[/^]", r[2])[3],
    lambda o: o[2].strip(),
    value=lambda r: r[3].split("^")[-1],
    time=lambda r, o: o[22],
)
YUMIZEN = Family("horiba_yumizen", lambda r: r[2].split("^")[3], lambda o: o[2].split("^")[0], time=lambda r, o: r[11])
EM = Family("erba_em", lambda r: r[2].split("^")[3], lambda o: o[2].split("^")[0].strip())
XL = Family("erba_xl", lambda r: r[2].split("^")[3], lambda o: o[2].strip())
GENEXPERT = Family(
    "cepheid_genexpert",
    _genexpert_code,
    lambda o: o[2],
    value=lambda r: [*r[3].split("^"), ""][1] or r[3].split("^")[0],
    time=lambda r, o: (r + [""] * 9)[12],
)
RESULTS = {
    "sysmex_xn/sysmex_xn550.txt": XN,
    "sysmex_xp/sysmex_xp100.txt": XP,
    "roche_cobas_c311/cobas_c311.txt": C311,
    "roche_cobas_e411/roche_multi_frame_bytes.txt.bin": E411,
    "horiba_yumizen/result.astm": YUMIZEN,
    "erba_em200/em_200_sample.txt": EM,
    "erba_xl640/2020-09-28-13-30-07-568972": XL,
    "erba_xl640/2020-09-28-13-30-19-744851": XL,
    "erba_xl640/2020-09-28-13-31-05-332826": XL,
    "cepheid_genexpert/genexpert.txt": GENEXPERT,
}
each_file = pytest.mark.parametrize(("file", "family"), RESULTS.items(), ids=list(RESULTS))


def records(file: str) -> list[Fields]:
    """Fields of each record, frames joined, by a plain split."""
    data = (CAPTURES / file).read_bytes()
    joined = re.sub(rb"\x17[0-9A-Fa-f]{2}[\r\n]*\x02[0-7]", b"", data)
    plain = re.split(r"[\r\n]+", joined.decode("latin-1"))
    found = [re.sub(r"^[\x00-\x1f]*[0-7]?(?=[HPORCQLM]\|)", "", line) for line in plain]
    return [line.split("|") for line in found if re.match(r"[HPORCQLM]\|", line)]


def decoded(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines((CAPTURES / file).read_bytes(), "capture")]


def expected(file: str, family: Family) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    order: Fields = []
    for record in records(file):
        if record[0] == "O":
            order = record + [""] * 30
        elif record[0] == "R":
            r = record + [""] * 4
            found.append({
                "specimen": family.specimen(order),
                "code": family.code(r),
                "value": family.value(r),
                "unit": r[4].strip(),
                "flags": [r[6].strip()] if len(r) > 6 and r[6].strip() else [],
                "time": family.time(r, order),
            })  # fmt: skip
    return found


@each_file
def test_each_result_is_what_a_plain_split_of_the_file_says(file: str, family: Family) -> None:
    wanted = expected(file, family)
    found = [line for line in decoded(file) if line["kind"] in ("observation", "qc")]
    assert wanted
    assert {line["driver"] for line in found} == {family.driver}
    for want, line in zip(wanted, found, strict=True):
        got = {name: line.get(name) or "" for name in ("specimen", "code", "unit")}
        assert got == {name: want[name] for name in got}
        assert line.get("flags", []) == want["flags"]
        if not line.get("attachments"):
            assert (line.get("value") or "") == want["value"]
        if want["time"]:
            assert re.sub(r"\D", "", line["observed_at"])[:14] == want["time"][:14]


@each_file
def test_a_driver_that_was_tried_on_a_capture_says_so(file: str, family: Family) -> None:
    driver = discover()[family.driver]
    assert driver.status is Status.CAPTURED
    payloads = [piece.payload for piece in pieces((CAPTURES / file).read_bytes()) if hasattr(piece, "payload")]
    assert payloads
    for payload in payloads:
        found, _ = identify(payload)
        assert found is not None
        assert found.id == driver.id
        assert driver.fingerprint(payload).score >= 0.7


def _ending(kind: str, file: str) -> list[Mapping[str, Any]]:
    return [line for line in decoded(file) if line["kind"] == kind]


def test_every_data_alarm_of_a_c_311_stands_beside_its_result() -> None:
    file = "roche_cobas_c311/cobas_c311.txt"
    rows = records(file)
    behind = {re.split("[/^]", row[2])[3]: rows[place + 1][3] for place, row in enumerate(rows[:-1]) if row[0] == "R"}
    for line in _ending("observation", file):
        alarm = behind[line["code"]]
        assert line.get("comments", []) == ([] if alarm == "0" else [f"data alarm {alarm}"])
        assert line["module"] == "P1"


def test_calls_of_an_e_411_stand_beside_the_index_and_its_place_is_kept() -> None:
    file = "roche_cobas_e411/roche_multi_frame_bytes.txt.bin"
    raw = {re.split("[/^]", row[2])[3]: row[3] for row in records(file) if row[0] == "R"}
    for line in _ending("observation", file):
        calls = [each for each in line.get("comments", []) if "reactive" in each or "borderline" in each]
        assert bool(calls) == ("^" in raw[line["code"]])
        assert (line["rack"], line["position"], line["dilution"]) == ("0", "1", "1/not")
    index = next(line for line in _ending("observation", file) if line["code"] == "5")
    assert (index["value"], index["comments"]) == ("0.282", ["negative (non-reactive) (-1)"])
    low = next(line for line in _ending("observation", file) if line["code"] == "3")
    assert (low["value"], low["flags"], low["comments"]) == ("<3.00", ["LL"], ["data alarm 27"])


@pytest.mark.req("GW-10")
def test_an_inquiry_that_an_e_411_takes_back_is_kept_and_not_answered() -> None:
    """Its Q.13 is A: nobody answered within 15 s."""
    data = (CAPTURES / "roche_cobas_e411/roche_enquiry.txt").read_bytes()
    driver = discover()["roche_e411"]
    [payload] = [piece.payload for piece in pieces(data) if hasattr(piece, "payload")]
    found = driver.decode(payload)
    names = [getattr(item, "name", "query") for item in found.items]
    assert names == ["query", "query cancelled"]
    assert driver.respond(payload, found, {}, NOW) == []


def test_controls_reagents_and_curves_of_a_yumizen() -> None:
    """The curves of this capture are cut: their bounds unpack, the curves do not, which stays visible."""
    file = "horiba_yumizen/result.astm"
    assert {line["qc"]["material"] for line in _ending("qc", file)} == {"PX449L"}
    assert {line["qc"]["level"] for line in _ending("qc", file)} == {"CTRLLOW"}
    ranges = {row[2].split("^")[3]: row[5].split("^")[0] for row in records(file) if row[0] == "R"}
    assert {line["code"]: line["reference_range"] for line in _ending("qc", file)} == ranges
    assert [line["name"] for line in _ending("event", file)] == [
        "unreadable curve",
        "unreadable curve",
        "reagent record",
    ]
    for row in [row for row in records(file) if "-stream/" in "|".join(row)]:
        descriptor, _, packed = row[5].partition("^")
        plain = zlib.decompress(base64.b64decode(packed), -15)
        assert read_stream(descriptor, packed) == struct.unpack(f"<{len(plain) // 4}f", plain)
        with pytest.raises(BadStream):
            read_stream(*row[6].split("^", 1))


def test_a_genexpert_result_names_its_cartridge_and_reagent_lot() -> None:
    file = "cepheid_genexpert/genexpert.txt"
    main = next(line for line in _ending("observation", file) if line["code"] == "Xpert")
    made = next(row for row in records(file) if row[0] == "R")[13].split("^")
    assert (main["module"], main["reagent_lot"]) == (made[2], made[4])
    assert f"cartridge {made[3]}" in main["comments"]
    assert not any("^" in (line.get("value") or "") for line in _ending("observation", file))
