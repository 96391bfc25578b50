"""`./xinglin new` writes parts that pass their contract as written, and refuses what it cannot name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy_of_the_code(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("vendor", "__pycache__")
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
