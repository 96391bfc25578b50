"""The real daemon and a serial server on the network that is not ours (pyserial's RFC 2217 server over a pty)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.analyzer import ACK, ENQ, Analyzer, Silent, over_fd, xn_result
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.serial_server import SerialServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-1")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())
    yield made
    made.stop()


@pytest.fixture
def server() -> Iterator[SerialServer]:
    made = SerialServer()
    yield made
    made.close()


def in_conversation(server: SerialServer) -> Analyzer:
    """An analyzer at the server's line, once the box answers there."""

    def answered() -> bool:
        analyzer.send(ENQ)
        try:
            return analyzer.byte(0.3) == ACK
        except Silent:
            return False

    analyzer = over_fd(server.instrument)
    eventually(answered, within_s=20, what="the box answers through the serial server")
    analyzer.send(b"\x04")
    return analyzer


def test_a_serial_server_is_set_as_configured_and_every_byte_passes_it(box: Box, server: SerialServer) -> None:
    box.add_serial_server("xn", server.port, baud_rate=19200, data_bits=7, parity="even", stop_bits=2)
    box.start()
    analyzer = in_conversation(server)
    assert server.setting == (19200, 7, "E", 2)
    records = [*xn_result("2601")[:-1], b"C|1|I|" + bytes(range(0x80, 0x100)) + b"\xff\xff|G", b"L|1|N"]
    analyzer.report(records)
    assert box.frames("xn") == analyzer.acknowledged
    assert box.messages("xn") == [(1, "decoded")]


def test_a_serial_server_that_hung_up_is_dialled_and_set_again(box: Box, server: SerialServer) -> None:
    box.add_serial_server("xn", server.port, baud_rate=9600)
    box.start()
    in_conversation(server).report(xn_result("2601"))
    server.line.baudrate = 300
    server.hang_up()
    eventually(lambda: server.connections == 2, what="the second connection")
    in_conversation(server).report(xn_result("2602"))
    assert server.setting[0] == 9600
    assert [state for _, state in box.messages("xn")] == ["decoded", "decoded"]


def test_a_server_that_passes_raw_bytes_only_is_named_with_its_cure(box: Box) -> None:
    """Its line's bytes come, and no answer to a setting: the port does not open on a guess."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        box.add_serial_server("xn", listening.getsockname()[1])
        box.start()
        connected, _ = listening.accept()
        connected.sendall(b"x" * 70_000)

        def complaint() -> str:
            status = box.status()
            return str(status["links"][0]["reason"]) if status else ""

        eventually(lambda: "tcp_dial" in complaint(), what="the reason in the status")
        connected.close()
    assert box.frames("xn") == []
