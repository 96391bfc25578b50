"""A box asks about a tube; a tube without an order is listed until its order or result came, or somebody closes it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from cloud.gateways import questions
from cloud.gateways.arrivals import Arrival
from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.kit.ids import new_id
from cloud.lis.orders import service as orders
from cloud.lis.results.service import MessageSource, ingest
from cloud.lis.specimens import refusal
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.lis.worklists import asking, service, unanswered
from cloud.lis.worklists.model import ClosedHow, UnansweredState, UnansweredTube
from protocols.model import Item, Observation, UnansweredQuery
from protocols.uplink.asking import Answer, Finding, NoOrder, Question
from protocols.uplink.topics import up_topic
from tests.support.bench import pathologist, technician
from tests.support.gateways import registered
from tests.support.lab import GATEWAY, Lab, labelled, open_lab, order, react, received
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.req("GW-7")
PAGE = "/staff/lis/worklists/unanswered"


@pytest.fixture
def lab(database: str) -> Lab:
    return open_lab()


def asked_about(
    barcode: str | None,
    reason: str = NoOrder.UNKNOWN,
    link: str = "xn",
    rack: str | None = None,
    position: str | None = None,
) -> None:
    """The box's word of a tube without an order arrives."""
    sent(UnansweredQuery(barcode, reason, rack, position), link=link)


def sent(*items: Item, link: str = "xn") -> None:
    with begin() as session:
        source = MessageSource(new_id(), GATEWAY, link, "e1", 1, clock.now(), "box", "1")
        ingest(session, source, items)


def rows() -> list[UnansweredTube]:
    with begin() as session:
        return list(session.scalars(select(UnansweredTube).order_by(UnansweredTube.id)))


def state_of(barcode: str) -> UnansweredState:
    [row] = [each for each in rows() if each.what == barcode]
    return row.state


def finding(barcode: str, link: str = "xn") -> Finding:
    with begin() as session:
        [found] = asking.find(session, GATEWAY, link, [barcode])
        return found


def by_barcode(barcode: str) -> uuid.UUID:
    with begin() as session:
        return specimens.by_barcode(session, barcode).id


# ---------------------------------------------------------------------- what a box hears


def test_a_tube_received_a_moment_ago_is_answered_before_its_worklist_is_made(lab: Lab) -> None:
    barcode = labelled(lab, ("HGB", "NEUT_PCT"))
    assert finding(barcode).reason == NoOrder.NOT_COLLECTED
    with begin() as session:
        specimens.receive(session, barcode, by="system")
        assert service.newest_revision(session, GATEWAY) == 0
    found = finding(barcode).order
    assert found is not None
    assert set(found.codes) == {"HGB", "NEUT%"}
    assert found.patient_name is None


def test_a_collected_tube_that_nobody_scanned_in_the_laboratory_is_answered(lab: Lab) -> None:
    barcode = labelled(lab, ("HGB",))
    with begin() as session:
        specimens.collect(session, barcode, by="system")
    found = finding(barcode).order
    assert found is not None
    assert found.codes == ("HGB",)
    react()
    with begin() as session:
        assert service.entries_after(session, GATEWAY, 0) == []


def test_a_tube_is_found_by_each_of_its_barcodes_and_answered_under_the_one_that_was_read(lab: Lab) -> None:
    accession = labelled(lab, ("HGB",))
    with begin() as session:
        specimens.collect(session, accession, by="system", preprinted="PRE0001")
    for barcode in (accession, "PRE0001"):
        found = finding(barcode).order
        assert found is not None
        assert found.specimen == barcode


def test_each_tube_without_an_order_is_answered_with_its_reason(lab: Lab) -> None:
    serum = received(lab, ("ALT",))
    rejected, cancelled = received(lab), received(lab)
    with begin() as session:
        refusal.reject(session, rejected, reason_code="type_wrong", by="system")
        one = specimens.by_barcode(session, cancelled)
        orders.cancel_order(session, one.order_id, reason="开错", by="system", after_receipt=True)
    react()
    assert finding("999999").reason == NoOrder.UNKNOWN
    assert finding(serum).reason == NoOrder.NOTHING_HERE
    assert finding(serum, link="bs").order is not None
    assert finding(serum, link="no-such-link").reason == NoOrder.NOTHING_HERE
    assert finding(rejected).reason == NoOrder.CLOSED
    assert finding(cancelled).reason == NoOrder.CLOSED


