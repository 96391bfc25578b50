"""What systemd hears of the box: ready, alive while the loop turns, stopping. A socket stands in for systemd's."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

from edge.service_manager import ping_every_s, tell, watch


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(tmp_path / "notify"))
    made.settimeout(10)
    return made


def heard(manager: socket.socket) -> int:
    """Datagrams that wait."""
    count = 0
    manager.setblocking(False)
    try:
        while manager.recv(100):
            count += 1
    except BlockingIOError:
        pass
    return count


@pytest.mark.req("GW-14")
def test_nobody_is_told_where_nobody_asked(tmp_path: Path) -> None:
    assert tell("READY=1", {}) is False
    assert tell("READY=1", {"NOTIFY_SOCKET": "relative"}) is False
    assert tell("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")}) is False


@pytest.mark.req("GW-14")
def test_the_manager_hears_that_the_box_serves(manager: socket.socket, tmp_path: Path) -> None:
    assert tell("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert manager.recv(100) == b"READY=1"
    manager.close()


@pytest.mark.req("GW-14")
def test_pings_come_three_times_in_a_period_and_only_for_the_process_that_is_watched() -> None:
    assert ping_every_s({"WATCHDOG_USEC": "30000000"}) == 10.0
    assert ping_every_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 10.0
    assert ping_every_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert ping_every_s({}) is None
    assert ping_every_s({"WATCHDOG_USEC": "soon"}) is None


@pytest.mark.req("GW-14")
def test_a_loop_that_hangs_is_silent_and_one_that_turns_is_not(manager: socket.socket, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000"}  # a ping every 10 ms

    async def run() -> None:
        loop = asyncio.get_running_loop()
        watching = asyncio.create_task(watch(environment))
        for _ in range(3):
            assert await loop.run_in_executor(None, manager.recv, 100) == b"WATCHDOG=1"
        heard(manager)
        threading.Event().wait(0.3)  # thirty pings long nothing else of the loop runs
        assert heard(manager) == 0
        manager.settimeout(10)
        assert await loop.run_in_executor(None, manager.recv, 100) == b"WATCHDOG=1"
        watching.cancel()

    asyncio.run(run())
    manager.close()
