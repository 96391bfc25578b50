"""The question about a tube that nobody on the box knows: answered once, in time, or with the reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest

from edge.desk import CloudDesk
from edge.errors import BrokerUnreachable
from protocols.model import Order
from protocols.uplink.asking import Answer, Finding, NoOrder, Question

pytestmark = pytest.mark.req("GW-7")


class Asked:
    """What was published and what the link was told."""

    def __init__(self, desk: CloudDesk) -> None:
        self.desk = desk
        self.questions: list[Question] = []
        self.told: list[Mapping[str, Finding]] = []

    def connect(self) -> None:
        self.desk.connected(lambda _link, payload, _wait_s: self.questions.append(Question.from_bytes(payload)))

    def ask(self, *specimens: str, wait_s: float = 60.0) -> None:
        self.desk.ask("xn", specimens, wait_s, self.told.append)

    async def is_told(self) -> Mapping[str, Finding]:
        async with asyncio.timeout(10):
            while not self.told:
                await asyncio.sleep(0.001)
        [found] = self.told
        return found

    def reasons(self) -> dict[str, str]:
        return {specimen: each.reason for specimen, each in self.told[0].items()}


def at_the_desk(walk: Callable[[Asked], Awaitable[None]]) -> None:
    async def run() -> None:
        await walk(Asked(CloudDesk("gw-1")))

    asyncio.run(run())


def test_the_clouds_answer_reaches_the_link_that_asked() -> None:
    async def walk(asked: Asked) -> None:
        asked.connect()
        asked.ask("26001", "26002")
        [question] = asked.questions
        assert (question.gateway, question.link, question.specimens) == ("gw-1", "xn", ("26001", "26002"))
        order = Finding("26001", Order("26001", ("WBC",)))
        asked.desk.answered(Answer("xn", question.id, (order, Finding("26002", None, NoOrder.UNKNOWN))))
        found = await asked.is_told()
        assert found["26001"] == order
        assert found["26002"].reason == NoOrder.UNKNOWN

    at_the_desk(walk)


def test_without_a_connection_the_link_hears_so_at_once() -> None:
    async def walk(asked: Asked) -> None:
        asked.ask("26001")
        assert asked.told == []  # never from inside the question
        await asked.is_told()
        assert asked.reasons() == {"26001": NoOrder.NOT_REACHED}

    at_the_desk(walk)


def test_a_connection_that_breaks_ends_the_waiting() -> None:
    async def walk(asked: Asked) -> None:
        asked.connect()
        asked.ask("26001")
        asked.desk.disconnected()
        assert asked.reasons() == {"26001": NoOrder.NOT_REACHED}

    at_the_desk(walk)


def test_a_broker_that_refuses_the_question_is_no_connection() -> None:
    def refuse(_link: str, _payload: bytes, _wait_s: float) -> None:
        raise BrokerUnreachable("gone")

    async def walk(asked: Asked) -> None:
        asked.desk.connected(refuse)
        asked.ask("26001")
        await asked.is_told()
        assert asked.reasons() == {"26001": NoOrder.NOT_REACHED}

    at_the_desk(walk)


def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    async def walk(asked: Asked) -> None:
        asked.connect()
        asked.ask("26001", wait_s=0.01)
        await asked.is_told()
        assert asked.reasons() == {"26001": NoOrder.NO_ANSWER}
        asked.desk.answered(Answer("xn", asked.questions[0].id, (Finding("26001", Order("26001", ("WBC",))),)))
        assert len(asked.told) == 1
        assert asked.desk.late_answers == 1

    at_the_desk(walk)


def test_an_answer_for_another_link_is_not_believed() -> None:
    async def walk(asked: Asked) -> None:
        asked.connect()
        asked.ask("26001")
        asked.desk.answered(Answer("bs", asked.questions[0].id, (Finding("26001", Order("26001", ("ALT",))),)))
        assert asked.told == []

    at_the_desk(walk)