def test_a_question_from_a_registered_box_is_answered_and_any_other_is_not(lab: Lab) -> None:
    registered((GATEWAY, 0))
    barcode = received(lab, ("HGB",))
    payload = Question(GATEWAY, "xn", "q1", (barcode, "999999")).to_bytes()
    reply = questions.answer(begin, Arrival(up_topic(0, GATEWAY, "xn", "query"), payload))
    assert reply is not None
    topic, content = reply
    assert topic == f"xinglin/v1/0/{GATEWAY}/down/answer"
    first, second = Answer.from_bytes(content).findings
    assert first.order is not None
    assert second.reason == NoOrder.UNKNOWN
    for strange in (
        Arrival(up_topic(1, GATEWAY, "xn", "query"), payload),  # not its partition
        Arrival(up_topic(0, "gw-9", "xn", "query"), payload),  # not its topic
        Arrival(up_topic(0, GATEWAY, "bs", "query"), payload),  # not its link
        Arrival(up_topic(0, GATEWAY, "xn", "query"), b"{}"),
    ):
        assert questions.answer(begin, strange) is None


# ---------------------------------------------------------------------- the list


def test_a_tube_asked_about_before_its_order_is_to_be_put_on_again_when_the_order_comes(lab: Lab) -> None:
    asked_about("PRE0002", rack="3", position="7")
    assert state_of("PRE0002") == UnansweredState.WAITING
    accession = labelled(lab, ("HGB",))
    with begin() as session:
        specimens.collect(session, accession, by="system", preprinted="PRE0002")
        specimens.receive(session, "PRE0002", by="system")
    react()
    assert state_of("PRE0002") == UnansweredState.ORDER_CAME
    [row] = rows()
    assert (row.rack, row.position, row.reason, row.specimen_id) == ("3", "7", "unknown", by_barcode(accession))
    sent(Observation("PRE0002", "HGB", "120", "g/L"))
    [row] = rows()
    assert (row.state, row.closed_how) == (UnansweredState.CLOSED, ClosedHow.RESULT)


def test_an_order_for_another_instrument_is_not_what_this_one_waits_for(lab: Lab) -> None:
    barcode = labelled(lab, ("ALT",))
    asked_about(barcode, NoOrder.NOT_COLLECTED)
    asked_about(barcode, NoOrder.NOT_COLLECTED, link="bs")
    with begin() as session:
        specimens.receive(session, barcode, by="system")
    react()
    assert {each.link: each.state for each in rows()} == {
        "xn": UnansweredState.WAITING,
        "bs": UnansweredState.ORDER_CAME,
    }
    sent(Observation(barcode, "1", "20", "U/L"), link="bs")
    assert {each.link: each.state for each in rows()} == {"xn": UnansweredState.WAITING, "bs": UnansweredState.CLOSED}


def test_a_tube_whose_order_was_there_all_the_time_is_to_be_put_on_again_at_once(lab: Lab) -> None:
    barcode = received(lab, ("HGB",))
    asked_about(barcode, NoOrder.NOT_REACHED)
    assert state_of(barcode) == UnansweredState.ORDER_CAME


def test_a_test_added_to_a_tube_puts_it_on_the_list_and_its_cancellation_takes_it_off(lab: Lab) -> None:
    barcode = received(lab, ("HGB",))
    with begin() as session:
        one = specimens.by_barcode(session, barcode)
        [item] = specimens.live_items(session, one.id)
        orders.add_tests(session, one.order_id, ["PLT"], by="system")
        order_id = one.order_id
        orders.cancel_order(session, order_id, reason="开错", by="system", item_ids=[item.id], after_receipt=True)
    asked_about(barcode, NoOrder.NOT_REACHED)
    react()
    assert state_of(barcode) == UnansweredState.ORDER_CAME
    with begin() as session:
        orders.cancel_order(session, order_id, reason="开错", by="system", after_receipt=True)
    react()
    assert state_of(barcode) == UnansweredState.WAITING


def test_one_tube_told_of_again_and_again_is_one_line(lab: Lab) -> None:
    for reason in (NoOrder.NOT_REACHED, NoOrder.UNKNOWN, NoOrder.UNKNOWN):
        asked_about("PRE0003", reason)
    [row] = rows()
    assert (row.times, row.reason) == (3, "unknown")
    asked_about(None, NoOrder.NO_BARCODE, rack="1", position="1")
    asked_about(None, NoOrder.NO_BARCODE, rack="1", position="2")
    assert len(rows()) == 3


def test_after_a_tube_was_dealt_with_it_may_be_asked_about_again(lab: Lab) -> None:
    asked_about("PRE0004")
    sent(Observation("PRE0004", "HGB", "120", "g/L"))
    asked_about("PRE0004")
    assert [each.state for each in rows()] == [UnansweredState.CLOSED, UnansweredState.WAITING]


