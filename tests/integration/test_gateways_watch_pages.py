"""The page of one box, silences and their limits over HTTP: what is seen, by whom, and what a person can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.model import Comparison, Gateway, LinkCursor, Reconciliation
from cloud.gateways.watch import silence
from cloud.gateways.watch.model import SilenceAlarm
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.lis.instruments.model import Instrument
from protocols.uplink.envelope import GatewayState, LinkState, state_topic, up_topic
from tests.support.gateways import EPOCH, MORNING, envelope, registered
from tests.support.site import Site, hire_cast, running_site

BOX = "/staff/gateways/box/box-a"
LIMIT = "/staff/gateways/silence/limit"


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    registered(("box-a", 0))
    with begin() as session:
        session.add(
            Instrument(
                code="XN1", name="血球仪一号", gateway="box-a", link="xn", driver="sysmex_xn", section="hematology"
            )
        )
    with running_site() as running:
        yield running


def says(**more: object) -> None:
    links = (
        LinkState("xn", "open", "sysmex_xn", MORNING, 41, 17, refused_frames=3, answered_queries=5),
        LinkState("bs", "failed", "auto", None, 0, 0, reason="/dev/ttyUSB1 is gone"),
    )
    state = GatewayState(
        "box-a",
        EPOCH,
        clock.now(),
        True,
        "1.4.2",
        0,
        links,
        bytes_free=5 * 2**30,
        certificate_days=12,
        configuration=7,
        configuration_digest="abcdef123456",
        store={"ballast_bytes": 0, "used_bytes": 2**20, "bound_bytes": 2**30, "damage": {"check": "damaged"}},
    )
    Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), replace(state, **more).to_bytes())])  # type: ignore[arg-type]


def a_silent_analyzer() -> SilenceAlarm:
    Inbox(begin, 0).store([Arrival(up_topic(0, "box-a", "xn"), envelope("box-a", "xn", [1]).to_bytes())])
    with begin() as session:
        session.add(LinkCursor(gateway="box-a", epoch=EPOCH, link="xn", applied_through=1, gap_requests=0))
        session.add(
            SilenceAlarm(
                gateway="box-a",
                link="xn",
                instrument_id=session.scalars(select(Instrument.id)).one(),
                silent_since=clock.now() - timedelta(hours=3),
                limit_s=3600,
                opened_at=clock.now() - timedelta(hours=2),
            )
        )
        session.flush()
        return session.scalars(select(SilenceAlarm)).one()


@pytest.mark.req("GW-14")
def test_the_page_of_a_box_shows_its_lines_its_disk_its_certificate_and_its_configuration(site: Site) -> None:
    says()
    says(links=(LinkState("xn", "closed", "sysmex_xn", MORNING, 41, 17, reason="the cable is out"),))
    page = site.staff("technician").get(BOX).text
    for seen in ("血球仪一号", "在线", "1.4.2", "剩余 12 天", "第 7 号", "空闲 5.0 GB", "有损坏", "已断开"):
        assert seen in page, seen
    for seen in ("the cable is out", "没有登记仪器", "60 分钟 · 07:30–17:30", "没有进程接收分区 0", "没有缺口"):
        assert (seen in page) is (seen != "没有登记仪器"), seen
    assert "立即对账" not in page, "a technician does not configure boxes"
    assert site.staff("cashier").get(BOX).status_code == 403
    assert site.staff("technician").get("/staff/gateways/box/nobody").status_code == 404


@pytest.mark.req("GW-14")
def test_an_engineer_sees_gaps_lost_ranges_and_comparisons_and_asks_for_another(site: Site) -> None:
    says()
    with begin() as session:
        session.add(LinkCursor(gateway="box-a", epoch=EPOCH, link="xn", gap_first=4, gap_last=9, gap_since=MORNING))
        session.add(
            Reconciliation(
                gateway="box-a",
                epoch=EPOCH,
                link="xn",
                run="r1",
                state=Comparison.DIFFERENT,
                started_at=clock.now(),
                first=1,
                last=41,
                count_box=41,
                count_cloud=40,
                findings=[
                    {"first": 5, "last": 5, "what": "altered", "repaired_at": None},
                    {"first": 7, "last": 9, "what": "missing_here", "repaired_at": MORNING.isoformat()},
                ],
            )
        )
    engineer = site.staff("field_engineer")
    page = engineer.get(BOX).text
    for seen in ("4–9", "41 / 40", "不一致", "内容不同 5", "云端缺少 7–9", "已补齐", "定时", "/dev/ttyUSB1 is gone"):
        assert seen in page, seen
    gap = {"gateway": "box-a", "epoch": EPOCH, "link": "xn", "first": 4, "last": 9, "reason": "设备更换"}
    assert engineer.post("/staff/gateways/lost", gap).status_code == 200
    assert engineer.post(f"{BOX}/reconcile", {"link": "xn"}).status_code == 200
    page = engineer.get(f"{BOX}/part").text
    for seen in ("等待网关回答", "李工程", "设备更换"):
        assert seen in page, seen
    with begin() as session:
        jobs = session.scalars(text("SELECT args ->> 'name' FROM procrastinate_jobs")).all()
        assert "gateways.ask_counts" in jobs
    technician = site.staff("technician")
    technician.get(BOX)
    assert technician.post(f"{BOX}/reconcile", {"link": "xn"}).status_code == 403


@pytest.mark.req("GW-14")
def test_a_silence_is_seen_on_the_home_page_and_dealt_with_by_a_technician(site: Site) -> None:
    alarm = a_silent_analyzer()
    technician = site.staff("technician")
    assert "静默报警待处置" in technician.get("/staff").text
    assert "1 处静默超过时限" in technician.get("/staff/gateways").text
    listed = technician.get("/staff/gateways/silence").text
    assert "血球仪一号" in listed
    assert "3 小时 0 分" in listed
    form = f"/staff/gateways/silence/alarms/{alarm.id}"
    assert "没有消息" in technician.get(form).text
    assert technician.post(form, {"reason": "  "}).status_code == 422
    assert technician.post(form, {"reason": "仪器在保养"}).status_code == 200
    assert technician.post(form, {"reason": "仪器在保养"}).status_code == 409
    assert "赵检验" in technician.get(BOX).text
    with begin() as session:
        assert silence.unacknowledged(session) == 0


@pytest.mark.req("GW-14")
def test_engineer_and_director_set_limits_with_a_reason_and_a_technician_does_not(site: Site) -> None:
    with begin() as session:
        instrument = session.scalars(select(Instrument.id)).one()
    engineer, director, technician = (site.staff(each) for each in ("field_engineer", "director", "technician"))
    assert technician.get(LIMIT, params={"instrument": str(instrument)}).status_code == 403
    assert engineer.get(LIMIT, params={"instrument": str(instrument)}).status_code == 200
    wanted: dict[str, object] = {
        "instrument": str(instrument),
        "how": "limit",
        "minutes": "45",
        "opens": "08:00",
        "closes": "16:30",
    }
    refused = engineer.post(LIMIT, wanted | {"days": ["1", "2"], "reason": ""})
    assert refused.status_code == 422
    assert "请填写更改的原因" in refused.text
    assert 'value="45"' in refused.text, "what was typed stays"
    assert engineer.post(LIMIT, wanted | {"reason": "x"}).status_code == 422, "no working day"
    assert engineer.post(LIMIT, wanted | {"opens": "8 Uhr", "days": "1", "reason": "x"}).status_code == 422
    assert engineer.post(LIMIT, wanted | {"minutes": "x", "days": "1", "reason": "x"}).status_code == 422
    set_ = engineer.post(LIMIT, wanted | {"days": ["1", "2", "3"], "reason": "周三后停机"})
    assert "45 分钟 · 08:00–16:30 · 周一至周三" in set_.text
    director.get(LIMIT, params={"section": "hematology"})
    assert (
        "90 分钟 · 全天"
        in director.post(LIMIT, {"section": "hematology", "how": "always", "minutes": "90", "reason": "夜班"}).text
    )
    back = director.post(LIMIT, {"instrument": str(instrument), "how": "inherit", "reason": "随组"})
    assert "45 分钟" not in back.text
    assert "不报警" in director.post(LIMIT, {"section": "urine", "how": "never", "reason": "试用期"}).text
    assert director.get(LIMIT, params={"section": "nonsense"}).status_code == 404
    assert "周三后停机" in director.get(LIMIT, params={"instrument": str(instrument)}).text


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_page_of_the_watch_answers_in_both_languages(site: Site, language: str) -> None:
    says()
    says(clock_sure=False, clock_doubt="the clock stands at 1970", certificate_days=-1)
    alarm = a_silent_analyzer()
    engineer = site.staff("field_engineer")
    for path in (BOX, "/staff/gateways/silence", f"/staff/gateways/silence/alarms/{alarm.id}", f"{LIMIT}?section="):
        page = engineer.get(path if "?" in path else f"{path}?lang={language}")
        assert page.status_code == 200, path
    with begin() as session:
        session.get_one(Gateway, "box-a").last_state = {"links": [{"link": "old"}]}
    assert engineer.get(BOX).status_code == 200, "a description of an older box"
