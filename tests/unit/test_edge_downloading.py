"""Orders pushed to an instrument: once, in a quiet moment, again after a failure, and taken back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge import downloading
from edge.store import orders as book
from edge.store.orders import SentState
from tests.support.analyzer import ACK, ENQ, NAK, frame, xn_result
from tests.support.session_bench import Bench, eventually, on_a_bench
from tests.unit.test_edge_answering import law_query

pytestmark = pytest.mark.req("GW-7")


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "QUIET_S", 0.02)
    monkeypatch.setattr(downloading, "_FIRST_PAUSE_S", 0.05)


def orl(order: list[str], verdict: str = "AA", *steps: str) -> bytes:
    """The analyzer's answer to an OML^O33; `steps` are what it did with each AWOS, such as "OK"."""
    control_id = order[0].split("|")[9]
    tube = next(each for each in order if each.startswith("SAC|"))
    numbers = [each.split("|")[2] for each in order if each.startswith("OBR|")]
    segments = [
        "MSH|^~\\&|AN1|Maker|LIS|LAB|20261102083002||ORL^O34^ORL_O42|R-1|P|2.5.1||||||UNICODE UTF-8|||LAB-28^IHE",
        f"MSA|{verdict}|{control_id}",
        "SPM|1|||SER^^HL70487|||||||P^^HL70369",
        tube,
        *(f"ORC|{step}|{number}|||SC" for step, number in zip(steps, numbers, strict=False)),
    ]
    return b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r"


def codes_under(order: list[str], control: str) -> list[str]:
    """Test codes of an OML^O33 under ORC-1 `control`."""
    found, current = [], ""
    for each in order:
        if each.startswith("ORC|"):
            current = each.split("|")[1]
        elif each.startswith("OBR|") and current == control:
            found.append(each.split("|")[4].split("^")[0])
    return found


def held(bench: Bench, specimen: str) -> set[str]:
    """Codes that the instrument is believed to hold."""
    row = bench.reader.ask(book.sent_of, "xn", specimen)
    return set(row.codes) if row is not None and row.state is SentState.SENT else {"?"}


async def sent(bench: Bench, specimen: str, state: SentState) -> book.SentOrder:
    def found() -> book.SentOrder | None:
        row = bench.reader.ask(book.sent_of, "xn", specimen)
        return row if row is not None and row.state is state else None

    await eventually(found, f"{specimen} is {state}")
    row = found()
    assert row is not None
    return row


def test_an_order_is_pushed_once_to_an_instrument_that_is_told(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "ALT", "CREA")
        records = await bench.takes()
        assert [each.split(b"|")[2] for each in records if each.startswith(b"O|")] == [b"2601"]
        row = await sent(bench, "2601", SentState.SENT)
        assert set(row.codes) == {"ALT", "CREA"}
        bench.session.closed("cable pulled")
        bench.session.opened(bench.wire, "again")
        bench.put("2602", "ALT")
        records = await bench.takes()
        assert [each.split(b"|")[2] for each in records if each.startswith(b"O|")] == [b"2602"]
        assert bench.session.counts.sent_orders == 2

    on_a_bench(tmp_path, walk, "abbott_architect", orders="both")


def test_an_instrument_that_asks_is_told_nothing_unasked(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "ALT")
        await asyncio.sleep(0.1)  # several quiet moments
        assert bench.wire.written == b""

    on_a_bench(tmp_path, walk, "abbott_architect")


