"""Many instruments on one daemon, serial and TCP; lines that are pulled out in the middle; bad neighbours."""

from __future__ import annotations

import os
import pty
import random
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.ports.pace import READ_BYTES
from tests.support.analyzer import ACK, ENQ, EOT, Analyzer, Silent, frame, over_fd, over_tcp, xn_result
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-1")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())
    yield made
    made.stop()


class Cable:
    """A pty: its `device` keeps its name (as udev keeps a by-id name) whatever tty is behind it."""

    def __init__(self, device: Path) -> None:
        self.device = device
        self.master = -1
        self.plug_in()

    def plug_in(self) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(self.master)
        tty.setraw(slave)
        self.device.symlink_to(os.ttyname(slave))
        os.close(slave)

    def pull_out(self) -> None:
        self.device.unlink()
        os.close(self.master)
        self.master = -1


def in_conversation(fd: int) -> Analyzer:
    analyzer = over_fd(fd)

    def answered() -> bool:
        try:
            analyzer.send(ENQ)
            return analyzer.byte(0.3) == ACK
        except (Silent, OSError):
            return False

    eventually(answered, within_s=20, what="the box answers on the line")
    analyzer.send(EOT)
    return analyzer


def opened_again(box: Box, link: str, seen: int) -> bool:
    return box.log().count(f'"link": "{link}", "peer"') > seen


def test_sixty_four_instruments_on_one_daemon_are_all_served(box: Box, tmp_path: Path) -> None:
    cables = {f"xs{number}": Cable(tmp_path / f"tty{number}") for number in range(32)}
    ports = {f"xn{number}": box.add_tcp(f"xn{number}") for number in range(32)}
    for link, cable in cables.items():
        box.add_serial(link, str(cable.device))
    box.start()
    analyzers = {link: in_conversation(cable.master) for link, cable in cables.items()}
    analyzers |= {link: over_tcp("127.0.0.1", port) for link, port in ports.items()}
    records = [frame(number, each + b"\r") for number, each in enumerate(xn_result("2601"), start=1)]
    for step in [ENQ, *records]:
        for each in analyzers.values():  # all at once, then all answers
            each.send(step)
        assert {each.byte() for each in analyzers.values()} == {ACK}
    for link, each in analyzers.items():
        each.send(EOT)
        assert box.frames(link) == records
        assert box.messages(link) == [(1, "decoded")]
    for port in ports:
        analyzers[port].close()
    for cable in cables.values():
        os.close(cable.master)


@pytest.mark.req("GW-9")
def test_a_cable_pulled_at_any_byte_of_a_message_loses_nothing_acknowledged(box: Box, tmp_path: Path) -> None:
    """On TCP at every ninth byte, on a serial line in five places: after it the next ENQ begins afresh."""
    port = box.add_tcp("xn")
    cable = Cable(tmp_path / "ttyXS")
    box.add_serial("xs", str(cable.device))
    box.start()
    raws = [frame(number, each + b"\r") for number, each in enumerate(xn_result("2601"), start=1)]
    stream = b"".join([ENQ, *raws])
    places = range(1, len(stream), 9)
    acknowledged: list[bytes] = []
    for place in places:
        analyzer = over_tcp("127.0.0.1", port)
        acknowledged += _sent_until(analyzer, raws, place)
        analyzer.close()
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.report(xn_result("2602"))
    analyzer.close()
    assert box.frames("xn") == acknowledged + analyzer.acknowledged
    states = [state for _, state in box.messages("xn")]
    assert states.count("decoded") == 1
    assert states[-1] == "decoded"

    for place in (1, 3, 40, len(stream) // 2, len(stream) - 1):
        _sent_until(in_conversation(cable.master), raws, place)
        opened = box.log().count('"link": "xs", "peer"')
        cable.pull_out()
        cable.plug_in()
        eventually(lambda: opened_again(box, "xs", opened), within_s=20, what="the line is open again")  # noqa: B023
    in_conversation(cable.master).report(xn_result("2603"))
    kept = [state for _, state in box.messages("xs")]
    assert kept[-1] == "decoded"
    assert kept.count("decoded") == 1
    os.close(cable.master)


def _sent_until(analyzer: Analyzer, raws: list[bytes], place: int) -> list[bytes]:
    """A message up to its byte `place`; the frames that were acknowledged."""
    taken = []
    left = place
    for raw in [ENQ, *raws]:
        analyzer.send(raw[:left])
        left -= len(raw)
        if left < 0:
            break
        assert analyzer.byte() == ACK
        if raw != ENQ:
            taken.append(raw)
        if left == 0:
            break
    return taken


def test_two_lines_whose_instruments_say_the_same_name_are_two_lines(box: Box) -> None:
    ports = [box.add_tcp(link) for link in ("left", "right")]
    box.start()
    for number, port in enumerate(ports):
        analyzer = over_tcp("127.0.0.1", port)
        for specimen in range(number + 1):
            analyzer.report(xn_result(f"26{number}{specimen}"))
        analyzer.close()
    assert box.messages("left") == [(1, "decoded")]
    assert box.messages("right") == [(1, "decoded"), (2, "decoded")]


@pytest.mark.parametrize("kind", ["flood", "chatter", "noise"])
def test_a_line_that_never_stops_leaves_time_for_its_neighbours(box: Box, kind: str) -> None:
    """While it sends without end the neighbour's results are taken, a hundred of them, each ACK in its turn."""
    bad_port, good_port = box.add_tcp("bad"), box.add_tcp("xn")
    box.start()
    pick = random.Random(7)
    message = ENQ + b"".join(frame(n, each + b"\r") for n, each in enumerate(xn_result("1"), start=1)) + EOT
    chunk = {"flood": b"U" * READ_BYTES, "chatter": message * 16, "noise": pick.randbytes(READ_BYTES)}[kind]
    bad, good = over_tcp("127.0.0.1", bad_port), over_tcp("127.0.0.1", good_port)
    for number in range(100):
        _push(bad, chunk)
        good.report(xn_result(str(2600 + number)))
    assert len(box.messages("xn")) == 100
    assert box.log().count("frame.refused") <= 3, "the log is not flooded either"
    bad.close()
    good.close()


def _push(bad: Analyzer, data: bytes) -> None:
    """Its answers are read away; all chunks together are less than the sockets' buffers, so it never has to wait."""
    bad.receive(0)
    bad.send(data)
