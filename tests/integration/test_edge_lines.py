"""The real daemon with instruments on TCP and on a pty; no broker: the box serves the bench alone."""

from __future__ import annotations

import os
import pty
import random
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.uplink.envelope import MessageState
from tests.support.analyzer import (
    ACK,
    ENQ,
    NAK,
    Analyzer,
    HungUp,
    Silent,
    frame,
    oru,
    over_fd,
    over_socket,
    over_tcp,
    xn_result,
)
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.waiting import eventually

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())  # nobody listens there
    yield made
    made.stop()


@pytest.mark.req("GW-1", "GW-9")
def test_an_analyzer_on_tcp_is_served_without_any_cloud(box: Box) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.report(xn_result("2601"))
    assert box.frames("xn") == analyzer.acknowledged
    assert box.messages("xn") == [(1, "decoded")]
    analyzer.close()


@pytest.mark.req("GW-1", "GW-4")
def test_an_hl7_analyzer_gets_its_answer(box: Box) -> None:
    port = box.add_tcp("bs", driver="mindray_bs")
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.send(oru("41", "2601"))
    assert b"MSA|AA|41" in analyzer.take_block()
    assert box.messages("bs") == [(1, "decoded")]
    analyzer.close()


@pytest.mark.req("GW-1")
def test_an_analyzer_on_a_serial_line_is_served_and_served_again_after_the_cable_was_out(
    box: Box, tmp_path: Path
) -> None:
    device = tmp_path / "ttyXN"
    master = plug_in(device)
    box.add_serial("xn", str(device))
    box.start()
    over_fd(master).report(xn_result("2601"))
    os.close(master)
    device.unlink()
    master = plug_in(device)
    eventually(lambda: answers_enq(master), within_s=20, what="the line is open again")
    analyzer = over_fd(master)
    for number, record in enumerate(xn_result("2602"), start=1):
        assert analyzer.put(frame(number, record + b"\r")) == ACK
    os.close(master)
    states = [state for _, state in box.messages("xn")]
    assert states == ["decoded", "decoded"]


def plug_in(device: Path) -> int:
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    device.symlink_to(os.ttyname(slave))
    os.close(slave)
    return master


def answers_enq(master: int) -> bool:
    try:
        os.write(master, ENQ)
        return over_fd(master).byte(0.3) == ACK
    except (Silent, OSError):
        return False


