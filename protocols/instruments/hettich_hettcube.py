"""Hettich HettCube incubators: chamber temperature, door and the incubator's own alarms over Modbus/TCP, port 502.

Source: operating manual AB69601en (09.2023), section 6.20, "Interface MODBUS TCP": input registers 0 (tenths), 3
(door) and 4 (alarm bits, in the manual's words). What a broken sensor reads in register 0 it does not say; bit 5 does.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Status
from protocols.links.modbus_framing import Framing
from protocols.messages.register_map import Point
from protocols.modbus_driver import ModbusDriver


class HettichHettcube(ModbusDriver):
    id: ClassVar[str] = "hettich_hettcube"
    vendor: ClassVar[str] = "Hettich"
    models: ClassVar[tuple[str, ...]] = ("HettCube",)
    source: ClassVar[str] = "HettCube operating manual AB69601en, section 6.20"
    status: ClassVar[Status] = Status.MANUAL
    framing: ClassVar[Framing] = Framing.TCP
    points: ClassVar[tuple[Point, ...]] = (
        Point(name="temperature", function=4, address=0, scale=0.1, unit="°C", deadband=0.2),
        Point(name="door", function=4, address=3, type="uint16", states={"0": "closed", "1": "open"}),
        Point(
            name="alarms",
            function=4,
            address=4,
            type="uint16",
            states={"0": "none"},
            alarm_bits={
                "0": "door alarm",
                "1": "upper temperature alarm",
                "2": "lower temperature alarm",
                "3": "over-protection",
                "5": "main sensor error",
                "7": "protection sensor error",
                "8": "temperature sensors error",
                "10": "hardware error",
                "11": "MRW error",
            },
        ),
    )
