"""SMS by signed calls to an Aliyun-style endpoint, and the JS-SDK's signature from one shared ticket."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator

import pytest

from cloud.config import Settings, settings
from cloud.kit.db import begin
from cloud.notify import jssdk, service
from cloud.notify.errors import DeliveryFailed, UnofficialHost
from cloud.notify.transports import aliyun_sms, sms
from cloud.notify.wechat import access_token
from simulators.http_service import Fault
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phones import Town, town

PHONE = "00013800001"


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[Town]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        town(patched) as made,
    ):
        address = settings().sms_url.removesuffix("/sms")
        codes = {name: code for code, name in made.sms.aliyun.templates.items()}
        for name, value in {
            "SMS_DRIVER": "aliyun",
            "SMS_URL": f"{address}/aliyun/",
            "SMS_ACCESS_KEY_ID": "simulated-key-id",
            "SMS_SIGN_NAME": "杏林医院",
            "SMS_TEMPLATES": json.dumps(codes),
        }.items():
            patched.setenv(f"XINGLIN_{name}", value)
        settings.cache_clear()
        yield made


def message(template: str = "binding_code", phone: str = PHONE) -> service.Message:
    return service.Message(uuid.uuid4(), 1, service.SMS, phone, template, {"code": "481516", "minutes": "5 分~*+ 钟"})


@pytest.mark.req("CHN-1")
def test_a_text_goes_out_signed_with_every_character_encoded(hospital: Town) -> None:
    assert sms.send(begin, message())
    assert hospital.sms.messages[-1]["parameters"] == {"code": "481516", "minutes": "5 分~*+ 钟"}


@pytest.mark.req("SEC-1")
def test_a_wrong_secret_and_an_old_call_are_refused_by_the_carrier(
    hospital: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(hospital.sms.messages)
    monkeypatch.setattr(hospital.sms.aliyun, "secret", "another")
    with pytest.raises(DeliveryFailed, match="SignatureDoesNotMatch"):
        sms.send(begin, message())
    assert len(hospital.sms.messages) == before


@pytest.mark.parametrize(
    ("phone", "template", "permanent", "code"),
    [("123", "binding_code", True, "isv.MOBILE_NUMBER_ILLEGAL"), (PHONE, "critical_waits", False, "sms_no_template")],
)
def test_what_will_never_arrive_is_told_from_what_may(
    hospital: Town, phone: str, template: str, permanent: bool, code: str
) -> None:
    with pytest.raises(DeliveryFailed, match=code) as refused:
        sms.send(begin, message(template, phone))
    assert refused.value.permanent is permanent


def test_the_phones_own_limit_and_an_outage_are_tried_again(hospital: Town) -> None:
    limit = {"Code": "isv.BUSINESS_LIMIT_CONTROL"}
    for status, body in ((200, limit), (503, {}), (200, {})):
        hospital.sms.faults["/aliyun/"] = Fault(fail_next=1, status=status, body=body)
        with pytest.raises(DeliveryFailed) as refused:
            sms.send(begin, message())
        assert not refused.value.permanent


@pytest.mark.req("SEC-1")
def test_production_sends_codes_to_aliyun_alone() -> None:
    for url in ("http://dysmsapi.aliyuncs.com/", "https://aliyuncs.com.evil.test/", "https://evil.test/"):
        with pytest.raises(UnofficialHost):
            aliyun_sms.check_host(Settings(environment="production", sms_driver="aliyun", sms_url=url))
    aliyun_sms.check_host(Settings(environment="production", sms_url="https://dysmsapi.aliyuncs.com/"))


@pytest.mark.req("CHN-1")
def test_a_page_is_signed_without_its_fragment_and_all_share_one_ticket(hospital: Town) -> None:
    page = "http://h/p/my?a=1"
    said = jssdk.signed(begin, page + "#top")
    [ticket] = hospital.wechat.tickets
    text = f"jsapi_ticket={ticket}&noncestr={said['nonceStr']}&timestamp={said['timestamp']}&url={page}"
    assert said["signature"] == hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    assert said["appId"] == settings().wechat_app_id
    jssdk.signed(begin, page)
    assert hospital.wechat.tickets == [ticket]


@pytest.mark.req("CHN-1")
def test_a_refused_token_is_fetched_anew_for_the_ticket_and_a_lasting_refusal_gives_the_claim_back(
    hospital: Town,
) -> None:
    access_token(begin)
    with begin() as session:
        session.connection().exec_driver_sql("UPDATE wechat_ticket SET ticket = NULL")
    body = {"errcode": 40001, "errmsg": "invalid credential"}
    hospital.wechat.faults["/cgi-bin/ticket/getticket"] = Fault(fail_next=2, status=200, body=body)
    with pytest.raises(DeliveryFailed, match="40001"):
        jssdk.ticket(begin)
    hospital.wechat.faults["/cgi-bin/ticket/getticket"].fail_next = 1
    assert jssdk.ticket(begin) == hospital.wechat.tickets[-1]
