"""Results to the HIS over a real socket: once each, in order, through absence, refusal and wrong answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text, update

from cloud.app import load_slices
from cloud.his import outbox
from cloud.his.model import HisOutbox, HisPeer, OutgoingState
from cloud.kit.db import begin
from cloud.kit.errors import Conflict
from protocols.messages.hl7 import Hl7Message
from tests.support.broker import free_port
from tests.support.his import HisReceiver
from tests.support.phones import register, release_report

pytestmark = pytest.mark.req("HIS-1")


@pytest.fixture
def port(database: str, monkeypatch: pytest.MonkeyPatch) -> int:
    from cloud.config import settings

    port = free_port()
    monkeypatch.setenv("XINGLIN_HIS_HOST", "127.0.0.1")
    monkeypatch.setenv("XINGLIN_HIS_PORT", str(port))
    settings.cache_clear()
    load_slices()
    return port


@pytest.fixture
def his(port: int) -> Iterator[HisReceiver]:
    receiver = HisReceiver(port)
    yield receiver
    receiver.close()


def report(value: str = "6.52") -> uuid.UUID:
    """A released report whose message waits for the HIS (the reaction to its release has run)."""
    released = release_report(register("王小梅", mrn=f"P{uuid.uuid4().hex[:6]}"), WBC=value)
    put(released)
    return released


def put(report_id: uuid.UUID) -> None:
    with begin() as session:
        outbox.put(session, report_id, 1)


def rows() -> list[HisOutbox]:
    with begin() as session:
        return list(session.scalars(select(HisOutbox).order_by(HisOutbox.number)))


def pause_is_over() -> None:
    with begin() as session:
        session.execute(update(HisPeer).values(retry_at=None))


def values_of(message: Hl7Message) -> list[tuple[str, str]]:
    return [(each.component(3, 1), each.text(5)) for each in message.segments if each.name == "OBX"]


def test_a_released_report_reaches_the_his_once(his: HisReceiver) -> None:
    report_id = report("6.52")
    put(report_id)
    assert outbox.deliver(begin) == 1
    assert outbox.deliver(begin) == 0
    (message,) = his.received
    assert message.kind == "ORU^R01"
    assert values_of(message) == [("WBC", "6.52")]
    (row,) = rows()
    assert (row.state, row.attempts, row.control_id) == (OutgoingState.ACCEPTED, 1, message.control_id)


def test_the_release_itself_puts_the_message_there(port: int) -> None:
    release_report(register("王小梅", mrn="P1"), WBC="6.5")
    with begin() as session:
        names = set(session.scalars(text("SELECT args ->> 'name' FROM procrastinate_jobs")))
    assert "his.report_released" in names


def test_reports_wait_while_the_his_is_away_and_arrive_once_and_in_order_when_it_is_back(port: int) -> None:
    first, second = report("6.1"), report("6.2")
    assert outbox.deliver(begin) == 0
    assert outbox.deliver(begin) == 0, "one absence is one pause"
    with begin() as session:
        assert session.get_one(HisPeer, 1).failures == 1
    assert [each.attempts for each in rows()] == [1, 0]
    his = HisReceiver(port)
    pause_is_over()
    assert outbox.deliver(begin) == 2
    assert outbox.deliver(begin) == 0
    assert [values_of(each) for each in his.received] == [[("WBC", "6.1")], [("WBC", "6.2")]]
    assert [each.report_id for each in rows()] == [first, second]
    his.close()


def test_a_his_that_hangs_up_before_its_answer_gets_the_same_number_again(his: HisReceiver) -> None:
    report()
    his.temper = lambda message: None
    assert outbox.deliver(begin) == 0
    his.temper = lambda message: "AA"
    pause_is_over()
    assert outbox.deliver(begin) == 1
    assert len({each.control_id for each in his.received}) == 1
    assert len(his.received) == 2, "the HIS recognises the repeat by its number"


def test_an_answer_to_another_message_is_never_taken_for_ours(his: HisReceiver) -> None:
    report()
    his.wrong_number = True
    assert outbox.deliver(begin) == 0
    (row,) = rows()
    assert row.state == OutgoingState.WAITING
    assert "SOMEBODY" in (row.last_error or "")
    his.wrong_number = False
    pause_is_over()
    assert outbox.deliver(begin) == 1


def test_a_refused_report_is_shown_with_the_reason_does_not_block_others_and_a_person_sends_it_again(
    his: HisReceiver,
) -> None:
    report("6.1")
    report("6.2")
    his.temper = lambda message: "AE" if values_of(message) == [("WBC", "6.1")] else "AA"
    assert outbox.deliver(begin) == 1
    refused, accepted = rows()
    assert (refused.state, refused.last_error) == (OutgoingState.REFUSED, "AE 说明")
    with begin() as session, pytest.raises(Conflict):
        outbox.send_again(session, accepted.id, by="staff:1")
    his.temper = lambda message: "AA"
    with begin() as session:
        outbox.send_again(session, refused.id, by="staff:1")
    assert outbox.deliver(begin) == 1
    assert his.received[-1].control_id == refused.control_id


def test_a_worker_that_died_in_the_middle_leaves_the_message_for_another(his: HisReceiver) -> None:
    report()
    claimed = outbox._claim(begin)
    assert claimed is not None
    assert outbox.deliver(begin) == 0, "somebody is sending it"
    with begin() as session:
        session.execute(text("UPDATE his_outbox SET claimed_until = clock_timestamp() - interval '1 second'"))
    assert outbox.deliver(begin) == 1


def test_without_a_his_nothing_is_kept_for_it(database: str) -> None:
    load_slices()
    released = release_report(register("王小梅", mrn="P1"), WBC="6.5")
    put(released)
    assert rows() == []
