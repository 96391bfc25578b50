"""The fault suite in small numbers: what was acknowledged is there, once, and nobody had to come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def strike(*arguments: str) -> str:
    """What the bench printed; fails when it found a loss."""
    command = [sys.executable, "-m", "tests.bench.faults", "--quick", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0, stored twice 0, manual steps 0; as promised" in done.stdout
    return done.stdout


@pytest.mark.req("GW-9")
def test_the_box_is_killed_again_and_again_and_nothing_acknowledged_is_lost() -> None:
    assert "kills 6" in strike("kill", "--kills", "6")


@pytest.mark.req("GW-1", "GW-9")
def test_noise_and_cut_cables_lose_nothing_and_store_nothing_twice() -> None:
    assert "2 faults" in strike("mid-frame", "noise")


@pytest.mark.req("GW-9", "GW-10")
def test_a_broker_that_dies_again_and_again_costs_nothing() -> None:
    assert "kills 4" in strike("broker")


@pytest.mark.slow
@pytest.mark.req("GW-9", "GW-10")
def test_every_fault_in_small_numbers() -> None:
    strike()
