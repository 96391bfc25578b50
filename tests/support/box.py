"""A box of the test's own: the real edge daemon as a process, its configuration and what it stored."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.store.reader import Reader
from protocols.uplink.envelope import Message
from tests.support.broker import free_port
from tests.support.waiting import eventually

_ROOT = Path(__file__).resolve().parents[2]


def _toml(value: object) -> str:
    """A value as it stands behind `=`, tables in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value)


@dataclass
class Box:
    """`add_tcp` and friends before `start`; a box that was killed starts again on the same store."""

    folder: Path
    broker_port: int
    gateway: str = "gw-test"
    partition: int = 3
    receipt_timeout_s: float = 60.0
    max_megabytes: int = 64
    window: int = 200
    reconnect_longest_s: float = 0.3
    more: str = ""
    """Further sections of its configuration."""
    module: str = "edge"
    """What runs as the daemon; a bench may put a stand of its own around it."""
    links: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def add_tcp(self, link: str, driver: str = "sysmex_xn", options: Mapping[str, object] | None = None) -> int:
        """The port the instrument connects to."""
        port = free_port()
        while port in self.ports.values():  # nobody listens on the earlier ones yet
            port = free_port()
        self.ports[link] = port
        self._add(link, driver, f'{{ kind = "tcp_listen", host = "127.0.0.1", port = {port} }}', options)
        return port

    def add_dialled(
        self, link: str, port: int, driver: str = "sysmex_xn", options: Mapping[str, object] | None = None
    ) -> None:
        self._add(link, driver, f'{{ kind = "tcp_dial", host = "127.0.0.1", port = {port} }}', options)

    def add_serial(
        self,
        link: str,
        device: str,
        driver: str = "sysmex_xn",
        baud_rate: int = 115200,
        options: Mapping[str, object] | None = None,
    ) -> None:
        port = f'{{ kind = "serial", device = "{device}", baud_rate = {baud_rate} }}'
        self._add(link, driver, port, options)

    def add_serial_server(self, link: str, port: int, driver: str = "sysmex_xn", **line: object) -> None:
        """RFC 2217; `line` is its setting in the words of the configuration."""
        setting = "".join(f", {key} = {_toml(value)}" for key, value in line.items())
        self._add(link, driver, f'{{ kind = "rfc2217", host = "127.0.0.1", port = {port}{setting} }}')

    def _add(self, link: str, driver: str, port: str, options: Mapping[str, object] | None = None) -> None:
        more = f"options = {_toml(options)}\n" if options else ""
        self.links.append(f'[[links]]\nid = "{link}"\ndriver = "{driver}"\nport = {port}\n{more}')

    @property
    def config(self) -> Path:
        return self.folder / "box.toml"

    @property
    def store(self) -> Path:
        return self.folder / "box.db"

    def write_config(self) -> None:
        self.config.write_text(
            f'[gateway]\nid = "{self.gateway}"\ncampus = "main"\npartition = {self.partition}\n'
            f'[store]\npath = "box.db"\nmax_megabytes = {self.max_megabytes}\n'
            f'[cloud]\nhost = "127.0.0.1"\nport = {self.broker_port}\nwindow = {self.window}\n'
            f"receipt_timeout_s = {self.receipt_timeout_s}\nreconnect_longest_s = {self.reconnect_longest_s}\n"
            + self.more
            + "\n".join(self.links),
            encoding="utf-8",
        )

    def start(self) -> None:
        """Running, with every listening port open."""
        self.launch()
        eventually(self._is_up, within_s=30, what="the box is up")

    def launch(self) -> None:
        """Begins to run; nothing is waited for."""
        self.write_config()
        (self.folder / "box.db.status.json").unlink(missing_ok=True)
        with (self.folder / "edge.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, "run", str(self.config)],
                stderr=log,
                stdout=log,
                cwd=_ROOT,
                process_group=0,  # Ctrl-C is for who started it: it ends the box in its own order
            )

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        status = self.status()
        if status is None or status["pid"] != self._process.pid:
            return False
        return all(each["state"] in ("listening", "open") for each in status["links"] if each["link"] in self.ports)

    def status(self) -> dict[str, Any] | None:
        """What `edge status` reads."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "box.db.status.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    @property
    def pid(self) -> int:
        assert self._process is not None, "the box does not run"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9: what it had not made durable is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, how)
            self._process.wait(15)
        self._process = None

    def log(self) -> str:
        return (self.folder / "edge.log").read_text(encoding="utf-8")

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        """Straight from the file, beside the daemon or after it."""
        with sqlite3.connect(self.store, timeout=10) as connection:
            found = connection.execute(sql, parameters).fetchall()
        connection.close()
        return found

    def frames(self, link: str) -> list[bytes]:
        return [
            raw
            for (raw,) in self.rows(
                "SELECT raw FROM journal JOIN link ON link.id = journal.link WHERE name = ? ORDER BY journal.id", link
            )
        ]

    def read(self, link: str) -> list[Message]:
        """A link's messages as the cloud gets them, delivered or not."""
        reader = Reader(self.store)
        try:
            return reader.between(link, 1, 2**62, limit=10**6, max_bytes=10**12)
        finally:
            reader.close()

    def messages(self, link: str) -> list[tuple[int, str]]:
        """(sequence, state) of a link's messages."""
        return [(each.sequence, str(each.state)) for each in self.read(link)]

    def waiting(self, link: str) -> int:
        """Messages without a receipt."""
        found = self.rows(
            """SELECT count(*) FROM outbox JOIN link ON link.id = outbox.link
                WHERE name = ? AND sequence > delivered_through AND delivered = 0""",
            link,
        )
        return int(found[0][0])
