"""The simulated instruments against raw sockets: how stubborn, how patient, how honest in their ledger they are."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from simulators.analyzers.astm_session import AstmSession, NotDelivered, Timing, checksum, frames_by_record
from simulators.analyzers.blood import Tube
from simulators.analyzers.bs_station import BsStation
from simulators.analyzers.station import Settings, Station
from simulators.analyzers.xn_station import XnStation
from simulators.ledger import Ledger, read_ledger
from simulators.wire import Answering, Line, LineBroken, TcpLine, dial, pseudo_terminal
from tests.support.waiting import eventually

QUICK = Timing(reply_s=0.3, busy_s=0.05, contention_s=0.05, receive_s=0.5)
ENQ, ACK, NAK, EOT = b"\x05", b"\x06", b"\x15", b"\x04"


class Host:
    """The far end of a line, played by the test."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(5)

    def expect(self, wanted: bytes) -> None:
        found = b""
        while len(found) < len(wanted):
            part = self.connection.recv(len(wanted) - len(found))
            assert part, f"hung up while {wanted!r} was awaited"
            found += part
        assert found == wanted

    def frame(self) -> bytes:
        """A whole frame; its text without number, end and checksum."""
        found = b""
        while not found.endswith(b"\r\n") or len(found) < 7:
            found += self.connection.recv(1)
        assert found[:1] == b"\x02"
        assert checksum(found[1:-4]) == found[-4:-2]
        return found[2:-5]

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def take_session(self) -> str:
        """Accept everything of one session."""
        self.expect(ENQ)
        self.say(ACK)
        text = b""
        while True:
            start = self.connection.recv(1, socket.MSG_PEEK)
            if start == EOT:
                self.connection.recv(1)
                return text.decode()
            text += self.frame()
            self.say(ACK)

    def send_message(self, records: list[str]) -> None:
        self.say(ENQ)
        self.expect(ACK)
        for each in frames_by_record(records):
            self.say(each)
            self.expect(ACK)
        self.say(EOT)


@contextmanager
def pair() -> Iterator[tuple[Line, Host]]:
    ours, theirs = socket.socketpair()
    try:
        yield TcpLine(_tcp(ours)), Host(theirs)
    finally:
        ours.close()
        theirs.close()


class _NoDelay:
    """A Unix pair has no Nagle to switch off."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def setsockopt(self, *_: object) -> None:
        return

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def _tcp(connection: socket.socket) -> socket.socket:
    return _NoDelay(connection)  # type: ignore[return-value]


@contextmanager
def beside(work: Callable[[], None], station: Station | None = None) -> Iterator[None]:
    """Run the host's part in a thread; its failure is the test's, and ends the `station` that would dial for ever."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            if station is not None:
                station.stopping.set()

    thread = threading.Thread(target=guarded)
    thread.start()
    yield
    thread.join(20)
    assert not thread.is_alive(), "the host's part did not end"
    if failures:
        raise failures[0]


def test_a_refused_frame_is_offered_again_and_the_next_follows() -> None:
    with pair() as (line, host):

        def play() -> None:
            host.expect(ENQ)
            host.say(ACK)
            assert host.frame() == b"H|1\r"
            host.say(NAK)
            assert host.frame() == b"H|1\r"
            host.say(ACK)
            assert host.frame() == b"L|1|N\r"
            host.say(ACK)
            host.expect(EOT)

        with beside(play):
            session = AstmSession(line, QUICK)
            session.send(frames_by_record(["H|1", "L|1|N"]))
        assert session.refusals == 1


def test_a_frame_refused_six_times_ends_the_session() -> None:
    with pair() as (line, host):

        def play() -> None:
            host.expect(ENQ)
            host.say(ACK)
            for _ in range(6):
                host.frame()
                host.say(NAK)
            host.expect(EOT)

        with beside(play), pytest.raises(NotDelivered, match="six times"):
            AstmSession(line, QUICK).send(frames_by_record(["H|1"]))


def test_a_silent_host_makes_the_instrument_end_the_session() -> None:
    with pair() as (line, host):

        def play() -> None:
            host.expect(ENQ)
            host.expect(EOT)

        with beside(play), pytest.raises(NotDelivered, match="no answer to ENQ"):
            AstmSession(line, QUICK).send(frames_by_record(["H|1"]))


