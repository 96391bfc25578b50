"""Any Modbus device whose registers its maker documents: refrigerators, incubators, water systems, room sensors.

Source: none of one device; the register map is the link's configuration (`protocols/modbus_driver.py` shows it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.driver import Driver, Status
from protocols.errors import DriverOptionError
from protocols.modbus_driver import ModbusDriver


class GenericModbus(ModbusDriver):
    id: ClassVar[str] = "generic_modbus"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "no device: MODBUS Application Protocol V1.1b3, registers as the link's options name them"
    status: ClassVar[Status] = Status.MANUAL

    def configured(self, options: Mapping[str, object]) -> Driver:
        if not options.get("devices"):
            cure = 'write [[links.options.devices]] with name = "...", unit_id = 1 and points = [...]'
            raise DriverOptionError("devices", "no device to read", cure)
        return super().configured(options)
