"""A serial server whose cable is pulled says nothing: in a network of its own, the box notices and connects again."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edge.ports import tcp
from edge.ports.contract import Connection
from edge.ports.tcp import TcpDialPort, TcpListenPort
from tests.support.broker import free_port

pytestmark = pytest.mark.req("GW-1")

_SUBNET = f"10.213.{os.getpid() % 250}"
_BOX, _THERE = f"{_SUBNET}.1", f"{_SUBNET}.2"
_PORT = 4001
_ECHO = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
while True:
    connected, _ = server.accept()
    connected.sendall(b"hello")
    held = connected  # the one before is forgotten, as a server does that was unplugged
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Network:
    """A namespace with one address, on a cable to the box."""

    def __init__(self) -> None:
        self.name = f"xl{os.getpid() % 10_000}"
        self._cable = f"{self.name}a"

    def build(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("address", "add", f"{_BOX}/30", "dev", self._cable)
        ip("link", "set", self._cable, "up")
        ip("-n", self.name, "address", "add", f"{_THERE}/30", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")

    def take_down(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self._cable], capture_output=True, check=False)

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["ip", "netns", "exec", self.name, sys.executable, "-c", program, *arguments])

    def pull(self) -> None:
        """No packet comes back, and none says why."""
        ip("-n", self.name, "route", "add", "blackhole", f"{_BOX}/32")

    def plug_in(self) -> None:
        ip("-n", self.name, "route", "delete", "blackhole", f"{_BOX}/32")


@pytest.fixture
def network() -> Iterator[Network]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root and iproute2")
    made = Network()
    try:
        try:
            made.build()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespace here: {error.stderr.decode().strip()}")
        yield made
    finally:
        made.take_down()


class Line:
    """Counts what the port tells."""

    def __init__(self) -> None:
        self.openings = 0
        self.endings: list[str] = []
        self.heard = b""
        self.connection: Connection | None = None

    def opened(self, connection: Connection, peer: str) -> None:
        self.openings += 1
        self.connection = connection

    def received(self, data: bytes) -> None:
        self.heard += data

    def closed(self, reason: str) -> None:
        self.endings.append(reason)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within 30 s: {what}") from None


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The box's own times are 20 to 35 s; what is tested is that they work, not how long they are."""
    monkeypatch.setattr(tcp, "KEEP_ALIVE_S", 1)
    monkeypatch.setattr(tcp, "KEEP_ALIVE_AGAIN_S", 1)
    monkeypatch.setattr(tcp, "KEEP_ALIVE_TRIES", 2)
    monkeypatch.setattr(tcp, "USER_TIMEOUT_MS", 2000)
    monkeypatch.setattr(tcp, "CONNECT_TIMEOUT_S", 1.0)
    yield


@pytest.mark.parametrize("writing", [False, True], ids=["idle", "an answer is under way"])
def test_an_unplugged_serial_server_is_noticed_and_dialled_again(
    network: Network, monkeypatch: pytest.MonkeyPatch, writing: bool
) -> None:
    server = network.start(_ECHO, str(_PORT))

    async def main() -> None:
        line = Line()
        port = TcpDialPort("xn", _THERE, _PORT)
        serving = asyncio.create_task(port.serve(line))
        await until(lambda: line.heard == b"hello", "the first connection")
        network.pull()
        if writing:
            assert line.connection is not None
            line.connection.write(b"\x06")
        await until(lambda: line.endings, "the box notices")
        network.plug_in()
        await until(lambda: line.heard == b"hellohello", "the second connection")
        assert (line.openings, len(line.endings)) == (2, 1)
        serving.cancel()
        await asyncio.wait([serving])

    try:
        with impatient(monkeypatch):
            asyncio.run(main())
    finally:
        server.kill()
        server.wait()


_INSTRUMENT = """
import socket, sys, time
for text in (b"before", b"after"):
    line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    line.sendall(text)
    if text == b"before":
        sys.stdin.readline()
        line.detach()  # it lost its power: nobody closes what was open
time.sleep(600)
"""


def test_an_instrument_that_comes_back_replaces_its_half_open_connection_at_once(network: Network) -> None:
    """Long before the old connection could be found dead: the keep-alive times are the box's own here."""
    port_number = free_port()

    async def main() -> None:
        line = Line()
        serving = asyncio.create_task(TcpListenPort("xn", _BOX, port_number).serve(line))
        instrument = subprocess.Popen(
            ["ip", "netns", "exec", network.name, sys.executable, "-c", _INSTRUMENT, _BOX, str(port_number)],
            stdin=subprocess.PIPE,
        )
        try:
            await until(lambda: line.heard == b"before", "the first connection")
            assert instrument.stdin is not None
            instrument.stdin.write(b"\n")
            instrument.stdin.close()
            await until(lambda: line.heard == b"beforeafter", "the second connection")
            assert line.endings == ["replaced by a new connection"]
        finally:
            instrument.kill()
            instrument.wait()
        serving.cancel()
        await asyncio.wait([serving])

    asyncio.run(main())


def test_a_server_that_takes_nothing_is_cut_off_before_its_answers_fill_the_memory() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            line = Line()
            serving = asyncio.create_task(TcpDialPort("xn", *listening.getsockname()).serve(line))
            await until(lambda: line.openings, "the connection")
            deaf, _ = listening.accept()
            for _ in range(20_000):
                if line.endings:
                    break
                assert line.connection is not None
                line.connection.write(b"\x06" * 4096)
                await asyncio.sleep(0)
            assert line.endings == ["the instrument takes no bytes"]
            deaf.close()
            serving.cancel()
            await asyncio.wait([serving])

    asyncio.run(main())
