"""One answer for one message: from a file, from a serial line at 9600 baud, from TCP segments of one byte.

The real daemon with its ports and its store; a pty stands in for the serial line and is fed at the pace of 9600 baud.
What the box sends to the cloud is compared with what `edge decode` says of the same bytes in a file, and with the items
that a person approved.
"""

from __future__ import annotations

import json
import os
import pty
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.decode import lines
from protocols.capture import pieces
from protocols.driver import Driver, discover
from protocols.links.contract import Link
from tests.support.analyzer import Analyzer, Silent, over_fd, over_tcp
from tests.support.box import Box
from tests.support.broker import Broker
from tests.support.playing import dialogues
from tests.support.stand_in_cloud import StandInCloud
from tests.support.waiting import eventually

CAPTURES = Path(__file__).parents[3] / "shared" / "transcripts"
SOME_CAPTURES = {
    "sysmex_xn/sysmex_xn550.txt": "sysmex_xn",
    "roche_cobas_e411/roche_multi_frame_bytes.txt.bin": "generic_astm",
    "cepheid_genexpert_hl7/ORU_R30.txt": "generic_hl7",
    "siemens_clinitek/siemens_control.txt": "generic_hl7",
}
_BYTES_PER_S = 9600 / 10
"""Eight bits, a start and a stop bit."""
_AT_ONCE = 12
_ON_SERIAL = 12
"""About so many drivers' transcripts also go at 9600 baud, side by side."""
_LONGEST_ON_SERIAL = 3000

pytestmark = pytest.mark.req("GW-1", "GW-2", "GW-4", "GW-12")


@dataclass
class Spoken:
    """What one instrument says, in turns: its bytes and how many bytes it then waits for."""

    name: str
    driver: Driver
    turns: list[tuple[bytes, int]]
    expected: list[dict[str, Any]]
    """Items, as the reference has them."""
    messages: int
    options: dict[str, object] = field(default_factory=dict)
    """Settings of the driver, as in the box's configuration."""
    faults: list[str] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        """Its side as a file of a capture holds it."""
        return b"".join(turn for turn, _ in self.turns)

    def play(self, analyzer: Analyzer, send: Callable[[bytes], None]) -> None:
        try:
            for data, answer in self.turns:
                send(data)
                for _ in range(answer):
                    analyzer.byte(20)
        except (Silent, OSError) as fault:
            self.faults.append(f"{self.name}: {fault!r}")


def spoken_transcripts() -> list[Spoken]:
    """The dialogues that need no worklist and no passing of time."""
    found = []
    for each in dialogues():
        kinds = {kind for kind, _ in each.case.steps}
        if not each.case.items or each.case.orders or "wait" in kinds or each.driver.protocol in ("file", "modbus"):
            continue
        turns: list[tuple[bytes, int]] = []
        for kind, data in each.case.steps:
            if kind == "device":
                turns.append((data, 0))
            else:
                turns[-1] = (turns[-1][0], turns[-1][1] + len(data))
        name, messages = each.name.replace("/", "-"), len(each.whole.payloads)
        found.append(Spoken(name, each.driver, turns, each.case.items, messages, each.case.options))
    return found


def spoken_captures() -> list[Spoken]:
    """Captures of real instruments, sent as those instruments send."""
    found = []
    for file, driver_id in SOME_CAPTURES.items():
        driver, data = discover()[driver_id], (CAPTURES / file).read_bytes()
        payloads = [piece.payload for piece in pieces(data, driver) if not hasattr(piece, "reason")]
        turns = [turn for payload in payloads for turn in turns_of(driver.new_link(), payload)]
        expected = decoded(data, driver)
        found.append(Spoken(file.replace("/", "-").replace(".", "-"), driver, turns, expected, len(payloads)))
    return found


def turns_of(link: Link, payload: bytes) -> list[tuple[bytes, int]]:
    """The instrument's side for one message: every piece is answered with one byte, an HL7 block with anything."""
    if payload.startswith(b"MSH"):
        return [(b"\x0b" + payload + b"\x1c\r", 1)]
    link.send(payload.replace(b"\n", b""), 0.0)
    turns = []
    while out := link.bytes_to_send():
        turns.append((out, 0 if out == b"\x04" else 1))
        link.receive(b"\x06", 0.0)
    return turns


def decoded(data: bytes, driver: Driver) -> list[dict[str, Any]]:
    """What `edge decode` prints."""
    return [plain(json.loads(line)) for line in lines(data, "capture", driver)]


