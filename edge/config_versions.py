"""The configurations that this box has had: numbered files beside the store, and which of them is in force.

A configuration is written before anything is changed by it, and the one line that puts it in force is replaced whole
(written, synced, renamed): killed at any moment the box starts with the old one or with the new one. A new one is on
trial until its health window has passed; a box that was killed meanwhile starts with the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

_POWER_CUTS = 3
"""Starts in the middle of a trial after the whole computer had stopped; then it is the configuration's fault too."""
_DIGITS = 12

log = structlog.get_logger()


class Fate(StrEnum):
    """What became of a configuration."""

    TRIAL = "on trial"
    GOOD = "good"
    TAKEN_BACK = "taken back"


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    digest: str
    """First digits of the SHA-256 of its text."""
    at: str
    """When it was written, by the box's clock (ISO 8601)."""
    source: str
    """Who wanted it: "start", "file", "command", "console", "cloud", "rollback"."""
    folder: str
    """Relative paths in its text are taken from here."""
    fate: Fate = Fate.TRIAL
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """`number` is in force until its window has passed; `previous` takes its place otherwise."""

    number: int
    previous: int
    boot: str
    """The kernel's boot id: a box that lost its power is not the configuration's fault."""
    starts: int = 1
    stopped: bool = False
    """The daemon was asked to stop: it goes on at the next start."""


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@dataclass(slots=True)
class Versions:
    """Read with `open`; changes are in memory until `save`."""

    folder: Path
    in_force: int = 0
    """0: none was ever kept."""
    trial: Trial | None = None
    seen_file: str = ""
    """Digest of the file that the daemon was started with, when it was looked at last: another one is a new wish."""
    versions: list[Version] = field(default_factory=list)

    @classmethod
    def open(cls, store: Path) -> Versions:
        """Of the box with this store. What cannot be read is as if it were not there, and is logged."""
        made = cls(store.with_name(store.name + ".configs"))
        try:
            data = json.loads((made.folder / "state.json").read_text(encoding="utf-8"))
            trial = data["trial"]
            made.in_force, made.seen_file = int(data["in_force"]), str(data["seen_file"])
            made.trial = None if trial is None else Trial(**trial)
            made.versions = [Version(**{**each, "fate": Fate(each["fate"])}) for each in data["versions"]]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("configs.unreadable", folder=str(made.folder), reason=str(error))
            return cls(made.folder)
        return made

    def save(self, keep: int) -> None:
        """Whole or not at all, and durable. Only the newest `keep` are kept. Raises `OSError`."""
        self.folder.mkdir(exist_ok=True)
        needed = {self.in_force, *((self.trial.number, self.trial.previous) if self.trial else ())}
        dropped = [each for each in self.versions[:-keep] if each.number not in needed]
        self.versions = [each for each in self.versions if each not in dropped]
        state = {
            "in_force": self.in_force,
            "seen_file": self.seen_file,
            "trial": asdict(self.trial) if self.trial else None,
            "versions": [asdict(each) for each in self.versions],
        }
        _write(self.folder / "state.json", json.dumps(state, ensure_ascii=False, indent=1))
        for each in dropped:
            self.file_of(each.number).unlink(missing_ok=True)

    def file_of(self, number: int) -> Path:
        return self.folder / f"{number:06}.toml"

    def text_of(self, number: int) -> str:
        """Raises `OSError`."""
        return self.file_of(number).read_text(encoding="utf-8")

    def get(self, number: int) -> Version | None:
        return next((each for each in self.versions if each.number == number), None)

    def taken_back(self, digest: str) -> Version | None:
        """The newest configuration of this text, if it was taken back."""
        found = next((each for each in reversed(self.versions) if each.digest == digest), None)
        return found if found is not None and found.fate is Fate.TAKEN_BACK else None

    def write(self, text: str, *, folder: Path, source: str, at: str, note: str = "") -> Version:
        """A new configuration on the disk; nothing is in force by it. Raises `OSError`."""
        number = max((each.number for each in self.versions), default=0) + 1
        self.folder.mkdir(exist_ok=True)
        _write(self.file_of(number), text)
        made = Version(number, digest_of(text), at, source, str(folder), note=note)
        self.versions.append(made)
        return made

    def try_out(self, version: Version, boot: str) -> None:
        """In force from now on, on trial if there is one to go back to."""
        previous = self.trial.previous if self.trial is not None else self.in_force
        self.in_force = version.number
        self.trial = Trial(version.number, previous, boot) if self.get(previous) is not None else None
        if self.trial is None:
            self.judge(version.number, Fate.GOOD)

    def settle(self, number: int) -> None:
        """In force, without a trial."""
        self.in_force, self.trial = number, None
        self.judge(number, Fate.GOOD)

    def go_back(self, number: int, *, on_trial: bool) -> None:
        """In force in the place of what was tried; `on_trial`: another part of that still is."""
        self.in_force = number
        self.judge(number, Fate.GOOD)
        self.trial = replace(self.trial, number=number) if self.trial is not None and on_trial else None

    def stop(self) -> None:
        """The daemon ends in order: that is no verdict on a trial."""
        if self.trial is not None:
            self.trial = replace(self.trial, stopped=True)

    def judge(self, number: int, fate: Fate, note: str = "") -> None:
        self.versions = [
            replace(each, fate=fate, note=note or each.note) if each.number == number else each
            for each in self.versions
        ]

    def begin(self, boot: str) -> str:
        """At a start: goes on with a trial, or takes it back where the daemon ended in it. Why, or "" (in memory)."""
        trial = self.trial
        if trial is None:
            return ""
        if not trial.stopped and (trial.boot == boot or trial.starts >= _POWER_CUTS):
            reason = "the daemon ended before the health window had passed"
            self.judge(trial.number, Fate.TAKEN_BACK, reason)
            self.settle(trial.previous)
            return f"configuration {trial.number} was taken back: {reason}"
        starts = trial.starts if trial.stopped else trial.starts + 1
        self.trial = replace(trial, boot=boot, starts=starts, stopped=False)
        return ""

    def shown(self) -> dict[str, Any]:
        """The newest last; for people."""
        return {
            "in_force": self.in_force,
            "trial": asdict(self.trial) if self.trial else None,
            "versions": [asdict(each) for each in self.versions],
        }


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(file.name + ".new")
    with temporary.open("w", encoding="utf-8") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    temporary.replace(file)
    handle = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
