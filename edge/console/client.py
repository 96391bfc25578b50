"""`edge monitor`, `capture`, `selftest`: a person at the box asks the running daemon over its socket file."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.config import BoxConfig
from edge.console.captures import HEAD, IN, OUT, line_of
from edge.console.line_bytes import hexed, named
from edge.console.service import ShortPath, socket_file
from edge.console.tap import Piece
from edge.terminal import visible, write_line

_TIMEOUT_S = 30.0
"""The daemon says something at least every ten seconds."""


class NotRunning(Exception):
    """Nobody answers at the box's socket file."""


class _Line(http.client.HTTPConnection):
    def __init__(self, file: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._file = file

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with ShortPath(self._file) as path:
            self.sock.connect(path)


@contextmanager
def ask(config: BoxConfig, path: str) -> Iterator[http.client.HTTPResponse]:
    """The daemon's answer. Raises `NotRunning`."""
    line = _Line(socket_file(config.store.path))
    try:
        yield _answer(line, config, path)
    finally:
        line.close()


def _answer(line: _Line, config: BoxConfig, path: str) -> http.client.HTTPResponse:
    try:
        line.request("GET", path)
        return line.getresponse()
    except PermissionError:
        raise NotRunning("this user may not talk to the daemon: run it as the daemon's user or as root") from None
    except OSError as error:
        raise NotRunning(f"the daemon does not answer at {socket_file(config.store.path)}: {error}") from None


def pieces(config: BoxConfig, link: str) -> Iterator[Piece | dict[str, Any]]:
    """The bytes of a line as they pass, and what else is told of it, until the daemon stops. Raises `NotRunning`."""
    with ask(config, f"/links/{quote(link, safe='')}/live") as response:
        if response.status != 200:
            known = ", ".join(each.id for each in config.links)
            raise NotRunning(f"the running box has no link {link!r}; its configuration names: {known}")
        yield from _told(response)


def _told(response: http.client.HTTPResponse) -> Iterator[Piece | dict[str, Any]]:
    name = ""
    try:
        while line := response.readline():
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                data = json.loads(value)
                if name == "bytes":
                    yield Piece(
                        datetime.fromisoformat(data["at"]), data["in"], bytes.fromhex(data["hex"]), data["lost"]
                    )
                else:
                    yield {"event": name, **data}
    except (OSError, http.client.HTTPException):
        return


def monitor(config: BoxConfig, link: str, *, as_hex: bool) -> int:
    """Print both directions until Ctrl-C."""
    for each in pieces(config, link):
        if isinstance(each, Piece):
            if each.lost:
                write_line(f"... {each.lost} bytes were too fast for this terminal")
            clock = each.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
            write_line(f"{clock} {IN if each.from_instrument else OUT} {(hexed if as_hex else named)(each.data)}")
        elif each["event"] == "message":
            write_line(f"--- message {each['last']} is stored")
        elif each["event"] == "state":
            write_line(f"--- the port is {visible(str(each['state']))}")
        sys.stdout.flush()
    sys.stderr.write("The daemon stopped.\n")
    return 1


def capture(config: BoxConfig, link: str, file: Path, seconds: float, most_bytes: int) -> int:
    """Write both directions to `file`, bounded in time and size; Ctrl-C ends it."""
    until = time.monotonic() + seconds
    size = 0
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w", encoding="ascii") as out:
        out.write(f"{HEAD}\n# link {link}, {IN} from the instrument, {OUT} from the box\n")
        out.flush()
        try:
            for each in pieces(config, link):
                if isinstance(each, Piece):
                    size += len(each.data)
                    out.write(line_of(each))
                    out.flush()
                if size >= most_bytes or time.monotonic() > until:
                    break
        except KeyboardInterrupt:
            pass
    write_line(f"{file}: {size} bytes")
    return 0


def selftest(config: BoxConfig, language: str) -> int:
    """0: nothing is bad."""
    with ask(config, f"/selftest.json?lang={language}") as response:
        found = json.loads(response.read())
    marks = {"good": "ok  ", "warn": "note", "bad": "BAD "}
    for each in found:
        about = " ".join(filter(None, (each["name"], each["link"])))
        write_line(visible(f"{marks[each['outcome']]} {about}: {each['finding']}"))
        if each["cure"]:
            write_line(visible(f"     → {each['cure']}"))
    return 1 if any(each["outcome"] == "bad" for each in found) else 0
