"""Silent instruments and boxes on PostgreSQL: one alarm each, ended by the next word. The clock is the test's."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DatabaseError

from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.model import Gateway
from cloud.gateways.watch import limits, silence
from cloud.gateways.watch.model import GatewayChange, SilenceAlarm
from cloud.gateways.watch.rules import Limit
from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.instruments.model import Instrument, InstrumentState
from protocols.uplink.envelope import GatewayState, LinkState, state_topic, up_topic
from tests.support.bench import technician
from tests.support.gateways import EPOCH, envelope, registered

NOON = datetime(2026, 3, 3, 4, 0, tzinfo=UTC)
"""Twelve o'clock of a Tuesday in the hospital."""
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def laboratory(database: str) -> None:
    """Two analyzers on one box: haematology by day, blood gas around the clock. A worker listens since last year."""
    registered(("box-a", 0))
    with begin() as session:
        for code, link, section in (("XN1", "xn", "hematology"), ("ABL", "abl", "bloodgas")):
            session.add(
                Instrument(code=code, name=code, gateway="box-a", link=link, driver="sysmex_xn", section=section)
            )
        session.execute(
            text(
                "INSERT INTO gateway_partition_lease (partition, holder, token, expires_at, taken_at)"
                " VALUES (0, 'worker', 1, 'infinity', '2025-01-01')"
            )
        )


def heard(link: str, at: datetime, *, sequence: int = 1) -> None:
    """A message of the link is stored at that moment."""
    sent = envelope("box-a", link, [sequence])
    Inbox(begin, 0).store([Arrival(up_topic(0, "box-a", link), sent.to_bytes())])
    with begin() as session:
        session.execute(
            text(
                "INSERT INTO gateway_link_cursor (gateway, epoch, link, applied_through, gap_requests)"
                " VALUES ('box-a', :epoch, :link, 0, 0) ON CONFLICT DO NOTHING"
            ),
            {"epoch": EPOCH, "link": link},
        )
        session.execute(
            text("UPDATE gateway_inbox SET stored_at = :at WHERE link = :link AND sequence = :sequence"),
            {"at": at, "link": link, "sequence": sequence},
        )


def box_seen(at: datetime) -> None:
    with begin() as session:
        session.execute(update(Gateway).values(last_seen_at=at))


def look(now: datetime, *, box: datetime | None = None) -> silence.Watched:
    """A look at `now`; the box itself spoke a moment before unless told otherwise."""
    box_seen(box or now)
    with begin() as session:
        return silence.look(session, now)


def alarms() -> list[SilenceAlarm]:
    with begin() as session:
        return list(session.scalars(select(SilenceAlarm).order_by(SilenceAlarm.opened_at)))


@pytest.mark.req("GW-14")
@pytest.mark.usefixtures("laboratory")
def test_a_silent_analyzer_gives_one_alarm_which_its_next_message_ends() -> None:
    heard("xn", NOON - 59 * MINUTE)
    assert look(NOON) == silence.Watched(0, 0)
    assert look(NOON + MINUTE) == silence.Watched(1, 0)
    assert look(NOON + 2 * MINUTE) == silence.Watched(0, 0)
    heard("xn", NOON + 30 * MINUTE, sequence=2)
    assert look(NOON + 31 * MINUTE) == silence.Watched(0, 1)
    assert look(NOON + 32 * MINUTE) == silence.Watched(0, 0)
    [alarm] = alarms()
    assert (alarm.link, alarm.limit_s) == ("xn", 3600)
    assert (alarm.silent_since, alarm.opened_at) == (NOON - 59 * MINUTE, NOON + MINUTE)
    assert (alarm.heard_at, alarm.ended_at) == (NOON + 30 * MINUTE, NOON + 31 * MINUTE)


