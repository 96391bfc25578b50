"""Captures of a line in files on the box: text, a line for each piece (time, direction, bytes in hexadecimal digits).

Bounded in size, time and number; they hold what the instrument sent, so that only the daemon's user can read them. A
capture never takes room that the store may need.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge.console.tap import Piece

HEAD = "# xinglin capture 1"
MOST_BYTES = 8 * 1024 * 1024
MOST_S = 3600.0
MOST_FILES = 20
SPARE_BYTES = 256 * 1024 * 1024
"""Free on the disk: below it no capture begins, and one that runs ends."""
IN, OUT = "<", ">"
"""From the instrument, from the box."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,160}\.capture")


class CaptureRefused(Exception):
    """The message says why, in one of the sentences of `edge.console.texts`."""


def line_of(piece: Piece) -> str:
    mark = IN if piece.from_instrument else OUT
    return f"{piece.at.isoformat(timespec='milliseconds')} {mark} {piece.data.hex()}\n"


def read(text: str) -> Iterator[tuple[str, bool, bytes]]:
    """(time, from the instrument?, bytes) of a capture's lines; what is no such line is left out."""
    for line in text.splitlines():
        parts = line.split(" ")
        if len(parts) == 3 and parts[1] in (IN, OUT):
            try:
                yield parts[0], parts[1] == IN, bytes.fromhex(parts[2])
            except ValueError:
                continue


def instrument_bytes(content: bytes) -> bytes:
    """What the instrument sent in a capture; any other file is taken as bytes of the instrument."""
    if not content.startswith(HEAD.encode()):
        return content
    return b"".join(data for _, heard, data in read(content.decode("ascii", "replace")) if heard)


@dataclass(slots=True)
class Capture:
    """One that runs. `write` may be called from any thread, one at a time."""

    link: str
    file: Path
    until: float
    size: int = 0
    ended: str = ""
    """Why it ended; "" while it runs."""
    _open: int = field(default=-1)

    def begin(self, about: str) -> None:
        self._open = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(self._open, f"{HEAD}\n# {about}\n".encode())

    def write(self, pieces: list[Piece], room: int) -> None:
        if self.ended:
            return
        text = "".join(line_of(each) for each in pieces).encode()
        if room < SPARE_BYTES:
            self.end("磁盘空间要留给结果")
        elif self.size + len(text) > MOST_BYTES:
            self.end("已到文件大小上限")
        elif not self._written(text):
            self.end("文件写不进去")
        elif time.monotonic() > self.until:
            self.end("已到时间上限")

    def _written(self, text: bytes) -> bool:
        try:
            os.write(self._open, text)
        except OSError:
            return False
        self.size += len(text)
        return True

    def end(self, reason: str) -> None:
        if self._open >= 0:
            os.close(self._open)
            self._open = -1
        self.ended = self.ended or reason


class Captures:
    """The folder of captures beside the store, and those that run, one for a link."""

    def __init__(self, folder: Path, room: Callable[[], int]) -> None:
        self.folder = folder
        self._room = room
        self.running: dict[str, Capture] = {}

    def begin(self, link: str) -> Capture:
        """Raises `CaptureRefused`."""
        running = self.running.get(link)
        if running is not None and not running.ended:
            raise CaptureRefused("这条链路已在抓取")
        if self._room() < SPARE_BYTES:
            raise CaptureRefused("磁盘空间要留给结果")
        if len(self.files()) >= MOST_FILES:
            raise CaptureRefused("抓取文件太多，请先删除旧的")
        at = datetime.now(UTC)
        made = Capture(link, self.folder / f"{link}-{at:%Y%m%dT%H%M%S.%fZ}.capture", time.monotonic() + MOST_S)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            made.begin(f"link {link}, {IN} from the instrument, {OUT} from the box")
        except OSError as error:
            raise CaptureRefused("文件写不进去") from error
        self.running[link] = made
        return made

    def write(self, capture: Capture, pieces: list[Piece]) -> None:
        capture.write(pieces, self._room())

    def end(self, link: str) -> None:
        running = self.running.get(link)
        if running is not None:
            running.end("已停止")

    def files(self, link: str | None = None) -> list[Path]:
        """Newest first; of one link or of all."""
        try:
            names = [each for each in self.folder.iterdir() if _NAME.fullmatch(each.name)]
        except OSError:
            return []
        chosen = [each for each in names if link is None or each.name.rsplit("-", 1)[0] == link]
        return sorted(chosen, key=lambda each: each.name.rsplit("-", 1)[1], reverse=True)

    def file(self, name: str) -> Path | None:
        """The capture with this name; never anything else."""
        return next((each for each in self.files() if each.name == name), None)

    def remove(self, name: str) -> None:
        file = self.file(name)
        if file is not None and all(each.file != file or each.ended for each in self.running.values()):
            file.unlink(missing_ok=True)