def facts(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results, queries, whereabouts and readings, each once: a file also holds what a sender repeated on the line."""
    found = [plain(item) for item in items if item["kind"] not in ("undecoded", "event")]
    return [item for position, item in enumerate(found) if item not in found[:position]]


def plain(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if value not in (None, []) and key not in ("driver", "file")}


def at_9600_baud(fd: int) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        due = time.monotonic()
        for start in range(0, len(data), _AT_ONCE):
            due += _AT_ONCE / _BYTES_PER_S
            time.sleep(max(0.0, due - time.monotonic()))  # the pace of the line, nothing is awaited here
            os.write(fd, data[start : start + _AT_ONCE])

    return send


def byte_by_byte(analyzer: Analyzer) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        for value in data:
            analyzer.send(bytes([value]))

    return send


@pytest.fixture
def box(tmp_path: Path, broker: Broker) -> Iterator[Box]:
    made = Box(tmp_path, broker.port)
    yield made
    made.stop()


@pytest.fixture
def cloud(box: Box) -> Iterator[StandInCloud]:
    made = StandInCloud(box.broker_port, box.gateway, box.partition)
    yield made
    made.close()


def heard_by_the_cloud(cloud: StandInCloud, link: str) -> list[dict[str, Any]]:
    messages = {each["sequence"]: each for each in cloud.messages(link)}
    items = [plain(item) for _, each in sorted(messages.items()) for item in each["items"]]
    return [item for item in items if item["kind"] != "unanswered"]  # the box's own word, of no message


def compare(cloud: StandInCloud, box: Box, link: str, spoken: Spoken) -> None:
    eventually(
        lambda: len(set(cloud.sequences(link))) >= spoken.messages,
        within_s=60,
        what=f"{link} brought all its messages",
    )
    assert heard_by_the_cloud(cloud, link) == [plain(item) for item in spoken.expected], link
    journal = b"".join(box.frames(link))
    assert facts(decoded(journal, spoken.driver)) == facts(spoken.expected), f"{link}: the box's journal as a file"


def over_tcp_and_serial(box: Box, cloud: StandInCloud, tcp: list[Spoken], serial: list[Spoken], folder: Path) -> None:
    """All lines at the same time, each instrument in a thread of its own."""
    ports = {each.name: box.add_tcp(f"tcp-{each.name}", each.driver.id, each.options) for each in tcp}
    masters: dict[str, int] = {}
    for each in serial:
        master, slave = pty.openpty()
        tty.setraw(master)
        tty.setraw(slave)
        device = folder / f"tty-{each.name}"
        device.symlink_to(os.ttyname(slave))
        os.close(slave)
        masters[each.name] = master
        box.add_serial(f"com-{each.name}", str(device), each.driver.id, 9600, each.options)
    box.start()
    threads, closing = [], ExitStack()
    for master in masters.values():
        closing.callback(os.close, master)
    for each in tcp:
        analyzer = over_tcp("127.0.0.1", ports[each.name])
        closing.callback(analyzer.close)
        threads.append(threading.Thread(target=each.play, args=(analyzer, byte_by_byte(analyzer))))
    for each in serial:
        master = masters[each.name]
        threads.append(threading.Thread(target=each.play, args=(over_fd(master), at_9600_baud(master))))
    with closing:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not [fault for each in (*tcp, *serial) for fault in each.faults]
        for each in tcp:
            compare(cloud, box, f"tcp-{each.name}", each)
        for each in serial:
            compare(cloud, box, f"com-{each.name}", each)


def test_every_transcript_gives_one_answer_as_file_on_a_serial_line_and_in_single_bytes(
    box: Box, cloud: StandInCloud, tmp_path: Path
) -> None:
    spoken = spoken_transcripts()
    assert len(spoken) >= 6
    for each in spoken:
        assert facts(decoded(each.data, each.driver)) == facts(each.expected), f"{each.name} as a file"
    longest_of = {each.driver.id: each for each in sorted(spoken, key=lambda each: len(each.data))}
    chosen = sorted(longest_of.values(), key=lambda each: each.driver.id)
    serial = [each for each in chosen if len(each.data) < _LONGEST_ON_SERIAL][:: max(1, len(chosen) // _ON_SERIAL)]
    over_tcp_and_serial(box, cloud, spoken, serial, tmp_path)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures of real analyzers are not at hand")
def test_captures_of_real_analyzers_give_one_answer_as_file_on_a_serial_line_and_in_single_bytes(
    box: Box, cloud: StandInCloud, tmp_path: Path
) -> None:
    spoken = spoken_captures()
    assert all(each.expected for each in spoken)
    over_tcp_and_serial(box, cloud, spoken, spoken, tmp_path)
