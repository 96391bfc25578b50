"""The architecture's import contracts hold, and a wrong import really breaks them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocols", "edge", "cloud", "provisioning", "simulators")
LINTER = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINTER, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy_of_the_code(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("vendor", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_contract_is_kept() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("place", "wrong_import", "contract"),
    [
        ("protocols/model.py", "import edge", "the parts in their order"),
        ("edge/__init__.py", "import cloud", "the parts in their order"),
        ("simulators/__init__.py", "import protocols.model", "simulators are strangers"),
        ("cloud/kit/clock.py", "import cloud.staff", "the cloud's slices in their order"),
        ("cloud/people/__init__.py", "import cloud.lis", "the cloud's slices in their order"),
        ("cloud/gateways/__init__.py", "import cloud.his", "the cloud's slices in their order"),
        ("cloud/lis/catalog/__init__.py", "import cloud.lis.results", "the specimen's road"),
        ("cloud/patient/identity/__init__.py", "import cloud.patient.reports", "patient services"),
    ],
)
def test_a_wrong_import_breaks_its_contract(
    copy_of_the_code: Path, place: str, wrong_import: str, contract: str
) -> None:
    path = copy_of_the_code / place
    path.write_text(path.read_text(encoding="utf-8") + f"\n{wrong_import}  # noqa\n", encoding="utf-8")
    result = lint(copy_of_the_code)
    assert result.returncode != 0
    broken = [line for line in result.stdout.splitlines() if line.startswith(contract) and line.endswith("BROKEN")]
    assert broken, result.stdout


def test_a_new_slice_must_be_given_its_place(copy_of_the_code: Path) -> None:
    slice_folder = copy_of_the_code / "cloud" / "unplaced"
    slice_folder.mkdir()
    (slice_folder / "__init__.py").write_text("", encoding="utf-8")
    result = lint(copy_of_the_code)
    assert result.returncode != 0
    assert "unplaced" in result.stdout
