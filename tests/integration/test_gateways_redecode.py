"""Stored messages read anew on PostgreSQL: old values stay, reports are untouched, a second person approves once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

from cloud.gateways.model import Gateway, InboxMessage, MessageStatus
from cloud.gateways.redecode import overview, running, service
from cloud.gateways.redecode.model import (
    MessageFate,
    Redecode,
    RedecodeAmendment,
    RedecodeMessage,
    RedecodeState,
    Which,
)
from cloud.gateways.redecode.reading import read
from cloud.gateways.redecode.service import Wanted
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.lis.qc.model import QcResult
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report, ReportVersion
from cloud.lis.results import redecoding
from cloud.lis.results.model import Result, ResultState, UnmatchedResult
from protocols.driver import discover
from protocols.model import Observation, QcMark, UnansweredQuery, Undecoded, changed
from protocols.uplink.asking import BOX
from protocols.uplink.envelope import MessageState
from protocols.uplink.items import item_from_json
from protocols.uplink.versions import version_of
from tests.support.bench import GATEWAY, LINK, Technologist, pathologist
from tests.support.gateways import MORNING
from tests.support.redecoding import APPROVER, ASKER, Laboratory, misread, raw_of, released


@pytest.fixture
def laboratory(database: str) -> Laboratory:
    return Laboratory()


def asked(which: Which = Which.ALL, *, by: Technologist = ASKER, **more: Any) -> Redecode:
    """A request, read by the job."""
    with begin() as session:
        row = service.ask(session, Wanted(GATEWAY, LINK, which, "sysmex_xn", **more), by=by, reason="驱动已更正")
    running.dry_run(begin, row.id)
    return stored(row)


def stored(row: Redecode) -> Redecode:
    with begin() as session:
        return session.get_one(Redecode, row.id)


def approved(row: Redecode) -> Redecode:
    with begin() as session:
        service.approve(session, row.id, by=APPROVER, reason="已核对仪器打印结果")
    running.apply(begin, row.id)
    return stored(row)


def values_of(specimen_id: object) -> list[tuple[str, ResultState, bool]]:
    with begin() as session:
        rows = session.scalars(select(Result).where(Result.specimen_id == specimen_id).order_by(Result.run))
        return [(each.value_text, ResultState(each.state), each.chosen) for each in rows]


def lines_of(row: Redecode) -> list[RedecodeMessage]:
    with begin() as session:
        found = select(RedecodeMessage).where(RedecodeMessage.redecode_id == row.id)
        return list(session.scalars(found.order_by(RedecodeMessage.inbox_id)))


@pytest.mark.req("GW-12")
def test_a_corrected_value_takes_the_old_ones_place_which_stays(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC")
    heard = laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    assert values_of(tube) == [("64", ResultState.RECEIVED, True)]
    row = asked()
    assert row.state == RedecodeState.READY
    assert values_of(tube) == [("64", ResultState.RECEIVED, True)], "a dry run changes nothing"
    [line] = lines_of(row)
    assert (line.state, line.added, line.changed, line.removed) == (MessageFate.DIFFERS, 0, 1, 0)
    assert approved(row).state == RedecodeState.APPLIED
    assert values_of(tube) == [("64", ResultState.SUPERSEDED, False), ("6.4", ResultState.RECEIVED, True)]
    with begin() as session:
        after = session.get_one(InboxMessage, heard.id)
        assert (after.driver_version, after.sha256) == (version_of(discover()["sysmex_xn"]), heard.sha256)
        assert after.items[0]["value"] == "6.4"
        rows = session.scalars(select(Result).order_by(Result.run)).all()
        assert {each.inbox_id for each in rows} == {heard.id}, "both are linked to the message"
        assert rows[0].details["redecoded"] is True
        actions = session.scalars(select(AuditEntry.action).where(AuditEntry.action.contains("redecode"))).all()
        assert sorted(actions) == ["gateway.redecode", "gateway.redecode_approve", "gateway.redecode_ask"]
    [line] = lines_of(row)
    assert line.before[0]["value"] == "64"


@pytest.mark.req("GW-12")
def test_a_released_report_stays_as_it_is_and_is_listed_for_amendment(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC", "HGB")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64", HGB="13"))
    report_id = released(tube)
    with begin() as session:
        before = session.scalars(select(ReportVersion).where(ReportVersion.report_id == report_id)).one().content
    row = approved(asked())
    assert row.state == RedecodeState.APPLIED
    with begin() as session:
        report = session.get_one(Report, report_id)
        versions = session.scalars(select(ReportVersion).where(ReportVersion.report_id == report_id)).all()
        assert (report.version, [each.content for each in versions]) == (1, [before])
        shown = {
            each.test.code: (each.old.value_text, each.new and each.new.value_text)
            for each in overview.amendments(session)
        }
        assert shown == {"WBC": ("64", "6.4"), "HGB": ("13", None)}
        assert service.to_amend(session) == 2
        late = session.scalars(select(Result).where(Result.after_release)).one()
        assert (late.value_text, late.chosen) == ("6.4", False)
        chosen = session.scalars(select(Result.value_text).where(Result.chosen)).all()
        assert sorted(chosen) == ["13", "64"]
    with begin() as session:
        gone = session.scalars(select(RedecodeAmendment).where(RedecodeAmendment.new_result_id.is_(None))).one()
        with pytest.raises(Invalid):
            service.dismiss(session, gone.id, by=APPROVER, reason="")
        service.dismiss(session, gone.id, by=APPROVER, reason="手工核对无误")
        with pytest.raises(Conflict):
            service.dismiss(session, gone.id, by=APPROVER, reason="再次")
        assert service.to_amend(session) == 1
    with begin() as session:
        amend(
            session,
            report_id,
            by=APPROVER,
            reason="驱动更正",
            corrections=[Correction(late.test_id, result_id=late.id)],
        )
        assert service.to_amend(session) == 0, "an amended report waits for nobody"


def test_a_value_that_the_new_reading_does_not_have_gives_way_to_nothing(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC", "HGB")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="6.4", HGB="13"))
    row = approved(asked())
    assert sorted(values_of(tube)) == [("13", ResultState.SUPERSEDED, False), ("6.4", ResultState.RECEIVED, True)]
    with begin() as session:
        assert overview.view(session, row.id, 1).outcome == {"superseded": 1}


def test_what_was_measured_since_is_not_displaced(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    rerun = changed(misread(barcode, WBC="7.0")[0], observed_at="2026-11-23T10:00:00")
    laboratory.hears(raw_of(barcode, WBC="7.0"), [rerun], received_at=MORNING + timedelta(hours=1))
    approved(asked(inbox_id=first_message().id, which=Which.ONE))
    assert values_of(tube) == [
        ("64", ResultState.SUPERSEDED, False),
        ("7.0", ResultState.RECEIVED, True),
        ("6.4", ResultState.SUPERSEDED, False),
    ]


@pytest.mark.req("GW-7", "GW-12")
def test_what_the_box_wrote_itself_is_read_by_no_driver(laboratory: Laboratory) -> None:
    """A tube without an order: no instrument sent these bytes."""
    laboratory.hears(b"{}", (UnansweredQuery("2601", "unknown"),))
    with begin() as session:
        session.execute(update(InboxMessage).values(driver=BOX, driver_version="0.0.1"))
    with begin() as session, pytest.raises(Invalid, match="nothing"):
        service.ask(session, Wanted(GATEWAY, LINK, Which.ALL), by=ASKER, reason="x")


@pytest.mark.req("GW-12")
def test_a_message_that_no_driver_read_is_taken_in_the_ordinary_way(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC")
    heard = laboratory.hears(raw_of(barcode, WBC="6.4"), [], state=MessageState.UNDECODED, reason="no driver knows it")
    assert (heard.state, values_of(tube)) == (MessageStatus.UNDECODED, [])
    row = asked(Which.UNDECODED)
    [line] = lines_of(row)
    assert (line.state, line.added) == (MessageFate.DIFFERS, 1)
    approved(row)
    laboratory.applies()
    assert values_of(tube) == [("6.4", ResultState.RECEIVED, True)]
    with begin() as session:
        assert session.get_one(InboxMessage, heard.id).state == MessageStatus.APPLIED


def test_strays_and_controls_of_the_old_reading_make_room(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC", "HGB")
    control = changed(misread("QC1", HGB="130")[0], qc=QcMark(material="L1"))
    wrong = misread("99999999", WBC="64")
    laboratory.hears(raw_of(barcode, WBC="6.4", HGB="13.0"), [*wrong, control, Undecoded("a record")])
    with begin() as session:
        assert len(session.scalars(select(UnmatchedResult).where(UnmatchedResult.state == "waiting")).all()) == 2
    approved(asked())
    assert [(value, chosen) for value, _, chosen in values_of(tube)] == [("6.4", True), ("13.0", True)]
    with begin() as session:
        strays = session.scalars(select(UnmatchedResult)).all()
        assert {(each.state, each.handled_by_name) for each in strays} == {("dismissed", "钱审核")}
        assert session.scalars(select(QcResult)).one().superseded


def test_a_second_reading_builds_on_the_first(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    barcode, tube = laboratory.tube("WBC", "HGB")
    laboratory.hears(raw_of(barcode, WBC="6.4", HGB="13.0"), misread(barcode, WBC="64", HGB="13.0"))
    approved(asked())
    with begin() as session:
        session.execute(update(InboxMessage).values(driver_version="older"))
    driver = type(discover()["sysmex_xn"])
    right = driver.decode

    def newer(self: Any, payload: bytes) -> Any:
        decoded = right(self, payload)
        return replace_values(decoded, {"6.4": "6.5"})

    monkeypatch.setattr(driver, "decode", newer)
    approved(asked())
    found = sorted(values_of(tube))
    assert [each for each in found if each[2]] == [
        ("13.0", ResultState.RECEIVED, True),
        ("6.5", ResultState.RECEIVED, True),
    ]
    assert [each[0] for each in found if not each[2]] == ["6.4", "64"]


def replace_values(decoded: Any, values: dict[str, str]) -> Any:
    items = tuple(
        msgspec.structs.replace(each, value=values.get(each.value or "", each.value))
        if isinstance(each, Observation)
        else each
        for each in decoded.items
    )
    return msgspec.structs.replace(decoded, items=items)


def test_a_driver_that_understands_less_or_fails_changes_nothing(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    barcode, _tube = laboratory.tube("WBC")
    laboratory.hears(b"\x02not a message of this instrument\x03", misread(barcode, WBC="64"))
    row = asked()
    assert row.state == RedecodeState.NOTHING
    assert [each.state for each in lines_of(row)] == [MessageFate.UNREADABLE]


def test_nothing_differs_and_there_is_nothing_to_decide(laboratory: Laboratory) -> None:
    barcode, _tube = laboratory.tube("WBC")
    driver = discover()["sysmex_xn"]
    raw = raw_of(barcode, WBC="6.4")
    laboratory.hears(raw, [item_from_json(each) for each in read(raw, driver).items])
    row = asked()
    assert row.state == RedecodeState.NOTHING
    with begin() as session, pytest.raises(Conflict):
        service.approve(session, row.id, by=APPROVER, reason="x")


@pytest.mark.req("GW-12")
def test_the_one_who_asked_does_not_decide_and_nobody_without_the_right(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    row = asked(by=APPROVER)
    with begin() as session:
        with pytest.raises(Forbidden):
            service.approve(session, row.id, by=APPROVER, reason="我自己批准")
        with pytest.raises(Forbidden):
            service.approve(session, row.id, by=ASKER, reason="没有签发权限")
        with pytest.raises(Invalid):
            service.approve(session, row.id, by=pathologist(), reason="  ")
    assert stored(row).state == RedecodeState.READY
    assert values_of(tube) == [("64", ResultState.RECEIVED, True)]
    with begin() as session, pytest.raises(Forbidden):
        service.ask(session, Wanted(GATEWAY, LINK, Which.ALL), by=replace(ASKER, permissions=frozenset()), reason="x")
    with begin() as session, pytest.raises(Invalid):
        service.ask(session, Wanted(GATEWAY, "nowhere", Which.ALL, "sysmex_xn"), by=ASKER, reason="x")


@pytest.mark.req("GW-12")
def test_refused_changes_nothing_and_stays_on_record(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    row = asked()
    with begin() as session:
        service.refuse(session, row.id, by=APPROVER, reason="与仪器打印不符")
    running.apply(begin, row.id)
    row = stored(row)
    assert (row.state, row.decided_by_name, row.decided_reason) == (RedecodeState.REFUSED, "钱审核", "与仪器打印不符")
    assert values_of(tube) == [("64", ResultState.RECEIVED, True)]
    assert [each.changed for each in lines_of(row)] == [1]
    with begin() as session, pytest.raises(Conflict):
        service.approve(session, row.id, by=APPROVER, reason="改主意")


@pytest.mark.req("GW-12")
def test_approved_by_many_at_once_and_applied_by_several_workers_it_happens_once(laboratory: Laboratory) -> None:
    tubes = [laboratory.tube("WBC") for _ in range(4)]
    for barcode, _ in tubes:
        laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    row = asked()
    together = threading.Barrier(4)
    refused: list[str] = []

    def one_person() -> None:
        try:
            with begin() as session:
                together.wait(10)
                service.approve(session, row.id, by=pathologist(), reason="核对")
        except Conflict as conflict:
            refused.append(conflict.code)

    def one_worker() -> None:
        together.wait(10)
        running.apply(begin, row.id)

    for work in (one_person, one_worker):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
    assert refused == ["redecode.decided"] * 3
    assert stored(row).state == RedecodeState.APPLIED
    running.apply(begin, row.id)
    for _, tube in tubes:
        assert values_of(tube) == [("64", ResultState.SUPERSEDED, False), ("6.4", ResultState.RECEIVED, True)]


def test_a_message_that_changed_since_it_was_looked_at_is_left_alone(laboratory: Laboratory) -> None:
    barcode, tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    first, second = asked(), asked()
    approved(first)
    approved(second)
    assert [each.state for each in lines_of(second)] == [MessageFate.MOVED]
    assert len(values_of(tube)) == 2


def test_a_fault_in_one_message_costs_no_other(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    tubes = [laboratory.tube("WBC") for _ in range(2)]
    for barcode, _ in tubes:
        laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    row = asked()
    right = redecoding.read_anew
    calls: list[int] = []

    def chokes(session: Any, source: Any, *args: Any, **more: Any) -> Any:
        done = right(session, source, *args, **more)
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("the tube has no colour")
        return done

    monkeypatch.setattr(redecoding, "read_anew", chokes)
    approved(row)
    assert [each.state for each in lines_of(row)] == [MessageFate.NOT_TAKEN, MessageFate.APPLIED]
    assert values_of(tubes[0][1]) == [("64", ResultState.RECEIVED, True)], "nothing of it remains"
    assert len(values_of(tubes[1][1])) == 2


def test_the_options_of_the_link_are_those_that_the_box_says(laboratory: Laboratory) -> None:
    barcode, _tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    said = {"link": LINK, "driver": "beckman_au", "options": {"model": "au5800"}}
    with begin() as session:
        session.execute(update(Gateway).values(last_state={"links": [said]}))
    with begin() as session:
        row = service.ask(session, Wanted(GATEWAY, LINK, Which.ALL), by=ASKER, reason="x")
        assert (row.driver, row.options, row.options_known) == ("beckman_au", {"model": "au5800"}, True)
    with begin() as session:
        session.execute(update(Gateway).values(last_state={"links": [said | {"options": {"colour": "red"}}]}))
    with begin() as session, pytest.raises(Invalid):
        service.ask(session, Wanted(GATEWAY, LINK, Which.ALL), by=ASKER, reason="x")
    with begin() as session:
        row = service.ask(session, Wanted(GATEWAY, LINK, Which.ALL, "sysmex_xn"), by=ASKER, reason="x")
        assert (row.options, row.options_known) == ({}, False)


def first_message() -> InboxMessage:
    with begin() as session:
        return session.scalars(select(InboxMessage).order_by(InboxMessage.sequence)).first()  # type: ignore[return-value]
