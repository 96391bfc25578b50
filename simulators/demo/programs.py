"""The processes that the demo starts: each in a group of its own, tied to us, its words in a file of its own.

Only what was started here is ever signalled, by its own process id. Start programs from the main thread only: the
kernel ties a child to the thread that made it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

TETHER = Path(__file__).with_name("tether.py")


class DidNotStart(RuntimeError):
    """A part ended or stayed silent at its start; the message has its last words."""


class Program:
    """One program that can be started, killed and started again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        takes_input: bool = False,
    ) -> None:
        self.name = name
        self.command = [str(each) for each in command]
        self.log = folder / f"{name}.log"
        self.environment = dict(environment or {})
        self.takes_input = takes_input
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        tether = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*tether, *self.command],
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE if self.takes_input else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def input(self) -> IO[bytes]:
        assert self.process is not None
        assert self.process.stdin is not None
        return self.process.stdin

    def say(self, line: str) -> None:
        """A line on its standard input."""
        self.input.write(line.encode() + b"\n")
        self.input.flush()

    def last_words(self, characters: int = 1500) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-characters:]
        return ""

    def signal(self, number: signal.Signals) -> None:
        """To this process and to what it started in its own group."""
        if self.process is None or self.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)

    def end(self, patience_s: float) -> None:
        """Wait for an end that was asked for; kill what does not listen."""
        if self.process is None:
            return
        try:
            self.process.wait(max(patience_s, 0.05))
        except subprocess.TimeoutExpired:
            self.kill()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()


class Troupe:
    """All programs of one demo, in the order of their start; ended in the reverse order, in waves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: dict[str, Program] = {}

    def add(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        takes_input: bool = False,
    ) -> Program:
        program = Program(name, command, self.folder, environment=environment, takes_input=takes_input)
        self.programs[name] = program
        program.start()
        return program

    def run(
        self, name: str, command: Sequence[str | Path], *, environment: Mapping[str, str], wait_s: float = 120
    ) -> None:
        """A program that does one thing and ends; raises DidNotStart when it ends badly."""
        program = self.add(name, command, environment=environment)
        self.finish(name, wait_s=wait_s)
        del self.programs[program.name]

    def finish(self, name: str, *, wait_s: float = 120) -> None:
        program = self.programs[name]
        assert program.process is not None
        try:
            code = program.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            raise DidNotStart(f"{name} did not end within {wait_s:g} s:\n{program.last_words()}") from None
        if code != 0:
            raise DidNotStart(f"{name} ended with {code}:\n{program.last_words()}")

    def fallen(self) -> list[Program]:
        """Programs that ended although nobody asked them to."""
        return [each for each in self.programs.values() if not each.running]

    def stop(self, last: Sequence[str] = ()) -> None:
        """End all: first everybody else, then those in `last` in that order (what the others stand on)."""
        others = [each for name, each in self.programs.items() if name not in last]
        for wave in (others, *([self.programs[name]] for name in last if name in self.programs)):
            for each in wave:
                each.signal(signal.SIGTERM)
            deadline = time.monotonic() + 8
            for each in wave:
                each.end(deadline - time.monotonic())
