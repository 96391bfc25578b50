"""The real daemon reads Modbus devices made of pymodbus's server, over TCP and over a serial line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocols.model import Reading
from protocols.uplink.envelope import MessageState
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.modbus_devices import Cable, Devices
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-6")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())  # nobody listens there: the box reads its devices alone
    yield made
    made.stop()


def refrigerator(name: str, unit_id: int) -> dict[str, Any]:
    points = [{"name": "temperature", "address": 1, "function": 4, "scale": 0.1, "unit": "°C", "high": 8, "low": 2}]
    return {"name": name, "unit_id": unit_id, "points": points}


def line(*devices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"devices": list(devices), "poll_s": 0.2, "timeout_s": 0.3, "tries": 2, "report_s": 3600, **more}


def readings(box: Box, link: str) -> list[tuple[str | None, str | None, tuple[str, ...]]]:
    """(device, value, alarms) in the order they were stored."""
    items = [item for message in box.read(link) for item in message.items]
    return [(each.device, each.value, each.alarms) for each in items if isinstance(each, Reading)]


def await_last(box: Box, link: str, value: str | None, *alarms: str, device: str = "fridge") -> None:
    def told() -> bool:
        found = [each for each in readings(box, link) if each[0] == device]
        return bool(found) and found[-1] == (device, value, alarms)

    eventually(told, within_s=20, what=f"{device} reads {value} {alarms}")


def test_a_refrigerator_on_tcp_is_read_and_only_what_is_new_is_stored(box: Box) -> None:
    port = free_port()
    devices = Devices({1: {1: 41}}).on_tcp(port)
    box.add_dialled("cold", port, "generic_modbus", options=line(refrigerator("fridge", 1), framing="tcp"))
    box.start()
    await_last(box, "cold", "4.1")
    asked = devices.asked
    eventually(lambda: devices.asked > asked + 5, what="it is asked again and again")
    assert readings(box, "cold") == [("fridge", "4.1", ())], "the same value is stored once"
    devices.registers[1][1] = 83
    await_last(box, "cold", "8.3", "high")
    devices.registers[1][1] = 52
    await_last(box, "cold", "5.2")
    assert {each.state for each in box.read("cold")} == {MessageState.DECODED}
    assert box.read("cold")[0].raw.startswith(b"modbus 1 "), "the raw answers travel along"
    devices.stop()


def test_a_device_that_falls_silent_and_a_cable_that_is_pulled_are_alarms(box: Box) -> None:
    port = free_port()
    devices = Devices({1: {1: 41}}).on_tcp(port)
    box.add_dialled("cold", port, "generic_modbus", options=line(refrigerator("fridge", 1), framing="tcp"))
    box.start()
    await_last(box, "cold", "4.1")
    devices.silent.add(1)
    await_last(box, "cold", None, "no answer")
    devices.silent.clear()
    await_last(box, "cold", "4.1")
    devices.stop()
    await_last(box, "cold", None, "no answer")
    again = Devices({1: {1: 47}}).on_tcp(port)
    await_last(box, "cold", "4.7")
    again.stop()


def test_a_device_that_was_never_there_is_told_of(box: Box) -> None:
    options = line(refrigerator("fridge", 1), framing="tcp")
    box.add_dialled("cold", free_port(), "generic_modbus", options=options)
    box.start()
    await_last(box, "cold", None, "no answer")


def test_two_refrigerators_share_a_serial_line_and_one_that_is_off_does_not_hide_the_other(
    box: Box, tmp_path: Path
) -> None:
    cable = Cable(tmp_path)
    devices = Devices({1: {1: 41}, 2: {1: -205}, 3: {1: 0}}).on_line(cable.ends[1])
    devices.silent.add(3)
    options = line(refrigerator("fridge", 1), refrigerator("freezer", 2), refrigerator("gone", 3), baud_rate=9600)
    box.add_serial("cold", cable.ends[0], "generic_modbus", baud_rate=9600, options=options)
    box.start()
    await_last(box, "cold", "4.1", device="fridge")
    await_last(box, "cold", "-20.5", "low", device="freezer")
    await_last(box, "cold", None, "no answer", device="gone")
    devices.registers[2][1] = -199
    await_last(box, "cold", "-19.9", "low", device="freezer")
    devices.stop()
    await_last(box, "cold", None, "no answer", "low", device="freezer")
    cable.pull()


def test_registers_that_a_device_does_not_have_are_an_alarm_of_their_point(box: Box) -> None:
    port = free_port()
    devices = Devices({1: {1: 41}}).on_tcp(port)
    fridge = refrigerator("fridge", 1)
    fridge["points"].append({"name": "door", "address": 900})
    box.add_dialled("cold", port, "generic_modbus", options=line(fridge, framing="tcp"))
    box.start()
    await_last(box, "cold", None, "illegal data address")
    assert ("fridge", "4.1", ()) in readings(box, "cold")
    devices.stop()


def test_a_box_that_was_killed_reports_every_device_again(box: Box) -> None:
    port = free_port()
    devices = Devices({1: {1: 41}}).on_tcp(port)
    box.add_dialled("cold", port, "generic_modbus", options=line(refrigerator("fridge", 1), framing="tcp"))
    box.start()
    await_last(box, "cold", "4.1")
    box.kill()
    devices.registers[1][1] = 91
    box.start()
    await_last(box, "cold", "9.1", "high")
    devices.stop()
