"""The pure decisions of receiving: receipts, gaps, shares, when to ask again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.exc import DataError, InterfaceError, OperationalError

from cloud.gateways import rules
from cloud.gateways.rules import Intake
from cloud.kit.retryable import is_retryable
from cloud.kit.storable import storable, storable_json
from protocols.uplink.envelope import Envelope, Message, MessageState, UplinkError

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def test_a_receipt_reaches_to_the_first_gap_and_names_what_lies_beyond() -> None:
    intake = Intake()
    intake.add([1, 2, 4, 6])
    receipt = intake.receipt("e", "xn", [4, 6])
    assert (receipt.through, receipt.also) == (2, (4, 6))
    assert not receipt.covers(3)
    intake.add([3])
    assert intake.receipt("e", "xn", [3]).through == 4


def test_a_repeated_message_gets_a_receipt_that_covers_it_again() -> None:
    intake = Intake()
    intake.add([1, 2, 3, 9])
    first = intake.receipt("e", "xn", [2, 9])
    intake.add([2, 9])
    assert intake.receipt("e", "xn", [2, 9]) == first
    assert first.covers(2)
    assert first.covers(9)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_of_arrival_every_message_is_covered_and_none_that_did_not_come(seed: int) -> None:
    chance = random.Random(seed)
    all_sequences = list(range(1, 60))
    missing = set(chance.sample(all_sequences, 5))
    arrived: set[int] = set()
    intake = Intake()
    order = [each for each in all_sequences if each not in missing] * 2
    chance.shuffle(order)
    for sequence in order:
        intake.add([sequence])
        arrived.add(sequence)
        receipt = intake.receipt("e", "xn", [sequence])
        assert receipt.covers(sequence)
        assert all(each in arrived for each in all_sequences if receipt.covers(each))


def test_a_range_declared_lost_is_passed_by_receipts() -> None:
    intake = Intake()
    intake.add([1, 2, 6, 7])
    intake.skip([(3, 5)])
    assert intake.receipt("e", "xn", [7]).through == 7


def test_a_link_is_applied_up_to_its_gap_and_the_gap_is_named() -> None:
    run = rules.next_run(3, [4, 5, 8, 9], [])
    assert (run.sequences, run.applied_through, run.gap) == ((4, 5), 5, (6, 7))


def test_a_gap_declared_lost_lets_the_link_go_on() -> None:
    run = rules.next_run(3, [4, 5, 8, 9], [(6, 7)])
    assert (run.sequences, run.applied_through, run.gap) == ((4, 5, 8, 9), 9, None)


def test_two_neighbouring_lost_ranges_are_passed_together() -> None:
    assert rules.next_run(0, [5], [(1, 2), (3, 4)]).sequences == (5,)


def test_a_message_that_was_declared_lost_and_arrives_is_applied_without_moving_the_cursor() -> None:
    run = rules.next_run(9, [6, 10], [])
    assert (run.sequences, run.applied_through) == ((6, 10), 10)


def test_a_gap_is_asked_for_after_a_grace_then_ever_more_rarely() -> None:
    assert not rules.gap_request_due(NOW, None, 0, NOW + timedelta(seconds=1))
    assert rules.gap_request_due(NOW, None, 0, NOW + timedelta(seconds=2))
    assert not rules.gap_request_due(NOW, NOW, 1, NOW + timedelta(seconds=14))
    assert rules.gap_request_due(NOW, NOW, 1, NOW + timedelta(seconds=15))
    assert not rules.gap_request_due(NOW, NOW, 2, NOW + timedelta(seconds=29))
    assert not rules.gap_request_due(NOW, NOW, 500, NOW + timedelta(seconds=599))
    assert rules.gap_request_due(NOW, NOW, 500, NOW + timedelta(minutes=10))


@pytest.mark.parametrize("partitions", [1, 4, 7, 16])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_the_fair_shares_of_all_workers_are_all_partitions(partitions: int, workers: int) -> None:
    names = [f"worker-{n}" for n in range(workers)]
    shares = [rules.fair_share(partitions, names, each) for each in names]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


def test_a_worker_that_the_database_does_not_list_yet_counts_itself() -> None:
    assert rules.fair_share(4, [], "me") == 4


def test_an_older_description_of_a_box_never_replaces_a_newer_one() -> None:
    assert not rules.newer_state(NOW, "e", NOW - timedelta(seconds=1), "e", NOW)
    assert rules.newer_state(NOW, "e", NOW, "e", NOW)


def test_a_box_whose_clock_ran_ahead_is_heard_after_its_correction() -> None:
    assert rules.newer_state(NOW + timedelta(days=3650), "e", NOW, "e", NOW)
    assert rules.newer_state(NOW, "old", NOW - timedelta(days=9), "new", NOW)


def test_worklists_go_out_again_when_the_box_is_behind_and_nothing_is_under_way() -> None:
    assert not rules.worklist_to_send(7, 7, 7, None, NOW)
    assert rules.worklist_to_send(3, 3, 7, NOW, NOW)
    assert not rules.worklist_to_send(3, 7, 7, NOW - timedelta(seconds=3), NOW)
    assert rules.worklist_to_send(3, 7, 7, NOW - timedelta(seconds=30), NOW)


def test_messages_that_the_box_believes_delivered_and_we_do_not_have_are_asked_for() -> None:
    assert rules.missing_tail(10, 0, 7) == (8, 10)
    assert rules.missing_tail(10, 3, 7) is None
    assert rules.missing_tail(7, 0, 7) is None


def test_text_that_the_database_cannot_hold_is_shown_with_a_mark() -> None:
    assert storable("a\x00b\ud800c") == "a\ufffdb\ufffdc"
    assert storable(None) is None
    assert storable_json({"a\x00": ["\udfff", float("nan"), 1]}) == {"a\ufffd": ["\ufffd", "nan", 1]}


def _message(sequence: int, raw: bytes = b"raw") -> Message:
    return Message(sequence, NOW, True, "d", "1", MessageState.DECODED, raw, ())


def test_one_broken_message_does_not_cost_its_envelope() -> None:
    good = Envelope("box", "e", "xn", (_message(1), _message(2, b"other bytes"), _message(3)))
    broken = good.to_bytes().replace(_message(2, b"other bytes").digest.encode(), b"0" * 64)
    with pytest.raises(UplinkError):
        Envelope.from_bytes(broken)
    envelope, refused = Envelope.salvage(broken)
    assert [each.sequence for each in envelope.messages] == [1, 3]
    assert [(each.sequence, each.raw) for each in refused] == [(2, b"other bytes")]
    assert "sha256" in refused[0].reason


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"v":2}',
        b'{"v":1,"gateway":"box","epoch":"e","link":"xn","messages":[]}',
        b'{"v":1,"gateway":"box","epoch":"e","link":"xn","messages":[7]}',
        b'{"v":1,"gateway":"box","epoch":"e","link":"xn","messages":[{"sequence":0}]}',
        b'{"v":1,"gateway":"bo x","epoch":"e","link":"xn","messages":[{"sequence":1}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_envelope_is_said_to_be_none(payload: bytes) -> None:
    with pytest.raises(UplinkError):
        Envelope.salvage(payload)


def test_a_box_that_woke_up_in_1970_is_heard() -> None:
    woken = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    assert rules.newer_state(NOW, "e", woken, "e", NOW, sure=False)
    assert rules.newer_state(woken, "e", NOW, "e", NOW)
    assert not rules.newer_state(NOW, "e", NOW - timedelta(seconds=1), "e", NOW, sure=True)


def test_an_error_of_the_value_itself_is_no_reason_to_try_for_ever() -> None:
    unstorable = DataError("INSERT", {}, psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))
    assert not is_retryable(unstorable)
    assert is_retryable(OperationalError("SELECT", {}, psycopg.OperationalError("the connection is closed")))
    assert is_retryable(InterfaceError("SELECT", {}, psycopg.InterfaceError("cursor closed")))


def test_a_message_cannot_have_been_received_after_it_was_stored() -> None:
    stored = NOW
    assert rules.received_at(NOW - timedelta(minutes=3), True, stored) == NOW - timedelta(minutes=3)
    assert rules.received_at(NOW + timedelta(days=3650), True, stored) == stored
    assert rules.received_at(datetime(1970, 1, 1, tzinfo=UTC), False, stored) == stored


def test_a_box_that_still_has_what_was_declared_lost_keeps_the_rest_of_it_until_it_is_stored() -> None:
    intake = Intake(through=4)
    intake.add([9])
    intake.skip([(5, 8)])
    assert intake.receipt("e", "xn", [9]).through == 9
    receipt = intake.receipt("e", "xn", [5, 6])
    assert [each for each in range(1, 12) if receipt.covers(each)] == [1, 2, 3, 4, 5, 6]
