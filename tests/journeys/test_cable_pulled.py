"""The cable of the box is pulled for two minutes during a run: the instruments work on, and nothing is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pulled(*arguments: str) -> int:
    """Three analyzers, a real box, a real broker, the cloud's own worker: how many messages the box took meanwhile."""
    command = [sys.executable, "-m", "tests.bench.faults", "cable", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0, stored twice 0, manual steps 0; as promised" in done.stdout
    found = re.search(r"acknowledged meanwhile (\d+)", done.stdout)
    assert found, done.stdout
    return int(found[1])


@pytest.mark.req("GW-9", "GW-10")
def test_a_cable_that_is_out_for_some_seconds_costs_no_result() -> None:
    assert pulled("--quick") >= 15


@pytest.mark.slow
@pytest.mark.req("GW-9", "GW-10")
def test_the_cable_is_pulled_for_two_minutes_during_a_run_and_nothing_is_missing() -> None:
    assert pulled() > 300
