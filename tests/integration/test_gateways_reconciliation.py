"""Box and cloud compare what they hold: what was deleted or changed here is found, named, and repaired from the box."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.model import Comparison, Gateway, InboxMessage, MessageStatus
from cloud.gateways.reconciliation import Asked, ask_reconciliation, compare, reconciliations
from cloud.kit.db import begin
from cloud.kit.errors import Conflict
from protocols.uplink.counts import CountRequest, Counts, RangeCount, digest_of
from protocols.uplink.envelope import up_topic
from tests.support.gateways import EPOCH, envelope, message, registered

pytestmark = [pytest.mark.req("GW-10"), pytest.mark.usefixtures("laboratory")]
GATEWAY, LINK = "box-a", "xn"


@pytest.fixture
def laboratory(database: str) -> None:
    registered((GATEWAY, 0))


class BoxInMemory:
    """Holds messages 1 to `last` from `held_from` on; answers requests as a box does, at most `limit` to one gap."""

    def __init__(self, last: int, *, held_from: int = 1, limit: int = 500) -> None:
        self.raw = {each: message(each).raw for each in range(held_from, last + 1)}
        self.last, self.held_from, self.limit = last, held_from, limit
        self.sent = 0
        self.inbox = Inbox(begin, 0)

    def send(self, first: int, last: int, limit: int = 10**6) -> None:
        wanted = [each for each in range(first, last + 1) if each in self.raw][:limit]
        for start in range(0, len(wanted), 50):
            sequences = wanted[start : start + 50]
            sent = envelope(GATEWAY, LINK, [message(each, raw=self.raw[each]) for each in sequences])
            self.inbox.store([Arrival(up_topic(0, GATEWAY, LINK), sent.to_bytes())])
            self.sent += len(sequences)

    def says(self, run: str, ranges: list[tuple[int, int]]) -> Counts:
        return Counts(
            GATEWAY,
            EPOCH,
            LINK,
            run,
            datetime.now(UTC),
            self.held_from,
            self.last,
            tuple(self._count(max(first, self.held_from), last) for first, last in ranges if last >= self.held_from),
        )

    def _count(self, first: int, last: int) -> RangeCount:
        held = [(each, hashlib.sha256(self.raw[each]).digest()) for each in range(first, last + 1) if each in self.raw]
        return RangeCount(first, last, *digest_of(held))

    def answers(self, asked: Asked) -> CountRequest | None:
        for gap in asked.gaps:
            self.send(gap.first, gap.last, self.limit)
        return asked.counts


def compared(box: BoxInMemory, run: str = "run-1", *ranges: tuple[int, int]) -> Any:
    """The whole conversation; the comparison's row."""
    said = box.says(run, list(ranges) or [(box.held_from, box.last)])
    for _ in range(400):
        with begin() as session:
            asked = compare(session, Counts.from_bytes(said.to_bytes()))
        request = box.answers(asked)
        if request is None:
            break
        request = CountRequest.from_bytes(request.to_bytes())
        said = box.says(run, list(request.ranges))
    with begin() as session:
        return next(each for each in reconciliations(session, GATEWAY, LINK) if each.run == run)


def tamper(statement: Any) -> None:
    with begin() as session:
        session.execute(statement)


def stored(sequence: int) -> list[InboxMessage]:
    with begin() as session:
        return list(session.scalars(select(InboxMessage).where(InboxMessage.sequence == sequence)))


def test_a_link_that_is_the_same_on_both_sides_is_written_down_as_equal() -> None:
    box = BoxInMemory(120)
    box.send(1, 120)
    row = compared(box)
    assert row.state == Comparison.EQUAL
    assert (row.first, row.last, row.count_box, row.count_cloud) == (1, 120, 120, 120)
    assert row.digest_box == row.digest_cloud
    assert row.findings == []


def test_a_row_deleted_by_hand_is_found_named_and_fetched_from_the_box() -> None:
    box = BoxInMemory(1000)
    box.send(1, 1000)
    tamper(delete(InboxMessage).where(InboxMessage.sequence == 613))
    row = compared(box)
    assert row.state == Comparison.REPAIRED
    assert [(each["first"], each["last"], each["what"]) for each in row.findings] == [(613, 613, "missing_here")]
    assert (row.count_box, row.count_cloud) == (1000, 999)
    assert [each.raw for each in stored(613)] == [box.raw[613]]
    assert box.sent == 1001, "nothing but the missing message was sent again"
    assert compared(box, "run-2").state == Comparison.EQUAL


