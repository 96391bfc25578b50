"""The inbox and the apply step on a real PostgreSQL: once, in sequence, fenced, and nothing refused without a trace."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cloud.config import Settings, settings
from cloud.gateways import ingest, leases, overview, service
from cloud.gateways.apply import Ingest, apply_link, unapplied_links
from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox, Stored
from cloud.gateways.leases import Lease, LeaseLost
from cloud.gateways.model import Gateway, InboxMessage, LinkCursor, MessageStatus, Quarantine
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.jobs import Begin
from cloud.lis.results.service import MessageSource
from protocols.model import Item, Undecoded
from protocols.uplink.envelope import Envelope, GatewayState, LinkState, Message, MessageState, state_topic, up_topic
from tests.support.gateways import (
    EPOCH,
    MORNING,
    applied_sequences,
    envelope,
    keep_in_ledger,
    make_ledger,
    message,
    registered,
)

pytestmark = pytest.mark.usefixtures("laboratory")
KEY = ("box-a", EPOCH, "xn")


@pytest.fixture
def laboratory(database: str) -> None:
    registered(("box-a", 0), ("box-b", 1))
    make_ledger()


def up(sent: Envelope, *, partition: int = 0, topic: str | None = None) -> Arrival:
    return Arrival(topic or up_topic(partition, sent.gateway, sent.link), sent.to_bytes())


def store(*sent: Envelope, inbox: Inbox | None = None) -> Stored:
    return (inbox or Inbox(begin, 0)).store([up(each) for each in sent])


def take(partition: int = 0, me: str = "worker-1") -> Lease:
    with begin() as session:
        leases.make(session, 1)
        held, _ = leases.beat(session, me, seconds=60, partitions=1)
    return next(each for each in held if each.partition == partition)


def expire() -> None:
    """As if nobody had sent a heartbeat for long."""
    with begin() as session:
        session.execute(text("UPDATE gateway_partition_lease SET expires_at = clock_timestamp() - interval '1 hour'"))
        session.execute(text("DELETE FROM gateway_ingest_worker"))


def quarantined() -> list[Quarantine]:
    with begin() as session:
        return list(session.scalars(select(Quarantine).order_by(Quarantine.id)))


def stored_message(sequence: int) -> InboxMessage:
    with begin() as session:
        return session.scalars(select(InboxMessage).where(InboxMessage.sequence == sequence)).one()


@pytest.mark.req("GW-10")
def test_many_messages_are_stored_at_once_and_the_receipt_covers_them() -> None:
    stored = store(envelope("box-a", "xn", range(1, 51)), envelope("box-a", "bs", [1, 2]))
    assert stored.stored == 52
    receipts = {receipt.link: receipt for _, receipt in stored.receipts}
    assert (receipts["xn"].through, receipts["bs"].through) == (50, 2)


@pytest.mark.req("GW-10")
def test_a_message_delivered_twice_is_stored_once_and_gets_the_same_receipt() -> None:
    first = store(envelope("box-a", "xn", [1, 2, 3]))
    again = store(envelope("box-a", "xn", [1, 2, 3]))
    assert (again.stored, again.repeated) == (0, 3)
    assert again.receipts == first.receipts
    assert not again.links


def test_a_message_twice_in_one_batch_is_stored_once() -> None:
    stored = store(envelope("box-a", "xn", [1]), envelope("box-a", "xn", [1, 2]))
    assert (stored.stored, stored.repeated) == (2, 1)


@pytest.mark.req("GW-10")
def test_reordered_delivery_is_applied_in_sequence() -> None:
    inbox, lease = Inbox(begin, 0), take()
    store(envelope("box-a", "xn", [5, 6]), inbox=inbox)
    blocked = apply_link(begin, lease, KEY, keep_in_ledger)
    assert (blocked.applied, blocked.waits) == (0, True)
    store(envelope("box-a", "xn", [3]), envelope("box-a", "xn", [1, 2]), inbox=inbox)
    assert apply_link(begin, lease, KEY, keep_in_ledger).applied == 3
    stored = store(envelope("box-a", "xn", [4]), inbox=inbox)
    assert stored.receipts[0][1].through == 6
    assert not apply_link(begin, lease, KEY, keep_in_ledger).waits
    assert applied_sequences("box-a", "xn") == [1, 2, 3, 4, 5, 6]


@pytest.mark.req("GW-10")
def test_a_gap_stops_its_link_is_seen_and_asked_for_and_no_other_link_waits() -> None:
    lease = take()
    store(envelope("box-a", "xn", [1, 4]), envelope("box-a", "bs", [1, 2]))
    first = apply_link(begin, lease, KEY, keep_in_ledger)
    assert (first.applied, first.waits, first.gap) == (1, True, None)
    assert apply_link(begin, lease, ("box-a", EPOCH, "bs"), keep_in_ledger).applied == 2
    with begin() as session:
        cursor = session.get_one(LinkCursor, KEY)
        assert (cursor.gap_first, cursor.gap_last) == (2, 3)
        session.execute(update(LinkCursor).values(gap_since=MORNING))
    asked = apply_link(begin, lease, KEY, keep_in_ledger).gap
    assert asked is not None
    assert (asked.epoch, asked.link, asked.first, asked.last) == (EPOCH, "xn", 2, 3)
    assert apply_link(begin, lease, KEY, keep_in_ledger).gap is None, "asked once, then patience"


@pytest.mark.req("GW-10")
def test_a_gap_declared_lost_lets_the_link_go_on_and_a_late_message_is_still_applied() -> None:
    inbox, lease = Inbox(begin, 0), take()
    store(envelope("box-a", "xn", [1, 4]), inbox=inbox)
    apply_link(begin, lease, KEY, keep_in_ledger)
    with begin() as session:
        service.declare_lost(
            session, gateway="box-a", epoch=EPOCH, link="xn", first=2, last=3, by="staff:1", reason="设备更换"
        )
    assert apply_link(begin, lease, KEY, keep_in_ledger).applied == 1
    stored = store(envelope("box-a", "xn", [3]), inbox=inbox)
    assert stored.receipts[0][1].covers(3)
    assert apply_link(begin, lease, KEY, keep_in_ledger).applied == 1
    assert applied_sequences("box-a", "xn") == [1, 4, 3]


def test_only_the_gap_as_it_stands_can_be_declared_lost() -> None:
    lease = take()
    store(envelope("box-a", "xn", [1, 4]))
    apply_link(begin, lease, KEY, keep_in_ledger)
    store(envelope("box-a", "xn", [3]))
    with pytest.raises(Conflict), begin() as session:
        service.declare_lost(
            session, gateway="box-a", epoch=EPOCH, link="xn", first=2, last=3, by="staff:1", reason="设备更换"
        )
    with pytest.raises(Invalid), begin() as session:
        service.declare_lost(
            session, gateway="box-a", epoch=EPOCH, link="xn", first=2, last=2, by="staff:1", reason=" "
        )


@pytest.mark.req("GW-10")
def test_an_emptied_box_starts_a_new_epoch_from_one() -> None:
    lease = take()
    store(envelope("box-a", "xn", [1, 2]))
    stored = store(envelope("box-a", "xn", [1], epoch="another"))
    assert stored.stored == 1
    apply_link(begin, lease, KEY, keep_in_ledger)
    apply_link(begin, lease, ("box-a", "another", "xn"), keep_in_ledger)
    assert applied_sequences("box-a", "xn") == [1, 2]
    assert applied_sequences("box-a", "xn", epoch="another") == [1]


def test_a_poison_message_is_quarantined_with_its_reason_and_never_blocks_the_link() -> None:
    def choke_on_two(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
        keep_in_ledger(session, source, items)
        if source.sequence == 2:
            session.execute(text("SELECT 1/0"))

    lease = take()
    store(envelope("box-a", "xn", [1, 2, 3]))
    result = apply_link(begin, lease, KEY, choke_on_two)
    assert (result.applied, result.quarantined) == (2, 1)
    assert applied_sequences("box-a", "xn") == [1, 3], "nothing of the poison message remains"
    poison = stored_message(2)
    assert poison.state == MessageStatus.QUARANTINED
    assert "division by zero" in (poison.reason or "")


def test_a_database_that_goes_away_in_the_middle_quarantines_nothing() -> None:
    def cut(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
        keep_in_ledger(session, source, items)
        if source.sequence == 2:
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    lease = take()
    store(envelope("box-a", "xn", [1, 2, 3]))
    with pytest.raises(Exception, match=r"terminat|closed"):
        apply_link(begin, lease, KEY, cut)
    assert applied_sequences("box-a", "xn") == []
    assert apply_link(begin, lease, KEY, keep_in_ledger).applied == 3


@pytest.mark.req("GW-10")
def test_a_worker_that_lost_its_lease_applies_nothing() -> None:
    stale = take(me="worker-1")
    store(envelope("box-a", "xn", [1, 2]))
    expire()
    fresh = take(me="worker-2")
    assert fresh.token == stale.token + 1
    with pytest.raises(LeaseLost):
        apply_link(begin, stale, KEY, keep_in_ledger)
    assert applied_sequences("box-a", "xn") == []
    assert apply_link(begin, fresh, KEY, keep_in_ledger).applied == 2
    assert stored_message(1).applied_by == str(fresh)


def test_a_partition_is_not_taken_over_while_its_holder_is_in_the_middle_of_applying() -> None:
    lease = take(me="worker-1")
    store(envelope("box-a", "xn", [1]))
    expire()
    seen: list[list[Lease]] = []

    def other_worker_tries(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
        keep_in_ledger(session, source, items)
        with begin() as other:
            seen.append(leases.beat(other, "worker-2", seconds=60, partitions=1)[0])

    assert apply_link(begin, lease, KEY, other_worker_tries).applied == 1
    assert seen == [[]]
    assert take(me="worker-2").token == lease.token + 1


def test_two_workers_share_the_partitions_and_the_survivor_takes_all() -> None:
    with begin() as session:
        leases.make(session, 4)
    with begin() as session:
        held, share = leases.beat(session, "a", seconds=60, partitions=4)
        assert (len(held), share) == (4, 4)
    with begin() as session:
        assert leases.beat(session, "b", seconds=60, partitions=4) == ([], 2)
    with begin() as session:
        held, share = leases.beat(session, "a", seconds=60, partitions=4)
        assert share == 2
        for excess in held[share:]:
            leases.give_back(session, excess)
    with begin() as session:
        assert [each.partition for each in leases.beat(session, "b", seconds=60, partitions=4)[0]] == [2, 3]
    expire()
    with begin() as session:
        assert len(leases.beat(session, "b", seconds=60, partitions=4)[0]) == 4


def test_a_database_that_blinks_while_a_partition_is_handed_over_does_not_end_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blinks: list[bool] = []
    stopped: list[int] = []

    class Consumer:
        def __init__(self, _config: Settings, _begin: Begin, lease: Lease, _ingest: Ingest) -> None:
            self.lease, self.broken = lease, threading.Event()

        def start(self) -> None: ...

        def stop(self) -> None:
            stopped.append(self.lease.partition)
            blinks.append(True)

    @contextmanager
    def blinking() -> Iterator[Session]:
        if blinks:
            blinks.clear()
            raise OperationalError("SELECT", None, psycopg.OperationalError("gone"))
        with begin() as session:
            yield session

    monkeypatch.setattr(ingest, "PartitionConsumer", Consumer)
    config = settings().model_copy(update={"partitions": 2})
    worker = ingest.Worker("a", 60.0, config=config, transaction=blinking, ingest=keep_in_ledger)
    with begin() as session:
        leases.make(session, 2)
    worker._step()
    with begin() as session:
        assert leases.beat(session, "b", seconds=60, partitions=2) == ([], 1)
    worker._step()  # hands one over: the database is away for the moment
    with begin() as session:
        assert leases.beat(session, "b", seconds=60, partitions=2) == ([], 1)
    worker._step()
    with begin() as session:
        held, _ = leases.beat(session, "b", seconds=60, partitions=2)
    assert [each.partition for each in held] == stopped


def test_what_the_box_could_not_read_is_kept_shown_and_passed_over() -> None:
    lease = take()
    store(
        envelope(
            "box-a",
            "xn",
            [
                message(1, state=MessageState.INCOMPLETE, reason="EOT after ETB"),
                message(2, state=MessageState.UNDECODED, reason="no driver knows it"),
                message(3, items=(Undecoded("unknown record", "Z|1"),)),
            ],
        )
    )
    assert apply_link(begin, lease, KEY, keep_in_ledger).applied == 1
    assert applied_sequences("box-a", "xn") == [3]
    assert [stored_message(each).state for each in (1, 2, 3)] == ["incomplete", "undecoded", "applied"]
    assert stored_message(3).undecoded == 1
    assert stored_message(1).reason == "EOT after ETB"


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("xinglin/v1/0/box-a/up/xn", b"\x00\xffnot an envelope", "not JSON"),
        ("xinglin/v1/0/box-a/up/xn", b'{"v":9}', "version 9"),
        ("xinglin/v1/0/stranger/up/xn", envelope("stranger", "xn", [1]).to_bytes(), "unknown gateway stranger"),
        ("xinglin/v1/0/box-a/up/xn", envelope("box-b", "xn", [1]).to_bytes(), "on the topic of box-a"),
        ("xinglin/v1/0/box-a/up/xn", envelope("box-a", "bs", [1]).to_bytes(), "on the topic"),
        ("xinglin/v1/0/box-b/up/xn", envelope("box-b", "xn", [1]).to_bytes(), "belongs to partition 1"),
        ("something/else", b"{}", "not a topic"),
    ],
)
def test_a_payload_that_is_no_message_of_a_known_box_is_kept_and_named(topic: str, payload: bytes, reason: str) -> None:
    inbox = Inbox(begin, 0)
    beside = up(envelope("box-a", "xn", [1]))
    stored = inbox.store([Arrival(topic, payload), beside])
    assert (stored.quarantined, stored.stored) == (1, 1)
    inbox.store([Arrival(topic, payload)])
    (kept,) = quarantined()
    assert kept.payload == payload
    assert reason in kept.reason
    assert kept.times == 2


def test_a_locked_out_box_is_not_heard() -> None:
    with begin() as session:
        service.lock_out(session, "box-a", by="staff:1", reason="失窃")
    assert store(envelope("box-a", "xn", [1])).quarantined == 1


def test_one_broken_message_of_an_envelope_is_quarantined_under_its_sequence_and_the_link_goes_on() -> None:
    sent = envelope("box-a", "xn", [1, 2, 3])
    broken = sent.to_bytes().replace(sent.messages[1].digest.encode(), b"0" * 64)
    stored = Inbox(begin, 0).store([Arrival(up_topic(0, "box-a", "xn"), broken)])
    assert stored.receipts[0][1].through == 3
    apply_link(begin, take(), KEY, keep_in_ledger)
    assert applied_sequences("box-a", "xn") == [1, 3]
    assert stored_message(2).state == MessageStatus.QUARANTINED
    assert stored_message(2).raw == sent.messages[1].raw


def test_a_message_that_the_database_cannot_hold_costs_only_itself() -> None:
    impossible = up(envelope("box-a", "bs", [1]))
    year_one = impossible.payload.replace(b"2026-03-02T00:30:00+00:00", b"0001-01-01T00:00:00+14:00")
    assert year_one != impossible.payload
    fine = up(envelope("box-a", "xn", [2]))
    escaped = envelope("box-a", "xn", [1]).to_bytes().replace(b'"driver":"sysmex_xn"', b'"driver":"x\\u0000y\\ud800"')
    stored = Inbox(begin, 0).store([Arrival(impossible.topic, year_one), Arrival(fine.topic, escaped), fine])
    assert (stored.stored, stored.quarantined) == (2, 1)
    assert stored_message(1).driver == "x\ufffdy\ufffd"


def set_aside() -> list[InboxMessage]:
    """Messages whose identity was used before with other bytes."""
    with begin() as session:
        return list(session.scalars(select(InboxMessage).where(InboxMessage.epoch != EPOCH).order_by(InboxMessage.id)))


def test_a_box_restored_from_an_old_copy_is_noticed_and_loses_nothing() -> None:
    store(envelope("box-a", "xn", [message(1)]))
    again = envelope("box-a", "xn", [message(1, raw=b"another specimen", specimen="2603999999")])
    stored = store(again)
    assert stored.receipts[0][1].covers(1)
    assert (stored.stored, stored.quarantined) == (0, 1)
    store(again)
    (kept,) = set_aside()
    assert (kept.raw, kept.sequence, kept.state) == (b"another specimen", 1, MessageStatus.QUARANTINED)
    assert kept.items[0]["specimen"] == "2603999999"
    assert "came before with other bytes" in (kept.reason or "")
    assert EPOCH in (kept.reason or "")
    with begin() as session:
        first = session.scalars(select(InboxMessage).where(InboxMessage.epoch == EPOCH)).one()
        assert first.raw != b"another specimen"


def test_two_messages_of_one_sequence_in_one_envelope_are_both_kept() -> None:
    store(envelope("box-a", "xn", [message(1)]), envelope("box-a", "xn", [message(1, raw=b"another specimen")]))
    assert [each.raw for each in set_aside()] == [b"another specimen"]


def test_a_message_of_a_restored_box_is_applied_once_a_person_has_looked() -> None:
    store(envelope("box-a", "xn", [1, 2, 3]))
    lease = take()
    apply_link(begin, lease, KEY, keep_in_ledger)
    store(envelope("box-a", "xn", [message(3, raw=b"another specimen"), message(4)]))
    apply_link(begin, lease, KEY, keep_in_ledger)
    (kept,) = set_aside()
    with begin() as session:
        assert unapplied_links(session, 0) == set()  # it waits for a person
        service.accept(session, kept.id, by="staff:engineer")
    with begin() as session:
        (key,) = unapplied_links(session, 0)
        acts = session.scalars(select(AuditEntry.action).where(AuditEntry.aggregate_id == str(kept.id))).all()
    assert acts == ["gateway.accept"]
    late: list[bool] = []

    def look(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
        late.append(source.late)
        keep_in_ledger(session, source, items)

    done = apply_link(begin, lease, key, look)
    assert (done.applied, done.gap, late) == (1, None, [True])
    assert apply_link(begin, lease, key, look).applied == 0
    assert applied_sequences("box-a", "xn") == [1, 2, 3, 4]
    assert applied_sequences("box-a", "xn", epoch=kept.epoch) == [3]
    with begin() as session, pytest.raises(Conflict):
        service.accept(session, kept.id, by="staff:engineer")
    with begin() as session:
        assert {each.epoch for box in overview.boxes(session) for each in box.links} == {EPOCH}


def test_what_could_not_be_read_of_a_restored_box_is_never_applied() -> None:
    store(envelope("box-a", "xn", [1, 2]))
    store(envelope("box-a", "xn", [message(2, raw=b"?", state=MessageState.UNDECODED)]))
    (kept,) = set_aside()
    assert kept.state == MessageStatus.UNDECODED
    with begin() as session, pytest.raises(Conflict):
        service.accept(session, kept.id, by="staff:engineer")


def _state(at_s: int, revision: int, *, last: int = 0, waiting: int = 0) -> GatewayState:
    link = LinkState("xn", "open", "sysmex_xn", MORNING, last, waiting)
    return GatewayState("box-a", EPOCH, MORNING.replace(second=at_s), True, "1.0", revision, (link,))


def tell(state: GatewayState) -> Stored:
    return Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), state.to_bytes())])


def test_a_box_describes_itself_and_an_older_description_is_not_believed() -> None:
    tell(_state(20, 5))
    tell(_state(10, 3))
    with begin() as session:
        gateway = session.get_one(Gateway, "box-a")
        assert gateway.worklist_revision_acked == 5
        assert gateway.last_state is not None
        assert gateway.last_state["links"][0]["link"] == "xn"
        assert gateway.last_seen_at is not None


@pytest.mark.req("GW-10")
def test_messages_that_a_broker_lost_behind_the_last_one_are_asked_for() -> None:
    store(envelope("box-a", "xn", [1, 2]))
    ((gateway, request),) = tell(_state(20, 0, last=5)).gaps
    assert (gateway, request.link, request.first, request.last) == ("box-a", "xn", 3, 5)
    assert tell(_state(21, 0, last=5, waiting=3)).gaps == []


def _received(sequence: int, seconds: int, **more: object) -> Message:
    return replace(message(sequence), received_at=MORNING + timedelta(seconds=seconds), **more)  # type: ignore[arg-type]


def _rolled_back() -> dict[str, object] | None:
    with begin() as session:
        return session.get_one(Gateway, "box-a").rolled_back


@pytest.mark.req("GW-10")
@pytest.mark.parametrize("after_s", [0, 1, 25], ids=["the same moment", "while it spoke", "long after"])
def test_messages_received_since_a_box_last_spoke_are_no_sign_of_an_old_copy(after_s: int) -> None:
    tell(_state(20, 0, last=2))
    store(envelope("box-a", "xn", [_received(1, 1), _received(2, 2), _received(3, 20 + after_s)]))
    assert _rolled_back() is None
    tell(_state(20, 0, last=2))
    assert _rolled_back() is None


@pytest.mark.req("GW-10")
def test_a_message_that_was_not_durable_yet_when_the_box_spoke_is_no_sign_of_an_old_copy() -> None:
    store(envelope("box-a", "xn", [_received(1, 1), _received(2, 19)]))
    tell(_state(20, 0, last=1))
    assert _rolled_back() is None


@pytest.mark.req("GW-10")
def test_a_box_that_counts_lower_than_it_did_is_remembered_until_somebody_has_looked() -> None:
    store(envelope("box-a", "xn", [_received(1, 1), _received(2, 2), _received(3, 3)]))
    tell(_state(30, 0, last=1))
    seen = {"xn": {"said": 1, "stored": 3, "at": MORNING.replace(second=30).isoformat()}}
    assert _rolled_back() == seen
    tell(_state(40, 0, last=3))
    assert _rolled_back() == seen, "a box that counted up again had its data rolled back all the same"
    with begin() as session:
        service.rollback_handled(session, "box-a", by="staff:1")
    tell(_state(50, 0, last=3))
    assert _rolled_back() is None


@pytest.mark.req("GW-10")
def test_an_emptied_box_begins_anew_and_is_not_rolled_back() -> None:
    store(envelope("box-a", "xn", [_received(1, 1), _received(2, 2)]))
    tell(_state(30, 0, last=1))
    assert _rolled_back() is not None
    tell(replace(_state(40, 0, last=0), epoch="another"))
    assert _rolled_back() is None


@pytest.mark.parametrize("unsure", ["the message's", "the box's"])
def test_a_clock_that_is_not_sure_proves_nothing(unsure: str) -> None:
    store(envelope("box-a", "xn", [_received(1, 1, clock_sure=unsure != "the message's")]))
    tell(replace(_state(30, 0, last=0), clock_sure=unsure != "the box's"))
    assert _rolled_back() is None


def test_the_tail_of_a_broken_message_is_numbered_late_and_is_no_sign_of_an_old_copy() -> None:
    store(envelope("box-a", "xn", [_received(1, 1, state=MessageState.INCOMPLETE, items=())]))
    tell(_state(50, 0, last=0))
    assert _rolled_back() is None


def test_a_worker_that_takes_over_knows_which_links_wait() -> None:
    store(envelope("box-a", "xn", [1]), envelope("box-a", "bs", [2]))
    with begin() as session:
        assert unapplied_links(session, 0) == {KEY, ("box-a", EPOCH, "bs")}
        assert unapplied_links(session, 1) == set()


@pytest.mark.req("GW-10")
def test_a_message_of_a_box_without_a_clock_is_dated_by_the_cloud() -> None:
    seen: dict[int, MessageSource] = {}

    def look(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
        seen[source.sequence] = source

    store(
        envelope(
            "box-a",
            "xn",
            [
                replace(message(1), received_at=datetime(1970, 1, 1, tzinfo=UTC), clock_sure=False),
                replace(message(2), received_at=datetime(2126, 1, 1, tzinfo=UTC)),
                message(3),
            ],
        )
    )
    assert apply_link(begin, take(), KEY, look).applied == 3
    assert [seen[each].received_at for each in (1, 2)] == [stored_message(each).stored_at for each in (1, 2)]
    assert seen[3].received_at == MORNING
    assert stored_message(1).received_at.year == 1970


@pytest.mark.req("GW-10")
def test_a_message_put_back_is_known_to_be_late_and_its_followers_are_not() -> None:
    late: list[tuple[int, bool]] = []

    def look(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
        late.append((source.sequence, source.late))
        if source.sequence == 1 and len(late) == 1:
            raise ValueError("a channel is not mapped")

    lease = take()
    store(envelope("box-a", "xn", [1, 2]))
    apply_link(begin, lease, KEY, look)
    with begin() as session:
        service.apply_again(session, stored_message(1).id, by="system")
    store(envelope("box-a", "xn", [3]))
    apply_link(begin, lease, KEY, look)
    assert late == [(1, False), (2, False), (1, True), (3, False)]


@pytest.mark.req("GW-10")
def test_after_a_database_lost_commits_no_receipt_covers_what_is_not_stored() -> None:
    """A standby that took over may lack the last commits: what the worker remembers of them counts no more."""
    broken = False

    @contextmanager
    def connection() -> Iterator[Session]:
        if broken:
            raise OperationalError("SELECT", {}, psycopg.OperationalError("the server is gone"))
        with begin() as session:
            yield session

    inbox = Inbox(connection, 0)
    inbox.store([up(envelope("box-a", "xn", [1, 2]))])
    broken = True
    with pytest.raises(OperationalError):
        inbox.store([up(envelope("box-a", "xn", [3]))])
    with begin() as session:
        session.execute(text("DELETE FROM gateway_inbox WHERE sequence = 2"))
    broken = False
    ((_, receipt),) = inbox.store([up(envelope("box-a", "xn", [3]))]).receipts
    assert receipt.covers(1)
    assert receipt.covers(3)
    assert not receipt.covers(2)


def test_a_box_that_lost_its_clock_is_still_told_what_it_misses() -> None:
    tell(_state(20, 5))
    woken = GatewayState("box-a", EPOCH, datetime(1970, 1, 1, tzinfo=UTC), False, "1.0", 3, ())
    tell(woken)
    with begin() as session:
        assert session.get_one(Gateway, "box-a").worklist_revision_acked == 3


@pytest.mark.req("GW-10")
@pytest.mark.parametrize("taken_over", [False, True])
def test_no_receipt_covers_what_was_declared_lost_while_the_box_is_still_sending_it(taken_over: bool) -> None:
    inbox = Inbox(begin, 0)
    store(envelope("box-a", "xn", [1, 5]), inbox=inbox)
    lease = take()
    apply_link(begin, lease, KEY, keep_in_ledger)
    with begin() as session:
        service.declare_lost(
            session, gateway="box-a", epoch=EPOCH, link="xn", first=2, last=4, by="x", reason="box burnt"
        )
    apply_link(begin, lease, KEY, keep_in_ledger)
    ((_, receipt),) = store(envelope("box-a", "xn", [6]), inbox=inbox).receipts
    assert receipt.through == 6
    ((_, receipt),) = store(envelope("box-a", "xn", [2, 3]), inbox=Inbox(begin, 0) if taken_over else inbox).receipts
    assert [each for each in range(1, 8) if receipt.covers(each)] == [1, 2, 3]
