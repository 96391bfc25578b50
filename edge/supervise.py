"""Tasks that cannot die silently: what ends, fails or is cancelled by a stranger is logged, counted and begun again.

`report` tells of all of them, for `edge status`. A callback that fails outside of any task is counted by `watch_loop`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from edge.faults import where
from edge.ports.contract import Backoff

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_SAY_AGAIN_S = 1.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Watched:
    """One task's life since the daemon started."""

    runs: bool = False
    deaths: int = 0
    last_fault: str | None = None
    last_death_at: str | None = None

    def died(self, fault: str) -> None:
        self.runs = False
        self.deaths += 1
        self.last_fault = fault
        self.last_death_at = datetime.now(UTC).isoformat(timespec="seconds")


_watched: dict[str, _Watched] = {}
_callbacks = _Watched(runs=True)


async def supervise(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` for ever, until this itself is cancelled. One task's fault never reaches another."""
    backoff = Backoff(_FIRST_WAIT_S, _LONGEST_WAIT_S)
    loop = asyncio.get_running_loop()
    record = _watched[name] = _Watched()
    try:
        while True:
            began = loop.time()
            record.runs = True
            record.died(await _death(name, work))
            log.error("task.died", task=name, fault=record.last_fault, deaths=record.deaths)
            if loop.time() - began > backoff.longest_s:
                backoff.succeeded()
            await asyncio.sleep(backoff.next_s())
    finally:
        if _watched.get(name) is record:
            del _watched[name]


async def _death(name: str, work: Callable[[], Awaitable[None]]) -> str:
    """How it ended. In a task of its own, so that a stray cancellation inside is not taken for our own end."""

    async def run() -> None:
        await work()

    inner = asyncio.create_task(run(), name=name)
    try:
        await asyncio.wait([inner])
    finally:
        await _end(inner)
    if inner.cancelled():
        return "it was cancelled"
    fault = inner.exception()
    if fault is None:
        return "it ended"
    if not isinstance(fault, Exception):
        raise fault
    return where(fault)


async def _end(task: asyncio.Task[None]) -> None:
    """A cancellation can get lost inside (`asyncio.wait_for` of Python 3.11 loses some): it is said again."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_SAY_AGAIN_S)


def report() -> list[dict[str, Any]]:
    """Every supervised task: does it run, how often did it die, of what and when last."""
    everything = {**_watched, "callbacks": _callbacks}
    return [
        {
            "task": name,
            "runs": each.runs,
            "deaths": each.deaths,
            "last_fault": each.last_fault,
            "last_death_at": each.last_death_at,
        }
        for name, each in everything.items()
    ]


def watch_loop(loop: asyncio.AbstractEventLoop) -> None:
    """What fails in a bare callback (a timer, a port's read) is logged and counted; the loop goes on."""

    def failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        fault = where(error) if isinstance(error, BaseException) else str(context.get("message"))
        _callbacks.died(fault)
        _callbacks.runs = True
        log.error("callback.fault", fault=fault, deaths=_callbacks.deaths)

    loop.set_exception_handler(failed)
