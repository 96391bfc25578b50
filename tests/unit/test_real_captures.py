"""Bytes that real analyzers sent, replayed from the workplace's captures where they are at hand (never copied here).

What the files hold is counted by `tests/bench/captures_count.py`, a plain split which knows nothing of `protocols`, and
checked against the counts that a person wrote into the captures' README.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge.decode import lines
from protocols.capture import pieces, read_capture
from protocols.driver import discover
from protocols.links.contract import Link
from tests.bench import captures, captures_count
from tests.support.wire import Bench

CAPTURES = captures.CAPTURES
at_hand = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of real analyzers are not at hand")
pytestmark = pytest.mark.req("GW-3", "GW-4", "GW-11")

HELD = {
    str(file.relative_to(CAPTURES)): captures_count.count(file.read_bytes())
    for file in (captures_count.files_of(CAPTURES) if CAPTURES.is_dir() else [])
}
each_file = pytest.mark.parametrize("file", sorted(HELD) or [pytest.param("none", marks=at_hand)])
_COUNT = re.compile(r"(\d+) (R|Q|OBX|OBS|result)\b( each)?")


def plain(name: str) -> str:
    """Letters of a maker's name without accents and case."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()


def decoded(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(data, "capture")]


@each_file
@at_hand
def test_everything_that_a_capture_holds_is_decoded(file: str) -> None:
    held = HELD[file]
    found = decoded((CAPTURES / file).read_bytes())
    kinds = Counter(line["kind"] for line in found)
    assert kinds["undecoded"] == 0, found
    assert kinds["observation"] + kinds["qc"] == held["results"]
    assert kinds["qc"] == held["controls"]
    assert kinds["host_query"] == held["queries"]
    results = [line for line in found if line["kind"] in ("observation", "qc")]
    assert sum(1 for line in results if line["unit"]) >= held["units"]  # type: ignore[operator]
    assert sum(1 for line in results if line["flags"]) >= held["flags"]  # type: ignore[operator]
    for line in results:
        assert line["code"]
        assert line["specimen"]
        assert line["observed_at"]


@each_file
@at_hand
def test_every_capture_with_results_is_read_by_a_driver_of_its_maker(file: str) -> None:
    """The folder names the instrument."""
    if not HELD[file]["results"] and not HELD[file]["queries"]:
        pytest.skip("documents of a dialogue without a result need not name their maker")
    for name in {line["driver"] for line in decoded((CAPTURES / file).read_bytes())}:
        driver = discover()[name]
        assert plain(driver.vendor).split()[0] in file, f"{file} was read by {driver.id}"


@at_hand
def test_hand_counts_of_the_readme_are_those_of_the_plain_split() -> None:
    """`sysmex_xn, sysmex_xp | ... | 41 R; 20 R`: the folders of a line and their counts in the same order."""
    checked = 0
    for line in (CAPTURES / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        folders = [name.strip() for name in cells[0].split(",")]
        if len(cells) < 3 or not (CAPTURES / folders[0]).is_dir():
            continue
        counts = [_COUNT.findall(part) for part in cells[2].split(";")]
        if not counts[0]:
            continue  # "a table": not counted by hand
        if len(folders) == 1:
            counts = [[each for part in counts for each in part]]
        for folder, expected in zip(folders, counts, strict=True):
            for number, kind, each in expected:
                name = "queries" if kind == "Q" else "results"
                files = [held for file, held in HELD.items() if file.startswith(f"{folder}/")]
                per_file = [int(str(held[name])) for held in files]
                assert set(per_file) == {int(number)} if each else sum(per_file) == int(number), (folder, kind)
                checked += 1
    assert checked >= 15


def test_counter_imports_nothing_of_ours() -> None:
    """It would agree with our mistakes."""
    tree = ast.parse(captures.COUNTER.read_text("utf-8"))
    modules = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    modules |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {*sys.stdlib_module_names, "__future__"}


def test_counter_runs_without_the_project(tmp_path: Path) -> None:
    (tmp_path / "xn").write_bytes(b"\x021H|\\^&|||A\rO|1|7\rR|1|^^^GLU|5.1|mmol/L||H\rR|2|^^^K|4.0\rL|1|N\r\x03..\r\n")
    command = [sys.executable, "-I", "-S", str(captures.COUNTER), str(tmp_path)]
    counted = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert [counted["xn"][name] for name in captures.COUNTED] == [2, 1, 1, 0, 0]
    assert len(counted["xn"]["sha256"]) == 64


def test_bench_says_what_is_held_and_not_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = b"H|\\^&|||A^1\rO|1|7\rR|1|^^^GLU|5.1|mmol/L||H\rL|1|N\r"
    (tmp_path / "good").write_bytes(message)
    assert captures.main([str(tmp_path)]) == 0
    capsys.readouterr()
    (tmp_path / "bad").write_bytes(b"\x021" + message + b"\x0300\r\n")
    assert captures.main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "bad: results: 1 held, 0 decoded" in said
    assert "good:" not in said
    assert captures.main([str(tmp_path / "missing")]) == 2


@each_file
@at_hand
def test_capture_on_a_live_line_gives_the_same_items(file: str) -> None:
    """The messages of the file, sent by a link of our own byte by byte, decode to the same items."""
    data = (CAPTURES / file).read_bytes()
    (name, *more) = {found.driver for found in read_capture(data)}
    assert not more
    reader = discover()[name or ""]
    if reader.protocol not in ("astm", "hl7"):
        pytest.skip("only ASTM and HL7 messages are put back on a line here")
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


@at_hand
def test_values_of_a_few_captures_by_eye() -> None:
    def one(file: str, **wanted: str) -> dict[str, Any]:
        found = decoded((CAPTURES / file).read_bytes())
        return next(line for line in found if all(line.get(key) == value for key, value in wanted.items()))

    wbc = one("sysmex_xn/sysmex_xn550.txt", code="WBC")
    assert (wbc["specimen"], wbc["value"], wbc["unit"], wbc["flags"]) == ("27", "8.13", "10*3/uL", ["N"])
    t4 = one("roche_cobas_e411/roche_multi_frame_bytes.txt.bin", value="9.61")
    assert t4["unit"] == "ug/dl"
    assert t4["code"].startswith("7"), "the frame cut its code in two"
    glucose = one("erba_em200/em_200_sample.txt", code="GLU")
    assert (glucose["value"], glucose["flags"]) == ("115.5", ["H"])
    xp = one("sysmex_xp/sysmex_xp100.txt", code="WBC")
    assert (xp["value"], xp["specimen"]) == ("5.5", "113"), "padding is trimmed"
    nitrite = one("siemens_clinitek/siemens_control.txt", code="NIT")
    assert (nitrite["kind"], nitrite["value"]) == ("qc", "Negative")
