"""`./xinglin new` writes parts that pass their contract as written, and refuses what it cannot name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import reduce
from operator import xor
from pathlib import Path

import pytest

from tests.support.transcripts import read_case
from tests.support.wire import session

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy_of_the_code(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("vendor", "__pycache__", "browser", "journeys", "integration")
    for folder in ("protocols", "tools", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def new(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools", "new", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("protocol", ["astm", "hl7"])
def test_a_new_driver_passes_the_contract_suite_as_written(copy_of_the_code: Path, protocol: str) -> None:
    result = new(copy_of_the_code, "driver", "acme_a100", "--protocol", protocol, "--vendor", "Acme", "--model", "A100")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout
    items = (copy_of_the_code / "tests/transcripts/acme_a100/results/items.jsonl").read_text("utf-8")
    assert '"specimen": "202611020017"' in items
    assert '"value": "5.2"' in items


def test_a_driver_that_exists_is_not_overwritten(copy_of_the_code: Path) -> None:
    before = (copy_of_the_code / "protocols/instruments/sysmex_xn.py").read_text("utf-8")
    result = new(copy_of_the_code, "driver", "sysmex_xn", "--protocol", "astm", "--vendor", "S", "--model", "XN")
    assert result.returncode != 0
    assert "exists already" in result.stderr
    assert (copy_of_the_code / "protocols/instruments/sysmex_xn.py").read_text("utf-8") == before


def test_a_name_that_is_no_file_name_is_refused(copy_of_the_code: Path) -> None:
    result = new(copy_of_the_code, "driver", "Acme-1", "--protocol", "astm", "--vendor", "S", "--model", "A")
    assert result.returncode == 2
    assert "small letters" in result.stderr


ASTM = (
    b"H|`^&|||Quillmeter^2.4^Ward 7^SN4400219|||||host||P|E 1394-97|20261102080000\r"
    b"P|1||4711002||Lovelace^Ada||19151210|F"
    b"\rO|1|26110200017^2^7||^^^GLU`^^^NA|R\rR|1|^^^GLU|5.2|mmol/L||H||F||nurse\rC|1|I|seen by Lovelace|I"
    b"\rR|2|^^^NA|141|mmol/L||N||F\rL|1|N\r"
)
CONTROL = b"H|`^&|||Quillmeter^2.4\rO|1|QC-LEVEL1||^^^GLU|R||||||Q\rR|1|^^^GLU|5.0|mmol/L\rL|1|N\r"
QUERY = b"H|`^&|||Quillmeter^2.4\rQ|1|^26110200018||ALL\rL|1|N\r"
HL7 = (
    "MSH|^~\\&|Quill|Acme|||20261102080000||ORU^R01|1|P|2.3.1||||||UNICODE\rPID|1||4711002||王小明||19151210|F\r"
    "OBR|1||26110200017|GLU\rOBX|1|NM|GLU||5.2|mmol/L|3.9-6.1|N|||F\rNTE|1|L|王小明 fasting\r"
).encode()
POCT1A = (
    b'<?xml version="1.0"?><HEL.R01><HDR><HDR.control_id V="1"/><HDR.version_id V="POCT1"/></HDR><DEV>'
    b'<DEV.device_id V="QUI^Quill^S440021"/><DEV.vendor_id V="QUI"/><DEV.model_id V="Quillmeter"/></DEV></HEL.R01>'
    b'<OBS.R01><HDR><HDR.control_id V="2"/><HDR.version_id V="POCT1"/></HDR><SVC><SVC.role_cd V="OBS"/>'
    b'<SVC.observation_dttm V="2026-11-02T08:00:00"/><PT><PT.patient_id V="4711002"/><PT.name V="Lovelace Ada"/>'
    b'<OBS><OBS.observation_id V="QGlu"/><OBS.value V="5.2" U="mmol/L"/></OBS></PT></SVC></OBS.R01>'
)
SLIP = (
    b"** QUILLMETER BLOOD GAS **\r\nDate: 02 NOV 26 10:22\r\nPatient ID : 4711002\r\nName : Lovelace Ada\r\n"
    b"------\r\npH    7.431\r\npCO2  34.86 mmHg\r\nNa    146.8 mmol/L H\r\nTHANK YOU\r\n"
)
PEOPLE = (b"Lovelace", b"Ada", "王小明".encode(), b"4711002", b"26110200017", b"SN4400219", b"S440021", b"19151210")


def captured(folder: Path, data: bytes) -> Path:
    (folder / "capture.bin").write_bytes(data)
    return folder / "capture.bin"


def written(folder: Path, name: str) -> dict[str, bytes]:
    """Every file of the new driver."""
    found = [folder / f"protocols/instruments/{name}.py", folder / f"tests/unit/test_driver_{name}.py"]
    found += [each for each in (folder / "tests/transcripts" / name).rglob("*") if each.is_file()]
    return {str(each.relative_to(folder)): each.read_bytes() for each in found}


@pytest.mark.parametrize(
    ("family", "data"),
    [
        ("astm", session(ASTM) + session(CONTROL) + session(QUERY)),
        ("astm_bare", ASTM.replace(b"\r", b"\n")),
        ("hl7", b"\x0b" + HL7 + b"\x1c\r"),
        ("poct1a", POCT1A),
        ("text", SLIP),
        ("text_framed", b"".join(b"\x02" + SLIP + b"\x03" for _ in range(2))),
        ("text_checked", b"\x02" + SLIP + b"\x03" + bytes([reduce(xor, SLIP + b"\x03")])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_new_driver_from_a_capture_is_green_at_once(copy_of_the_code: Path, family: str, data: bytes) -> None:
    capture = captured(copy_of_the_code, data)
    result = new(copy_of_the_code, "driver", "acme_quill", "--from", str(capture), "--vendor", "Acme")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout
    files = written(copy_of_the_code, "acme_quill")
    for name, content in files.items():
        assert not [each for each in PEOPLE if each in content], f"a person or a serial number is left in {name}"
    driver = files["protocols/instruments/acme_quill.py"].decode()
    assert "quill" in driver.split("fingerprint")[1].lower(), "recognised by its name"
    assert any(code in driver for code in ("GLU", "QGlu", "pCO2")), "the channels seen"
    assert "capture.bin" in driver
    sources = [str(copy_of_the_code / name) for name in files if name.endswith(".py")]
    types = (
        [["mypy", "--strict"]] if family in ("poct1a", "text") else []
    )  # a cold run over the package: once is enough
    for check in (["ruff", "check"], ["ruff", "format", "--check"], *types):
        done = subprocess.run([sys.executable, "-m", *check, *sources], cwd=copy_of_the_code, capture_output=True)
        assert done.returncode == 0, done.stdout.decode()


def test_a_capture_gives_a_case_for_each_kind_of_message(copy_of_the_code: Path) -> None:
    capture = captured(copy_of_the_code, session(ASTM) + session(CONTROL) + session(QUERY))
    assert new(copy_of_the_code, "driver", "acme_quill", "--from", str(capture)).returncode == 0
    folder = copy_of_the_code / "tests/transcripts/acme_quill"
    cases = {each.name: read_case(each) for each in folder.iterdir()}
    assert set(cases) == {"results", "quality_control", "host_query", "host_query_without_order"}
    assert [item["value"] for item in cases["results"].items] == ["5.2", "141"]
    assert [item["kind"] for item in cases["quality_control"].items] == ["qc"]
    (query,) = cases["host_query"].items
    specimen = query["specimens"][0]
    assert specimen != "26110200018"
    assert len(specimen) == len("26110200018")
    assert specimen.isdigit()
    answer = b"".join(data for kind, data in cases["host_query"].steps if kind == "host")
    assert specimen.encode() in answer, "the answer names the specimen that was asked for"


def test_a_person_is_replaced_alike_everywhere(copy_of_the_code: Path) -> None:
    capture = captured(copy_of_the_code, session(ASTM))
    assert new(copy_of_the_code, "driver", "acme_quill", "--from", str(capture)).returncode == 0
    case = read_case(copy_of_the_code / "tests/transcripts/acme_quill/results")
    message = case.device_bytes()
    patient = message.split(b"P|1||", 1)[1].split(b"|")
    surname = patient[2].split(b"^")[0]
    assert b"seen by " + surname in message, "the comment names the same invented person"
    assert len(patient[0]) == 7


def test_a_capture_that_a_driver_reads_already_makes_no_other(copy_of_the_code: Path) -> None:
    case = read_case(copy_of_the_code / "tests/transcripts/sysmex_xn/results_with_flags_and_histograms")
    capture = captured(copy_of_the_code, case.device_bytes())
    result = new(copy_of_the_code, "driver", "other_xn", "--from", str(capture))
    assert result.returncode == 2
    assert "sysmex_xn reads this instrument already" in result.stderr
    assert not (copy_of_the_code / "protocols/instruments/other_xn.py").exists()


@pytest.mark.parametrize(
    ("data", "word"),
    [(session(QUERY), "no result"), (b"\x00\xff\x00", "no"), (b"", "empty")],
    ids=["query", "noise", "empty"],
)
def test_a_capture_without_results_leaves_nothing_behind(copy_of_the_code: Path, data: bytes, word: str) -> None:
    result = new(copy_of_the_code, "driver", "acme_none", "--from", str(captured(copy_of_the_code, data)))
    assert result.returncode == 2
    assert word in result.stderr
    assert not list(copy_of_the_code.rglob("*acme_none*"))


def test_without_a_capture_protocol_vendor_and_model_are_asked_for(copy_of_the_code: Path) -> None:
    result = new(copy_of_the_code, "driver", "acme_a100", "--protocol", "astm")
    assert result.returncode == 2
    assert "--vendor, --model" in result.stderr


def test_a_printed_slip_becomes_labels_of_its_own(copy_of_the_code: Path) -> None:
    capture = captured(copy_of_the_code, SLIP)
    assert new(copy_of_the_code, "driver", "acme_quill", "--from", str(capture)).returncode == 0
    items = read_case(copy_of_the_code / "tests/transcripts/acme_quill/results").items
    results = [item for item in items if item["kind"] == "observation"]
    found = [(item["code"], item["value"], item.get("unit"), item.get("flags")) for item in results]
    assert found == [("pH", "7.431", None, None), ("pCO2", "34.86", "mmHg", None), ("Na", "146.8", "mmol/L", ["H"])]
    assert {len(item["specimen"]) for item in results} == {7}, "the shape of the number stays"
    assert [item["detail"] for item in items if item["kind"] == "event"][-1] == "THANK YOU", "nothing is dropped"


def test_a_table_needs_no_driver_of_its_own(copy_of_the_code: Path) -> None:
    capture = captured(
        copy_of_the_code, b"Sample ID,Test,Result,Unit\n26110200017,GLU,5.2,mmol/L\n26110200017,K,4.1,mmol/L\n"
    )
    result = new(copy_of_the_code, "driver", "acme_table", "--from", str(capture))
    assert result.returncode == 2
    assert "generic_file" in result.stderr
