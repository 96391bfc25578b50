"""A serial server of the tests' own: pyserial's RFC 2217 server (not ours) between a TCP port and a pty.

The instrument is at the pty's other end. Modem lines are pretended, for a pty has none.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import tty
from typing import Any

import serial
import serial.rfc2217


class _PtySerial(serial.Serial):  # type: ignore[misc]
    cts = dsr = cd = True
    ri = False

    def _reconfigure_port(self, force_update: bool = False) -> None:
        """A pty takes 8N1 only; what was asked for is kept."""
        asked = self.bytesize, self.parity
        self._bytesize, self._parity = 8, serial.PARITY_NONE
        try:
            super()._reconfigure_port(force_update)
        finally:
            self._bytesize, self._parity = asked

    def _update_dtr_state(self) -> None: ...

    def _update_rts_state(self) -> None: ...


class _Sender:
    """What `PortManager` writes to."""

    def __init__(self, connected: socket.socket) -> None:
        self._connected = connected

    def write(self, data: bytes) -> None:
        self._connected.sendall(data)


class SerialServer(threading.Thread):
    """`instrument` is the pty's end where the analyzer sits; `line` is the server's own serial port."""

    def __init__(self, listening: socket.socket | None = None) -> None:
        super().__init__(daemon=True)
        self.instrument, slave = pty.openpty()
        tty.setraw(self.instrument)
        self.line = _PtySerial(os.ttyname(slave), 300, timeout=0)
        os.close(slave)
        self._listening = listening or socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._connected: socket.socket | None = None
        self._over = threading.Event()
        self.connections = 0
        self.start()

    @property
    def setting(self) -> tuple[Any, ...]:
        """Baud rate, data bits, parity letter, stop bits as the client set them."""
        return self.line.baudrate, self.line.bytesize, self.line.parity, self.line.stopbits

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self._connected, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with self._connected, contextlib.suppress(OSError):
                self._serve(self._connected)

    def _serve(self, connected: socket.socket) -> None:
        manager = serial.rfc2217.PortManager(self.line, _Sender(connected))
        while not self._over.is_set():
            ready, _, _ = select.select([connected, self.line.fileno()], [], [], 0.2)
            if connected in ready:
                data = connected.recv(4096)
                if not data:
                    return
                self.line.write(b"".join(manager.filter(data)))
            if self.line.fileno() in ready:
                connected.sendall(b"".join(manager.escape(self.line.read(4096))))

    def hang_up(self) -> None:
        """The connection ends; the next one is taken."""
        assert self._connected is not None
        with contextlib.suppress(OSError):
            self._connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.join(5)
        self.line.close()
        os.close(self.instrument)
