"""Room sensors of the XY-MD02 kind: temperature and humidity (SHT20, SHT30 or SHT40 inside) on RS-485.

Sold under many names; all answer function 4 with both values in tenths, the temperature signed. They leave the works
at 9600 baud, 8N1, unit 1. The measuring range is the sheet's; it does not say what a broken sensor reads.

Source: the maker's sheet of the XY-MD02 as domoticx.com and accautomation.ca print it (commands, worked examples).
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Status
from protocols.messages.register_map import Point
from protocols.modbus_driver import ModbusDriver


class XyMd02(ModbusDriver):
    id: ClassVar[str] = "xy_md02"
    vendor: ClassVar[str] = "several makers"
    models: ClassVar[tuple[str, ...]] = ("XY-MD02",)
    source: ClassVar[str] = "XY-MD02 sheet (Modbus RTU temperature and humidity transmitter), as public pages print it"
    status: ClassVar[Status] = Status.MANUAL
    points: ClassVar[tuple[Point, ...]] = (
        Point(name="temperature", function=4, address=1, scale=0.1, unit="°C", valid=(-40, 85), deadband=0.2),
        Point(name="humidity", function=4, address=2, type="uint16", scale=0.1, unit="%RH", valid=(0, 100), deadband=1),
    )
