"""The morning numbers are released, small: two servers, one killed in the middle, every number sold once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.config import settings
from cloud.demo import NotInProduction, crowd
from cloud.kit.db import begin

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.req("SEC-1")
def test_a_crowd_is_never_signed_in_to_a_hospital(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "production")
    settings.cache_clear()
    with pytest.raises(NotInProduction):
        crowd.seed(begin, patients=1, sold=1, hold_s=60, out=tmp_path / "crowd.json")
    assert not (tmp_path / "crowd.json").exists()


@pytest.mark.slow
@pytest.mark.req("REG-1", "REG-3")
def test_a_crowd_buys_every_number_once_though_a_server_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulators", "rush", "--json", "--folder", str(tmp_path)]
    sized = ["--patients", "150", "--numbers", "20", "--at-once", "12", "--hold-seconds", "150"]
    done = subprocess.run([*command, *sized], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["sold"], told["oversold"], told["lost_after_expiry"]) == (20, 0, 0)
    assert told["abandoned"] > 0
