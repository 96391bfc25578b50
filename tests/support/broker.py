"""A mosquitto of the test's own: durable sessions, a free loopback port, can be killed -9 and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.waiting import eventually

_PLACES = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto")


def mosquitto_path() -> str | None:
    return shutil.which("mosquitto") or next((each for each in _PLACES if Path(each).exists()), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Broker:
    """`host` and `port` stay the same over `kill()` and `start()`."""

    host = "127.0.0.1"

    def __init__(self, program: str, folder: Path, *settings: str) -> None:
        """`settings`: more lines of its configuration."""
        self.program = program
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nmax_queued_messages 100000\n"
            + ("user root\n" if folder.owner() == "root" else "")
            + "".join(f"{each}\n" for each in settings),
            encoding="utf-8",
        )

    def start(self) -> None:
        log = (self._folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen(
            [self.program, "-c", str(self._configuration)], stdout=log, stderr=subprocess.STDOUT, process_group=0
        )
        log.close()
        eventually(self._accepts, within_s=10, what="mosquitto listens")

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((self.host, self.port)) == 0

    def kill(self) -> None:
        """kill -9: what it had not written is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(10)
        self._process = None


def start_mosquitto(folder: Path, *settings: str) -> Broker:
    """A running broker, or the test is skipped with the missing part's name."""
    program = mosquitto_path()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    broker = Broker(program, folder, *settings)
    broker.start()
    return broker
