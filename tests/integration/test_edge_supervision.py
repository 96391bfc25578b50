"""Every task of the real daemon is killed, one after the other; the bench is served again each time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge import supervise
from edge.config_start import choose
from edge.daemon import Daemon
from tests.support.analyzer import over_tcp, xn_result
from tests.support.broker import free_port
from tests.support.serial_server import SerialServer

pytestmark = pytest.mark.req("GW-1")


def told(name: str) -> dict[str, Any]:
    none = {"deaths": -1, "runs": False}
    return next((each for each in supervise.report() if each["task"] == name), none)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 20 s: {what}") from None


def test_each_task_of_the_daemon_that_is_killed_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_FIRST_WAIT_S", 0.01)
    server = SerialServer()
    port = free_port()
    config = tmp_path / "box.toml"
    config.write_text(
        f"""
[gateway]
id = "gw-test"
campus = "main"
partition = 3
[store]
path = "box.db"
[cloud]
host = "127.0.0.1"
port = {free_port()}
[[links]]
id = "xn"
driver = "sysmex_xn"
port = {{ kind = "tcp_listen", host = "127.0.0.1", port = {port} }}
[[links]]
id = "xs"
driver = "sysmex_xn"
port = {{ kind = "rfc2217", host = "127.0.0.1", port = {server.port} }}
[[links]]
id = "xt"
driver = "sysmex_xn"
port = {{ kind = "serial", device = "{tmp_path}/nothing" }}
""",
        encoding="utf-8",
    )

    def analyzer_is_served(specimen: str) -> None:
        analyzer = over_tcp("127.0.0.1", port)
        analyzer.report(xn_result(specimen))
        analyzer.close()

    def listens() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    async def kill_each() -> None:
        daemon = asyncio.create_task(Daemon(choose(config)).run())
        await until(lambda: any(each["task"] == "port xt" for each in supervise.report()), "the tasks run")
        await until(listens, "the port listens")
        names = {each["task"] for each in supervise.report()} - {"callbacks"}
        assert {"port xn", "port xs", "port xt", "forwarder", "pruning", "health"} <= names
        for number, name in enumerate(sorted(names)):
            await until(lambda: told(name)["runs"], f"{name} runs")  # noqa: B023
            next(each for each in asyncio.all_tasks() if each.get_name() == name).cancel()
            await until(lambda: told(name)["deaths"] == 1 and told(name)["runs"], f"{name} again")  # noqa: B023
            await asyncio.to_thread(analyzer_is_served, f"26{number:02}")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(daemon, 20)

    try:
        asyncio.run(kill_each())
    finally:
        server.close()
