"""A box's question about a tube and the cloud's answer, as they travel."""

from __future__ import annotations

import json

import pytest

from protocols.model import Order, UnansweredQuery, Undecoded
from protocols.uplink.asking import Answer, Finding, NoOrder, Question
from protocols.uplink.envelope import UplinkError
from protocols.uplink.items import encode_item, item_from_json, item_to_json

pytestmark = pytest.mark.req("GW-7")


def test_a_question_and_its_answer_travel_unchanged() -> None:
    question = Question("gw-1", "xn", "a1b2", ("260000017", "260000025"))
    assert Question.from_bytes(question.to_bytes()) == question
    order = Order("260000017", ("WBC", "HGB"), priority="S")
    answer = Answer("xn", "a1b2", (Finding("260000017", order), Finding("260000025", None, NoOrder.UNKNOWN)))
    assert Answer.from_bytes(answer.to_bytes()) == answer


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"v":1,"gateway":"g","link":"x","id":"1"}',
        b'{"v":1,"gateway":"g","link":"x","id":"1","specimens":[]}',
        json.dumps({"v": 1, "gateway": "g", "link": "x", "id": "1", "specimens": ["1"] * 101}).encode(),
        b'{"v":1,"gateway":"g/#","link":"x","id":"1","specimens":["1"]}',
        b'{"v":1,"gateway":"g","link":"x","id":"1","specimens":7}',
    ],
)
def test_what_is_no_question_is_refused(payload: bytes) -> None:
    with pytest.raises(UplinkError):
        Question.from_bytes(payload)


@pytest.mark.parametrize(
    "findings", [b"7", b"[7]", b'[{"order":{"codes":["A"]}}]', b'[{"specimen":"1","order":{"specimen":1}}]']
)
def test_what_is_no_answer_is_refused(findings: bytes) -> None:
    with pytest.raises(UplinkError):
        Answer.from_bytes(b'{"v":1,"link":"x","id":"1","findings":%b}' % findings)


def test_a_reason_that_only_a_newer_cloud_knows_is_kept_as_it_came() -> None:
    answer = Answer.from_bytes(b'{"v":1,"link":"x","id":"1","findings":[{"specimen":"1","reason":"on_the_moon"}]}')
    assert answer.findings == (Finding("1", None, "on_the_moon"),)


def test_an_unanswered_tube_travels_as_an_item_and_is_seen_by_a_cloud_that_does_not_know_it() -> None:
    item = UnansweredQuery("260000017", NoOrder.UNKNOWN, rack="1", position="3")
    data = json.loads(encode_item(item))
    assert (
        data
        == item_to_json(item)
        == {"kind": "unanswered", "specimen": "260000017", "reason": "unknown"}
        | {
            "rack": "1",
            "position": "3",
        }
    )
    assert item_from_json(data) == item
    assert isinstance(item_from_json({**data, "kind": "unanswered of next year"}), Undecoded)
    assert item_from_json(json.loads(encode_item(UnansweredQuery(None, NoOrder.NO_BARCODE)))) == UnansweredQuery(
        None, "no_barcode"
    )
