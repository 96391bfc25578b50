"""A morning in the laboratory with every part a process of its own, counted from the wire to the phone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

KEYS = {
    "orders", "specimens", "observations_sent", "observations_stored", "host_queries_answered", "released",
    "seen_on_phone", "lost", "duplicated", "kills", "in_flight_at_kill", "redelivered", "end_to_end_ms",
}  # fmt: skip


def _smoke(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON line, and what was said beside it."""
    command = [sys.executable, "-m", "simulators", "demo", "--folder", str(folder), "--smoke", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def _whole(line: dict[str, Any], tubes: int) -> None:
    assert set(line) == KEYS
    assert set(line["end_to_end_ms"]) == {"p50", "p99"}
    assert (line["specimens"], line["released"], line["seen_on_phone"]) == (tubes, tubes, tubes)
    assert line["observations_stored"] == line["observations_sent"] > tubes
    assert line["host_queries_answered"] == tubes
    assert (line["lost"], line["duplicated"]) == (0, 0)


@pytest.mark.req("GW-7", "GW-9", "GW-10", "LIS-1", "REP-1")
def test_a_morning_reaches_the_phones_while_the_box_is_killed(tmp_path: Path) -> None:
    code, line, words = _smoke(tmp_path, "8", "--kill", "edge", "--seed", "5")
    _whole(line, 8)
    assert line["kills"] >= 1
    assert line["in_flight_at_kill"] > 0
    assert line["redelivered"] > 0
    assert code == 0, words


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cloud", "broker", "edge"])
def test_nothing_is_lost_or_doubled_when_a_part_is_killed(tmp_path: Path, what: str) -> None:
    code, line, words = _smoke(tmp_path, "40", "--kill", what, "--seed", "7")
    _whole(line, 40)
    assert line["in_flight_at_kill"] > 0
    assert line["redelivered"] > 0
    assert code == 0, words


def test_a_swallowed_observation_is_noticed(tmp_path: Path) -> None:
    code, line, words = _smoke(tmp_path, "4", "--sabotage", "drop")
    assert (line["lost"], line["duplicated"]) == (1, 0)
    assert line["observations_stored"] == line["observations_sent"] - 1
    assert "page: lost" in words
    assert code == 1


def test_a_doubled_observation_is_noticed(tmp_path: Path) -> None:
    code, line, words = _smoke(tmp_path, "3", "--sabotage", "double")
    assert (line["lost"], line["duplicated"]) == (0, 1)
    assert "too many of" in words
    assert code == 1


@contextlib.contextmanager
def _demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A running demo, up to its welcome."""
    command = [sys.executable, "-m", "simulators", "demo", "--folder", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        assert "Ctrl-C" in said[-1], "".join(said)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        process.stdout.close()


def _parts(folder: Path) -> list[str]:
    """Processes whose command or environment names the demo's folder."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            with contextlib.suppress(OSError):
                said = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
                if str(folder).encode() in said:
                    found.append(f"{each.name} {(each / 'cmdline').read_bytes()!r}")
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the ties of processes are Linux's")
def test_a_demo_ends_everything_it_started_also_when_it_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with _demo(folder) as process:
        assert len(_parts(folder)) >= 12
        process.send_signal(signal.SIGKILL)
        eventually(lambda: not _parts(folder), within_s=90, what="every part has ended")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the ties of processes are Linux's")
def test_ctrl_c_ends_everything_the_demo_started(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with _demo(folder) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert _parts(folder) == []


def test_a_kill_needs_a_bounded_morning() -> None:
    command = [sys.executable, "-m", "simulators", "demo", "--kill", "edge"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--smoke" in done.stderr