@pytest.mark.req("GW-14")
@pytest.mark.usefixtures("laboratory")
def test_a_quiet_night_is_no_alarm_for_an_analyzer_that_works_by_day() -> None:
    evening = NOON + 5 * HOUR
    heard("xn", evening)
    for hour in range(14):
        assert look(evening + hour * HOUR).opened == 0
    morning = NOON + 19 * HOUR + 30 * MINUTE
    assert look(morning + 59 * MINUTE).opened == 0
    assert look(morning + 60 * MINUTE).opened == 1


@pytest.mark.usefixtures("laboratory")
def test_an_analyzer_that_never_spoke_or_is_out_of_service_is_not_missed() -> None:
    assert look(NOON).opened == 0
    heard("abl", NOON - 20 * HOUR)
    with begin() as session:
        session.execute(update(Instrument).values(state=InstrumentState.INACTIVE))
    assert look(NOON).opened == 0
    with begin() as session:
        session.execute(update(Instrument).values(state=InstrumentState.ACTIVE))
    assert look(NOON).opened == 1
    with begin() as session:
        session.execute(update(Instrument).values(state=InstrumentState.INACTIVE))
    assert look(NOON + MINUTE).ended == 1
    assert alarms()[0].heard_at is None


@pytest.mark.req("GW-14")
@pytest.mark.usefixtures("laboratory")
def test_a_box_that_misses_three_descriptions_is_one_alarm_and_its_analyzers_are_none() -> None:
    heard("xn", NOON - 50 * MINUTE)
    assert look(NOON, box=NOON - timedelta(seconds=99)).opened == 0
    assert look(NOON + HOUR, box=NOON) == silence.Watched(1, 0)
    assert look(NOON + 2 * HOUR, box=NOON) == silence.Watched(0, 0)
    assert [each.link for each in alarms()] == [""]
    assert look(NOON + 2 * HOUR + MINUTE) == silence.Watched(1, 1), "now its analyzer is missed"
    with begin() as session:
        seen = session.scalars(select(GatewayChange).order_by(GatewayChange.at)).all()
    assert [(each.what, each.after) for each in seen] == [("contact", "silent"), ("contact", "heard")]


@pytest.mark.usefixtures("laboratory")
def test_the_description_of_a_box_ends_its_alarm_at_once() -> None:
    box_seen(clock.now() - HOUR)
    with begin() as session:
        assert silence.look(session, clock.now()).opened == 1
    state = GatewayState("box-a", EPOCH, clock.now(), True, "1.0", 0, ())
    Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), state.to_bytes())])
    [alarm] = alarms()
    assert alarm.ended_at is not None
    assert alarm.heard_at == alarm.ended_at


@pytest.mark.usefixtures("laboratory")
def test_while_nobody_listens_nobody_is_silent() -> None:
    heard("xn", NOON - 5 * HOUR)
    with begin() as session:
        session.execute(text("UPDATE gateway_partition_lease SET expires_at = '2025-02-01'"))
    assert look(NOON, box=NOON - 5 * HOUR).opened == 0
    with begin() as session:
        session.execute(
            text("UPDATE gateway_partition_lease SET expires_at = 'infinity', taken_at = :at"), {"at": NOON}
        )
    assert look(NOON + MINUTE, box=NOON - 5 * HOUR).opened == 0, "a box gets its time after the worker came back"
    assert look(NOON + 2 * MINUTE, box=NOON - 5 * HOUR).opened == 1


@pytest.mark.usefixtures("laboratory")
def test_an_analyzer_whose_messages_wait_on_the_box_is_not_silent() -> None:
    heard("xn", NOON - 2 * HOUR)
    with begin() as session:
        session.execute(update(Gateway).values(last_state={"links": [{"link": "xn", "waiting": 12}]}))
    assert look(NOON).opened == 0
    with begin() as session:
        session.execute(update(Gateway).values(last_state={"links": [{"link": "xn", "waiting": 0}]}))
    assert look(NOON).opened == 1


