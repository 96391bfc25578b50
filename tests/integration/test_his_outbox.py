"""Results to the HIS over a real socket: once each, in order, through absence, refusal and wrong answers."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text, update

from cloud.app import load_slices
from cloud.his import delivery, listing, mapping, outbox
from cloud.his.model import HisOutbox, HisPeer, OutgoingState
from cloud.kit.db import begin
from cloud.kit.errors import Conflict
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report, ReportVersion
from cloud.lis.results.correction import released_results
from cloud.lis.results.model import Result, ResultAttachment
from protocols.messages.hl7 import Hl7Message, read_messages
from simulators.his.receiver import HisReceiver as Simulated
from tests.support.bench import pathologist
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
    assert delivery.deliver(begin) == 1
    assert delivery.deliver(begin) == 0
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
    assert delivery.deliver(begin) == 0
    assert delivery.deliver(begin) == 0, "one absence is one pause"
    with begin() as session:
        assert session.get_one(HisPeer, 1).failures == 1
    assert [each.attempts for each in rows()] == [1, 0]
    his = HisReceiver(port)
    pause_is_over()
    assert delivery.deliver(begin) == 2
    assert delivery.deliver(begin) == 0
    assert [values_of(each) for each in his.received] == [[("WBC", "6.1")], [("WBC", "6.2")]]
    assert [each.report_id for each in rows()] == [first, second]
    his.close()


def test_a_his_that_hangs_up_before_its_answer_gets_the_same_number_again(his: HisReceiver) -> None:
    report()
    his.temper = lambda message: None
    assert delivery.deliver(begin) == 0
    his.temper = lambda message: "AA"
    pause_is_over()
    assert delivery.deliver(begin) == 1
    assert len({each.control_id for each in his.received}) == 1
    assert len(his.received) == 2, "the HIS recognises the repeat by its number"


def test_an_answer_to_another_message_is_never_taken_for_ours(his: HisReceiver) -> None:
    report()
    his.wrong_number = True
    assert delivery.deliver(begin) == 0
    (row,) = rows()
    assert row.state == OutgoingState.WAITING
    assert "SOMEBODY" in (row.last_error or "")
    his.wrong_number = False
    pause_is_over()
    assert delivery.deliver(begin) == 1


def test_a_refused_report_is_shown_with_the_reason_does_not_block_others_and_a_person_sends_it_again(
    his: HisReceiver,
) -> None:
    report("6.1")
    report("6.2")
    his.temper = lambda message: "AE" if values_of(message) == [("WBC", "6.1")] else "AA"
    assert delivery.deliver(begin) == 1
    refused, accepted = rows()
    assert (refused.state, refused.last_error) == (OutgoingState.REFUSED, "AE 说明")
    with begin() as session, pytest.raises(Conflict):
        outbox.send_again(session, accepted.id, by="staff:1")
    his.temper = lambda message: "AA"
    with begin() as session:
        outbox.send_again(session, refused.id, by="staff:1")
    assert delivery.deliver(begin) == 1
    assert his.received[-1].control_id == refused.control_id


def test_a_worker_that_died_in_the_middle_leaves_the_message_for_another(his: HisReceiver) -> None:
    report()
    claimed = delivery._claim(begin)
    assert len(claimed) == 1
    assert delivery.deliver(begin) == 0, "somebody is sending it"
    with begin() as session:
        session.execute(text("UPDATE his_outbox SET claimed_until = clock_timestamp() - interval '1 second'"))
    assert delivery.deliver(begin) == 1


def test_without_a_his_nothing_is_kept_for_it(database: str) -> None:
    load_slices()
    released = release_report(register("王小梅", mrn="P1"), WBC="6.5")
    put(released)
    assert rows() == []


def test_the_message_of_an_older_version_that_is_made_later_is_not_sent(his: HisReceiver) -> None:
    report_id = released("6.1")
    amended(report_id, "7.1")
    with begin() as session:
        outbox.put(session, report_id, 2)
        late = outbox.put(session, report_id, 1)
        assert late is not None
        assert late.state == OutgoingState.SUPERSEDED, "reactions run in any order"
    assert delivery.deliver(begin) == 1
    assert [values_of(each) for each in his.received] == [[("WBC", "7.1")]]


def test_a_recall_that_is_told_after_the_amendment_withdraws_nothing(his: HisReceiver) -> None:
    report_id = released("6.1")
    with begin() as session:
        reports.recall(session, report_id, by=pathologist(), reason="贴错")
    amended(report_id, "7.1")
    with begin() as session:
        outbox.put(session, report_id, 2)
        outbox.put(session, report_id, 1, recalled=True)
        outbox.put(session, report_id, 1)
    assert delivery.deliver(begin) == 1
    assert [statuses_of(each) for each in his.received] == [["C"]]


def test_release_amendment_and_recall_reach_the_his_in_their_order_with_their_status(his: HisReceiver) -> None:
    report_id = released("6.1")
    put(report_id)
    amended(report_id, "7.1")
    with begin() as session:
        outbox.put(session, report_id, 2)
        reports.recall(session, report_id, by=pathologist(), reason="贴错")
    with begin() as session:
        outbox.put(session, report_id, 2, recalled=True)
    assert delivery.deliver(begin) == 3
    assert [statuses_of(each) for each in his.received] == [["F"], ["C"], ["W"]]


def test_an_older_refused_message_is_not_sent_again_when_a_later_one_was_accepted(his: HisReceiver) -> None:
    report_id = released("6.1")
    put(report_id)
    his.temper = lambda message: "AE"
    delivery.deliver(begin)
    amended(report_id, "7.1")
    with begin() as session:
        outbox.put(session, report_id, 2)
    first = rows()[0]
    with begin() as session, pytest.raises(Conflict) as refusal:
        outbox.send_again(session, first.id, by="staff:1")
    assert refusal.value.code == "his.later"
    his.temper = lambda message: "AA"
    assert delivery.deliver(begin) == 1
    assert [each.state for each in rows()] == [OutgoingState.SUPERSEDED, OutgoingState.ACCEPTED]


def test_a_message_that_the_his_never_answers_is_set_aside_and_stops_nobody(his: HisReceiver) -> None:
    poison = report("6.1")
    his.temper = lambda message: None if values_of(message) == [("WBC", "6.1")] else "AA"
    for _ in range(4):
        assert delivery.deliver(begin) == 0
        pause_is_over()
    assert [each.state for each in rows()] == [OutgoingState.WAITING], "alone it proves nothing: the HIS may be away"
    report("6.2")
    report("6.3")
    assert delivery.deliver(begin) == 2
    first, second, third = rows()
    assert (first.report_id, first.state) == (poison, OutgoingState.PARKED)
    assert {second.state, third.state} == {OutgoingState.ACCEPTED}
    with begin() as session:
        assert listing.waiting_for_a_person(session) == 1
        assert listing.outgoing(session, show="trouble", page=1)[1] == 1
    his.temper = lambda message: "AA"
    with begin() as session:
        outbox.send_again(session, first.id, by="staff:1")
    assert delivery.deliver(begin) == 1
    assert rows()[0].state == OutgoingState.ACCEPTED


def test_a_his_that_hangs_as_a_whole_loses_and_parks_nothing(his: HisReceiver) -> None:
    for value in ("6.1", "6.2", "6.3", "6.4"):
        report(value)
    his.temper = lambda message: None
    for _ in range(14):
        assert delivery.deliver(begin) == 0
        pause_is_over()
    his.temper = lambda message: "AA"
    assert delivery.deliver(begin) == 4
    assert {each.state for each in rows()} == {OutgoingState.ACCEPTED}
    assert len({each.control_id for each in his.received}) == 4


def test_nobody_overtakes_an_unanswered_message_of_the_same_patient(his: HisReceiver) -> None:
    patient = register("王小梅", mrn="P77")
    for value in ("6.1", "6.2"):
        put(release_report(patient, WBC=value))
    his.temper = lambda message: None if values_of(message) == [("WBC", "6.1")] else "AA"
    for _ in range(6):
        assert delivery.deliver(begin) == 0
        pause_is_over()
    assert {values_of(each)[0][1] for each in his.received} == {"6.1"}


def test_after_an_hour_away_everything_arrives_once_at_the_simulated_his(port: int) -> None:
    reports_made = [report(f"6.{number}") for number in range(1, 9)]
    assert delivery.deliver(begin) == 0
    lines: list[dict[str, object]] = []

    class Ledger:
        def write(self, event: str, **fields: object) -> None:
            lines.append({"event": event, **fields})

    simulated = Simulated(Ledger(), "127.0.0.1", port)  # type: ignore[arg-type]
    simulated.start()
    pause_is_over()
    claimed = delivery._claim(begin)  # a worker that died in the middle
    assert len(claimed) == len(reports_made)
    with begin() as session:
        session.execute(text("UPDATE his_outbox SET claimed_until = clock_timestamp() - interval '1 second'"))
    assert delivery.deliver(begin) == len(reports_made)
    simulated.close()
    assert [each["number"] for each in lines] == [each.control_id for each in rows()]
    assert len({each["number"] for each in lines}) == len(reports_made)


def test_pictures_are_counted_in_a_note_or_sent_along_as_the_hospital_wants(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_id, picture = with_picture()
    put(report_id)
    message = sent()
    assert "附图 1 幅" in next(each.text(3) for each in message.segments if each.name == "NTE")
    with begin() as session:
        session.execute(text("DELETE FROM his_outbox"))
    names = {**mapping.outgoing(), "images": "embedded"}
    monkeypatch.setattr(mapping, "outgoing", lambda: names)
    put(report_id)
    image = next(each for each in sent().segments if each.name == "OBX" and each.text(2) == "ED")
    assert (image.component(5, 2), image.component(5, 3), image.component(5, 4)) == ("IM", "PNG", "Base64")
    assert base64.b64decode(image.component(5, 5)) == picture


def released(value: str) -> uuid.UUID:
    return release_report(register("王小梅", mrn=f"P{uuid.uuid4().hex[:6]}"), WBC=value)


def amended(report_id: uuid.UUID, value: str) -> None:
    with begin() as session:
        (result,) = released_results(session, session.get_one(Report, report_id).specimen_id)
        change = Correction(result.test_id, value=value)
        amend(session, report_id, by=pathologist(), reason="复核", corrections=[change])


def statuses_of(message: Hl7Message) -> list[str]:
    return [each.text(11) for each in message.segments if each.name == "OBX"]


def sent() -> Hl7Message:
    return read_messages(rows()[-1].payload)[0]


def with_picture() -> tuple[uuid.UUID, bytes]:
    """A released report whose frozen content names one picture, and the picture."""
    report_id, picture = released("6.1"), b"\x89PNG\r\n\x1a\n" + b"scattergram"
    with begin() as session:
        result = session.scalars(select(Result)).one()
        kept = ResultAttachment(
            specimen_id=result.specimen_id,
            inbox_id=uuid.uuid4(),
            ordinal=0,
            code="DIFF",
            received_at=result.received_at,
            name="DIFF",
            media_type="image/png",
            data=picture,
        )
        session.add(kept)
        session.flush()
        content = session.scalars(select(ReportVersion.content).where(ReportVersion.report_id == report_id)).one()
        image = {
            "attachment_id": str(kept.id),
            "name": "DIFF",
            "media_type": "image/png",
            "sha256": hashlib.sha256(picture).hexdigest(),
        }
        session.execute(text("ALTER TABLE lab_report_version DISABLE TRIGGER USER"))
        session.execute(
            update(ReportVersion)
            .where(ReportVersion.report_id == report_id)
            .values(content={**content, "images": [image]})
        )
    return report_id, picture
