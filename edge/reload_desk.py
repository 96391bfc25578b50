"""Wishes that other processes leave for the running box: a file beside the versions, and SIGHUP.

SIGHUP alone reads the file again that the daemon was started with.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from edge.config import BoxConfig
from edge.config_file import read_text
from edge.config_versions import Versions, digest_of
from edge.errors import ConfigError, EdgeError
from edge.faults import where
from edge.health import read_snapshot
from edge.proposal import Wish
from edge.reload import Outcome, Reload

_WANTED = "wanted.json"
_EXTRA_WAIT_S = 60.0

log = structlog.get_logger()


CHANGED_MEANWHILE = "it was changed since it was looked at: look again"


class NotRunning(EdgeError):
    """Nobody can be asked."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What another configuration would change, and the digest of its text."""

    outcome: Outcome
    digest: str


class ReloadDesk:
    """The daemon's side. `answered` is called when `answer` has changed."""

    def __init__(self, file: Path, reload: Reload, answered: Callable[[], None]) -> None:
        self.answer: dict[str, Any] | None = None
        """To the last wish that carried an id."""
        self._file = file
        self._reload = reload
        self._answered = answered
        self._wanted = reload.versions.folder / _WANTED
        self._wanted.unlink(missing_ok=True)  # of somebody who asked a daemon that did not run any more
        self._tasks: set[asyncio.Task[None]] = set()

    def called(self) -> None:
        """SIGHUP came."""
        task = asyncio.create_task(self._serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        try:
            wanted = self._take()
            if wanted is None:
                await self.read_file()
                return
            outcome = await self._grant(wanted)
            self.answer = {"id": wanted["id"], "accepted": outcome.accepted, "lines": list(outcome.lines)}
            self._answered()
        except Exception as fault:  # outer loop of wishes: a wish that we fail on changes nothing
            log.error("config.fault", fault=where(fault))

    def _take(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._wanted.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        finally:
            self._wanted.unlink(missing_ok=True)
        return found

    async def _grant(self, wanted: dict[str, Any]) -> Outcome:
        if wanted["verb"] == "rollback":
            return await self._reload.rollback(wanted["number"])
        wish = Wish(wanted["text"], wanted["name"], Path(wanted["folder"]), wanted["source"], bool(wanted["force"]))
        if wanted["verb"] == "check":
            return await self._reload.check(wish)
        outcome = await self._reload.apply(wish)
        if Path(wanted["name"]).resolve() == self._file.resolve():
            self._reload.versions.seen_file = digest_of(wish.text)
            await self._reload.save()
        return outcome

    @property
    def versions(self) -> Versions:
        """For people: those that are kept, and which is in force."""
        return self._reload.versions

    async def look(self, number: int | None) -> Looked:
        """What the file (None) or the configuration with this number would change; changes nothing."""
        try:
            wish = await asyncio.to_thread(self._wish, number)
        except (ConfigError, OSError) as error:
            lines = error.lines() if isinstance(error, ConfigError) else [str(error)]
            return Looked(Outcome(False, tuple(lines), self.versions.in_force), "")
        return Looked(await self._reload.check(wish), digest_of(wish.text))

    async def put_in_force(self, number: int | None, digest: str) -> Outcome:
        """What was looked at; another text than that changes nothing."""
        try:
            wish = await asyncio.to_thread(self._wish, number)
        except (ConfigError, OSError) as error:
            return Outcome(False, (str(error),), self.versions.in_force)
        if digest_of(wish.text) != digest:
            return Outcome(False, (CHANGED_MEANWHILE,), self.versions.in_force)
        outcome = await self._reload.apply(wish)
        log.info("config.asked_for_on_the_page", accepted=outcome.accepted, number=number)
        if number is None:
            self._reload.versions.seen_file = digest
            await self._reload.save()
        return outcome

    def _wish(self, number: int | None) -> Wish:
        """Raises `ConfigError`, `OSError`."""
        if number is None:
            return Wish(read_text(self._file), str(self._file), self._file.resolve().parent, "console")
        found = self.versions.get(number)
        if found is None:
            raise FileNotFoundError(f"configuration {number} is not kept")
        name = str(self.versions.file_of(number))
        return Wish(self.versions.text_of(number), name, Path(found.folder), "rollback", force=True)

    async def read_file(self) -> Outcome:
        """The file that the daemon was started with, as it is now."""
        try:
            text = read_text(self._file)
        except ConfigError as error:
            log.error("config.refused", source="file", lines=error.lines())
            return Outcome(False, tuple(error.lines()), self._reload.versions.in_force)
        outcome = await self._reload.apply(Wish(text, str(self._file), self._file.resolve().parent, "file"))
        self._reload.versions.seen_file = digest_of(text)
        await self._reload.save()
        log.info("config.file_read", accepted=outcome.accepted, lines=list(outcome.lines))
        return outcome


def ask(box: BoxConfig, verb: str, **wanted: Any) -> tuple[bool, list[str]]:
    """Ask the running box from another process and wait for its answer. Raises `NotRunning`."""
    snapshot, complaint = read_snapshot(box)
    if snapshot is None or complaint:
        raise NotRunning(complaint or "the box does not run")
    id_ = secrets.token_hex(6)
    folder = Versions.open(box.store.path).folder
    temporary = folder / f"{_WANTED}.{id_}"
    temporary.write_text(json.dumps({"id": id_, "verb": verb, **wanted}), encoding="utf-8")
    temporary.replace(folder / _WANTED)
    os.kill(int(snapshot["pid"]), signal.SIGHUP)
    until = time.monotonic() + box.reload.patience_s + _EXTRA_WAIT_S
    while time.monotonic() < until:
        found, _ = read_snapshot(box)
        answer = (found or {}).get("configuration", {}).get("answer")
        if answer is not None and answer["id"] == id_:
            return bool(answer["accepted"]), list(answer["lines"])
        time.sleep(0.1)
    raise NotRunning("the box does not answer; `edge status` says how it is")
