"""COMET web sensors and transmitters Tx5xx and Tx6xx on Ethernet: tenths in holding registers, Modbus/TCP on port 502.

The unit identifier may be anything. Which quantities a model has its type says: one that is not measured makes the
device answer with a value beyond the range, or an exception; take its point out by a model of your own with
`generic_modbus`. Pressure and CO2 (register 52) have a scale that depends on the model and are left out.

Source: COMET modbus.txt v3.2 for T3511, T4511 ... (firmware 1-5-7.4); user manual IE-SNC-Tx6xx-07, "Modbus TCP".
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Status
from protocols.links.modbus_framing import Framing
from protocols.messages.register_map import Point
from protocols.modbus_driver import ModbusDriver


class CometWebSensor(ModbusDriver):
    id: ClassVar[str] = "comet_web_sensor"
    vendor: ClassVar[str] = "COMET System"
    models: ClassVar[tuple[str, ...]] = ("T3510", "T3511", "T7510", "T7511", "T3610", "T3611", "T7610", "T7611")
    source: ClassVar[str] = "COMET modbus.txt v3.2; IE-SNC-Tx6xx-07"
    status: ClassVar[Status] = Status.MANUAL
    framing: ClassVar[Framing] = Framing.TCP
    points: ClassVar[tuple[Point, ...]] = (
        Point(name="temperature", address=0x0031, scale=0.1, unit="°C", valid=(-200, 200), deadband=0.2),
        Point(name="humidity", address=0x0032, scale=0.1, unit="%RH", valid=(0, 100), deadband=1),
    )
