"""The port that a link's configuration asks for."""

from __future__ import annotations

from collections.abc import Callable

from edge.config import FileDrop, LinkSection, Rfc2217, SerialLine, TcpListen
from edge.ports.contract import Port


def port_of(link: LinkSection, newest_raw: Callable[[str], bytes | None] | None = None) -> Port:
    """Not yet open; `serve` opens it. `newest_raw` gives the raw bytes of a link's newest stored message."""
    settings = link.port
    if isinstance(settings, SerialLine):
        from edge.ports.serial_line import SerialPort

        return SerialPort(link.id, settings)
    if isinstance(settings, FileDrop):
        from edge.ports.file_drop import FileDropPort

        return FileDropPort(link.id, settings, newest_raw(link.id) if newest_raw is not None else None)
    if isinstance(settings, Rfc2217):
        from edge.ports.rfc2217 import Rfc2217Port

        return Rfc2217Port(link.id, settings)
    from edge.ports.tcp import TcpDialPort, TcpListenPort

    if isinstance(settings, TcpListen):
        return TcpListenPort(link.id, settings.host, settings.port, settings.peers)
    return TcpDialPort(link.id, settings.host, settings.port)