def test_an_order_that_comes_while_the_boxs_word_is_stored_is_seen_by_one_of_the_two(lab: Lab) -> None:
    """The reception's reaction waits for whoever stores the word: it holds the specimen."""
    barcode = labelled(lab, ("HGB",))
    with begin() as session:
        specimen_id = specimens.receive(session, barcode, by="system").id
    done = threading.Event()

    def react_to_reception() -> None:
        with begin() as other:
            service.refresh(other, specimen_id)
            unanswered.specimen_changed(other, specimen_id)
        done.set()

    with begin() as session:
        unanswered.keep(session, GATEWAY, "xn", clock.now(), [UnansweredQuery(barcode, NoOrder.NOT_REACHED)])
        reaction = threading.Thread(target=react_to_reception)
        reaction.start()
        assert not done.wait(0.2)
    reaction.join(20)
    assert state_of(barcode) == UnansweredState.ORDER_CAME


def test_what_no_event_told_of_is_found_by_looking_again_and_old_tubes_leave_the_list(lab: Lab) -> None:
    barcode = labelled(lab, ("HGB",))
    asked_about(barcode, NoOrder.NOT_COLLECTED)
    asked_about("PRE0005")
    with begin() as session:
        specimens.receive(session, barcode, by="system")  # and nobody reacted
        old = clock.now() - timedelta(days=8)
        session.execute(update(UnansweredTube).where(UnansweredTube.what == "PRE0005").values(last_asked_at=old))
    with begin() as session:
        assert unanswered.look_again(session) == 2
    assert state_of(barcode) == UnansweredState.ORDER_CAME
    [row] = [each for each in rows() if each.what == "PRE0005"]
    assert row.closed_how == ClosedHow.OLD


def test_a_tube_is_closed_by_hand_with_a_reason_and_once(lab: Lab) -> None:
    asked_about("PRE0006")
    [row] = rows()
    with begin() as session:
        with pytest.raises(Invalid):
            unanswered.close(session, row.id, by=technician(), reason=" ")
        unanswered.close(session, row.id, by=technician(), reason="患者已退费")
        with pytest.raises(Conflict):
            unanswered.close(session, row.id, by=pathologist(), reason="again")
        nobody = technician()
        object.__setattr__(nobody, "permissions", frozenset())
        with pytest.raises(Forbidden):
            unanswered.close(session, row.id, by=nobody, reason="x")
    [row] = rows()
    assert (row.closed_how, row.closed_by_name, row.close_reason) == (ClosedHow.BY_HAND, "赵检验", "患者已退费")
    with begin() as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "unanswered.closed"))
        assert entry.reason == "患者已退费"


# ---------------------------------------------------------------------- the page


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def test_the_list_shows_where_the_tube_stands_and_why_changes_by_itself_and_says_who_closed_it(
    lab: Lab, site: Site
) -> None:
    barcode = labelled(lab, ("HGB",))
    asked_about(barcode, NoOrder.NOT_COLLECTED, rack="12", position="5")
    visitor = site.staff("technician")
    page = visitor.get(PAGE).text
    for shown in (barcode, "XN-1", "12", "5", "尚未扫码采集或接收", "等待医嘱"):
        assert shown in page
    assert "未应答标本" in visitor.get("/staff").text
    [stream] = [part for part in page.split('"') if part.startswith("/staff/live?")]
    with visitor.http.stream("GET", stream.replace("&amp;", "&"), timeout=20) as events:
        with begin() as session:
            specimens.receive(session, barcode, by="system")
        react()
        assert any("unanswered" in line for line in events.iter_lines())
    changed = visitor.get(f"{PAGE}/list").text
    assert 'data-state="order_came"' in changed
    assert "医嘱已到，请重新上机" in changed
    [row] = rows()
    visitor.get(f"{PAGE}/{row.id}")
    refused = visitor.post(f"{PAGE}/{row.id}/close", {"why": ""})
    assert refused.status_code == 422
    assert "请填写处理说明" in refused.text
    done = visitor.post(f"{PAGE}/{row.id}/close", {"why": "已人工检测"})
    assert done.url.path == PAGE
    assert "已人工检测" in done.text
    assert "赵检验" in done.text
    assert site.staff("cashier").get(PAGE).status_code == 403  # who may not match results sees no tubes


def test_an_order_placed_for_another_patient_does_not_move_the_tube(lab: Lab) -> None:
    asked_about("PRE0008")
    with begin() as session:
        order(session, lab, ("HGB",))
    received(lab, ("HGB",))
    assert state_of("PRE0008") == UnansweredState.WAITING
    with begin() as session:
        assert session.scalars(select(Specimen.id).where(Specimen.barcode == "PRE0008")).first() is None
