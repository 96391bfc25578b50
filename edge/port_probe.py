"""Can a link's port be opened? Asked before its configuration is applied, without opening what an instrument uses."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Collection
from pathlib import Path

from edge.config import FileDrop, LinkSection, SerialLine, TcpListen


def complaint(section: LinkSection, released: Collection[LinkSection]) -> tuple[str, str] | None:
    """(what is wrong, its cure); None when nothing is. `released`: links that run now and are closed before."""
    port = section.port
    if isinstance(port, SerialLine):
        return _device(port.device)
    if isinstance(port, FileDrop):
        return _folder(port.folder)
    if isinstance(port, TcpListen) and not any(_same(port, each) for each in released):
        return _listening(port)
    return None


def _device(device: Path) -> tuple[str, str] | None:
    try:
        is_line = stat.S_ISCHR(device.stat().st_mode)
    except OSError as error:
        return f"`device`: {device}: {error.strerror}", "plug the line in, or correct the path"
    if not is_line:
        return f"`device`: {device} is no line", "name a tty such as /dev/ttyUSB0"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"`device`: {device} may not be opened", "put the box's account into the group that owns the line"
    return None


def _folder(folder: Path) -> tuple[str, str] | None:
    if not folder.is_dir():
        return f"`folder`: there is no folder {folder}", "make it or correct the path"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"`folder`: {folder} may not be written", "let the box's account move files in it"
    return None


def _same(port: TcpListen, other: LinkSection) -> bool:
    return isinstance(other.port, TcpListen) and other.port.port == port.port


def _listening(port: TcpListen) -> tuple[str, str] | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            port.host, port.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            tried.listen(1)
    except socket.gaierror:
        return None  # a name: whether it can be found now says nothing about later
    except OSError as error:
        return f"`port`: cannot listen on {port.host}:{port.port}: {error.strerror}", "take another port or address"
    return None