@pytest.mark.usefixtures("laboratory")
def test_two_workers_that_look_at_once_open_one_alarm() -> None:
    heard("xn", NOON - 2 * HOUR)
    box_seen(NOON)
    together = threading.Barrier(4)
    seen: list[int] = []

    def one_worker() -> None:
        with begin() as session:
            together.wait(10)
            seen.append(silence.look(session, NOON).opened)

    workers = [threading.Thread(target=one_worker) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(30)
    assert sorted(seen) == [0, 0, 0, 1]
    assert len(alarms()) == 1


@pytest.mark.usefixtures("laboratory")
def test_an_alarm_is_acknowledged_once_with_a_reason_and_lasts_until_something_is_heard() -> None:
    heard("xn", NOON - 2 * HOUR)
    look(NOON)
    [alarm] = alarms()
    with begin() as session, pytest.raises(Invalid):
        silence.acknowledge(session, alarm.id, by=technician(), reason=" ")
    with begin() as session:
        assert silence.unacknowledged(session) == 1
        silence.acknowledge(session, alarm.id, by=technician(), reason="仪器在保养")
        assert silence.unacknowledged(session) == 0
    with begin() as session, pytest.raises(Conflict):
        silence.acknowledge(session, alarm.id, by=technician(), reason="再来一次")
    [alarm] = alarms()
    assert (alarm.acknowledged_by_name, alarm.reason, alarm.ended_at) == ("赵检验", "仪器在保养", None)
    with begin() as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "gateway.silence_acknowledge"))
    assert entry.reason == "仪器在保养"


@pytest.mark.req("GW-14")
@pytest.mark.usefixtures("laboratory")
def test_a_limit_is_set_with_a_reason_for_one_analyzer_or_its_section_and_taken_back() -> None:
    heard("xn", NOON - 2 * HOUR)
    with begin() as session:
        instrument = session.scalars(select(Instrument).where(Instrument.code == "XN1")).one()
        with pytest.raises(Invalid):
            limits.set_limit(session, by=technician(), reason="", limit=Limit(30), instrument_id=instrument.id)
        with pytest.raises(Invalid):
            limits.set_limit(session, by=technician(), reason="x", limit=Limit(0), instrument_id=instrument.id)
        limits.set_limit(session, by=technician(), reason="夜班值守", limit=Limit(180), instrument_id=instrument.id)
    assert look(NOON).opened == 0
    with begin() as session:
        limits.set_limit(session, by=technician(), reason="量大", limit=Limit(20), section="hematology")
    assert look(NOON).opened == 0, "the analyzer's own limit goes before its section's"
    with begin() as session:
        limits.set_limit(session, by=technician(), reason="随组", limit=None, instrument_id=instrument.id)
    assert look(NOON).opened == 1
    assert alarms()[0].limit_s == 20 * 60
    with begin() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "gateway.silence_limit")).all()
        assert [each.reason for each in entries] == ["夜班值守", "量大", "随组"]
        assert [each.reason for each in limits.history(session, instrument.id, "")] == ["随组", "夜班值守"]


@pytest.fixture
def described(laboratory: None) -> None:
    for state in ("open", "closed", "open"):
        link = LinkState("xn", state, "sysmex_xn", None, 0, 0, reason="unplugged" if state == "closed" else "")
        said = GatewayState("box-a", EPOCH, clock.now(), True, "1.0", 0, (link,))
        Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), said.to_bytes())])


@pytest.mark.req("GW-14")
@pytest.mark.usefixtures("described")
def test_what_changed_on_a_box_is_written_down_and_never_changed_afterwards() -> None:
    with begin() as session:
        seen = session.scalars(select(GatewayChange).order_by(GatewayChange.at)).all()
        assert [(each.link, each.before, each.after, each.detail) for each in seen] == [
            ("xn", "open", "closed", "unplugged"),
            ("xn", "closed", "open", None),
        ]
        assert session.get_one(Gateway, "box-a").clock_ahead_ms is not None
    for change in ("UPDATE gateway_change SET after = 'open'", "DELETE FROM gateway_change"):
        with pytest.raises(DatabaseError, match="never changed"), begin() as session:
            session.execute(text(change))
