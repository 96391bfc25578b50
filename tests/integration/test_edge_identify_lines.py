"""`edge identify` on real ports: a pty, a TCP port it listens on, one it dials (GW-13)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.identify import Place, identify_tcp, identify_tty
from edge.listening import TtyEar, listen
from protocols.identify_samples import LineSetting
from tests.support.transcripts import ROOT, read_case
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-13", "GW-1")

XN = read_case(ROOT / "sysmex_xn" / "results_with_flags_and_histograms").device_bytes()
BS = read_case(ROOT / "mindray_bs" / "results").device_bytes()
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pty() -> Iterator[tuple[int, Path]]:
    """The instrument's end as a descriptor and ours as a device."""
    instrument, ours = os.openpty()
    tty.setraw(ours)
    yield instrument, Path(os.ttyname(ours))
    os.close(ours)
    os.close(instrument)


def asked(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port))
    except ConnectionRefusedError:
        return None


def test_line_on_a_pty_is_named(pty: tuple[int, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    instrument, device = pty
    sent = threading.Event()

    def once() -> None:
        if not sent.is_set():
            sent.set()
            os.write(instrument, XN)

    opened: list[LineSetting] = []

    def open_at(setting: LineSetting) -> TtyEar:
        opened.append(setting)
        ear = TtyEar(device, setting)
        once()
        return ear

    assert identify_tty(device, 5, as_json=True, save=tmp_path, opener=open_at) == 0
    best = asked(capsys)["proposals"][0]
    assert best["driver"]["value"] == "sysmex_xn"
    assert opened == [LineSetting(9600)], "known at the first rate"
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == XN, "byte for byte"


def test_every_byte_comes_through_a_tty_that_marks(pty: tuple[int, Path]) -> None:
    """FF and 00 in the data are no marks."""
    instrument, device = pty
    data = bytes(range(256)) * 2 + b"\xff\x00\xff\xff\x00"
    ear = TtyEar(device, LineSetting(9600))
    try:
        os.write(instrument, data)
        hearing = listen(ear, LineSetting(9600), 2.0, clock=time.monotonic)
    finally:
        ear.close()
    assert hearing.sample.data == data
    assert hearing.sample.broken == frozenset()


def test_instrument_that_connects_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def call() -> None:
        connection = eventually(lambda: connected(port), what="a listener")
        assert connection is not None
        with connection:
            connection.sendall(BS)
            connection.recv(1)

    threading.Thread(target=call, daemon=True).start()
    assert identify_tcp(Place("x", listen_port=port), 10, as_json=True) == 0
    best = asked(capsys)["proposals"][0]
    assert (best["protocol"]["value"], best["driver"]["value"]) == ("hl7", "mindray_bs")


def test_instrument_that_waits_to_be_dialled_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for byte in XN[:400]:
                    connection.sendall(bytes([byte]))
                connection.sendall(XN[400:])
                heard.extend(connection.recv(100))

        instrument = threading.Thread(target=serve, daemon=True)
        instrument.start()
        port = server.getsockname()[1]
        assert identify_tcp(Place("x", dial_host="127.0.0.1", dial_port=port), 10, as_json=True) == 0
        instrument.join(5)
    best = asked(capsys)["proposals"][0]
    assert (best["baud_rate"]["value"], best["driver"]["value"]) == (None, "sysmex_xn")
    assert heard == b"", "nothing was written"


def test_nobody_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert identify_tcp(Place("TCP port", listen_port=port), 1) == 2, "the port is in use"
    assert identify_tcp(Place("x", dial_host="127.0.0.1", dial_port=port), 1) == 2, "nobody answers"
    assert identify_tcp(Place("TCP port", listen_port=port), 0.2) == 1
    assert "nobody connected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["FILE"], 0, "sysmex_xn"),
        (["FILE", "--json"], 0, '"recognised": true'),
        ([], 2, "--tty"),
        (["FILE", "--listen", "5001"], 2, "one of"),
        (["--dial", "nowhere"], 2, "HOST:PORT"),
        (["--tty", "/dev/there-is-none"], 2, "there-is-none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_command_line(tmp_path: Path, arguments: list[str], code: int, word: str) -> None:
    file = tmp_path / "capture.bin"
    file.write_bytes(XN)
    command = [sys.executable, "-m", "edge", "identify", *[str(file) if each == "FILE" else each for each in arguments]]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    assert word in result.stdout + result.stderr
