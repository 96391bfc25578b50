"""A folder that an instrument's program writes results into. Every file is taken once and none is ever deleted.

The walk of a file: complete (it stopped changing, its end mark lies beside it) → renamed into ``taking/`` → read and
offered to the line → the store's commit → renamed into ``taken/`` with digits of its content's hash in its name. Killed
between any two steps the box goes on from where it was: what lies in ``taking/`` is offered again, unless the newest
stored message of the link is that very file; what lies in ``taken/`` under its name and hash has been stored before.
What cannot be taken stays where it is, and `reason` says why.

Folders may lie on a server that hangs: nothing touches them on the event loop.
"""

from __future__ import annotations

import asyncio
import fcntl
import fnmatch
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from edge.config import FileDrop
from edge.ports.contract import Backoff, Line, Port, PortState
from protocols.links.file_drop import TAKEN, announce, opened

_PIECE_BYTES = 256 * 1024
_LAST_BYTES = 4096
_HASH_DIGITS = 12

log = structlog.get_logger()

_T = TypeVar("_T")


class _Waits(Exception):
    """This file cannot be taken now; the message says why."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What a file looked like: a change of any of these is a change of the file."""

    inode: int
    size: int
    changed_ns: int

    @classmethod
    def at(cls, file: Path) -> _Look:
        found = file.stat()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


