"""The real daemon and a point-of-care device on TCP (POCT1-A); no broker: the box serves the bench alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge.interpreter import interpret
from protocols.model import InstrumentEvent, Observation
from simulators.analyzers.blood import Tube
from simulators.analyzers.dca_station import DcaStation
from simulators.analyzers.siemens_dca import Reading, SiemensDca, take_document
from simulators.analyzers.station import Settings
from simulators.ledger import Ledger, read_ledger
from simulators.wire import Connect, Line, LineBroken, dial
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-1", "GW-9", "GW-12+")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())  # nobody listens there
    yield made
    made.stop()


def documents(box: Box, kind: str) -> list[bytes]:
    """Raw documents of that type in the box's journal, in the order they came."""
    return [raw for raw in box.frames("dca") if f"</{kind}>".encode() in raw]


def observations(raw: bytes) -> list[tuple[str | None, str, str | None]]:
    decoded = interpret("siemens_dca", raw).decoded
    assert decoded is not None
    return [(each.specimen, each.code, each.value) for each in decoded.items if isinstance(each, Observation)]


def run(device: DcaStation) -> None:
    """Until the rack is empty and everything is delivered."""
    device.run()
    device.ledger.close()


def station(connect: Connect, ledger: Path | None = None) -> DcaStation:
    return DcaStation(connect, Ledger(ledger, "dca"), Settings("dca"), reply_s=10)


def test_device_is_led_to_continuous_mode_and_its_results_are_kept_without_any_cloud(box: Box, tmp_path: Path) -> None:
    port = box.add_tcp("dca", driver="siemens_dca")
    box.start()
    device = station(dial("127.0.0.1", port), tmp_path / "dca.jsonl")
    for tube in ("202611020001", "202611020002"):
        device.rack.put(Tube(tube))
    device.rack.put(None)
    run(device)
    sent = [each for each in read_ledger(tmp_path / "dca.jsonl") if each["event"] == "message"]
    told = [(each["specimen"], each["code"], each["value"]) for one in sent for each in one["observations"]]
    kept = [each for raw in documents(box, "OBS.R01") for each in observations(raw)]
    assert kept == told
    assert len(kept) == 4
    kinds = [raw.split(b"<")[2].split(b">")[0].decode() for raw in box.frames("dca")]
    assert kinds == ["HEL.R01", "DST.R01", "ACK.R01", "OBS.R01", "OBS.R01"]


class Unlucky:
    """A line that breaks: after `lucky` bytes of the next observation, or before its ACK is heard."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.cut_document = False
        self.lose_answer = False

    def __call__(self) -> Line:
        return _UnluckyLine(self, self._connect())


class _UnluckyLine:
    def __init__(self, fate: Unlucky, line: Line) -> None:
        self._fate = fate
        self._line = line
        self._deaf = False

    def write(self, data: bytes) -> None:
        result = b"<OBS.R01>" in data
        if result and self._fate.cut_document:
            self._fate.cut_document = False
            self._line.write(data[: len(data) // 2])
            self._line.close()
            raise LineBroken("cut in the middle of a document")
        self._deaf = result and self._fate.lose_answer
        self._line.write(data)

    def read(self, timeout_s: float) -> bytes:
        data = self._line.read(timeout_s)
        if self._deaf:
            self._fate.lose_answer = False
            self._line.close()
            raise LineBroken("the ACK was lost")
        return data

    def close(self) -> None:
        with suppress(LineBroken):
            self._line.close()


def test_result_whose_ack_was_lost_comes_again_and_both_are_kept(box: Box) -> None:
    """The device says RES; the measurement is the same in all that the cloud compares, so it is shown once there."""
    port = box.add_tcp("dca", driver="siemens_dca")
    box.start()
    line = Unlucky(dial("127.0.0.1", port))
    line.lose_answer = True
    device = station(line)
    device.rack.put(Tube("202611020001"))
    device.rack.put(None)
    run(device)
    first, second = documents(box, "OBS.R01")
    assert first != second, "another document with a control id of its own"
    once, again = (interpret("siemens_dca", raw).decoded for raw in (first, second))
    assert once is not None
    assert again is not None
    assert [each for each in once.items if isinstance(each, Observation)] == [
        each for each in again.items if isinstance(each, Observation)
    ]
    said = [each.detail or "" for each in again.items if isinstance(each, InstrumentEvent)]
    assert any("reason_cd=RES" in each for each in said), "what marks it stands beside the value"


def test_result_cut_by_the_network_is_set_aside_and_its_repetition_kept_whole(box: Box) -> None:
    port = box.add_tcp("dca", driver="siemens_dca")
    box.start()
    line = Unlucky(dial("127.0.0.1", port))
    line.cut_document = True
    device = station(line)
    device.rack.put(Tube("202611020001"))
    device.rack.put(None)
    run(device)
    eventually(lambda: "incomplete" in _states(box), what="the cut document is set aside")
    assert _states(box).count("incomplete") == 1
    whole = documents(box, "OBS.R01")
    assert len(whole) == 1
    assert len(observations(whole[0])) == 2


def _states(box: Box) -> list[str]:
    return [state for _, state in box.messages("dca")]


def test_killed_box_has_every_result_that_it_acknowledged(box: Box, tmp_path: Path) -> None:
    port = box.add_tcp("dca", driver="siemens_dca")
    box.start()
    ledger = tmp_path / "dca.jsonl"
    device = station(dial("127.0.0.1", port), ledger)
    for number in range(150):
        device.rack.put(Tube(f"202611020{number:03}"))
    device.rack.put(None)
    work = threading.Thread(target=run, args=(device,), daemon=True)
    work.start()
    eventually(lambda: _acknowledged(ledger) >= 10, what="ten results are acknowledged")
    assert work.is_alive(), "the box dies in the middle of the work"
    box.kill()
    box.start()
    work.join(60)
    assert not work.is_alive()
    sent = [each for each in read_ledger(ledger) if each["event"] == "message"]
    told = [(each["specimen"], each["code"], each["value"]) for one in sent for each in one["observations"]]
    kept = [each for raw in documents(box, "OBS.R01") for each in observations(raw)]
    assert list(dict.fromkeys(kept)) == told, "all of them, in their order; one may have come twice"
    assert len(kept) - len(told) in (0, 2)


def _acknowledged(ledger: Path) -> int:
    return sum(1 for each in read_ledger(ledger) if each["event"] == "acknowledged")


def test_line_that_nobody_has_named_is_recognised(box: Box) -> None:
    port = box.add_tcp("dca", driver="auto")
    box.start()
    device = station(dial("127.0.0.1", port))
    device.rack.put(Tube("202611020001"))
    device.rack.put(None)
    run(device)
    drivers: list[Any] = box.rows("SELECT driver FROM outbox ORDER BY sequence")
    assert ("siemens_dca",) in drivers
    assert len(documents(box, "OBS.R01")) == 1


def test_simulated_device_reads_the_hosts_documents_one_by_one() -> None:
    buffer = bytearray(b'<?xml version="1.0"?><ACK.R01><HDR.control_id V="4"/></ACK.R01><REQ.R01><HDR')
    first = take_document(buffer)
    assert first is not None
    assert (first.kind, first.control_id) == ("ACK.R01", "4")
    assert take_document(buffer) is None
    device = SiemensDca()
    assert [each.code for each in device.measure(Tube("1"), seed=3)] == ["HbA1c", "eAG"]
    assert device.measure(Tube("1"), seed=3) == device.measure(Tube("1"), seed=3)
    assert isinstance(device.measure(Tube("1"), seed=3)[0], Reading)
