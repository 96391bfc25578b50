"""Vaisala humidity and temperature probes of the HMP series (HMP4 to HMP9): floats, the low word first.

19200 baud, 8N2, unit 240 from the works: set `unit_id` and the line so, or the probe otherwise. A quantity that the
probe cannot measure is a quiet NaN, shown as a sensor fault. Registers are numbered from 1 in the documents.

Source: HMP Series User Guide M212022EN, table 75; HMP4 Quick Guide M211982EN, tables 1 and 2.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Status
from protocols.messages.register_map import Point
from protocols.modbus_driver import ModbusDriver


class VaisalaHmp(ModbusDriver):
    id: ClassVar[str] = "vaisala_hmp"
    vendor: ClassVar[str] = "Vaisala"
    models: ClassVar[tuple[str, ...]] = ("HMP4", "HMP5", "HMP7", "HMP8", "HMP9")
    source: ClassVar[str] = "HMP Series User Guide M212022EN, Modbus reference; Quick Guide M211982EN"
    status: ClassVar[Status] = Status.MANUAL
    points: ClassVar[tuple[Point, ...]] = (
        Point(name="humidity", address=0x0000, type="float32", order="CDAB", unit="%RH", deadband=0.5),
        Point(name="temperature", address=0x0002, type="float32", order="CDAB", unit="°C", deadband=0.1),
        Point(name="dew point", address=0x0006, type="float32", order="CDAB", unit="°C", deadband=0.5),
    )