class _Folder:
    """The line's other end while the folder can be reached: takes the link's answer, waits when the line is full."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()
        self._answer: asyncio.Future[bytes] | None = None
        self.is_open = True

    async def offer(self, head: bytes, content: bytes) -> bytes:
        """The link's answer; b"" when the line was closed instead."""
        self._answer = asyncio.get_running_loop().create_future()
        self._line.received(head)
        for start in range(0, len(content), _PIECE_BYTES):
            await self._may_go_on.wait()
            if not self.is_open:
                break
            self._line.received(content[start : start + _PIECE_BYTES])
        return await self._answer

    def write(self, data: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(data[:1])

    def pause(self) -> None:
        self._may_go_on.clear()

    def resume(self) -> None:
        self._may_go_on.set()

    def close(self, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            self._may_go_on.set()
            self.write(b"")
            self._line.closed(reason)


class FileDropPort(Port):
    """`newest_raw`: raw bytes of the newest message that the store holds of this link."""

    def __init__(self, link: str, settings: FileDrop, newest_raw: bytes | None = None) -> None:
        self._link = link
        self._settings = settings
        self._taking = settings.folder / "taking"
        self._taken = settings.folder / "taken"
        head = opened(newest_raw)[0] if newest_raw else None
        self._newest = head.identity if head is not None else None
        self._seen: dict[Path, tuple[_Look, float]] = {}
        self._connection: _Folder | None = None
        self._backoff = Backoff(0.5, 30.0)

    async def serve(self, line: Line) -> None:
        try:
            while True:
                try:
                    await self._look(line)
                except OSError as error:
                    self._lost(error.strerror or str(error))
                    await asyncio.sleep(self._backoff.next_s())
                    continue
                await asyncio.sleep(self._settings.look_every_s)
        finally:
            if self._connection is not None:
                self._connection.close("the box stops")
            self.state = PortState.CLOSED

    def _lost(self, reason: str) -> None:
        if self.state is not PortState.FAILED:
            log.warning("port.cannot_look", link=self._link, folder=str(self._settings.folder), reason=reason)
        self.state, self.reason = PortState.FAILED, reason
        if self._connection is not None:
            self._connection.close(reason)
            self._connection = None

    async def _look(self, line: Line) -> None:
        """One round: everything that is complete. Raises `OSError` where the folder itself cannot be reached."""
        files = await _elsewhere(self._files)
        self._backoff.succeeded()
        if self._connection is None or not self._connection.is_open:
            self._connection = _Folder(line)
            line.opened(self._connection, str(self._settings.folder))
        self.state = PortState.OPEN
        self._seen = {file: look for file, look in self._seen.items() if file in files}
        reasons = []
        for file in files:
            try:
                await self._take(file, self._connection)
            except _Waits as waits:
                reasons.append(str(waits))
            except FileNotFoundError:
                continue  # its program took it back
            except OSError as error:
                reasons.append(f"{file.name}: {error.strerror or error}")
        self.reason = reasons[0] if reasons else ""

    def _files(self) -> list[Path]:
        """What was being taken when the box stopped, then what waits, the oldest first."""
        if not self._settings.folder.is_dir():
            raise FileNotFoundError(2, "the folder is not there")
        self._taking.mkdir(exist_ok=True)
        self._taken.mkdir(exist_ok=True)
        return _by_age(self._taking, lambda name: True) + _by_age(self._settings.folder, self._is_result)

    def _is_result(self, name: str) -> bool:
        mark = self._settings.end_mark
        if name.startswith(".") or (mark is not None and name.endswith(mark)):
            return False
        return fnmatch.fnmatch(name, self._settings.pattern)

    # ------------------------------------------------------------------ one file

    async def _take(self, file: Path, connection: _Folder) -> None:
        loop = asyncio.get_running_loop()
        look = await _elsewhere(lambda: _Look.at(file))
        before, since = self._seen.get(file, (None, 0.0))
        if before != look:
            since = loop.time()
            self._seen[file] = (look, since)
        if loop.time() - since < self._settings.settle_s:
            return
        if file.parent != self._taking:
            file = await _elsewhere(lambda: self._claim(file, look))
        content = await _elsewhere(lambda: self._read(file, look))
        name = file.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        digest = hashlib.sha256(content).hexdigest()
        kept = self._taken / f"{file.stem}.{digest[:_HASH_DIGITS]}{file.suffix}"
        if (name, digest) == self._newest or await _elsewhere(kept.exists):
            log.info("file.already_stored", link=self._link, sha256=digest[:_HASH_DIGITS])
        else:
            await self._offer(name, content, connection)
            self._newest = (name, digest)
            log.info("file.stored", link=self._link, sha256=digest[:_HASH_DIGITS], size=len(content))
        await _elsewhere(lambda: self._put_away(file, look, kept))

    def _claim(self, file: Path, look: _Look) -> Path:
        """Complete, readable, of bearable size: into ``taking/``, out of the reach of whoever writes a new one."""
        settings = self._settings
        if look.size > settings.max_kilobytes * 1024:
            raise _Waits(f"{file.name}: larger than {settings.max_kilobytes} KB")
        mark = file.with_name(file.name + settings.end_mark) if settings.end_mark else None
        if mark is not None and not mark.exists():
            raise _Waits(f"{file.name}: waits for {mark.name}")
        self._check(file)
        claimed = self._taking / file.name
        if claimed.exists():
            raise _Waits(f"{file.name}: one of this name is being taken")
        file.rename(claimed)
        if mark is not None:
            mark.rename(self._taken / mark.name)
        _sync(self._taking)
        return claimed

    def _check(self, file: Path) -> None:
        """Can it be read now, and is its end there?"""
        try:
            with file.open("rb") as data:
                fcntl.flock(data, fcntl.LOCK_SH | fcntl.LOCK_NB)
                data.seek(max(0, os.fstat(data.fileno()).st_size - _LAST_BYTES))
                end = data.read()
        except BlockingIOError:
            raise _Waits(f"{file.name}: another program holds it") from None
        except PermissionError:
            raise _Waits(f"{file.name}: may not be read") from None
        wanted = self._settings.end_text
        lines = end.rstrip().splitlines()
        if wanted is not None and not (lines and wanted.encode(self._settings.encoding or "utf-8") in lines[-1]):
            raise _Waits(f"{file.name}: its last line is not there yet")

    def _read(self, file: Path, look: _Look) -> bytes:
        content = file.read_bytes()
        if len(content) > self._settings.max_kilobytes * 1024 or _Look.at(file) != look:
            raise _Waits(f"{file.name}: it is still being written")
        return content

    async def _offer(self, name: str, content: bytes, connection: _Folder) -> None:
        answer = await connection.offer(announce(name, content, self._settings.encoding), content)
        if answer != TAKEN:
            await asyncio.sleep(self._backoff.next_s())
            raise _Waits(f"{name}: the box could not keep it")
        self._backoff.succeeded()

    def _put_away(self, file: Path, look: _Look, kept: Path) -> None:
        """Stored: out of the way. A file that was written on since it was read is another one and comes again."""
        if _Look.at(file) == look:
            file.replace(kept)
            _sync(self._taken)


def _by_age(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and wanted(entry.name):
                found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    return [folder / name for _, name in sorted(found)]


def _sync(folder: Path) -> None:
    """The rename survives a power cut, where the file system can promise it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


async def _elsewhere(work: Callable[[], _T]) -> _T:
    return await asyncio.to_thread(work)
