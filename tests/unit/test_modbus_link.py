"""The master of a Modbus line: what it asks, what it believes, what it does in silence. pymodbus is the judge."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from pymodbus.framer.ascii import FramerAscii
from pymodbus.framer.base import FramerBase
from pymodbus.framer.rtu import FramerRTU
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsResponse, ReadDiscreteInputsResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

from protocols.links.contract import FrameRefused, MessageReceived, SendFailed
from protocols.links.modbus import NO_ANSWER, TRANSITIONS, Asked, ModbusLink, ModbusOptions, Poll, Stage
from protocols.links.modbus_framing import LONGEST, Framing, Request, read_answer, read_request
from tests.support.wire import Bench

pytestmark = pytest.mark.req("GW-6")

FRAMERS: dict[Framing, type[FramerBase]] = {
    Framing.TCP: FramerSocket,
    Framing.RTU: FramerRTU,
    Framing.ASCII: FramerAscii,
}
ANSWERS = {
    1: ReadCoilsResponse,
    2: ReadDiscreteInputsResponse,
    3: ReadHoldingRegistersResponse,
    4: ReadInputRegistersResponse,
}
each_framing = pytest.mark.parametrize("framing", list(Framing))
TEMPERATURE = Request(1, 4, 1, 2)
DOOR = Request(1, 2, 0, 3)


class Device:
    """The other side, made of pymodbus: reads our requests, writes answers."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.framer = FRAMERS[framing](DecodePDU(True))

    def read(self, data: bytes) -> ModbusPDU:
        used, pdu = self.framer.handleFrame(data, 0, 0)
        assert pdu is not None, data.hex(" ")
        assert used == len(data)
        return pdu

    def answer(self, unit_id: int, function: int, values: Sequence[int], transaction: int = 1) -> bytes:
        values_in = {"bits": [bool(each) for each in values]} if function < 3 else {"registers": list(values)}
        return self.framer.buildFrame(ANSWERS[function](dev_id=unit_id, transaction_id=transaction, **values_in))

    def refuse(self, unit_id: int, function: int, code: int, transaction: int = 1) -> bytes:
        pdu = ExceptionResponse(function, code, device_id=unit_id, transaction=transaction)
        return self.framer.buildFrame(pdu)


class Line(Bench):
    """The link with the polls given, and what it reported."""

    def __init__(self, framing: Framing, *requests: Request, every_s: float = 30, **options: float) -> None:
        self.reported: list[tuple[str, list[Asked]]] = []
        polls = [Poll("fridge", requests or (TEMPERATURE,), every_s)]
        super().__init__(ModbusLink(ModbusOptions(framing=framing, **options), polls, self.report))  # type: ignore[arg-type]
        self.wait(0.1)

    def report(self, device: str, asked: Sequence[Asked], now: float) -> bytes | None:
        self.reported.append((device, list(asked)))
        return device.encode()

    def data(self) -> list[bytes | int | None]:
        """What the last poll's answers hold."""
        framing = self.link.options.framing  # type: ignore[attr-defined]
        found: list[bytes | int | None] = []
        for asked in self.reported[-1][1]:
            request = read_request(framing, asked.request)
            assert request is not None
            found.append(None if asked.answer is None else read_answer(framing, asked.answer, request))
        return found

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, FrameRefused)]


@each_framing
@pytest.mark.parametrize("function", [1, 2, 3, 4])
def test_our_question_is_what_pymodbus_reads_and_its_answer_is_what_we_read(framing: Framing, function: int) -> None:
    request = Request(17, function, 0x0107, 3)
    line, device = Line(framing, request), Device(framing)
    asked = device.read(line.answer())
    assert (asked.dev_id, asked.function_code, asked.address, asked.count) == (17, function, 0x0107, 3)
    line.hear(device.answer(17, function, [1, 0, 1] if function < 3 else [7, 0xFFFE, 300]))
    assert line.data() == [b"\x05" if function < 3 else struct.pack(">HHH", 7, 0xFFFE, 300)]
    assert line.messages == [b"fridge"]


@each_framing
@pytest.mark.parametrize("piece", [1, 2, 3, 5])
def test_an_answer_may_come_in_any_pieces(framing: Framing, piece: int) -> None:
    line, device = Line(framing), Device(framing)
    answer = device.answer(1, 4, [205, 546])
    line.hear_each(answer[start : start + piece] for start in range(0, len(answer), piece))
    assert line.data() == [struct.pack(">HH", 205, 546)]
    assert not line.reasons()


@each_framing
def test_the_questions_of_a_poll_go_out_one_after_the_other(framing: Framing) -> None:
    line, device = Line(framing, TEMPERATURE, DOOR), Device(framing)
    assert device.read(line.answer()).function_code == 4
    line.hear(device.answer(1, 4, [205, 546]))
    assert not line.messages
    line.wait(0.1)
    assert device.read(line.answer()).function_code == 2
    line.hear(device.answer(1, 2, [1, 0, 0], 2))
    assert line.data() == [struct.pack(">HH", 205, 546), b"\x01"]
    assert len(line.messages) == 1


