"""Wait for a part to be there: a deadline and the reason it missed it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from simulators.demo.programs import DidNotStart, Program

T = TypeVar("T")
PAUSE_S = 0.02


def until(condition: Callable[[], T | None], *, what: str, within_s: float, program: Program | None = None) -> T:
    """The first answer of `condition` that is not None or False; raises DidNotStart with the program's last words."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if program is not None and not program.running:
            raise DidNotStart(f"{what}: {program.name} ended.\n{program.last_words()}")
        if time.monotonic() > deadline:
            words = program.last_words() if program is not None else ""
            raise DidNotStart(f"{what}: not within {within_s:g} s.\n{words}")
        time.sleep(PAUSE_S)


def port_answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def page_answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; held open together so that none is given twice."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in probes]
    for each in probes:
        each.close()
    return ports
