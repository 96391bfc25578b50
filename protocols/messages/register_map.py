"""Register maps as data: where each point of a device stands, how its bits are a number, what is wrong with it.

A point in a configuration::

    { name = "temperature", function = 3, address = 0, type = "int16", scale = 0.1, unit = "°C",
      high = 8.0, low = 2.0, delay = 3, hysteresis = 0.5, faults = { "32767" = "sensor open" } }

`address` counts from 0 as on the wire (documents often count registers from 1, or from 40001). Numbers are exact: an
integer times a decimal scale keeps the device's own resolution.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from protocols.links.modbus_framing import BIT_FUNCTIONS, Request

Number = int | float
Polls = Annotated[int, msgspec.Meta(ge=1, le=1000)]
_FORMATS = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q", "float32": ">f",
    "float64": ">d",
}  # fmt: skip
_MOST = {1: 2000, 2: 2000, 3: 125, 4: 125}
"""Bits or registers in one answer (Application Protocol, sections 6.1 to 6.4)."""
SENSOR_FAULT, OUT_OF_RANGE, HIGH, LOW = "sensor fault", "out of range", "high", "low"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a point's value is an alarm. `delay`, `clear` count polls; `hysteresis`, `deadband` are in its unit."""

    high: Number | None = None
    low: Number | None = None
    delay: Polls = 1
    """So many polls in a row beyond the limit raise the alarm."""
    clear: Polls = 1
    """So many polls in a row back by `hysteresis` end it."""
    hysteresis: Number = 0
    deadband: Number = 0
    """A change of the value that is no news."""


