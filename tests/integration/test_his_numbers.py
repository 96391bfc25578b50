"""Numbers that the HIS owns, over a real socket: locked, confirmed, given back; with answers lost before and after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from cloud.his.port import (
    Away,
    BuiltInTables,
    HisPort,
    NumberStanding,
    PaidWith,
    Refused,
    Unknown,
    port,
)
from simulators.his.faults import Fault
from simulators.his.receiver import HisReceiver
from tests.support.broker import free_port
from tests.support.his_numbers import SESSION, STARTS, half_day, port_to, standing_his, wish

pytestmark = [pytest.mark.req("HIS-1"), pytest.mark.req("REG-1")]
PAID = PaidWith("XL20270301000001", "wechat", 5000, datetime(2027, 2, 28, 12, 0, tzinfo=UTC))


@pytest.fixture
def his() -> Iterator[HisReceiver]:
    with standing_his() as his:
        his.book.publish(half_day())
        yield his


@pytest.fixture
def ours(his: HisReceiver) -> Iterator[HisPort]:
    ours = port_to(his)
    yield ours
    ours.close()


def test_a_number_is_locked_confirmed_and_given_back(his: HisReceiver, ours: HisPort) -> None:
    assert ours.number_stand("b-1").standing == NumberStanding.ABSENT
    locked = ours.lock_number(wish("b-1", 7))
    assert (locked.standing, locked.seq, locked.place) == (NumberStanding.LOCKED, 7, "门诊楼三层 12 诊室")
    assert locked.his_number
    assert locked.at is not None
    assert locked.at > STARTS
    assert ours.confirm_number("b-1", PAID).standing == NumberStanding.CONFIRMED
    assert ours.number_stand("b-1").standing == NumberStanding.CONFIRMED
    assert ours.release_number("b-1", reason="患者退号").standing == NumberStanding.RELEASED
    assert 7 in [each.seq for each in ours.open_numbers(SESSION)]


def test_the_same_key_again_is_the_same_number(his: HisReceiver, ours: HisPort) -> None:
    first, again = ours.lock_number(wish("b-1", None)), ours.lock_number(wish("b-1", None))
    assert (again.seq, again.his_number) == (first.seq, first.his_number)
    assert len(his.book.sessions[SESSION].taken) == 1
    assert ours.confirm_number("b-1", None) == ours.confirm_number("b-1", None)
    assert ours.release_number("b-1", reason="x") == ours.release_number("b-1", reason="x")


def test_what_a_window_sold_is_taken_and_full_is_full(his: HisReceiver, ours: HisPort) -> None:
    his.book.publish(half_day(2))
    sold = his.book.sell_at_window(SESSION)
    with pytest.raises(Refused) as refused:
        ours.lock_number(wish("b-1", sold.seq))
    assert (refused.value.code, refused.value.permanent) == ("taken", True)
    assert [each.seq for each in ours.open_numbers(SESSION)] == [2]
    ours.lock_number(wish("b-2", None))
    with pytest.raises(Refused, match="full"):
        ours.lock_number(wish("b-3", None))


@pytest.mark.parametrize(
    ("how", "standing"), [("lost_before", NumberStanding.ABSENT), ("lost_after", NumberStanding.LOCKED)]
)
def test_a_lock_whose_answer_was_lost_is_unknown_and_is_asked_about(
    his: HisReceiver, ours: HisPort, how: str, standing: NumberStanding
) -> None:
    his.temper.set(Fault(how, "SRM^S01"))
    with pytest.raises(Unknown):
        ours.lock_number(wish("b-1", 3))
    assert ours.number_stand("b-1").standing == standing
    assert ours.lock_number(wish("b-1", 3)).standing == NumberStanding.LOCKED, "the same key may be sent again"
    assert list(his.book.sessions[SESSION].taken) == [3]


@pytest.mark.parametrize("how", ["wrong_number", "garbage"])
def test_an_answer_that_is_not_ours_proves_nothing(his: HisReceiver, ours: HisPort, how: str) -> None:
    his.temper.set(Fault(how, "SRM^S01"))
    with pytest.raises(Unknown):
        ours.lock_number(wish("b-1"))
    assert ours.number_stand("b-1").standing == NumberStanding.LOCKED


def test_a_slow_his_is_unknown_and_not_asked_twice_while_the_patient_waits(his: HisReceiver) -> None:
    ours = port_to(his, answer_s=0.3)
    ours.number_stand("warm")  # a line stands open
    his.temper.set(Fault("slow", "SRM^S03", next=2, slow_s=1.0))
    with pytest.raises(Unknown, match="no_answer_in_time"):
        ours.confirm_number("b-1", PAID)
    assert his.temper.due("SRM^S03") is not None, "one of the two is left: it was asked once"
    ours.close()


def test_a_line_that_the_his_closed_while_idle_is_dialled_anew(his: HisReceiver, ours: HisPort) -> None:
    ours.lock_number(wish("b-1"))
    his.go_down()
    his.come_back()
    assert ours.confirm_number("b-1", PAID).standing == NumberStanding.CONFIRMED


def test_a_his_that_is_away_changes_nothing_and_is_asked_later(his: HisReceiver, ours: HisPort) -> None:
    his.go_down()
    with pytest.raises(Away) as away:
        ours.lock_number(wish("b-1"))
    assert (away.value.code, away.value.permanent) == ("away", False)
    with pytest.raises(Unknown):
        ours.number_stand("b-1")


def test_an_internal_error_of_the_his_is_no_refusal_for_good(his: HisReceiver, ours: HisPort) -> None:
    his.temper.set(Fault("refuse", "SRM^S01"))
    with pytest.raises(Refused) as refused:
        ours.lock_number(wish("b-1"))
    assert not refused.value.permanent
    assert ours.lock_number(wish("b-1")).standing == NumberStanding.LOCKED


def test_a_number_that_the_his_dropped_by_its_own_time_limit_cannot_be_confirmed(
    his: HisReceiver, ours: HisPort
) -> None:
    ours.lock_number(wish("b-1"))
    his.book.hold_s = -1
    with pytest.raises(Refused, match="not_held"):
        ours.confirm_number("b-1", PAID)
    assert ours.number_stand("b-1").standing == NumberStanding.RELEASED
    with pytest.raises(Refused, match="not_held"):
        ours.lock_number(wish("b-1"))


def test_stopped_used_and_missed_numbers_are_told_as_such(his: HisReceiver, ours: HisPort) -> None:
    for key, seq in (("b-1", 1), ("b-2", 2), ("b-3", 3)):
        ours.lock_number(wish(key, seq))
        ours.confirm_number(key, PAID)
    his.book.seen("b-1")
    his.book.seen("b-2", came=False)
    his.book.stop(SESSION, "医生会议")
    assert [ours.number_stand(each).standing for each in ("b-1", "b-2", "b-3")] == [
        NumberStanding.USED,
        NumberStanding.NO_SHOW,
        NumberStanding.STOPPED,
    ]
    with pytest.raises(Refused, match="used"):
        ours.release_number("b-1", reason="x")
    with pytest.raises(Refused, match="stopped"):
        ours.confirm_number("b-3", PAID)
    with pytest.raises(Refused, match="stopped"):
        ours.lock_number(wish("b-4", 9))
    assert ours.open_numbers(SESSION) == ()


def test_a_session_that_the_his_does_not_know_is_refused(his: HisReceiver, ours: HisPort) -> None:
    with pytest.raises(Refused, match="unknown_session"):
        ours.lock_number(wish("b-1", code="NOWHERE"))
    with pytest.raises(Refused, match="unknown_session"):
        ours.open_numbers("NOWHERE")


def test_a_release_that_overtakes_its_lock_keeps_the_lock_from_coming_to_life(his: HisReceiver, ours: HisPort) -> None:
    assert ours.release_number("b-1", reason="x").standing == NumberStanding.RELEASED
    with pytest.raises(Refused, match="not_held"):
        ours.lock_number(wish("b-1"))


def test_a_hospital_without_a_his_says_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.config import settings

    none = port()
    assert isinstance(none, BuiltInTables)
    assert not none.connected
    for call in (
        lambda: none.lock_number(wish("b-1")),
        lambda: none.number_stand("b-1"),
        lambda: none.confirm_number("b-1", None),
        lambda: none.release_number("b-1", reason="x"),
        lambda: none.open_numbers(SESSION),
        lambda: none.money_of(STARTS.date()),
    ):
        with pytest.raises(Refused, match="no_his") as refused:
            call()
        assert refused.value.permanent
    monkeypatch.setenv("XINGLIN_HIS_HOST", "127.0.0.1")
    monkeypatch.setenv("XINGLIN_HIS_PORT", str(free_port()))
    settings.cache_clear()
    assert port().connected