@each_framing
def test_a_device_is_polled_again_when_its_time_has_come(framing: Framing) -> None:
    line, device = Line(framing, every_s=30), Device(framing)
    line.answer()
    line.hear(device.answer(1, 4, [1, 2]))
    line.wait(29.8)
    assert not line.answer()
    line.wait(0.2)
    assert line.answer()


@each_framing
def test_an_exception_is_an_answer_and_is_kept(framing: Framing) -> None:
    line, device = Line(framing), Device(framing)
    line.hear(device.refuse(1, 4, 2))
    assert line.data() == [2]


@each_framing
def test_a_busy_device_is_asked_again(framing: Framing) -> None:
    line, device = Line(framing), Device(framing)
    line.answer()
    line.hear(device.refuse(1, 4, 6))
    assert not line.messages
    line.wait(1.1)
    assert line.answer()
    line.hear(device.answer(1, 4, [1, 2]))
    assert line.data() == [struct.pack(">HH", 1, 2)]


@each_framing
def test_a_silent_device_is_asked_three_times_and_then_told_of(framing: Framing) -> None:
    line = Line(framing, TEMPERATURE, DOOR)
    questions = [line.answer()]
    for _ in range(3):
        line.wait(1.05)
        questions.append(line.answer())
    assert questions[:3] == [questions[0]] * 3
    assert not questions[3], "after three tries it rests until its next poll"
    assert [asked.fault for asked in line.reported[-1][1]] == [NO_ANSWER, NO_ANSWER]
    line.wait(30)
    assert line.answer()
    line.wait(5)
    assert not line.answer(), "a device known to be silent is asked once, so that the others are not kept waiting"


@each_framing
def test_a_device_that_answers_again_is_believed_at_once(framing: Framing) -> None:
    line, device = Line(framing), Device(framing)
    line.wait(30.2)
    line.answer()
    line.hear(device.answer(1, 4, [1, 2], 2))
    assert line.data() == [struct.pack(">HH", 1, 2)]


@each_framing
def test_what_another_unit_says_is_refused_with_the_reason(framing: Framing) -> None:
    line, device = Line(framing), Device(framing)
    line.hear(device.answer(9, 4, [11, 12]))
    line.wait(1.1)
    assert line.reasons() == ["an answer of another unit"]
    assert not line.messages


@pytest.mark.parametrize("framing", [Framing.TCP, Framing.ASCII])
def test_an_answer_of_another_length_or_function_is_refused(framing: Framing) -> None:
    line, device = Line(framing), Device(framing)
    line.hear(device.answer(1, 4, [1, 2, 3]))
    line.hear(device.answer(1, 3, [1, 2]))
    assert line.reasons() == ["an answer of another length", "an answer to another function"]
    line.hear(device.answer(1, 4, [1, 2]))
    assert line.data() == [struct.pack(">HH", 1, 2)]


def test_another_transaction_is_refused_and_the_right_one_behind_it_taken() -> None:
    line, device = Line(Framing.TCP), Device(Framing.TCP)
    line.hear(device.answer(1, 4, [9, 9], 5) + device.answer(1, 4, [1, 2], 1))
    assert line.reasons() == ["an answer to another request"]
    assert line.data() == [struct.pack(">HH", 1, 2)]