class Point(Limits, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One thing that a device measures or says of itself."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    address: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    function: Literal[1, 2, 3, 4] = 3
    type: Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bit"] = "int16"
    bit: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None
    """Which bit of a register (0 is the lowest), for type "bit" with functions 3 and 4."""
    order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = "ABCD"
    """Bytes of a number over several registers: as they come, words turned round, bytes in words, both."""
    scale: Number = 1
    offset: Number = 0
    unit: str | None = None
    valid: tuple[Number, Number] | None = None
    """What the sensor can measure; beyond it the value is shown and called out of range, and no limit is judged."""
    faults: dict[str, str] = {}
    """Raw number to what it means, where it is no measurement."""
    states: dict[str, str] = {}
    """Raw number to the word for it ("0" = "closed")."""
    alarms: dict[str, str] = {}
    """Raw number to the alarm that the device raises with it ("1" = "door open")."""
    alarm_bits: dict[str, str] = {}
    """Bit to the alarm that it is, for a register of alarms."""

    @cached_property
    def words(self) -> int:
        """How many registers (or bits, for functions 1 and 2) it takes."""
        return 1 if self.type == "bit" else struct.calcsize(_FORMATS[self.type]) // 2

    @property
    def is_number(self) -> bool:
        return not self.states and self.type != "bit"


class Value(msgspec.Struct, frozen=True):
    """`text` is what is shown, `number` what limits are judged by; `alarms` are those that one poll proves."""

    text: str | None
    number: Decimal | None = None
    alarms: tuple[str, ...] = ()


def check(points: Sequence[Point]) -> str | None:
    """What is wrong with a map, beyond the types of its fields; None where nothing is."""
    names = [each.name for each in points]
    for point in points:
        wrong = "given twice" if names.count(point.name) > 1 else _wrong(point)
        if wrong:
            return f"point {point.name}: {wrong}"
    return None


def _wrong(point: Point) -> str | None:
    if point.function in BIT_FUNCTIONS and point.type != "bit":
        return 'functions 1 and 2 read bits (type = "bit")'
    if point.type == "bit" and (point.bit is None) != (point.function in BIT_FUNCTIONS):
        return "`bit` names the bit of a register (functions 3 and 4 only)"
    if point.address + point.words > 65536:
        return "it ends beyond the last register"
    numbers = (point.scale, point.offset, point.hysteresis, point.deadband, *(point.valid or ()))
    if not all(math.isfinite(each) for each in (*numbers, point.high or 0, point.low or 0)):
        return "a number that is none"
    if point.high is not None and point.low is not None and point.low >= point.high:
        return "low is not below high"
    for codes in (point.faults, point.states, point.alarms):
        if not all(each.removeprefix("-").isdecimal() for each in codes):
            return 'codes are whole numbers in quotes, such as "1"'
    if not all(each.isdecimal() and int(each) < point.words * 16 for each in point.alarm_bits):
        return 'alarm bits are numbered from "0", the lowest'
    return None


def digest(points: Sequence[Point]) -> str:
    return hashlib.sha256(msgspec.json.encode(list(points))).hexdigest()[:8]


def plan(unit_id: int, points: Iterable[Point], gap: int = 0) -> tuple[Request, ...]:
    """Requests that read every point, neighbours together. `gap`: registers between two points that are read along."""
    requests: list[Request] = []
    for point in sorted(points, key=lambda each: (each.function, each.address)):
        last = requests[-1] if requests else None
        end = point.address + point.words
        if last is not None and last.function == point.function and point.address <= last.address + last.count + gap:
            count = max(last.count, end - last.address)
            if count <= _MOST[point.function]:
                requests[-1] = Request(unit_id, point.function, last.address, count)
                continue
        requests.append(Request(unit_id, point.function, point.address, point.words))
    return tuple(requests)


def covers(request: Request, point: Point) -> bool:
    inside = request.address <= point.address and point.address + point.words <= request.address + request.count
    return request.function == point.function and inside


def read_value(point: Point, request: Request, data: bytes) -> Value:
    """The point's value in the answer to a request that covers it."""
    raw = _raw(point, point.address - request.address, data)
    if isinstance(raw, float) and not math.isfinite(raw):
        return Value(None, None, (SENSOR_FAULT,))
    code = str(raw)
    if code in point.faults:
        return Value(None, None, (point.faults[code],))
    alarms: tuple[str, ...] = (point.alarms[code],) if code in point.alarms else ()
    if isinstance(raw, int):
        alarms += tuple(name for bit, name in point.alarm_bits.items() if raw >> int(bit) & 1)
    if not point.is_number:
        return Value(point.states.get(code, code), None, alarms)
    number = _decimal(raw, point.type) * _exact(point.scale) + _exact(point.offset)
    if point.valid is not None and not _exact(point.valid[0]) <= number <= _exact(point.valid[1]):
        alarms += (OUT_OF_RANGE,)
    return Value(f"{number:f}", number, alarms)


def _raw(point: Point, start: int, data: bytes) -> int | float:
    if point.function in BIT_FUNCTIONS:
        return data[start // 8] >> start % 8 & 1
    words = data[start * 2 : (start + point.words) * 2]
    if point.type == "bit":
        return int.from_bytes(words, "big") >> (point.bit or 0) & 1
    found: int | float = struct.unpack(_FORMATS[point.type], _ordered(words, point.order))[0]
    return found


def _ordered(data: bytes, order: str) -> bytes:
    words = [data[each : each + 2] for each in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [each[::-1] for each in words]
    return b"".join(words)


def _exact(number: Number) -> Decimal:
    return Decimal(str(number))


def _decimal(raw: int | float, type_: str) -> Decimal:
    """As few digits as tell the number apart from its neighbours: 4.1 and not 4.099999904632568."""
    if type_ != "float32":
        return Decimal(str(raw))
    sent = struct.pack(">f", raw)
    for digits in range(6, 9):
        text = f"{raw:.{digits}g}"
        if _single(float(text)) == sent:
            return Decimal(text)
    return Decimal(f"{raw:.9g}")


def _single(number: float) -> bytes | None:
    try:
        return struct.pack(">f", number)
    except OverflowError:
        return None


def merged(point: Point, limits: Limits) -> Point:
    """The point with what `limits` says otherwise than the default."""
    default = Limits()
    given = {
        name: value for name in Limits.__struct_fields__ if (value := getattr(limits, name)) != getattr(default, name)
    }
    return msgspec.structs.replace(point, **given)


def by_name(points: Iterable[Point]) -> Mapping[str, Point]:
    return {each.name: each for each in points}
