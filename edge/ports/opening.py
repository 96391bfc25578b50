"""The port that a link's configuration asks for."""

from __future__ import annotations

from edge.config import LinkSection, SerialLine, TcpListen
from edge.ports.contract import Port


def port_of(link: LinkSection) -> Port:
    """Not yet open; `serve` opens it."""
    settings = link.port
    if isinstance(settings, SerialLine):
        from edge.ports.serial_line import SerialPort

        return SerialPort(link.id, settings)
    from edge.ports.tcp import TcpDialPort, TcpListenPort

    if isinstance(settings, TcpListen):
        return TcpListenPort(link.id, settings.host, settings.port, settings.peers)
    return TcpDialPort(link.id, settings.host, settings.port)
