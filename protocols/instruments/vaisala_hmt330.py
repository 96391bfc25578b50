"""Vaisala HMT330 transmitters: humidity and temperature in hundredths, and what the transmitter says of itself.

The integer registers are read: the document's pages at hand do not give the word order of its floats. Registers are
numbered from 1 there. -32768 is "not available" (stated for 16-bit registers in Vaisala's HMW90 reference).

Source: HMT330 User's Guide M210566EN-K, tables 41 (RH 0257, T 0258) and 42 (fault status 0513: 1 is no errors; online
status 0514: 1 is data available).
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Status
from protocols.messages.register_map import SENSOR_FAULT, Point
from protocols.modbus_driver import ModbusDriver

_NOT_AVAILABLE = {"-32768": SENSOR_FAULT}


class VaisalaHmt330(ModbusDriver):
    id: ClassVar[str] = "vaisala_hmt330"
    vendor: ClassVar[str] = "Vaisala"
    models: ClassVar[tuple[str, ...]] = ("HMT331", "HMT333", "HMT334", "HMT335", "HMT337", "HMT338")
    source: ClassVar[str] = "HMT330 User's Guide M210566EN-K, tables 41 and 42"
    status: ClassVar[Status] = Status.MANUAL
    points: ClassVar[tuple[Point, ...]] = (
        Point(name="humidity", address=256, scale=0.01, unit="%RH", faults=_NOT_AVAILABLE, deadband=0.5),
        Point(name="temperature", address=257, scale=0.01, unit="°C", faults=_NOT_AVAILABLE, deadband=0.1),
        Point(name="fault status", address=512, type="uint16", states={"1": "no errors"}, alarms={"0": "device fault"}),
        Point(name="online status", address=513, type="uint16", states={"1": "online"}, alarms={"0": "no online data"}),
    )
