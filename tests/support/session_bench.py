"""One instrument's session without a socket: real link, real driver, real store; the instrument is written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.clock import Clock
from edge.config import LinkSection, TcpListen
from edge.desk import CloudDesk
from edge.session import Session
from edge.store.store import Store
from protocols.model import Order
from protocols.uplink.asking import Answer, Finding, Question
from protocols.uplink.envelope import Message, WorklistEntry
from tests.support.analyzer import ACK, ENQ, EOT, frame

_WAIT_S = 10.0
GATEWAY = "gw-1"


class Wire:
    """The port's side of the session (a `Connection`): what was written to the instrument."""

    def __init__(self) -> None:
        self.written = b""
        self.closed_for = ""
        self.paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self, reason: str) -> None:
        self.closed_for = reason


class Bench:
    """A session on a wire, a cloud that hears its questions, and what the test looks at."""

    def __init__(self, store: Store, driver: str, **settings: Any) -> None:
        self.store = store
        self.reader = store.reader()
        section = LinkSection(id="xn", driver=driver, port=TcpListen(kind="tcp_listen", port=5001), **settings)
        self.announced: list[str] = []
        self.desk = CloudDesk(GATEWAY)
        self.questions: list[Question] = []
        self.revision = 0
        self.session = Session(section, store, self.reader, Clock(), self.announced.append, self.desk)
        self.wire = Wire()
        self.session.opened(self.wire, "test")

    # ------------------------------------------------------------------ the cloud

    def reach_the_cloud(self) -> None:
        self.desk.connected(lambda _link, payload, _wait_s: self.questions.append(Question.from_bytes(payload)))

    async def is_asked(self, number: int = 1) -> Question:
        await eventually(lambda: len(self.questions) >= number, "the cloud is asked")
        return self.questions[number - 1]

    def cloud_says(self, question: Question, *findings: Finding) -> None:
        self.desk.answered(Answer(question.link, question.id, findings))

    def put(self, specimen: str, *codes: str, priority: str = "R") -> None:
        """The worklist's newest word on a tube; no codes: it is taken back."""
        self.revision += 1
        orders = {"xn": Order(specimen, codes, priority=priority)} if codes else {}
        entry = WorklistEntry(self.revision, specimen, orders, datetime.now(UTC) + timedelta(hours=8))
        self.store.write(lambda ledger: ledger.put_worklist([entry], self.revision - 1))
        self.desk.worklist_moved()

    # ------------------------------------------------------------------ the instrument

    async def says(self, data: bytes, answer: bytes) -> None:
        """The instrument sends; the host must answer exactly this."""
        self.wire.written = b""
        self.session.received(data)
        await eventually(lambda: len(self.wire.written) >= len(answer), f"an answer to {data[:20]!r}")
        assert self.wire.written == answer

    async def reports(self, records: list[bytes]) -> None:
        """A whole ASTM message."""
        await self.says(ENQ, ACK)
        for number, record in enumerate(records, start=1):
            await self.says(frame(number, record + b"\r"), ACK)
        self.wire.written = b""
        self.session.received(EOT)

    async def takes(self) -> list[bytes]:
        """The host's ASTM message as records; every frame acknowledged."""
        await eventually(lambda: self.wire.written.endswith(ENQ), "the host bids")
        records = []
        self.wire.written = b""
        self.session.received(ACK)
        while self.wire.written != EOT:
            records.append(self.wire.written[2:].split(b"\r")[0])
            self.wire.written = b""
            self.session.received(ACK)
        self.wire.written = b""
        return records

    async def takes_block(self) -> list[str]:
        """The host's next HL7 message as segments; what follows it stays."""
        await eventually(lambda: b"\x1c\r" in self.wire.written, "the host sends")
        block, _, self.wire.written = self.wire.written.partition(b"\x1c\r")
        return block.decode().lstrip("\x0b").rstrip("\r").split("\r")

    # ------------------------------------------------------------------ what was kept

    def messages(self) -> list[Message]:
        return self.reader.undelivered("xn", 0, 1000, 10**9)


async def eventually(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)
    assert condition(), what


def on_a_bench(folder: Path, walk: Callable[[Bench], Awaitable[None]], driver: str, **settings: Any) -> None:
    async def run() -> None:
        with Store(folder / "box.db", max_bytes=64 * 2**20, loop=asyncio.get_running_loop()) as store:
            bench = Bench(store, driver, **settings)
            try:
                await walk(bench)
            finally:
                bench.session.end()
                bench.reader.close()

    asyncio.run(run())
