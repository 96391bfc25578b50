"""A task of the box that dies is begun again, and it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edge import supervise
from edge.supervise import report, watch_loop

pytestmark = pytest.mark.req("GW-1")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_FIRST_WAIT_S", 0.001)


def told(name: str) -> dict[str, Any]:
    none = {"deaths": -1, "runs": False}
    return next((each for each in report() if each["task"] == name), none)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def supervised(work: Callable[[int], Awaitable[None]], then: Callable[[], Awaitable[None]]) -> None:
    """`work` gets the number of its life; `then` is done beside it."""
    lives = iter(range(1, 1000))

    async def main() -> None:
        task = asyncio.create_task(supervise.supervise("work", lambda: work(next(lives))))
        await then()
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
        assert all(each["task"] != "work" for each in report()), "what was stopped is watched no more"

    asyncio.run(main())


def test_a_task_that_fails_or_ends_begins_again() -> None:
    async def work(life: int) -> None:
        if life == 1:
            raise ValueError("patient Wang")
        if life > 2:
            await asyncio.sleep(3600)

    async def then() -> None:
        await until(lambda: told("work")["deaths"] == 1)
        assert told("work")["last_fault"].startswith("ValueError at test_edge_supervise.py")
        assert "Wang" not in told("work")["last_fault"]
        await until(lambda: told("work")["deaths"] == 2)
        assert told("work")["last_fault"] == "it ended"
        await until(lambda: told("work")["runs"])

    supervised(work, then)


def test_a_task_that_a_stranger_cancels_begins_again() -> None:
    async def work(life: int) -> None:
        await asyncio.sleep(3600)

    async def then() -> None:
        await until(lambda: told("work")["runs"])
        next(each for each in asyncio.all_tasks() if each.get_name() == "work").cancel()
        await until(lambda: told("work")["deaths"] == 1)
        assert told("work")["last_fault"] == "it was cancelled"
        await until(lambda: told("work")["runs"])

    supervised(work, then)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_task_that_swallows_its_own_end_ends_with_the_box(goes_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_SAY_AGAIN_S", 0.01)

    async def work(life: int) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if goes_on:
                await asyncio.sleep(3600)

    async def then() -> None:
        await until(lambda: told("work")["runs"])

    supervised(work, then)


def test_a_callback_that_fails_is_counted_and_the_loop_goes_on() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        watch_loop(loop)
        before = told("callbacks")["deaths"]
        loop.call_soon([].pop)
        await until(lambda: told("callbacks")["deaths"] == before + 1)
        assert told("callbacks")["last_fault"].startswith("IndexError")

    asyncio.run(main())