def test_a_row_changed_by_hand_is_named_and_never_overwritten_and_the_boxs_copy_is_kept_beside_it() -> None:
    box = BoxInMemory(300)
    box.send(1, 300)
    tamper(update(InboxMessage).where(InboxMessage.sequence == 77).values(raw=b"forged"))
    row = compared(box)
    assert row.state == Comparison.DIFFERENT
    assert [(each["first"], each["what"]) for each in row.findings] == [(77, "altered")]
    here, beside = sorted(stored(77), key=lambda each: each.epoch != EPOCH)
    assert here.raw == b"forged"
    assert beside.raw == box.raw[77]
    assert beside.state == MessageStatus.QUARANTINED
    assert compared(box, "run-2").state == Comparison.DIFFERENT
    assert len(stored(77)) == 2, "asking again keeps no second copy"


def test_bytes_and_their_noted_hash_changed_together_are_found_too() -> None:
    box = BoxInMemory(40)
    box.send(1, 40)
    forged = b"forged with care"
    tamper(
        update(InboxMessage)
        .where(InboxMessage.sequence == 40)
        .values(raw=forged, sha256=hashlib.sha256(forged).hexdigest())
    )
    row = compared(box)
    assert [(each["first"], each["what"]) for each in row.findings] == [(40, "altered")]


def test_a_cloud_that_was_restored_from_a_backup_gets_a_long_range_again_piece_by_piece() -> None:
    box = BoxInMemory(900, limit=150)
    box.send(1, 900)
    tamper(delete(InboxMessage).where(InboxMessage.sequence > 300))
    row = compared(box)
    assert row.state == Comparison.REPAIRED
    with begin() as session:
        assert session.scalar(text("SELECT count(*) FROM gateway_inbox")) == 900


def test_what_the_box_has_lost_is_named() -> None:
    box = BoxInMemory(200)
    box.send(1, 200)
    del box.raw[42]
    row = compared(box)
    assert row.state == Comparison.DIFFERENT
    assert [(each["first"], each["what"]) for each in row.findings] == [(42, "missing_on_box")]


def test_what_the_box_has_pruned_is_not_compared() -> None:
    full = BoxInMemory(500)
    full.send(1, 500)
    tamper(delete(InboxMessage).where(InboxMessage.sequence == 10))
    pruned = BoxInMemory(500, held_from=201)
    row = compared(pruned, "run-1", (1, 500))
    assert row.state == Comparison.EQUAL
    assert (row.first, row.held_from, row.count_box) == (201, 201, 300)


def test_many_differences_at_once_are_all_found() -> None:
    box = BoxInMemory(1000)
    box.send(1, 1000)
    gone = list(range(7, 1000, 41))
    tamper(delete(InboxMessage).where(InboxMessage.sequence.in_(gone)))
    row = compared(box)
    assert row.state == Comparison.REPAIRED
    assert [each["first"] for each in row.findings] == gone


def test_an_answer_that_comes_twice_changes_nothing() -> None:
    box = BoxInMemory(10)
    box.send(1, 10)
    said = box.says("run-1", [(1, 10)])
    for ended in (Comparison.EQUAL, None):
        with begin() as session:
            assert compare(session, said) == Asked(became=ended)
    with begin() as session:
        [row] = reconciliations(session, GATEWAY, LINK)
        assert (row.state, row.rounds) == (Comparison.EQUAL, 1)


def test_a_person_may_ask_a_box_that_has_spoken() -> None:
    with begin() as session, pytest.raises(Conflict):
        ask_reconciliation(session, GATEWAY, LINK, by="staff:zhao")
    tamper(update(Gateway).values(epoch=EPOCH))
    with begin() as session:
        row = ask_reconciliation(session, GATEWAY, LINK, by="staff:zhao")
        run = row.run
    box = BoxInMemory(5)
    box.send(1, 5)
    row = compared(box, run)
    assert (row.state, row.asked_by) == (Comparison.EQUAL, "staff:zhao")
