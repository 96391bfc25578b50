"""Modbus devices made of pymodbus's own server: on TCP, or on one RS-485 line of two ptys. Values change as it runs."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import threading
import tty
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


class Devices:
    """`registers[unit][address]` is what each device answers (functions 3 and 4). `stop()` hangs up."""

    def __init__(self, registers: Mapping[int, Mapping[int, int]]) -> None:
        self.registers = {unit: dict(values) for unit, values in registers.items()}
        self.silent: set[int] = set()
        """Units that hear and do not answer."""
        self.asked = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: ModbusTcpServer | ModbusSerialServer | None = None

    def on_tcp(self, port: int) -> Devices:
        async def serve() -> None:
            self._server = ModbusTcpServer(self._devices(), address=("127.0.0.1", port))
            await self._server.serve_forever(background=True)

        self._thread.start()
        self._run(serve())
        return self

    def on_line(self, device: str, baud_rate: int = 9600) -> Devices:
        async def serve() -> None:
            self._server = ModbusSerialServer(
                self._devices(), framer=FramerType.RTU, port=device, baudrate=baud_rate, ignore_missing_devices=True
            )
            await self._server.serve_forever(background=True)

        self._thread.start()
        self._run(serve())
        return self

    def stop(self) -> None:
        self._run(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _hang_up(self) -> None:
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
            for connection in list(self._server.active_connections.values()):
                connection.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for _ in range(5):  # transports close in the turns that follow
            await asyncio.sleep(0)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _devices(self) -> list[SimDevice]:
        return [self._device(unit) for unit in self.registers]

    def _device(self, unit: int) -> SimDevice:
        values = self.registers[unit]
        first, last = min(values), max(values)
        block = SimData(first, count=last - first + 1, values=0, datatype=DataType.REGISTERS)

        async def answer(
            function: int, start: int, address: int, count: int, current: list[int], _set: object
        ) -> ExcCodes | None:
            self.asked += 1
            if unit in self.silent:
                await asyncio.sleep(3600)
            for place in range(address, address + count):
                if place not in values:
                    return ExcCodes.ILLEGAL_ADDRESS
                current[place - start] = values[place] & 0xFFFF
            return None

        return SimDevice(unit, simdata=[block], action=answer)


class Cable:
    """Two ends of a serial line, each a tty of its own; `pull()` takes it away."""

    def __init__(self, folder: Path) -> None:
        self.ends: list[str] = []
        self._masters: list[int] = []
        self._slaves: list[int] = []
        for name in ("ttyBOX", "ttyDEV"):
            master, slave = pty.openpty()
            tty.setraw(master)
            tty.setraw(slave)
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(os.ttyname(slave))
            self.ends.append(str(link))
            self._masters.append(master)
            self._slaves.append(slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        other = dict(zip(self._masters, reversed(self._masters), strict=True))
        while not self._stop.is_set():
            ready, _, _ = select.select(self._masters, [], [], 0.05)
            for each in ready:
                try:
                    os.write(other[each], os.read(each, 4096))
                except OSError:
                    return

    def pull(self) -> None:
        self._stop.set()
        self._thread.join(5)
        for each in (*self._masters, *self._slaves):
            os.close(each)