@pytest.mark.req("GW-1")
def test_the_box_dials_an_analyzer_that_listens_and_dials_again(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        box.add_dialled("xn", listening.getsockname()[1])
        box.start()
        for specimen in ("2601", "2602"):
            connected, _ = listening.accept()
            analyzer = over_socket(connected)
            analyzer.report(xn_result(specimen))
            analyzer.close()
    eventually(lambda: box.messages("xn") == [(1, "decoded"), (2, "decoded")], within_s=10, what="both messages")


@pytest.mark.req("GW-1")
def test_a_new_connection_of_the_analyzer_replaces_the_old_one_at_once(box: Box) -> None:
    port = box.add_tcp("xn")
    box.start()
    old = over_tcp("127.0.0.1", port)
    assert old.begin() == ACK
    assert old.put(frame(1, xn_result("2601")[0] + b"\r")) == ACK
    new = over_tcp("127.0.0.1", port)
    new.report(xn_result("2601"))
    with pytest.raises(HungUp):
        old.byte()
    old.close()
    assert box.messages("xn") == [(1, "incomplete"), (2, "decoded")]
    new.close()


@pytest.mark.req("GW-1")
def test_a_noisy_line_never_harms_its_neighbour(box: Box) -> None:
    noisy_port, good_port = box.add_tcp("noisy", driver="auto"), box.add_tcp("xn")
    box.start()
    pick = random.Random(7)
    noisy = over_tcp("127.0.0.1", noisy_port)
    good = over_tcp("127.0.0.1", good_port)
    for number in range(20):
        noisy.send(pick.randbytes(4000))
        good.report(xn_result(str(2600 + number)))
    assert len(box.messages("xn")) == 20
    good.close()
    noisy.close()


@pytest.mark.req("GW-9")
def test_a_box_without_room_refuses_frames_and_loses_none_it_took(box: Box) -> None:
    box.max_megabytes = 1
    port = box.add_tcp("xn")
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    assert analyzer.begin() == ACK
    answer, number = ACK, 1
    while answer == ACK:
        answer = analyzer.put(frame(number, b"C|1|I|" + b"x" * 20_000 + b"\r"))
        number += 1
        assert number < 200
    assert answer == NAK
    assert box.frames("xn") == analyzer.acknowledged
    box.kill()
    box.start()
    assert box.frames("xn") == analyzer.acknowledged
    analyzer.close()


class Bench(threading.Thread):
    """An analyzer that reports without end and connects again when the host is gone; it repeats what was not ACKed."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._name = name
        self._analyzer: Analyzer | None = None
        self._over = threading.Event()
        self.acknowledged: list[bytes] = []
        self.finished: list[bytes] = []

    def run(self) -> None:
        number = 0
        while not self._over.is_set():
            analyzer = over_tcp("127.0.0.1", self._port, within_s=60)
            try:
                while not self._over.is_set():
                    analyzer.report(xn_result(f"{self._name}{number:06}"))
                    number += 1
            except (HungUp, Silent):
                pass
            finally:
                self.acknowledged += analyzer.acknowledged
                self.finished += analyzer.finished
                analyzer.close()

    def end(self) -> None:
        self._over.set()
        self.join(60)
        assert not self.is_alive()


@pytest.mark.req("GW-9")
def test_what_was_acknowledged_survives_kill_9_of_the_box_with_frames_in_flight(box: Box) -> None:
    ports = [box.add_tcp(f"xn{number}") for number in range(4)]
    box.start()
    benches = [Bench(port, f"{number}") for number, port in enumerate(ports)]
    for each in benches:
        each.start()
    pick = random.Random(20261123)
    target = 0
    for _ in range(4):
        target += pick.randrange(20, 60)
        eventually(lambda: stored_messages(box) >= target, within_s=60, what="results flow")  # noqa: B023
        box.kill()
        box.start()
    for each in benches:
        each.end()
    box.stop()
    for number, bench in enumerate(benches):
        stored = box.frames(f"xn{number}")
        missing = set(bench.acknowledged) - set(stored)
        assert not missing, f"{len(missing)} acknowledged frames are gone"
        raws = decoded_messages(box, f"xn{number}")
        lost = [each for each in bench.finished if each not in raws]
        assert not lost, f"{len(lost)} acknowledged messages are gone"
        sequences = [sequence for sequence, _ in box.messages(f"xn{number}")]
        assert sequences == list(range(1, len(sequences) + 1))


def stored_messages(box: Box) -> int:
    return int(box.rows("SELECT count(*) FROM outbox")[0][0])


def decoded_messages(box: Box, link: str) -> set[bytes]:
    """The raw bytes of each decoded message, its frames joined."""
    return {each.raw for each in box.read(link) if each.state is MessageState.DECODED}


@pytest.mark.req("GW-9")
def test_frames_of_an_unfinished_message_are_incomplete_after_a_restart(box: Box) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    assert analyzer.begin() == ACK
    for number, record in enumerate(xn_result("2601")[:3], start=1):
        assert analyzer.put(frame(number, record + b"\r")) == ACK
    box.kill()
    analyzer.close()
    box.start()
    assert box.messages("xn") == [(1, "incomplete")]
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.report(xn_result("2601"))
    assert box.messages("xn") == [(1, "incomplete"), (2, "decoded")]
    analyzer.close()


def edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.req("GW-14")
def test_status_tells_how_a_running_box_is_and_that_a_stopped_one_is_not(box: Box) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.report(xn_result("2601"))
    shown = edge("status", str(box.config))
    assert shown.returncode == 0, shown.stderr
    assert '"link": "xn"' in shown.stdout
    analyzer.close()
    box.kill()
    shown = edge("status", str(box.config))
    assert shown.returncode == 1
    assert "does not run" in shown.stderr


def test_a_second_daemon_on_the_same_store_refuses_to_start(box: Box) -> None:
    box.add_tcp("xn")
    box.start()
    second = edge("run", str(box.config))
    assert second.returncode == 2
    assert "another process" in second.stderr


def test_a_box_with_a_wrong_configuration_refuses_to_start_and_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text("[gateway]\nidd = 'x'\n", encoding="utf-8")
    refused = edge("run", str(tmp_path / "box.toml"))
    assert refused.returncode == 1
    assert f"{tmp_path}/box.toml:2: unknown key `idd`" in refused.stderr