def test_a_busy_host_is_asked_again_later() -> None:
    with pair() as (line, host):

        def play() -> None:
            host.expect(ENQ)
            host.say(NAK)
            assert "H|1" in host.take_session()

        with beside(play):
            AstmSession(line, QUICK).send(frames_by_record(["H|1"]))


def test_in_contention_the_instrument_asks_again_and_goes_first() -> None:
    with pair() as (line, host):

        def play() -> None:
            host.expect(ENQ)
            host.say(ENQ)
            assert host.take_session() == "R|1\r"
            host.send_message(["O|1"])

        with beside(play):
            session = AstmSession(line, QUICK)
            session.send(frames_by_record(["R|1"]))
            assert session.host_asked
            assert session.receive(5) == b"O|1\r"


def test_a_damaged_frame_of_the_host_is_refused() -> None:
    with pair() as (line, host):

        def play() -> None:
            host.say(ENQ)
            host.expect(ACK)
            (good,) = frames_by_record(["O|1"])
            host.say(good.replace(b"O|1", b"O|2"))
            host.expect(NAK)
            host.say(good)
            host.expect(ACK)
            host.say(EOT)

        with beside(play):
            assert AstmSession(line, QUICK).receive(5) == b"O|1\r"


def test_a_message_cut_off_by_a_broken_line_is_sent_again_whole(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ledger = Ledger(tmp_path / "xn.jsonl", "xn")
    station = XnStation(dial("127.0.0.1", listener.getsockname()[1]), ledger, _settings(), timing=QUICK)
    station.rack.put(Tube("260000017"))
    station.rack.put(None)
    texts: list[str] = []

    def play() -> None:
        host = Host(listener.accept()[0])
        assert "Q|1|" in host.take_session()
        host.send_message(["H|\\^&", "P|1", f"O|1|1^1^{'260000017':>22}^B||^^^^WBC\\^^^^HGB|||||||N||||||||||||||Q"])
        host.expect(ENQ)
        host.say(ACK)
        host.frame()
        host.say(ACK)
        host.frame()
        host.connection.close()  # the box loses power in the middle of the message
        host = Host(listener.accept()[0])
        texts.append(host.take_session())
        host.connection.close()

    with beside(play, station):
        station.run()
    listener.close()
    ledger.close()
    assert texts[0].count("R|1|^^^^WBC^1|") == 1
    events = list(read_ledger(tmp_path / "xn.jsonl"))
    assert [(each["event"], each.get("attempt")) for each in events if "attempt" in each] == [
        ("sending", 1),
        ("not_acknowledged", 1),
        ("sending", 2),
        ("acknowledged", 2),
    ]
    (message,) = [each for each in events if each["event"] == "message"]
    assert [each["code"] for each in message["observations"]] == ["WBC", "HGB"]


def test_a_tube_without_an_order_is_put_on_again_until_there_is_one(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ledger = Ledger(tmp_path / "xn.jsonl", "xn")
    station = XnStation(dial("127.0.0.1", listener.getsockname()[1]), ledger, _settings(ask_again_s=0.01), timing=QUICK)
    station.rack.put(Tube("7"))
    station.rack.put(None)

    def play() -> None:
        host = Host(listener.accept()[0])
        for report in ("Y", "X"):
            assert "Q|1|" in host.take_session()
            host.send_message(["H|\\^&", "P|1", f"O|1|1^1^{'7':>22}^B" + "|" * 23 + report])
        assert "Q|1|" in host.take_session()
        host.send_message(["H|\\^&", "P|1", f"O|1|1^1^{'7':>22}^B||^^^^PLT|||||||N||||||||||||||Q"])
        assert "PLT" in host.take_session()
        host.connection.close()

    with beside(play, station):
        station.run()
    listener.close()
    ledger.close()
    answered = [each["codes"] for each in read_ledger(tmp_path / "xn.jsonl") if each["event"] == "answered"]
    assert answered == [[], [], ["PLT"]]


def _mllp(connection: socket.socket) -> list[str]:
    """One block and no byte of the next: an analyzer may send its result right behind an acknowledgement."""
    data = b""
    while not data.endswith(b"\x1c\r"):
        part = connection.recv(1)
        assert part, "hung up"
        data += part
    return data.strip(b"\x0b\x1c\r").decode().split("\r")


def _reply(connection: socket.socket, *segments: str) -> None:
    connection.sendall(b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r")


def _number(segments: list[str]) -> str:
    return segments[0].split("|")[9]


def _acknowledge(connection: socket.socket, segments: list[str], code: str = "AA") -> None:
    number = _number(segments)
    _reply(connection, f"MSH|^~\\&|||Mindray|BS-480|2026||ACK^R01|{number}|P|2.3.1", f"MSA|{code}|{number}||||0|")


def _answer_query(connection: socket.socket, tests: list[str]) -> None:
    query = _mllp(connection)
    assert query[0].split("|")[8] == "QRY^Q02"
    barcode, number = query[1].split("|")[8], _number(query)
    head = f"MSH|^~\\&|||Mindray|BS-480|2026||QCK^Q02|{number}|P|2.3.1"
    _reply(connection, head, f"MSA|AA|{number}|||0|", "ERR|0|", f"QAK|SR|{'OK' if tests else 'NF'}|")
    if not tests:
        return
    lines = [f"DSP|{at}||{barcode if at == 21 else ''}|||" for at in range(1, 29)]
    lines += [f"DSP|{29 + at}||{test}^^^|||" for at, test in enumerate(tests)]
    _reply(connection, head.replace("QCK^Q02", "DSR^Q03"), f"MSA|AA|{number}|||0|", *lines, "DSC||")
    assert _mllp(connection)[0].split("|")[8] == "ACK^Q03"


def test_a_bs_asks_sends_each_test_and_repeats_what_was_not_accepted(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ledger = Ledger(tmp_path / "bs.jsonl", "bs")
    station = BsStation(dial("127.0.0.1", listener.getsockname()[1]), ledger, _settings())
    station.rack.put(Tube("260000025"))
    station.rack.put(None)
    received: list[str] = []

    def play() -> None:
        connection = listener.accept()[0]
        connection.settimeout(5)
        _answer_query(connection, [])
        _answer_query(connection, ["1", "16"])
        first = _mllp(connection)
        _acknowledge(connection, first, "AE")
        connection.close()
        connection = listener.accept()[0]
        connection.settimeout(5)
        again = _mllp(connection)
        assert again == first
        _acknowledge(connection, again)
        second = _mllp(connection)
        _acknowledge(connection, second)
        received.extend(each for message in (again, second) for each in message if each.startswith("OBX"))
        connection.close()

    with beside(play, station):
        station.run()
    listener.close()
    ledger.close()
    assert [each.split("|")[3] for each in received] == ["1", "16"]
    events = list(read_ledger(tmp_path / "bs.jsonl"))
    assert [each["event"] for each in events if each["event"] in ("acknowledged", "not_acknowledged")] == [
        "not_acknowledged",
        "acknowledged",
        "acknowledged",
    ]
    sent = [each["observations"][0] for each in events if each["event"] == "message"]
    assert [(each["code"], each["value"]) for each in sent] == [
        (each.split("|")[3], each.split("|")[5]) for each in received
    ]


def test_a_pseudo_terminal_outlives_the_box_that_opened_it(tmp_path: Path) -> None:
    line = pseudo_terminal(tmp_path / "tty")()
    for text in (b"first", b"second"):
        box = os.open(tmp_path / "tty", os.O_RDWR | os.O_NOCTTY)
        line.write(text)
        assert os.read(box, 100) == text
        os.write(box, b"heard " + text)
        assert line.read(5) == b"heard " + text
        os.close(box)
    assert line.read(0.01) == b""


def test_an_instrument_that_waits_to_be_called_is_reached() -> None:
    answering = Answering("127.0.0.1", 0)
    caller = socket.create_connection(("127.0.0.1", answering.port))
    line = answering()
    caller.sendall(b"hello")
    assert eventually(lambda: line.read(1)) == b"hello"
    caller.close()
    with pytest.raises(LineBroken):
        line.read(1)
    line.close()
    answering.close()


def _settings(**changes: float) -> Settings:
    return replace(Settings("test", seed=3, answer_s=5, ask_again_s=0.05, held_s=0.05), **changes)  # type: ignore[arg-type]
