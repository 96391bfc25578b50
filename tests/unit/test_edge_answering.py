"""Host queries on one link: from the box's worklist, from the cloud in time, or "no order", written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.answering import BOX
from edge.store import orders as book
from protocols.model import HostQuery, Order, UnansweredQuery
from protocols.uplink.asking import Finding, NoOrder
from tests.support.analyzer import ACK, oru, xn_query, xn_result
from tests.support.session_bench import Bench, eventually, on_a_bench

pytestmark = pytest.mark.req("GW-7")


def bs_query(control_id: str, specimen: str) -> bytes:
    """QRY^Q02 as a Mindray BS writes it, in its MLLP block."""
    segments = [
        f"MSH|^~\\&|Mindray|BS-380|||20261123080000||QRY^Q02|{control_id}|P|2.3.1||||0||ASCII|||",
        f"QRD|20261123080000|R|D|1|||RD|{specimen}|OTH|||T|",
        "QRF||||||RCT|COR|ALL||",
    ]
    return b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r"


def law_query(control_id: str, specimen: str) -> bytes:
    segments = [
        f"MSH|^~\\&|AN1|Maker|LIS|LAB|20261102082959||QBP^Q11^QBP_Q11|{control_id}|P|2.5.1|||NE|AL||UNICODE UTF-8"
        "|||LAB-27^IHE",
        f"QPD|WOS^Work Order Step^IHELAW|T1|{specimen}",
        "RCP|I||R^^HL70394",
    ]
    return b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r"


def codes(records: list[bytes]) -> str:
    return next(each for each in records if each.startswith(b"O|")).split(b"|")[4].decode()


def unanswered(bench: Bench) -> list[UnansweredQuery]:
    """What the cloud will hear, in order."""
    return [each for message in bench.messages() for each in message.items if isinstance(each, UnansweredQuery)]


def test_a_tube_the_box_does_not_know_is_asked_about_and_gets_the_order_the_cloud_has(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        await bench.reports(xn_query("2601"))
        question = await bench.is_asked()
        assert (question.link, question.specimens) == ("xn", ("2601",))
        assert bench.wire.written == b""  # ASTM: the answer is a message of its own, and nothing is owed before it
        bench.cloud_says(question, Finding("2601", Order("2601", ("WBC", "HGB"))))
        assert codes(await bench.takes()) == "^^^^WBC\\^^^^HGB"
        counts = bench.session.counts
        assert (counts.asked_cloud, counts.orders_from_cloud, counts.queries_without_order) == (1, 1, 0)
        assert unanswered(bench) == []

    on_a_bench(tmp_path, walk, "sysmex_xn")


def test_a_tube_on_the_worklist_is_answered_without_asking_anybody(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        bench.put("2601", "WBC")
        await bench.reports(xn_query("2601"))
        assert codes(await bench.takes()) == "^^^^WBC"
        assert bench.questions == []

    on_a_bench(tmp_path, walk, "sysmex_xn")


def test_without_the_cloud_the_instrument_hears_no_order_at_once_and_the_tube_is_written_down(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        await bench.reports(xn_query("2601"))
        assert codes(await bench.takes()) == ""
        await eventually(lambda: unanswered(bench), "the tube is on its way to the cloud")
        assert unanswered(bench) == [UnansweredQuery("2601", NoOrder.NOT_REACHED, "2", "1")]
        message = bench.messages()[-1]
        assert message.driver == BOX
        assert (message.sequence, message.raw != b"") == (2, True)
        [kept] = bench.reader.ask(book.unanswered)
        assert (kept.specimen, kept.reason, kept.times, kept.order_is_here) == ("2601", "not_reached", 1, False)
        bench.put("2601", "WBC")
        assert bench.reader.ask(book.unanswered)[0].order_is_here
        await bench.reports(xn_query("2601"))
        await bench.takes()
        await eventually(lambda: not bench.reader.ask(book.unanswered), "it had its order")

    on_a_bench(tmp_path, walk, "sysmex_xn")


def test_a_cloud_that_is_silent_costs_the_instrument_the_links_limit_and_no_more(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        await bench.reports(xn_query("2601"))
        assert codes(await bench.takes()) == ""
        await eventually(lambda: unanswered(bench), "the tube is on its way to the cloud")
        assert unanswered(bench)[0].reason == NoOrder.NO_ANSWER

    on_a_bench(tmp_path, walk, "sysmex_xn", ask_cloud_s=0.05)


def test_a_link_that_is_set_never_to_ask_answers_from_the_box_alone(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        await bench.reports(xn_query("2601"))
        await bench.takes()
        assert bench.questions == []
        await eventually(lambda: unanswered(bench), "the tube is on its way to the cloud")
        assert unanswered(bench)[0].reason == NoOrder.NOT_ASKED

    on_a_bench(tmp_path, walk, "sysmex_xn", ask_cloud_s=0.0)


def test_what_the_cloud_says_of_a_tube_is_told_with_it(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        await bench.reports(xn_query("2601"))
        bench.cloud_says(await bench.is_asked(), Finding("2601", None, NoOrder.NOT_COLLECTED))
        assert codes(await bench.takes()) == ""
        await eventually(lambda: unanswered(bench), "the tube is on its way to the cloud")
        assert unanswered(bench)[0].reason == NoOrder.NOT_COLLECTED

    on_a_bench(tmp_path, walk, "sysmex_xn")


def test_results_are_acknowledged_while_a_query_of_the_same_link_waits(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        bench.session.received(bs_query("7", "2601"))
        question = await bench.is_asked()
        assert bench.wire.written == b""
        bench.session.received(oru("8", "2600"))
        assert "MSA|AA|8" in (await bench.takes_block())[1]
        bench.cloud_says(question, Finding("2601", Order("2601", ("1", "16"))))
        answer = await bench.takes_block()
        assert "QCK^Q02" in answer[0]
        assert answer[1].startswith("MSA|AA|7|")
        assert "DSR^Q03" in (await bench.takes_block())[0]

    on_a_bench(tmp_path, walk, "mindray_bs")


def test_the_answers_of_one_link_keep_the_order_of_its_queries(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        bench.put("2602", "1")
        bench.session.received(bs_query("7", "2601"))
        question = await bench.is_asked()
        bench.session.received(bs_query("8", "2602"))
        await eventually(lambda: len(bench.messages()) == 2, "both queries are durable")
        assert bench.wire.written == b""
        bench.cloud_says(question, Finding("2601", None, NoOrder.UNKNOWN))
        first, second = await bench.takes_block(), await bench.takes_block()
        assert first[1].startswith("MSA|AA|7|")
        assert "|NF|" in first[3]
        assert second[1].startswith("MSA|AA|8|")

    on_a_bench(tmp_path, walk, "mindray_bs")


def test_a_law_analyzer_hears_that_it_was_understood_and_then_what_there_is(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        bench.session.received(law_query("Q-1", "2601"))
        bench.cloud_says(await bench.is_asked(), Finding("2601", Order("2601", ("TSH",))))
        response, order = await bench.takes_block(), await bench.takes_block()
        assert "RSP^K11" in response[0]
        assert "OML^O33" in order[0]
        assert [each for each in order if each.startswith("ORC|NW")]

    on_a_bench(tmp_path, walk, "ihe_law")


def test_an_answer_of_the_cloud_after_the_cable_was_pulled_goes_to_nobody(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        bench.session.received(bs_query("7", "2601"))
        question = await bench.is_asked()
        bench.session.closed("cable pulled")
        bench.session.opened(bench.wire, "again")
        bench.cloud_says(question, Finding("2601", Order("2601", ("1",))))
        assert bench.wire.written == b""
        bench.session.received(bs_query("8", "2601"))
        bench.cloud_says(await bench.is_asked(2), Finding("2601", Order("2601", ("1",))))
        assert (await bench.takes_block())[1].startswith("MSA|AA|8|")
        assert bench.session.counts.faults == 0

    on_a_bench(tmp_path, walk, "mindray_bs")


def test_a_tube_whose_worklist_came_while_the_cloud_was_asked_is_answered_from_it(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        await bench.reports(xn_query("2601"))
        question = await bench.is_asked()
        bench.put("2601", "PLT")
        bench.cloud_says(question, Finding("2601", Order("2601", ("WBC",))))
        assert codes(await bench.takes()) == "^^^^PLT"

    on_a_bench(tmp_path, walk, "sysmex_xn")


def test_a_tube_asked_about_over_and_over_is_told_to_the_cloud_once_and_again_with_a_new_reason(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        for _ in range(3):
            await bench.reports(xn_query("2601"))
            await bench.takes()
        bench.reach_the_cloud()
        await bench.reports(xn_query("2601"))
        bench.cloud_says(await bench.is_asked(), Finding("2601", None, NoOrder.UNKNOWN))
        await bench.takes()
        await eventually(lambda: len(unanswered(bench)) == 2, "both reasons")
        assert [each.reason for each in unanswered(bench)] == ["not_reached", "unknown"]
        assert bench.reader.ask(book.unanswered)[0].times == 4

    on_a_bench(tmp_path, walk, "sysmex_xn")


def test_a_tube_whose_barcode_was_not_read_is_written_down_with_its_place(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        query = law_query("Q-2", "").replace(b"WOS^Work Order Step^IHELAW|T1|", b"WOS_BY_RACK^W^IHELAW|T2||R0007|3")
        bench.session.received(query)
        assert "RSP^K11" in (await bench.takes_block())[0]
        assert [each for each in await bench.takes_block() if each.startswith("ORC|DC")]
        await eventually(lambda: unanswered(bench), "the tube is on its way to the cloud")
        assert unanswered(bench) == [UnansweredQuery(None, NoOrder.NO_BARCODE, "R0007", "3")]
        assert bench.questions == []

    on_a_bench(tmp_path, walk, "ihe_law")


def test_a_query_for_everything_asks_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        for number in range(3):
            bench.put(f"260{number}", "TSH")
        bench.session.received(law_query("Q-3", "").replace(b"WOS^Work Order Step^IHELAW", b"WOS_ALL^All^IHELAW"))
        await bench.takes_block()
        assert [each for each in await bench.takes_block() if each.startswith("SAC|||260")]
        assert bench.questions == []
        assert unanswered(bench) == []

    on_a_bench(tmp_path, walk, "ihe_law")


def test_several_tubes_in_one_query_each_get_what_there_is_for_them(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        bench.put("2601", "TSH")
        await bench.reports([b"H|\\^&|||ANY", b"Q|1|^2601\\^2602\\^2603||^^^ALL", b"L|1|N"])
        queries = [each for each in bench.messages()[0].items if isinstance(each, HostQuery)]
        assert queries[0].specimens == ("2601", "2602", "2603")
        question = await bench.is_asked()
        assert question.specimens == ("2602", "2603")
        bench.cloud_says(question, Finding("2602", Order("2602", ("FT4",))), Finding("2603", None, NoOrder.UNKNOWN))
        orders = [each.split(b"|")[2] for each in await bench.takes() if each.startswith(b"O|")]
        assert orders == [b"2601", b"2602"]
        await eventually(lambda: unanswered(bench), "the third")
        assert [each.specimen for each in unanswered(bench)] == ["2603"]

    on_a_bench(tmp_path, walk, "generic_astm")


def test_a_result_is_owed_nothing_by_the_desk(tmp_path: Path) -> None:
    async def walk(bench: Bench) -> None:
        bench.reach_the_cloud()
        await bench.reports(xn_result("2601"))
        assert bench.questions == []
        assert bench.wire.written in (b"", ACK)

    on_a_bench(tmp_path, walk, "sysmex_xn")
