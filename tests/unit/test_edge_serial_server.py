"""The far end of a serial server's connection, without I/O: RFC 2217 answers written by hand."""

from __future__ import annotations

import pytest

from edge.ports.com_port import ASK_EVERY_S, ComPort, ComPortEvent, LineSettings, ModemLines, Ready, Unusable
from edge.ports.telnet import Settled, Subnegotiated, Telnet, escaped

pytestmark = pytest.mark.req("GW-1")

DO_COM_PORT = b"\xff\xfd\x2c"
SETTING = LineSettings(9600, 7, "even", 1)


def told(command: int, *value: int) -> bytes:
    return b"\xff\xfa\x2c" + bytes([100 + command]) + escaped(bytes(value)) + b"\xff\xf0"


CONFIRMED = told(1, 0, 0, 0x25, 0x80) + told(2, 7) + told(3, 3) + told(4, 1)


def ready_port() -> ComPort:
    port = ComPort(SETTING, 0.0)
    port.receive(DO_COM_PORT, 0.0)
    assert port.receive(CONFIRMED, 0.0) == [Ready()]
    port.bytes_to_send()
    return port


def test_however_telnet_is_cut_the_same_is_heard() -> None:
    stream = b"ab" + escaped(b"\xff\xff\x00") + DO_COM_PORT + told(1, 0, 0xFF, 1, 2) + b"\xff\xf1c" + escaped(b"\xff")
    whole = Telnet((44,), ()).receive(stream)
    assert whole == [b"ab\xff\xff\x00", Settled(44, True, True), Subnegotiated(44, b"\x65\x00\xff\x01\x02"), b"c\xff"]
    for cut in range(1, len(stream)):
        telnet = Telnet((44,), ())
        pieces = telnet.receive(stream[:cut]) + telnet.receive(stream[cut:])
        data = b"".join(each for each in pieces if isinstance(each, bytes))
        assert data == b"ab\xff\xff\x00c\xff"
        assert [each for each in pieces if not isinstance(each, bytes)] == whole[1:3]


def test_two_sides_never_argue_about_an_option() -> None:
    telnet = Telnet((0, 44), (0,))
    asked = telnet.bytes_to_send()
    assert asked == b"\xff\xfb\x00\xff\xfb\x2c\xff\xfd\x00"
    agreed = b"\xff\xfd\x00\xff\xfd\x2c\xff\xfb\x00"
    telnet.receive(agreed * 3)
    assert telnet.bytes_to_send() == b"", "what is agreed is not said again"
    telnet.receive(b"\xff\xfb\x01\xff\xfd\x18")
    assert telnet.bytes_to_send() == b"\xff\xfe\x01\xff\xfc\x18", "echo and terminal type are refused"
    telnet.receive(b"\xff\xfe\x00" * 2)
    assert telnet.bytes_to_send() == b"\xff\xfc\x00", "taken back once"


def test_a_subnegotiation_without_end_does_not_fill_the_memory() -> None:
    telnet = Telnet((), ())
    telnet.receive(b"\xff\xfa\x2c")
    for _ in range(100):
        telnet.receive(b"x" * 4096)
    assert telnet.receive(b"\xff\xf0data") == [b"data"]


def test_the_line_opens_when_every_setting_is_confirmed_and_not_before() -> None:
    port = ComPort(SETTING, 0.0)
    assert b"\xff\xfb\x2c" in port.bytes_to_send()
    assert port.receive(DO_COM_PORT, 1.0) == []
    asked = port.bytes_to_send()
    for command in (b"\x01\x00\x00\x25\x80", b"\x02\x07", b"\x03\x03", b"\x04\x01", b"\x05\x01"):
        assert b"\xff\xfa\x2c" + command + b"\xff\xf0" in asked
    assert port.receive(CONFIRMED[:-7], 1.0) == []
    assert port.receive(b"\x05", 1.0) == [], "the instrument does not wait for us: kept"
    assert port.receive(CONFIRMED[-7:] + b"\x02", 1.0) == [Ready(), b"\x05", b"\x02"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (told(1, 0, 0, 0x12, 0xC0), "the serial server has baud rate 4800 instead of 9600"),
        (told(3, 1), "the serial server has parity none instead of even"),
        (told(5, 3), "the serial server has flow control rtscts instead of none"),
        (b"\xff\xfe\x2c", 'the server refuses to set its line: no RFC 2217 server? A raw serial server is kind = "tcp'),
        (b"\xff\xfc\x00", "the serial server does not pass all bytes (telnet BINARY refused)"),
    ],
)
def test_a_server_that_sets_something_else_is_refused_in_words(answer: bytes, reason: str) -> None:
    port = ComPort(SETTING, 0.0)
    if answer[1] == 0xFA:
        port.receive(DO_COM_PORT, 0.0)
    events = port.receive(answer + CONFIRMED, 0.0)
    assert len(events) == 1, "nothing after it counts"
    assert isinstance(events[0], Unusable)
    assert events[0].reason.startswith(reason)


def test_silence_is_named() -> None:
    def complaint(heard: bytes) -> ComPortEvent:
        port = ComPort(SETTING, 0.0)
        port.receive(heard, 0.0)
        assert port.wake(port.wake_at - 1) == []
        return port.wake(port.wake_at)[0]

    assert "does not speak telnet" in str(complaint(b""))
    assert "did not confirm: baud rate, data bits, parity, stop bits" in str(complaint(DO_COM_PORT))
    assert "did not confirm: parity" in str(complaint(DO_COM_PORT + CONFIRMED.replace(told(3, 3), b"")))


def test_a_server_that_answered_questions_and_stops_is_gone() -> None:
    port = ready_port()
    question = b"\xff\xfa\x2c\x01\x00\x00\x00\x00\xff\xf0"
    port.receive(told(1, 0, 0, 0x25, 0x80), 1.0)
    assert port.wake_at == 1.0 + ASK_EVERY_S
    assert port.wake(port.wake_at) == []
    assert port.bytes_to_send() == question
    assert isinstance(port.wake(port.wake_at)[0], Unusable)


def test_a_server_that_never_answers_questions_is_left_alone() -> None:
    port = ready_port()
    for _ in range(5):
        assert port.wake(port.wake_at) == []


def test_somebody_else_who_sets_the_line_is_noticed() -> None:
    port = ready_port()
    assert port.receive(told(1, 0, 0, 0x12, 0xC0), 5.0) == [
        Unusable("the serial server has baud rate 4800 instead of 9600")
    ]


def test_a_server_that_suspends_us_gets_nothing_until_it_resumes() -> None:
    port = ready_port()
    port.receive(told(8), 1.0)
    port.write(b"\x06\xff")
    assert (port.bytes_to_send(), port.unsent) == (b"", 2)
    port.receive(told(9), 2.0)
    assert (port.bytes_to_send(), port.unsent) == (b"\x06\xff\xff", 0)


def test_errors_of_the_wire_are_counted_and_modem_lines_told() -> None:
    port = ready_port()
    assert port.receive(told(6, 0x0C) + told(6, 0x04) + told(7, 0x30), 1.0) == [ModemLines(("CTS", "DSR"))]
    assert port.line_faults == {"parity": 2, "framing": 1}
