"""Tasks that cannot die silently: what ends with a fault is logged, counted and begun again after a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from edge.faults import where
from edge.ports.contract import Backoff

log = structlog.get_logger()


async def supervise(name: str, work: Callable[[], Awaitable[None]], on_fault: Callable[[], None] | None = None) -> None:
    """Run `work` for ever. One task's fault never reaches another."""
    backoff = Backoff(0.5, 30.0)
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await work()
            log.error("task.ended", task=name)
        except Exception as fault:  # outer loop of every task
            log.error("task.fault", task=name, fault=where(fault))
        if on_fault is not None:
            on_fault()
        if loop.time() - began > backoff.longest_s:
            backoff.succeeded()
        await asyncio.sleep(backoff.next_s())