def test_a_stream_that_is_no_modbus_is_thrown_away() -> None:
    line, device = Line(Framing.TCP), Device(Framing.TCP)
    line.hear(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert line.reasons() == ["no header of Modbus/TCP"]
    line.hear(device.answer(1, 4, [1, 2], 1))
    assert line.data() == [struct.pack(">HH", 1, 2)]


@pytest.mark.parametrize("framing", [Framing.RTU, Framing.ASCII])
def test_a_wrong_sum_is_no_answer(framing: Framing) -> None:
    line, device = Line(framing), Device(framing)
    good = device.answer(1, 4, [205, 546])
    place = 4 if framing is Framing.RTU else 9
    line.hear(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    line.wait(1.1)
    assert line.reasons() == ["wrong checksum"]
    line.hear(good)
    assert line.data() == [struct.pack(">HH", 205, 546)]


@pytest.mark.parametrize("framing", [Framing.RTU, Framing.ASCII])
def test_an_echo_of_our_question_and_stray_bytes_before_the_answer_are_borne(framing: Framing) -> None:
    line, device = Line(framing), Device(framing)
    echo = line.answer()
    line.hear(b"\x00" + echo + b"\xff" + device.answer(1, 4, [205, 546]))
    assert line.data() == [struct.pack(">HH", 205, 546)]


def test_the_exception_behind_an_echo_is_found() -> None:
    line, device = Line(Framing.RTU), Device(Framing.RTU)
    line.hear(line.answer() + device.refuse(1, 4, 4))
    assert line.data() == [4]


def test_a_late_answer_is_never_taken_for_the_answer_to_another_question() -> None:
    """Serial answers do not say what they answer: both questions read two input registers of unit 1."""
    first, second = Request(1, 4, 0, 2), Request(1, 4, 100, 2)
    line, device = Line(Framing.RTU, first, second, late_s=1.0), Device(Framing.RTU)
    assert device.read(line.answer()).address == 0
    line.wait(1.02)
    assert device.read(line.answer()).address == 0, "the same question again"
    slow = device.answer(1, 4, [1, 1])
    line.hear(slow)
    line.wait(0.5)
    assert not line.answer(), "the answer to the second try is still to come"
    line.hear(slow)
    assert line.reasons() == ["an answer that came too late"]
    line.wait(1.1)
    assert device.read(line.answer()).address == 100
    line.hear(device.answer(1, 4, [2, 2]))
    assert line.data() == [struct.pack(">HH", 1, 1), struct.pack(">HH", 2, 2)]


def test_two_frames_are_parted_by_three_and_a_half_characters() -> None:
    line, device = Line(Framing.RTU, TEMPERATURE, DOOR, silence_s=0.004), Device(Framing.RTU)
    line.answer()
    line.hear(device.answer(1, 4, [1, 2]))
    assert not line.answer()
    line.wait(0.0039)
    assert not line.answer()
    line.wait(0.0002)
    assert line.answer()


def test_devices_of_one_line_take_turns_and_a_silent_one_does_not_starve_the_other() -> None:
    polls = [Poll("a", (Request(1, 3, 0, 1),), 5), Poll("b", (Request(2, 3, 0, 1),), 5)]
    link = ModbusLink(ModbusOptions(), polls, lambda device, asked, now: device.encode())
    bench, device = Bench(link), Device(Framing.RTU)
    asked: list[int] = []
    for _ in range(600):
        bench.wait(0.1)
        if question := bench.answer():
            unit = device.read(question).dev_id
            asked.append(unit)
            if unit == 2:
                bench.hear(device.answer(2, 3, [7]))
    assert asked.count(2) >= 11, "each poll of the one that answers"
    assert asked.count(1) >= 11
    assert bench.messages.count(b"b") == asked.count(2)


def test_a_closed_line_ends_the_poll_and_the_next_ones_tell_that_nobody_is_there() -> None:
    line, device = Line(Framing.TCP, TEMPERATURE, DOOR), Device(Framing.TCP)
    line.hear(device.answer(1, 4, [1, 2]))
    line.wait(0.1)
    events = line.link.disconnected(line.now)
    assert [event for event in events if isinstance(event, MessageReceived)]
    assert [asked.fault for asked in line.reported[-1][1]] == ["", NO_ANSWER]
    line.answer()
    line.wait(32)
    assert [asked.fault for asked in line.reported[-1][1]] == [NO_ANSWER, NO_ANSWER]


def test_what_the_box_could_not_keep_is_offered_again() -> None:
    line, device = Line(Framing.TCP), Device(Framing.TCP)
    line._acknowledge = False
    line.hear(device.answer(1, 4, [1, 2]))
    line.link.refuse(2, line.now)
    assert not [event for event in line.wait(4) if isinstance(event, MessageReceived)]
    assert [event.payload for event in line.wait(2) if isinstance(event, MessageReceived)] == [b"fridge"]


def test_a_poll_without_news_is_no_message() -> None:
    link = ModbusLink(ModbusOptions(framing=Framing.TCP), [Poll("a", (TEMPERATURE,), 5)], lambda *_: None)
    bench = Bench(link)
    bench.wait(0.1)
    assert not bench.hear(Device(Framing.TCP).answer(1, 4, [1, 2]))


@each_framing
def test_memory_is_bounded_whatever_pours_in(framing: Framing) -> None:
    line = Line(framing)
    for _ in range(200):
        line.hear(b"\x01\x04:0" * 50)
    assert len(line.link._buffer) <= LONGEST  # type: ignore[attr-defined]
    line.wait(3.3)
    line.hear(b"x" * 10_000)
    assert len(line.link._buffer) <= LONGEST  # type: ignore[attr-defined]


def test_orders_are_not_for_devices() -> None:
    line = Line(Framing.RTU)
    token = line.link.send(b"order", 0.0)
    assert SendFailed(token, "a Modbus device takes no messages") in line.link.wake(0.0)


def test_a_line_without_devices_rests() -> None:
    link = ModbusLink(ModbusOptions(), [], lambda *_: None)
    assert link.wake_at is None
    assert link.receive(b"\x01\x02", 1.0) == [FrameRefused("bytes nobody asked for", b"\x01\x02")]


def test_every_stage_is_reached_and_left_as_the_table_says() -> None:
    seen: set[tuple[Stage, Stage]] = set()

    class Watched(ModbusLink):
        def move_to(self, stage: Stage) -> None:
            seen.add((self.stage, stage))
            super().move_to(stage)

    link = Watched(ModbusOptions(), [Poll("a", (TEMPERATURE, DOOR), 5)], lambda *_: None)
    bench, device = Bench(link), Device(Framing.RTU)
    bench.wait(0.1)
    bench.hear(device.answer(1, 4, [1, 2]))
    bench.link.disconnected(bench.now)  # while the next question waits for its silence
    bench.wait(6)
    bench.wait(4)
    assert seen == {(one, other) for one, others in TRANSITIONS.items() for other in others}
