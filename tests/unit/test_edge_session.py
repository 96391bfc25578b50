"""One instrument's session without a socket: real link, real driver, real store; the instrument is written by hand."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.clock import Clock
from edge.config import LinkSection, TcpListen
from edge.session import Session
from edge.store.store import Store
from protocols.model import Decoded, Order
from protocols.uplink.envelope import Message, MessageState, WorklistEntry
from tests.support.analyzer import ACK, ENQ, EOT, NAK, frame, oru, xn_query, xn_result

_WAIT_S = 10.0


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
    """A session on a wire, with what the test looks at."""

    def __init__(self, store: Store, driver: str) -> None:
        self.store = store
        self.reader = store.reader()
        section = LinkSection(id="xn", driver=driver, port=TcpListen(kind="tcp_listen", port=5001))
        self.announced: list[str] = []
        self.session = Session(section, store, self.reader, Clock(), self.announced.append)
        self.wire = Wire()
        self.session.opened(self.wire, "test")

    async def says(self, data: bytes, answer: bytes) -> None:
        """The instrument sends; the host must answer exactly this."""
        self.wire.written = b""
        self.session.received(data)
        await eventually(lambda: len(self.wire.written) >= len(answer), f"an answer to {data[:20]!r}")
        assert self.wire.written == answer

    async def says_on(self, wire: Wire, data: bytes, answer: bytes) -> None:
        """On another connection: somewhere in what the host writes stands this."""
        self.session.received(data)
        await eventually(lambda: answer in wire.written, f"{answer!r} is answered")

    async def reports(self, records: list[bytes]) -> None:
        await self.says(ENQ, ACK)
        for number, record in enumerate(records, start=1):
            await self.says(frame(number, record + b"\r"), ACK)
        self.session.received(EOT)

    def messages(self) -> list[Message]:
        return self.reader.undelivered("xn", 0, 100, 10**9)

    def stored_frames(self) -> int:
        return sum(len(each) for each in self.reader.open_frames().values())


async def eventually(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)
    assert condition(), what


def on_a_bench(
    folder: Path, walk: Callable[[Bench], Awaitable[None]], driver: str = "sysmex_xn", max_bytes: int = 64 * 2**20
) -> None:
    async def run() -> None:
        with Store(folder / "box.db", max_bytes=max_bytes, loop=asyncio.get_running_loop()) as store:
            bench = Bench(store, driver)
            try:
                await walk(bench)
            finally:
                bench.reader.close()

    asyncio.run(run())


@contextmanager
def nobody_can_commit(folder: Path) -> Iterator[None]:
    """Another connection holds the write lock: what the session asks the store for waits."""
    holder = sqlite3.connect(folder / "box.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@pytest.mark.req("GW-9")
def test_a_frame_is_not_acknowledged_before_its_commit(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        await bench.says(ENQ, ACK)
        bench.wire.written = b""
        with nobody_can_commit(tmp_path):
            bench.session.received(frame(1, xn_result("2601")[0] + b"\r"))
            await asyncio.to_thread(lambda: None)
            for _ in range(100):
                await asyncio.sleep(0)
            assert bench.wire.written == b""
            assert bench.stored_frames() == 0
        await eventually(lambda: bench.wire.written, "the frame is answered")
        assert bench.wire.written == ACK
        assert bench.stored_frames() == 1

    on_a_bench(tmp_path, walk)


@pytest.mark.req("GW-9")
def test_an_hl7_message_is_not_accepted_before_its_commit(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        with nobody_can_commit(tmp_path):
            bench.session.received(oru("1", "2601"))
            for _ in range(100):
                await asyncio.sleep(0)
            assert bench.wire.written == b""
            assert bench.messages() == []
        await eventually(lambda: b"MSA|AA|1" in bench.wire.written, "AA")
        assert [each.state for each in bench.messages()] == [MessageState.DECODED]

    on_a_bench(tmp_path, walk, driver="mindray_bs")


@pytest.mark.req("GW-9")
def test_the_message_holds_the_exact_bytes_and_what_they_mean(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        records = xn_result("2601", "6.52")
        await bench.reports(records)
        [message] = bench.messages()
        assert message.raw == b"".join(frame(n, each + b"\r") for n, each in enumerate(records, start=1))
        [item] = message.items
        assert (item.specimen, item.code, item.value) == ("2601", "WBC", "6.52")  # type: ignore[union-attr]
        assert bench.announced == ["xn"]

    on_a_bench(tmp_path, walk)


@pytest.mark.req("GW-9")
def test_the_analyzer_is_told_no_while_the_store_is_full_and_yes_again_when_there_is_room(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        text = b"C|1|I|" + b"x" * 30_000
        await bench.says(ENQ, ACK)
        number = 1
        while True:
            bench.wire.written = b""
            bench.session.received(frame(number, text + b"\r"))
            await eventually(lambda: bench.wire.written, "an answer")
            if bench.wire.written == NAK:
                break
            number += 1
            assert number < 200
        stored = bench.stored_frames()
        assert stored == number - 1
        assert bench.session.counts.refused_frames == 1
        bench.store.write(_drop_a_frame)
        await bench.says(frame(number, text + b"\r"), ACK)
        assert bench.stored_frames() == stored

    on_a_bench(tmp_path, walk, max_bytes=2**20)


def _drop_a_frame(ledger: object) -> None:
    ledger.connection.execute("DELETE FROM journal WHERE id = 1")  # type: ignore[attr-defined]


@pytest.mark.req("GW-9")
def test_an_hl7_analyzer_hears_an_application_error_while_the_store_is_full(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        answered = 0
        for number in range(200):
            bench.wire.written = b""
            bench.session.received(oru(str(number), "2601", value="1" * 30_000))
            await eventually(lambda: b"MSA" in bench.wire.written, "an answer")
            if b"MSA|AA|" not in bench.wire.written:
                break
            answered += 1
        assert f"MSA|AE|{answered}".encode() in bench.wire.written
        assert len(bench.messages()) == answered

    on_a_bench(tmp_path, walk, driver="mindray_bs", max_bytes=2**20)


@pytest.mark.req("GW-2")
def test_a_damaged_frame_is_refused_and_its_repetition_stored_once(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        good = frame(1, xn_result("2601")[0] + b"\r")
        await bench.says(ENQ, ACK)
        await bench.says(good.replace(b"XN-10", b"XN-11"), NAK)
        assert bench.stored_frames() == 0
        await bench.says(good, ACK)
        assert bench.stored_frames() == 1

    on_a_bench(tmp_path, walk)


@pytest.mark.req("GW-9")
def test_frames_of_a_message_that_never_ends_are_kept_as_incomplete(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        records = xn_result("2601")
        await bench.says(ENQ, ACK)
        for number in (1, 2):
            await bench.says(frame(number, records[number - 1] + b"\r"), ACK)
        bench.session.closed("cable pulled")
        await eventually(lambda: bench.messages(), "the incomplete message")
        [message] = bench.messages()
        assert message.state is MessageState.INCOMPLETE
        assert message.raw == b"".join(frame(n, records[n - 1] + b"\r") for n in (1, 2))
        assert message.items == ()
        bench.session.opened(bench.wire, "again")
        await bench.reports(records)
        assert [each.state for each in bench.messages()] == [MessageState.INCOMPLETE, MessageState.DECODED]

    on_a_bench(tmp_path, walk)


@pytest.mark.req("GW-9")
def test_a_message_committed_while_the_cable_is_pulled_is_kept_and_not_answered(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        with nobody_can_commit(tmp_path):
            bench.session.received(oru("1", "2601"))
            bench.session.closed("cable pulled")
            other = Wire()
            bench.session.opened(other, "again")
        await eventually(lambda: bench.messages(), "the message")
        await bench.says_on(other, oru("2", "2602"), b"MSA|AA|2")
        assert b"MSA|AA|1" not in other.written
        assert len(bench.messages()) == 2

    on_a_bench(tmp_path, walk, driver="mindray_bs")


def give(store: Store, specimen: str, *codes: str) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=8)
    entry = WorklistEntry(1, specimen, {"xn": Order(specimen, codes)}, expires_at)
    store.write(lambda ledger: ledger.put_worklist([entry], 0))


async def answer_to_a_query(bench: Bench, specimen: str) -> list[bytes]:
    """What the host sends for a query, as records; every frame acknowledged."""
    await bench.reports(xn_query(specimen))
    await eventually(lambda: bench.wire.written.endswith(ENQ), "the host bids")
    records = []
    bench.wire.written = b""
    bench.session.received(ACK)
    while bench.wire.written != EOT:
        records.append(bench.wire.written[2:].split(b"\r")[0])
        bench.wire.written = b""
        bench.session.received(ACK)
    return records


@pytest.mark.req("GW-7")
def test_a_host_query_is_answered_from_the_boxs_own_worklist(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        give(bench.store, "2601", "WBC", "HGB")
        records = await answer_to_a_query(bench, "2601")
        [order] = [each for each in records if each.startswith(b"O|")]
        assert b"2601" in order
        assert b"WBC" in order
        assert b"HGB" in order
        assert bench.session.counts.answered_queries == 1
        assert bench.session.counts.queries_without_order == 0

    on_a_bench(tmp_path, walk)


@pytest.mark.req("GW-7")
def test_a_query_for_an_unknown_specimen_is_answered_no_order(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        give(bench.store, "2601", "WBC")
        records = await answer_to_a_query(bench, "9999")
        [order] = [each for each in records if each.startswith(b"O|")]
        assert b"WBC" not in order
        assert bench.session.counts.queries_without_order == 1

    on_a_bench(tmp_path, walk)


def test_a_driver_that_fails_refuses_nobody_and_the_bytes_are_kept_undecoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_payload: bytes) -> Decoded:
        raise IndexError("the value 6.5 of patient Wang")

    async def walk(bench: Bench) -> None:
        driver = bench.session.interpreter.read(b"").driver
        monkeypatch.setattr(type(driver), "decode", lambda _self, payload: broken(payload))
        await bench.reports(xn_result("2601"))
        [message] = bench.messages()
        assert message.state is MessageState.UNDECODED
        assert message.reason == "the driver failed: IndexError"
        assert b"6.52" in message.raw

    on_a_bench(tmp_path, walk)


def test_a_fault_of_ours_begins_the_line_again_and_keeps_what_was_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def walk(bench: Bench) -> None:
        await bench.says(ENQ, ACK)
        await bench.says(frame(1, xn_result("2601")[0] + b"\r"), ACK)

        def broken(_data: bytes, _now: float) -> list[object]:
            raise KeyError("fault")

        monkeypatch.setattr(bench.session._link, "receive", broken)
        bench.session.received(b"anything")
        assert bench.wire.closed_for
        bench.session.closed("dropped")
        bench.session.opened(bench.wire, "again")
        await bench.reports(xn_result("2601"))
        assert [each.state for each in bench.messages()] == [MessageState.INCOMPLETE, MessageState.DECODED]
        assert bench.session.counts.faults == 1

    on_a_bench(tmp_path, walk)


@pytest.mark.req("GW-13")
def test_an_automatic_link_recognises_each_instrument_by_itself(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        await bench.reports(xn_result("2601"))
        bench.session.closed("another instrument is plugged in")
        wire = Wire()
        bench.session.opened(wire, "again")
        await bench.says_on(wire, b"\x00\xff" + oru("7", "2602"), b"MSA|AA|7")
        first, second = bench.messages()
        assert (first.driver, second.driver) == ("sysmex_xn", "mindray_bs")
        assert first.driver_version

    on_a_bench(tmp_path, walk, driver="auto")


def test_a_message_no_driver_knows_is_accepted_and_kept_undecoded(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        strange = b"\x0bXYZ|1|2|3\r\x1c\r"
        bench.session.received(strange)
        await eventually(lambda: bench.messages(), "the message")
        [message] = bench.messages()
        assert message.state is MessageState.UNDECODED
        assert message.raw.startswith(b"\x0bXYZ|1|2|3")
        assert message.reason

    on_a_bench(tmp_path, walk, driver="auto")


def test_an_instrument_that_floods_is_not_read_until_the_store_has_caught_up(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        with nobody_can_commit(tmp_path):
            bench.session.received(ENQ + frame(1, xn_result("2601")[0] + b"\r"))
            bench.session.received(b"\x02" + b"x" * 70_000)
            assert bench.wire.paused
        await eventually(lambda: not bench.wire.paused, "reading goes on")

    on_a_bench(tmp_path, walk)
