"""Register maps, limits over polls, thinning, and the text that a poll is kept as."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from protocols.driver import discover
from protocols.errors import DriverOptionError
from protocols.links.modbus_framing import Framing, Request
from protocols.messages.modbus_cycle import Cycle, Exchange, NoCycle, read_cycle, write_cycle
from protocols.messages.register_map import Point, Value, plan, read_value
from protocols.modbus_driver import silence_s
from protocols.modbus_watch import DeviceWatch
from protocols.model import Reading, Undecoded
from protocols.provenance import record_bytes
from tests.support.transcripts import ROOT, read_case, replay

pytestmark = pytest.mark.req("GW-6")

GENERIC = discover()["generic_modbus"]


def point(**fields: Any) -> Point:
    return msgspec.convert({"name": "temperature", "address": 0, **fields}, Point)


def read(data: bytes, **fields: Any) -> Value:
    made = point(**fields)
    return read_value(made, Request(1, made.function, 0, len(data) // 2), data)


@pytest.mark.parametrize(
    ("fields", "words", "text"),
    [
        ({"scale": 0.1}, ">h", "-20.5"),
        ({"type": "uint16", "scale": 0.01, "offset": -1}, ">H", "545"),
        ({"type": "int32", "scale": 0.1}, ">i", "-80.3"),
        ({"type": "uint32"}, ">I", "4000000000"),
        ({"type": "int64"}, ">q", "-5"),
        ({"type": "float32"}, ">f", "4.1"),
        ({"type": "float64"}, ">d", "18.2"),
    ],
)
def test_numbers_of_every_type_are_exact(fields: dict[str, Any], words: str, text: str) -> None:
    raw: dict[str, int | float] = {"-20.5": -205, "545": 54600, "-80.3": -803}
    number = raw.get(text, float(text) if "f" in words or "d" in words else int(float(text)))
    value = read(struct.pack(words, number), **fields)
    assert value.number == Decimal(text)
    assert Decimal(value.text or "") == Decimal(text)


@pytest.mark.parametrize(
    ("order", "sent"), [("ABCD", "41f47ae1"), ("CDAB", "7ae141f4"), ("BADC", "f441e17a"), ("DCBA", "e17af441")]
)
def test_every_order_of_words_and_bytes_is_read(order: str, sent: str) -> None:
    assert read(bytes.fromhex(sent), type="float32", order=order).text == "30.56"


@pytest.mark.parametrize("sent", ["7fc00000", "ff800000", "7f800000"])
def test_a_float_that_is_no_number_is_a_sensor_fault(sent: str) -> None:
    assert read(bytes.fromhex(sent), type="float32") == Value(None, None, ("sensor fault",))


def test_the_largest_float_is_read_without_complaint() -> None:
    assert (read(bytes.fromhex("7f7fffff"), type="float32").text or "").startswith("34028235")


def test_fault_codes_states_alarm_bits_and_ranges() -> None:
    assert read(b"\x7f\xff", faults={"32767": "sensor open"}) == Value(None, None, ("sensor open",))
    assert read(b"\x00\x01", states={"1": "open"}, alarms={"1": "door open"}) == Value("open", None, ("door open",))
    assert read(b"\x00\x05", type="uint16", alarm_bits={"0": "door", "1": "power", "2": "high"}).alarms == (
        "door",
        "high",
    )
    assert read(b"\x03\xe8", scale=0.1, valid=[-40, 60]).alarms == ("out of range",)
    assert read(b"\x00\x04", type="bit", bit=2).text == "1"
    assert read(b"\x00\x04", type="bit", bit=1).text == "0"


def test_neighbours_are_read_together_and_holes_only_where_that_is_allowed() -> None:
    points = [point(address=1), point(name="b", address=2, type="int32"), point(name="c", address=6)]
    assert plan(1, points) == (Request(1, 3, 1, 3), Request(1, 3, 6, 1))
    assert plan(1, points, gap=2) == (Request(1, 3, 1, 6),)
    assert plan(1, [point(address=0), point(name="b", address=0, type="bit", bit=3)]) == (Request(1, 3, 0, 1),)
    apart = [point(name=str(n), address=n) for n in range(200)]
    assert [each.count for each in plan(1, apart)] == [125, 75], "no answer holds more than 125 registers"


def judged(watch: DeviceWatch, *texts: str | None, step_s: float = 30) -> list[tuple[tuple[str, ...], bool]]:
    found = []
    for number, text in enumerate(texts):
        value = Value(text, Decimal(text)) if text is not None else Value(None, None, ("no answer",))
        standing, news = watch.judge({"temperature": value}, number * step_s)
        found.append((tuple(standing.get("temperature", ())), news))
    return found


def test_an_alarm_begins_after_its_delay_and_ends_behind_the_hysteresis() -> None:
    watch = DeviceWatch([point(high=8, low=2, delay=3, clear=2, hysteresis=0.5)], 600)
    polls = judged(
        watch, "8.1", "8.2", "8", "8.1", "8.2", "8.3", "7.9", "7.5", "7.6", "7.5", "7.4", "1.9", "1.9", "1.9"
    )
    stands = [bool(alarms) for alarms, _ in polls]
    assert stands == [False] * 5 + [True] * 5 + [False] * 3 + [True]
    assert polls[5][0] == ("high",)
    assert polls[13][0] == ("low",)


def test_a_device_that_does_not_answer_keeps_its_alarm() -> None:
    watch = DeviceWatch([point(high=8)], 600)
    assert [alarms for alarms, _ in judged(watch, "9", None, None, "9", "7")] == [("high",)] * 4 + [()]


def test_a_value_no_sensor_can_measure_raises_and_ends_nothing() -> None:
    watch = DeviceWatch([point(high=8, valid=[-40, 60])], 600)
    watch.judge({"temperature": Value("9", Decimal(9))}, 0)
    standing, _ = watch.judge({"temperature": Value("-300", Decimal(-300), ("out of range",))}, 30)
    assert standing == {"temperature": ("high",)}


def test_the_unchanged_is_thinned_and_no_alarm_is() -> None:
    watch = DeviceWatch([point(high=8, delay=2, deadband=0.2)], 100)
    news = [told for _, told in judged(watch, "4.1", "4.2", "4.3", "4.4", "4.5", "9", "9", "9", "4", None, None, "4")]
    #       first  same   same   more  100 s? alarm pending: changed, alarm, same, back, silent, same, answers
    assert news == [True, False, False, True, False, True, True, False, True, True, False, True]
    assert [told for _, told in judged(DeviceWatch([point()], 100), *["4"] * 9)] == [True] + [False] * 3 + [True] + (
        [False] * 3
    ) + [True]


# ---------------------------------------------------------------------- the text of a poll

REQUEST, ANSWER = bytes.fromhex("01 03 00 00 00 01 84 0a"), bytes.fromhex("01 03 02 00 29 79 9a")
OTHER = bytes.fromhex("01 03 00 05 00 01 94 0b")
EXCHANGES = (Exchange(REQUEST, ANSWER, line=2), Exchange(OTHER, None, "no answer", 4))
CYCLE = Cycle("generic_modbus", "冰箱 1", Framing.RTU, EXCHANGES, "1a2b3c4d", {"temperature": ("high",)})


def test_a_poll_is_text_that_a_person_can_read_and_comes_back_as_it_was() -> None:
    text = write_cycle(CYCLE)
    assert text.decode().splitlines()[2] == "< 01 03 02 00 29 79 9a"
    assert read_cycle(text) == CYCLE


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"modbus 1 {",
        b"modbus 1 []",
        b"hello",
        b'modbus 1 {"framing":"rtu"}\n< 01',
        b'modbus 1 {"framing":"x"}',
        b'modbus 1 {"framing":"rtu"}\n> zz',
        b'modbus 1 {"framing":"rtu"}\n~ [1]',
        b'modbus 1 {"framing":"rtu"}\n~ {"a":3}',
    ],
)
def test_what_is_no_poll_is_undecoded_with_the_reason(damaged: bytes) -> None:
    with pytest.raises(NoCycle):
        read_cycle(damaged)
    items = GENERIC.decode(damaged).items
    assert [type(each) for each in items] == [Undecoded]


def configured(points: list[Mapping[str, Any]], **line: Any) -> Any:
    return GENERIC.configured({"devices": [{"name": "冰箱 1", "points": points}], **line})


@pytest.mark.req("GW-12")
def test_a_corrected_map_reads_the_same_bytes_again() -> None:
    wrong = configured([{"name": "temperature", "address": 0}])
    right = configured([{"name": "temperature", "address": 0, "scale": 0.1, "unit": "°C", "high": 4}])
    text = write_cycle(CYCLE)
    assert [(each.value, each.alarms) for each in wrong.decode(text).items] == [("41", ())]
    (reading,) = right.decode(text).items
    assert isinstance(reading, Reading)
    assert (reading.value, reading.unit, reading.alarms) == ("4.1", "°C", ("high",)), "judged anew: another map"
    assert record_bytes(text, reading.record, "modbus") == b"< 01 03 02 00 29 79 9a"


@pytest.mark.req("GW-12")
def test_every_reading_leads_to_the_line_it_was_read_from() -> None:
    case = read_case(ROOT / "generic_modbus" / "results")
    (first, _) = replay(GENERIC, case).payloads
    for item in GENERIC.configured(case.options).decode(first).items:
        assert record_bytes(first, item.record, "modbus").startswith(b"< 01 ")


def test_registers_that_nobody_read_are_said_to_be_missing() -> None:
    driver = configured([{"name": "humidity", "address": 7}])
    (item,) = driver.decode(write_cycle(CYCLE)).items
    assert item == Undecoded("the registers of humidity were not read", "冰箱 1", 0)


def test_without_a_map_the_answers_are_shown_as_they_came() -> None:
    items = GENERIC.decode(write_cycle(CYCLE)).items
    assert [each.reason for each in items if isinstance(each, Undecoded)] == ["no register map for 冰箱 1"] * 2
    assert "01 03 02 00 29" in items[0].text  # type: ignore[union-attr]


def test_polls_one_behind_the_other_in_a_file_are_taken_apart() -> None:
    assert GENERIC.split(write_cycle(CYCLE) * 3) == [write_cycle(CYCLE)] * 3
    assert GENERIC.split(b"H|\\^&\r") is None


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "devices"),
        ({"devices": [{"name": "a"}]}, "devices.0"),
        ({"devices": [{"name": "a", "points": [{"name": "t", "address": 70000}]}]}, "devices.0.points.0.address"),
        ({"devices": [{"name": "a", "points": [{"name": "t", "address": 0, "type": "bit"}]}]}, "devices.0"),
        ({"devices": [{"name": "a", "points": [{"name": "t", "address": 0, "high": 2, "low": 8}]}]}, "devices.0"),
        ({"devices": [{"name": "a", "points": [{"name": "t", "address": 0}]}], "framing": "udp"}, "framing"),
        ({"devices": [{"name": "a", "points": [{"name": "t", "address": 0}]}] * 2}, "devices"),
    ],
)
def test_a_mistake_in_a_map_is_named(options: dict[str, object], key: str) -> None:
    with pytest.raises(DriverOptionError) as caught:
        GENERIC.configured(options)
    assert caught.value.key == key
    assert caught.value.cure


def test_a_known_device_takes_limits_and_further_points() -> None:
    driver: Any = discover()["xy_md02"].configured(
        {"devices": [{"name": "a", "limits": {"temperature": {"high": 25}}, "points": [{"name": "x", "address": 9}]}]}
    )
    assert [(each.name, each.high) for each in driver.devices["a"]] == [
        ("temperature", 25),
        ("humidity", None),
        ("x", None),
    ]
    with pytest.raises(DriverOptionError, match="limits of 'pressure'"):
        discover()["xy_md02"].configured({"devices": [{"name": "a", "limits": {"pressure": {"high": 1}}}]})


def test_the_silence_between_frames_follows_the_rate() -> None:
    assert silence_s(9600) == pytest.approx(0.00401, abs=1e-5)
    assert silence_s(115200) == 0.00175
