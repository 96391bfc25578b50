"""Between the links and the cloud: a brief question about a tube nobody here knows, and the word that orders changed.

Nothing is kept here, and no link waits longer than it said: without a connection the answer is "not reached" at once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from edge.errors import BrokerUnreachable
from protocols.uplink.asking import MOST_SPECIMENS, Answer, Finding, NoOrder, Question

_MOST_OPEN = 500
"""Questions under way, over all links; more are answered "no answer" at once."""

Publish = Callable[[str, bytes, float], None]
"""(link, payload, seconds it is worth delivering); raises `BrokerUnreachable`."""
Done = Callable[[Mapping[str, Finding]], None]

log = structlog.get_logger()


@dataclass(slots=True)
class _Open:
    link: str
    specimens: tuple[str, ...]
    done: Done
    timer: asyncio.TimerHandle | None = field(default=None)


class CloudDesk:
    """One for the box. `done` is called exactly once for each question, never from inside `ask`."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._publish: Publish | None = None
        self._open: dict[str, _Open] = {}
        self._listeners: list[Callable[[], None]] = []
        self.questions = 0
        self.late_answers = 0

    # ------------------------------------------------------------------ the links' side

    @property
    def reached(self) -> bool:
        return self._publish is not None

    def ask(self, link: str, specimens: Sequence[str], wait_s: float, done: Done) -> None:
        """What the cloud finds for each tube; a reason of the box's own where it cannot say in time."""
        asked = tuple(dict.fromkeys(specimens))[:MOST_SPECIMENS]
        publish = self._publish
        if publish is None or len(self._open) >= _MOST_OPEN:
            reason = NoOrder.NOT_REACHED if publish is None else NoOrder.NO_ANSWER
            self._loop.call_soon(done, _nothing(specimens, reason))
            return
        id_ = secrets.token_hex(6)
        try:
            publish(link, Question(self._gateway, link, id_, asked).to_bytes(), wait_s)
        except BrokerUnreachable as error:
            log.info("desk.not_reached", link=link, reason=str(error))
            self._loop.call_soon(done, _nothing(specimens, NoOrder.NOT_REACHED))
            return
        self.questions += 1
        question = self._open[id_] = _Open(link, tuple(specimens), done)
        question.timer = self._loop.call_later(wait_s, self._too_late, id_)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """`listener` is called when the worklist moved; gives what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    # ------------------------------------------------------------------ the forwarder's side

    def connected(self, publish: Publish) -> None:
        self._publish = publish

    def disconnected(self) -> None:
        """Nobody will answer on this connection: the instruments need not wait for it."""
        self._publish = None
        for id_ in list(self._open):
            self._end(id_, {}, NoOrder.NOT_REACHED)

    def answered(self, answer: Answer) -> None:
        question = self._open.get(answer.id)
        if question is None or question.link != answer.link:
            self.late_answers += 1
            log.info("desk.late_answer", link=answer.link)
            return
        self._end(answer.id, {each.specimen: each for each in answer.findings}, NoOrder.NO_ANSWER)

    def worklist_moved(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _too_late(self, id_: str) -> None:
        self._end(id_, {}, NoOrder.NO_ANSWER)

    def _end(self, id_: str, found: dict[str, Finding], reason: NoOrder) -> None:
        question = self._open.pop(id_, None)
        if question is None:
            return
        if question.timer is not None:
            question.timer.cancel()
        question.done({**_nothing(question.specimens, reason), **found})


def _nothing(specimens: Sequence[str], reason: NoOrder) -> dict[str, Finding]:
    return {each: Finding(each, None, reason) for each in specimens}
