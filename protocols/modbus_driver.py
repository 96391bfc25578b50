"""What all Modbus devices share: the configuration of a line, its polls, and readings from what the devices answered.

The register map is data: of the driver (`points`) where its maker's document shows the registers, of the configuration
for `generic_modbus`, and both add up. Configuration of a line with two refrigerators::

    [links.options]
    framing = "rtu"              # rtu, ascii or tcp; behind a serial server it is still rtu
    baud_rate = 9600             # of the serial line: 3.5 characters of silence part two frames
    poll_s = 30                  # every device, or `poll_s` of its own
    report_s = 600               # unchanged readings are stored this often; changes and alarms at once
    timeout_s = 1.0
    tries = 3

    [[links.options.devices]]
    name = "refrigerator 1"
    unit_id = 1
    points = [{ name = "temperature", function = 4, address = 1, scale = 0.1, unit = "°C", deadband = 0.2 }]
    limits = { temperature = { high = 8, low = 2, delay = 3, hysteresis = 0.5 } }

A reading without a value says why in its alarms: "no answer", the device's exception, "sensor fault".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec

from protocols.driver import Driver, Match
from protocols.errors import DriverOptionError
from protocols.links.contract import Link
from protocols.links.modbus import NO_ANSWER, Asked, ModbusLink, ModbusOptions, Poll
from protocols.links.modbus_framing import EXCEPTIONS, Framing, Request, read_answer, read_request
from protocols.messages.modbus_cycle import Cycle, Exchange, NoCycle, driver_of, read_cycle, write_cycle
from protocols.messages.register_map import (
    Limits,
    Point,
    Value,
    by_name,
    check,
    covers,
    digest,
    merged,
    plan,
    read_value,
)
from protocols.modbus_watch import DeviceWatch, limits_of_one_poll
from protocols.model import Decoded, Item, Order, Reading, Undecoded

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_CHARACTER_BITS = 11
_GENERIC = 0.1


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device of the line, as configured."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    unit_id: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    points: list[Point] = []
    limits: dict[str, Limits] = {}
    """Limits for points that the driver knows."""
    poll_s: Seconds | None = None


class LineOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    devices: list[Device] = []
    framing: Framing | None = None
    baud_rate: Annotated[int, msgspec.Meta(ge=50, le=4_000_000)] = 9600
    poll_s: Seconds = 30
    report_s: Seconds = 600
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    late_s: Annotated[float, msgspec.Meta(ge=0, le=60)] | None = None
    """How long after its time an answer may still come; as long again as `timeout_s` where nothing is said."""
    tries: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    gap: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    """Registers between two points that may be read along with them; many devices refuse holes."""


class ModbusDriver(Driver):
    protocol: ClassVar[str] = "modbus"
    framing: ClassVar[Framing] = Framing.RTU
    points: ClassVar[tuple[Point, ...]] = ()
    """What every device of this driver has."""
    line: LineOptions = LineOptions()
    devices: Mapping[str, tuple[Point, ...]] = {}

    def configured(self, options: Mapping[str, object]) -> Driver:
        """Raises `DriverOptionError` naming the device and point."""
        line = _converted(options)
        driver = copy(self)
        if not line.devices and self.points:
            line = msgspec.structs.replace(line, devices=[Device(name=self.id)])
        driver.line = line
        driver.devices = {each.name: self._points_of(each, at) for at, each in enumerate(line.devices)}
        if len(driver.devices) < len(line.devices):
            raise DriverOptionError("devices", "two devices have one name", "name each device once")
        return driver

    def _points_of(self, device: Device, number: int) -> tuple[Point, ...]:
        key = f"devices.{number}"
        known = by_name((*self.points, *device.points))
        points = {name: merged(each, device.limits.get(name, Limits())) for name, each in known.items()}
        unknown = sorted(set(device.limits) - set(points))
        if unknown:
            cure = f"its points are {', '.join(points) or 'none: list them in points = [...]'}"
            raise DriverOptionError(key, f"{device.name}: limits of {unknown[0]!r}, which it has not", cure)
        if not points:
            cure = 'write points = [{ name = "temperature", function = 3, address = 0 }]'
            raise DriverOptionError(key, f"{device.name}: no points", cure)
        wrong = check(device.points) or check(tuple(points.values()))
        if wrong:
            raise DriverOptionError(key, f"{device.name}: {wrong}", "correct the map")
        return tuple(points.values())

    # ------------------------------------------------------------------ the line

    def new_link(self) -> Link:
        line, framing = self.line, self.line.framing or self.framing
        options = ModbusOptions(
            framing=framing,
            timeout_s=line.timeout_s,
            tries=line.tries,
            silence_s=0.0 if framing is Framing.TCP else silence_s(line.baud_rate),
            late_s=line.timeout_s if line.late_s is None else line.late_s,
        )
        polls = [
            Poll(each.name, plan(each.unit_id, self.devices[each.name], line.gap), each.poll_s or line.poll_s)
            for each in line.devices
        ]
        watches = {name: DeviceWatch(points, line.report_s) for name, points in self.devices.items()}

        def report(device: str, asked: Sequence[Asked], now: float) -> bytes | None:
            exchanges = tuple(Exchange(each.request, each.answer, each.fault) for each in asked)
            points = self.devices[device]
            values = {name: value for name, (value, _) in _values(points, framing, exchanges).items()}
            standing, news = watches[device].judge(values, now)
            if not news:
                return None
            return write_cycle(Cycle(self.id, device, framing, exchanges, digest(points), standing))

        return ModbusLink(options, polls, report)

    # ------------------------------------------------------------------ messages

    def fingerprint(self, payload: bytes) -> Match:
        """A poll says whose it is; the answers themselves name no device."""
        owner = driver_of(payload)
        if owner is None:
            return Match(0.0, "no poll of a Modbus device")
        if self.id.startswith("generic_"):
            return Match(_GENERIC, "a poll of a Modbus device")
        return Match(1.0, "its own poll") if owner == self.id else Match(0.0, f"a poll of {owner}")

    def split(self, data: bytes) -> Sequence[bytes] | None:
        """Polls that stand one behind the other in a file."""
        if driver_of(data) is None:
            return None
        return [each for each in re.split(rb"(?m)^(?=modbus 1 )", data) if each.strip()]

    def decode(self, payload: bytes) -> Decoded:
        try:
            cycle = read_cycle(payload)
        except NoCycle as error:
            return Decoded((Undecoded(str(error), payload[:2000].decode("utf-8", "replace"), 0),))
        points = self.devices.get(cycle.device, self.points)
        items = tuple(self._readings(cycle, points)) if points else tuple(_unmapped(cycle))
        return Decoded(items)

    def _readings(self, cycle: Cycle, points: Sequence[Point]) -> list[Item]:
        items: list[Item] = []
        judged = cycle.map == digest(points)
        values = _values(points, cycle.framing, cycle.exchanges)
        for point in points:
            value, line = values[point.name]
            if line is None:
                items.append(Undecoded(f"the registers of {point.name} were not read", cycle.device, 0))
                continue
            limits = cycle.standing.get(point.name, ()) if judged else limits_of_one_poll(point, value)
            alarms = tuple(dict.fromkeys((*value.alarms, *limits)))
            items.append(Reading(point.name, value.text, point.unit, cycle.device or None, alarms=alarms, record=line))
        return items

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        """A device asks nothing."""
        return ()


def silence_s(baud_rate: int) -> float:
    """3.5 characters; above 19 200 a fixed 1.75 ms (MODBUS over Serial Line, 2.5.1.1)."""
    return 0.00175 if baud_rate > 19200 else 3.5 * _CHARACTER_BITS / baud_rate


def _converted(options: Mapping[str, object]) -> LineOptions:
    try:
        return msgspec.convert(dict(options), LineOptions)
    except msgspec.ValidationError as error:
        text = str(error)
        where = _PATH.search(text)
        key = re.sub(r"\[(\d+)\]", r".\1", where[1]) if where else ""
        what = text[: where.start()] if where else text
        raise DriverOptionError(key, what, _cure(what)) from None


def _cure(what: str) -> str:
    if "unknown field" in what:
        return "remove it, or correct its name"
    return "write what is named" if "missing" in what else "correct it"


def _values(
    points: Sequence[Point], framing: Framing, exchanges: Sequence[Exchange]
) -> dict[str, tuple[Value, int | None]]:
    """Each point's value and the line it was read from; no line: nobody asked for its registers."""
    found: dict[str, tuple[Value, int | None]] = {each.name: (Value(None, None, (NO_ANSWER,)), None) for each in points}
    for exchange in exchanges:
        request = read_request(framing, exchange.request)
        if request is None:
            continue
        for point in points:
            if covers(request, point):
                found[point.name] = (_value(point, framing, request, exchange), exchange.line)
    return found


def _value(point: Point, framing: Framing, request: Request, exchange: Exchange) -> Value:
    if exchange.answer is None:
        return Value(None, None, (exchange.fault or NO_ANSWER,))
    data = read_answer(framing, exchange.answer, request)
    if data is None:
        return Value(None, None, ("an answer that does not fit",))
    if isinstance(data, int):
        return Value(None, None, (EXCEPTIONS.get(data, f"exception {data}"),))
    return read_value(point, request, data)


def _unmapped(cycle: Cycle) -> list[Item]:
    """Without a map the answers are shown as they came."""
    items: list[Item] = []
    for each in cycle.exchanges:
        request = read_request(cycle.framing, each.request)
        asked: Any = "what cannot be read"
        if request is not None:
            last = request.address + request.count - 1
            asked = f"unit {request.unit_id} function {request.function} from {request.address} to {last}"
        shown = each.fault if each.answer is None else each.answer.hex(" ")
        items.append(Undecoded(f"no register map for {cycle.device or 'this device'}", f"{asked}: {shown}", each.line))
    return items or [Undecoded("a poll without a question", "", 0)]
