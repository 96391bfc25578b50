"""Where an instrument is, in the words of a page."""

from __future__ import annotations

from edge.config import FileDrop, PortSection, SerialLine, TcpDial, TcpListen, place_of
from edge.console.texts import Words

_PARITIES = {"none": "N", "even": "E", "odd": "O", "mark": "M", "space": "S"}


def place(t: Words, port: PortSection) -> str:
    """Such as "监听 TCP 端口 5001"."""
    if isinstance(port, TcpListen):
        return t("监听 TCP 端口 {port}", port=port.port)
    if isinstance(port, TcpDial):
        return t("连接到 {host}:{port}", host=port.host, port=port.port)
    if isinstance(port, SerialLine):
        setting = f"{port.baud_rate} {port.data_bits}{_PARITIES[port.parity]}{port.stop_bits}"
        return t("串口 {device}，{setting}", device=port.device, setting=setting)
    if isinstance(port, FileDrop):
        return t("文件夹 {folder}", folder=port.folder)
    return place_of(port)
