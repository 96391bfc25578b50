"""The peers of `bench protocols`: each in an environment of its own, made once, and a process that parses on demand."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".state" / "peers"
"""Ignored by git; delete it to make the environments anew."""
_WORKER = Path(__file__).with_name("protocols_peer.py")

PEERS = {
    "labmcp-astm-lis": ("astm", "labmcp-astm-lis==0.1.3"),
    "astm-2025": ("astm", "astm-2025==1.0.0"),
    "hl7": ("hl7", "hl7==0.4.5"),
    "hl7apy": ("hl7", "hl7apy==1.3.5"),
    "hl7lw": ("hl7", "hl7lw==0.1.2"),
    "medforge": ("hl7", "medforge==0.2.0"),
}
"""Name, family and requirement. astm-2025 is python-astm for the Python of today; hl7 is python-hl7."""


class PeerFailed(Exception):
    """The peer could not be installed, started, or did not read an input; the message says why."""


def environment(name: str) -> Path:
    """The Python of a peer's environment. Raises PeerFailed."""
    requirement = PEERS[name][1]
    folder = CACHE / requirement
    python = folder / "bin" / "python"
    done = folder / ".installed"
    if done.exists() and python.exists():
        return python
    print(f"installing {requirement} (once) ...", flush=True)
    try:
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerFailed(f"not installed: {error}") from error
    if made.returncode:
        last = next((line for line in reversed(made.stderr.splitlines()) if "ERROR" in line), "pip failed")
        raise PeerFailed(f"not installed: {last}")
    done.touch()
    return python


class Peer:
    """One peer's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.family = PEERS[name][0]
        python = environment(name)
        self._process = subprocess.Popen(
            [str(python), "-I", str(_WORKER), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe

    def _answer(self) -> str:
        line = self._pipe(self._process.stdout).readline().strip()
        if not line or line.startswith("!"):
            raise PeerFailed(line.lstrip("! ") or "its process ended")
        return line

    def seconds(self, file: Path, times: int) -> float:
        """How long `times` parses of the file took. Raises PeerFailed."""
        pipe = self._pipe(self._process.stdin)
        try:
            pipe.write(f"{file} {times}\n")
            pipe.flush()
        except OSError as error:
            raise PeerFailed(str(error)) from error
        return float(self._answer())

    def close(self) -> None:
        self._pipe(self._process.stdin).close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start(families: set[str]) -> list[Peer]:
    """Every peer that can be had; the others are named with the reason."""
    started: list[Peer] = []
    for name, (family, _) in PEERS.items():
        if family in families:
            try:
                started.append(Peer(name))
            except PeerFailed as failed:
                print(f"skipped: {name}: {failed}", file=sys.stdout, flush=True)
    return started
