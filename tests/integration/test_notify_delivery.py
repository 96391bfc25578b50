"""Messages reach their channel once: through outages, dead workers, refused tokens."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from cloud.kit import jobs
from cloud.kit.db import begin, new_session
from cloud.notify import service
from cloud.notify.model import Delivery, DeliveryAttempt, WechatToken
from simulators.http_service import Fault
from tests.support.phones import Town, town
from tests.support.work import due_now, work

PHONE = "00013800001"
CODE = {"code": "123456", "minutes": "5"}


@pytest.fixture
def hospital(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    with town(monkeypatch) as made:
        made.wechat.users.append("wang")
        yield made


def text_message(key: str = "k1") -> uuid.UUID:
    with begin() as session:
        return service.send(
            session,
            recipient=service.Recipient(service.SMS, PHONE, "000****0001"),
            template="binding_code",
            parameters=CODE,
            dedupe_key=key,
        ).id


def push(key: str = "k1", openid: str = "wang") -> uuid.UUID:
    parameters = {
        "hospital": "杏林医院",
        "patient": "王*",
        "released": "2026-11-23 08:00",
        "link": "http://h/p/reports/1",
    }
    with begin() as session:
        return service.send(
            session,
            recipient=service.Recipient(service.WECHAT, openid, "wang…"),
            template="report_ready",
            parameters=parameters,
            dedupe_key=key,
        ).id


def state_of(delivery: uuid.UUID) -> tuple[str, int, str | None]:
    with begin() as session:
        row = session.get_one(Delivery, delivery)
        return row.state, row.attempts, row.error


def test_a_message_is_sent_after_the_commit_and_recorded(hospital: Town) -> None:
    delivery = text_message()
    assert hospital.sms.messages == []
    work("notify")
    [message] = hospital.sms.messages
    assert (message["phone"], message["parameters"]) == (PHONE, CODE)
    assert state_of(delivery) == ("sent", 1, None)


def test_a_rollback_leaves_no_message(hospital: Town) -> None:
    session = new_session()
    service.send(
        session,
        recipient=service.Recipient(service.SMS, PHONE, "0"),
        template="binding_code",
        parameters=CODE,
        dedupe_key="k1",
    )
    session.rollback()
    session.close()
    assert work("notify") == []
    assert hospital.sms.messages == []


def test_one_key_is_one_message(hospital: Town) -> None:
    assert text_message() == text_message()
    work("notify")
    assert len(hospital.sms.messages) == 1


def test_an_outage_of_the_sms_gateway_delays_and_loses_nothing(hospital: Town) -> None:
    hospital.sms.faults["/sms"] = Fault(fail_next=3, status=503)
    delivery = text_message()
    for attempt in range(1, 4):
        work("notify")
        assert state_of(delivery) == ("waiting", attempt, "sms_http_503")
        due_now()
    work("notify")
    assert state_of(delivery) == ("sent", 4, None)
    assert len(hospital.sms.messages) == 1
    with begin() as session:
        tries = session.scalars(select(DeliveryAttempt.outcome).order_by(DeliveryAttempt.number)).all()
    assert tries == ["retry", "retry", "retry", "sent"]


def test_no_answer_at_all_is_tried_again(hospital: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.config import settings

    address = settings().sms_url
    monkeypatch.setenv("XINGLIN_SMS_URL", "http://127.0.0.1:9/sms")
    settings.cache_clear()
    delivery = text_message()
    work("notify")
    assert state_of(delivery) == ("waiting", 1, "sms_ConnectError")
    monkeypatch.setenv("XINGLIN_SMS_URL", address)
    settings.cache_clear()
    due_now()
    work("notify")
    assert state_of(delivery)[0] == "sent"


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_for_good_is_not_tried_again(hospital: Town, status: int) -> None:
    hospital.sms.faults["/sms"] = Fault(fail_next=1, status=status)
    delivery = text_message()
    work("notify")
    assert state_of(delivery) == ("failed", 1, f"sms_http_{status}")
    due_now()
    assert work("notify") == []


def test_a_code_too_old_is_not_sent_any_more(hospital: Town) -> None:
    delivery = text_message()
    with begin() as session:
        session.execute(text("UPDATE delivery SET expires_at = now()"))
    work("notify")
    assert state_of(delivery) == ("expired", 0, "expired")
    assert hospital.sms.messages == []


def test_a_worker_that_died_while_sending_costs_time_and_no_second_message(hospital: Town) -> None:
    """The first worker got its answer and died before it wrote so; the channel drops the repetition by its id."""
    delivery = text_message()
    with begin() as session:
        message = service.claim(session, delivery)
    assert message is not None
    from cloud.notify import transports

    transports.send(begin, message)
    work("notify")
    assert state_of(delivery)[0] == "sending"
    due_now()
    work("notify")
    assert state_of(delivery) == ("sent", 2, None)
    assert len(hospital.sms.messages) == 1


def test_the_sweep_finds_a_delivery_whose_job_was_lost(hospital: Town) -> None:
    delivery = text_message()
    with begin() as session:
        session.execute(text("DELETE FROM procrastinate_jobs WHERE status = 'todo'"))
        session.execute(text("UPDATE delivery SET next_attempt_at = now() - interval '3 minutes'"))
    jobs.execute("notify.sweep", {}, begin)
    work("notify")
    assert state_of(delivery)[0] == "sent"


def test_two_workers_take_one_delivery_once(hospital: Town) -> None:
    delivery = text_message()
    with begin() as first, begin() as second:
        taken = service.claim(first, delivery)
        first.commit()
        assert taken is not None
        assert service.claim(second, delivery) is None


@pytest.mark.req("CHN-1")
def test_all_processes_share_one_wechat_token(hospital: Town) -> None:
    for number in range(5):
        push(f"k{number}")
    work("notify")
    assert len(hospital.pushes("wang")) == 5
    with begin() as session:
        row = session.scalars(select(WechatToken)).one()
        assert row.generation == 1
        stored = session.execute(text("SELECT w::text FROM wechat_token w")).scalar_one()
        assert str(row.token) not in stored


@pytest.mark.req("CHN-1")
def test_a_token_that_wechat_refuses_is_fetched_anew_once(hospital: Town) -> None:
    push("k1")
    work("notify")
    hospital.wechat.account.tokens.clear()
    delivery = push("k2")
    work("notify")
    assert state_of(delivery) == ("sent", 1, None)
    with begin() as session:
        assert session.scalars(select(WechatToken.generation)).one() == 2


@pytest.mark.req("CHN-1")
def test_a_lasting_refusal_of_the_token_ends_the_try_and_not_in_a_recursion(hospital: Town) -> None:
    """wechatpy alone calls itself until Python stops it."""
    body = {"errcode": 40001, "errmsg": "invalid credential"}
    hospital.wechat.faults["/cgi-bin/message/template/send"] = Fault(fail_next=50, status=200, body=body)
    delivery = push()
    work("notify")
    assert state_of(delivery) == ("waiting", 1, "wechat_40001")
    assert hospital.wechat.faults["/cgi-bin/message/template/send"].fail_next == 48


@pytest.mark.req("CHN-1")
def test_who_does_not_follow_the_account_gets_no_more_tries(hospital: Town) -> None:
    hospital.wechat.unfollowed.add("wang")
    delivery = push()
    work("notify")
    assert state_of(delivery) == ("failed", 1, "wechat_43004")


def test_a_long_hospital_name_fits_wechats_twenty_characters(hospital: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {
        "hospital": "杏" * 30 + "\n医院",
        "patient": "王*",
        "released": "2026-11-23 08:00",
        "link": "http://h",
    }
    with begin() as session:
        service.send(
            session,
            recipient=service.Recipient(service.WECHAT, "wang", "wang…"),
            template="report_ready",
            parameters=parameters,
            dedupe_key="k1",
        )
    work("notify")
    [message] = hospital.pushes("wang")
    assert message["data"]["thing1"]["value"] == "杏" * 20  # type: ignore[index]