def test_nothing_is_pushed_while_the_instrument_speaks(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        records = xn_result("2600")
        await bench.says(ENQ, ACK)
        bench.put("2601", "ALT")
        for number, record in enumerate(records, start=1):
            await asyncio.sleep(0.015)
            await bench.says(frame(number, record + b"\r"), ACK)
        bench.wire.written = b""
        bench.session.received(b"\x04")
        await bench.takes()
        assert (await sent(bench, "2601", SentState.SENT)).tries == 0

    on_a_bench(tmp_path, walk, "abbott_architect", orders="download")


def test_an_order_the_instrument_did_not_take_is_tried_again_and_shown(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "ALT")
        await eventually(lambda: bench.wire.written.endswith(ENQ), "the host bids")
        bench.wire.written = b""
        bench.session.received(ACK)
        for _ in range(6):
            await eventually(lambda: bench.wire.written, "a frame")
            bench.wire.written = b""
            bench.session.received(NAK)
        row = await sent(bench, "2601", SentState.FAILED)
        assert row.reason
        assert row.tries == 1
        assert bench.session.counts.failed_orders == 1
        bench.wire.written = b""
        await bench.takes()
        assert (await sent(bench, "2601", SentState.SENT)).reason == ""

    on_a_bench(tmp_path, walk, "abbott_architect", orders="download")


def test_an_order_under_way_when_the_cable_is_pulled_goes_out_again_on_the_next_connection(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "TSH")
        first = await bench.takes_block()
        bench.session.closed("cable pulled")
        await sent(bench, "2601", SentState.FAILED)
        bench.session.opened(bench.wire, "again")
        second = await bench.takes_block()
        numbers = [[each for each in order if each.startswith("OBR|")] for order in (first, second)]
        assert numbers[0] == numbers[1]  # the same number: work that was taken is not done twice
        bench.session.received(orl(second, "AA", "OK"))
        await sent(bench, "2601", SentState.SENT)

    on_a_bench(tmp_path, walk, "ihe_law", orders="download")


def test_an_order_whose_fate_a_power_cut_left_open_goes_out_again_under_its_number(tmp_path: Path) -> None:
    numbers: list[str] = []

    async def before(bench: Bench) -> None:
        bench.put("2601", "TSH")
        numbers.extend(each for each in await bench.takes_block() if each.startswith("OBR|"))
        assert (await sent(bench, "2601", SentState.SENDING)).pending == ("TSH",)

    async def after(bench: Bench) -> None:
        assert [each for each in await bench.takes_block() if each.startswith("OBR|")] == numbers

    on_a_bench(tmp_path, before, "ihe_law", orders="download")
    on_a_bench(tmp_path, after, "ihe_law", orders="download")


def test_a_test_that_is_added_or_cancelled_reaches_an_analyzer_that_numbers_its_work_by_itself(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "TSH", "FT4")
        order = await bench.takes_block()
        assert codes_under(order, "NW") == ["TSH", "FT4"]
        bench.session.received(orl(order, "AA", "OK", "OK"))
        known = await sent(bench, "2601", SentState.SENT)
        bench.put("2601", "TSH", "FT3")
        cancelled = await bench.takes_block()
        assert codes_under(cancelled, "CA") == ["FT4"]
        assert next(each for each in cancelled if each.startswith("OBR|")).split("|")[2] == known.codes["FT4"]
        bench.session.received(orl(cancelled, "AA", "CR"))
        added = await bench.takes_block()
        assert codes_under(added, "NW") == ["FT3"]
        bench.session.received(orl(added, "AA", "OK"))
        await eventually(lambda: held(bench, "2601") == {"TSH", "FT3"}, "it holds the new work")

    on_a_bench(tmp_path, walk, "ihe_law", orders="both")


def test_work_that_an_analyzer_asked_for_is_taken_back_by_its_number_when_the_order_is_cancelled(
    tmp_path: Path,
) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "TSH")
        bench.session.received(law_query("Q-1", "2601"))
        await bench.takes_block()
        order = await bench.takes_block()
        bench.session.received(orl(order, "AA", "OK"))
        known = await sent(bench, "2601", SentState.SENT)
        bench.put("2601")
        cancelled = await bench.takes_block()
        assert codes_under(cancelled, "CA") == ["TSH"]
        assert known.codes["TSH"] in "".join(cancelled)
        bench.session.received(orl(cancelled, "AA", "CR"))
        await eventually(lambda: held(bench, "2601") == set(), "nothing is held")
        await asyncio.sleep(0.1)  # several quiet moments: it is not said twice
        assert bench.wire.written.count(b"OML^O33") == 0

    on_a_bench(tmp_path, walk, "ihe_law")


def test_a_test_that_the_analyzer_refuses_is_shown_and_not_offered_again(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "TSH", "FT4")
        order = await bench.takes_block()
        bench.session.received(orl(order, "AA", "OK", "UA"))
        row = await sent(bench, "2601", SentState.REFUSED)
        assert "FT4" in row.reason
        assert bench.session.counts.refused_orders == 1
        bench.put("2601", "TSH", "FT4", priority="S")
        await asyncio.sleep(0.1)  # several quiet moments
        assert bench.wire.written.count(b"OML^O33") == 0

    on_a_bench(tmp_path, walk, "ihe_law", orders="download")


def test_an_order_that_the_analyzer_answers_with_no_is_offered_three_times(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.put("2601", "TSH")
        for _ in range(3):
            bench.session.received(orl(await bench.takes_block(), "AE"))
        row = await sent(bench, "2601", SentState.REFUSED)
        assert "AE" in row.reason
        bench.put("2602", "TSH")
        order = await bench.takes_block()
        assert "SAC|||2602" in order
        bench.session.received(orl(order, "AA", "OK"))
        await sent(bench, "2602", SentState.SENT)

    on_a_bench(tmp_path, walk, "ihe_law", orders="download")


def test_a_tube_that_asked_is_not_told_again(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.session.closed("not yet plugged in")
        bench.put("2601", "TSH")
        bench.session.opened(bench.wire, "now")
        bench.session.received(law_query("Q-1", "2601"))
        await bench.takes_block()
        order = await bench.takes_block()
        assert codes_under(order, "NW") == ["TSH"]
        bench.session.received(orl(order, "AA", "OK"))
        await sent(bench, "2601", SentState.SENT)
        await asyncio.sleep(0.1)  # several quiet moments
        assert bench.wire.written.count(b"OML^O33") == 0

    on_a_bench(tmp_path, walk, "ihe_law", orders="both")


def test_a_long_worklist_goes_out_one_tube_after_the_other(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.session.closed("not yet plugged in")
        for number in range(60):
            bench.put(f"26{number:04}", "TSH")
        bench.session.opened(bench.wire, "now")
        seen = []
        for _ in range(60):
            order = await bench.takes_block()
            seen.append(next(each for each in order if each.startswith("SAC|")).split("|")[3])
            assert bench.wire.written == b""
            bench.session.received(orl(order, "AA", "OK"))
        assert seen == [f"26{number:04}" for number in range(60)]

    on_a_bench(tmp_path, walk, "ihe_law", orders="download")
