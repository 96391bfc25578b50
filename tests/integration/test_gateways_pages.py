"""The pages of boxes and of the HIS over HTTP: what is seen, by whom, and what a person can do about it."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from cloud.gateways import leases, overview
from cloud.gateways.apply import apply_link
from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.leases import Lease
from cloud.gateways.model import InboxMessage, LinkCursor, Quarantine
from cloud.his import inbox as his_inbox
from cloud.his.model import HisMessage
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.lis.catalog import load
from cloud.lis.results.service import MessageSource
from cloud.people.wire import shown
from protocols.model import Item
from protocols.uplink.envelope import GatewayState, LinkState, MessageState, state_topic, up_topic
from tests.support.gateways import EPOCH, MORNING, envelope, keep_in_ledger, make_ledger, message, registered
from tests.support.his import oml, order_line
from tests.support.site import Site, hire_cast, running_site

KEY = ("box-a", EPOCH, "xn")


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    registered(("box-a", 0))
    make_ledger()
    with running_site() as running:
        yield running


def lease() -> Lease:
    with begin() as session:
        leases.make(session, 1)
        return leases.beat(session, "worker-1", seconds=60, partitions=1)[0][0]


def store(*messages: object) -> None:
    sent = envelope("box-a", "xn", messages)  # type: ignore[arg-type]
    Inbox(begin, 0).store([Arrival(up_topic(0, "box-a", "xn"), sent.to_bytes())])


def choke(session: Session, source: MessageSource, items: Sequence[Item]) -> None:
    raise ValueError("the specimen's tube has no colour")


def the_message(sequence: int) -> InboxMessage:
    with begin() as session:
        return session.scalars(select(InboxMessage).where(InboxMessage.sequence == sequence)).one()


@pytest.mark.req("GW-14")
def test_a_field_engineer_sees_boxes_links_buffer_and_gaps_and_declares_a_gap_lost(site: Site) -> None:
    store(message(1), message(4))
    held = lease()
    apply_link(begin, held, KEY, keep_in_ledger)
    link = LinkState("xn", "listening", "sysmex_xn", MORNING, 4, 17, answered_queries=3)
    state = GatewayState("box-a", EPOCH, clock.now(), False, "1.4.2", 0, (link,))
    Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), state.to_bytes())])
    engineer = site.staff("field_engineer")
    page = engineer.get("/staff/gateways").text
    for seen in ("box-a", "在线", "1.4.2", "待上传 17 条", "时钟未校准", "等待连接", "缺第 2 至 3 条", "worker-1"):
        assert seen in page, seen
    form = engineer.get("/staff/gateways/gap", params={"gateway": "box-a", "epoch": EPOCH, "link": "xn"})
    assert "缺第 2 至 3 条" in form.text
    gap = {"gateway": "box-a", "epoch": EPOCH, "link": "xn", "first": 2, "last": 3}
    assert engineer.post("/staff/gateways/lost", gap | {"reason": ""}).status_code == 422
    assert engineer.post("/staff/gateways/lost", gap | {"reason": "设备更换"}).status_code == 200
    assert engineer.post("/staff/gateways/lost", gap | {"reason": "设备更换"}).status_code == 409
    assert apply_link(begin, held, KEY, keep_in_ledger).applied == 1
    assert "缺第" not in engineer.get("/staff/gateways/boxes").text


def test_a_technician_may_look_but_not_declare_anything_lost(site: Site) -> None:
    technician = site.staff("technician")
    assert technician.get("/staff/gateways").status_code == 200
    refused = technician.post(
        "/staff/gateways/lost",
        {"gateway": "box-a", "epoch": EPOCH, "link": "xn", "first": 1, "last": 1, "reason": "x"},
    )
    assert refused.status_code == 403
    assert site.staff("cashier").get("/staff/gateways").status_code == 403


@pytest.mark.req("GW-12+")
def test_what_could_not_be_decoded_is_found_with_its_bytes_beside_it(site: Site) -> None:
    store(
        message(1, state=MessageState.UNDECODED, reason="no driver knows it", raw=b"\x02Z|1|999001198503020001\r\x03"),
        message(2, state=MessageState.INCOMPLETE, reason="EOT after ETB"),
        message(3),
    )
    technician = site.staff("technician")
    listed = technician.get("/staff/gateways/messages").text
    assert "no driver knows it" in listed
    assert "EOT after ETB" in listed
    assert str(the_message(3).id) not in listed
    detail = technician.get(f"/staff/gateways/messages/{the_message(1).id}").text
    assert html.escape("<STX>Z|1|999001********0001<CR>") in detail
    technician.post(f"/staff/gateways/messages/{the_message(1).id}/handled")
    listed = technician.get("/staff/gateways/messages").text
    assert "no driver knows it" not in listed
    assert "no driver knows it" in technician.get("/staff/gateways/messages?show=undecoded").text


def test_bytes_of_messages_are_not_shown_to_who_may_not_see_results(site: Site) -> None:
    store(message(1, specimen="260399999"))
    page = site.staff("field_engineer").get(f"/staff/gateways/messages/{the_message(1).id}")
    assert page.status_code == 200
    assert "260399999" not in page.text
    assert "WBC" not in page.text
    assert "WBC" in site.staff("technician").get(f"/staff/gateways/messages/{the_message(1).id}").text


def test_a_quarantined_message_is_applied_again_when_its_cause_is_cured(site: Site) -> None:
    store(message(1), message(2))
    held = lease()
    assert apply_link(begin, held, KEY, choke).quarantined == 2
    engineer = site.staff("field_engineer")
    page = engineer.get(f"/staff/gateways/messages/{the_message(1).id}").text
    assert "has no colour" in page
    assert engineer.post(f"/staff/gateways/messages/{the_message(1).id}/again").status_code == 200
    assert apply_link(begin, held, KEY, keep_in_ledger).applied == 1
    assert the_message(1).state == "applied"
    assert engineer.post(f"/staff/gateways/messages/{the_message(1).id}/again").status_code == 409


@pytest.mark.req("GW-10")
def test_a_message_set_aside_is_read_and_accepted_by_who_may_judge_results(site: Site) -> None:
    store(message(1))
    store(message(1, raw=b"\x02R|another\x03", specimen="2603999999"))
    with begin() as session:
        kept = session.scalars(select(InboxMessage).where(InboxMessage.epoch != EPOCH)).one()
    engineer, technician = site.staff("field_engineer"), site.staff("technician")
    page = f"/staff/gateways/messages/{kept.id}"
    assert f"{page}/accept" not in engineer.get(page).text
    assert engineer.post(f"{page}/accept").status_code == 403
    assert engineer.post(f"{page}/again").status_code == 409
    assert str(kept.id) in technician.get("/staff/gateways/messages").text
    shown_to_her = technician.get(page).text
    assert "2603999999" in shown_to_her
    assert f"{page}/accept" in shown_to_her
    assert technician.post(f"{page}/accept").status_code == 200
    assert apply_link(begin, lease(), (kept.gateway, kept.epoch, kept.link), keep_in_ledger).applied == 1
    assert technician.post(f"{page}/accept").status_code == 409


def test_a_payload_of_an_unknown_box_is_listed_and_can_be_put_away(site: Site) -> None:
    stray = envelope("stranger", "xn", [1])
    Inbox(begin, 0).store([Arrival(up_topic(0, "stranger", "xn"), stray.to_bytes())])
    technician = site.staff("technician")
    assert "stranger" in technician.get("/staff/gateways/messages").text
    with begin() as session:
        payload = session.scalars(select(Quarantine)).one()
        assert overview.waiting_for_a_person(session) == 1
    assert "unknown gateway" in technician.get(f"/staff/gateways/payloads/{payload.id}").text
    technician.post(f"/staff/gateways/payloads/{payload.id}/handled")
    with begin() as session:
        assert overview.waiting_for_a_person(session) == 0


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_page_of_boxes_and_of_the_his_answers_in_both_languages(site: Site, language: str) -> None:
    technician = site.staff("technician")
    with begin() as session:
        session.add(LinkCursor(gateway="box-a", epoch=EPOCH, link="xn", gap_first=1, gap_last=2, gap_since=MORNING))
    for path in (
        "/staff/gateways",
        "/staff/gateways/messages?show=all",
        "/staff/gateways/messages?show=quarantined&gateway=box-a&page=3",
        "/staff/his",
        "/staff/his?direction=out&show=trouble",
    ):
        page = technician.get(path, params=None if "?" in path else {"lang": language})
        assert page.status_code == 200, path


@pytest.mark.req("HIS-1")
def test_a_refused_message_of_the_his_is_listed_and_acted_on_again_after_the_cure(site: Site) -> None:
    his_inbox.receive(begin, oml("77", *order_line("D1", "CBC")))
    technician = site.staff("technician")
    listed = technician.get("/staff/his?show=trouble").text
    assert "77" in listed
    assert "没有这些检验项目" in listed
    with begin() as session:
        found = session.scalars(select(HisMessage)).one()
    detail = technician.get(f"/staff/his/in/{found.id}").text
    assert "ORC|NW|D1" in detail
    assert "999001198503020001" not in detail
    load.run()
    assert technician.post(f"/staff/his/in/{found.id}/again").status_code == 200
    with begin() as session:
        assert session.get_one(HisMessage, found.id).state == "applied"
        assert session.scalar(text("SELECT count(*) FROM lab_order")) == 1
    assert "没有消息" in technician.get("/staff/his?show=trouble").text


def test_an_absent_his_is_said_on_its_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    technician = site.staff("technician")
    assert "XINGLIN_HIS_HOST" in technician.get("/staff/his?direction=out").text


def test_control_characters_are_visible_and_numbers_of_persons_masked() -> None:
    assert shown(b"\x05\x02H|\\^&\r\n\x03\x1f") == "<ENQ><STX>H|\\^&<CR><LF>\n<ETX><1F>"
    assert shown("张三|13800001234|110101198503020012".encode()) == "张三|138****1234|110101********0012"
    assert shown("姓名".encode("gb18030")) == "姓名"
    assert shown(b"1380000123456") == "1380000123456"


def test_an_old_gap_of_a_silent_epoch_stays_visible(site: Site) -> None:
    store(message(1), message(3))
    apply_link(begin, lease(), KEY, keep_in_ledger)
    state = GatewayState("box-a", "another", clock.now(), True, "1", 0, ())
    Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), state.to_bytes())])
    with begin() as session:
        session.execute(update(LinkCursor).values(gap_requests=4))
    page = site.staff("technician").get("/staff/gateways").text
    assert "缺第 2 至 2 条" in page
    assert "已催 4 次" in page


@pytest.mark.req("GW-10", "GW-14")
def test_a_box_restored_from_an_old_copy_is_shown_until_the_engineer_has_looked(site: Site) -> None:
    store(message(1), message(2))
    engineer = site.staff("field_engineer")
    link = LinkState("xn", "open", "sysmex_xn", MORNING, 1, 0)
    state = GatewayState("box-a", EPOCH, clock.now(), True, "1", 0, (link,))
    Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), state.to_bytes())])
    page = engineer.get("/staff/gateways").text
    assert "网关数据被回退" in page
    assert "只报告到第 1 条，此前已收到第 2 条" in page
    assert site.staff("technician").post("/staff/gateways/box-a/rollback-handled").status_code == 403
    assert engineer.post("/staff/gateways/no-such-box/rollback-handled").status_code == 404
    answer = engineer.post("/staff/gateways/box-a/rollback-handled")
    assert answer.status_code == 200
    assert "网关数据被回退" not in answer.text
