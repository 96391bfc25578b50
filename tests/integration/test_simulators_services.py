"""The simulated WeChat, SMS gateway and HIS refuse what the real ones refuse."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from simulators.his.client import HisClient
from simulators.his.messages import order
from simulators.his.orders import visits
from simulators.his.receiver import HisReceiver
from simulators.ledger import Ledger, read_ledger
from simulators.mllp import Mllp, field, segment
from simulators.sms.service import SmsService
from simulators.wechat.service import Account, WechatService
from simulators.wire import TcpLine, dial
from tests.support.waiting import eventually

APP = {"appid": "wx1", "secret": "s1"}
NOW = datetime(2026, 11, 23, 8, 5, 9, tzinfo=UTC)


@pytest.fixture
def wechat() -> Iterator[httpx.Client]:
    service = WechatService(Ledger(None, "wechat"), Account("wx1", "s1", ["t1"]), ["wang"])
    server = service.start("127.0.0.1", 0)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as client:
        yield client
    server.shutdown()
    server.server_close()


@pytest.fixture
def sms() -> Iterator[httpx.Client]:
    server = SmsService(Ledger(None, "sms"), "key").start("127.0.0.1", 0)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as client:
        yield client
    server.shutdown()
    server.server_close()


def _code(client: httpx.Client, openid: str = "wang") -> str:
    answer = client.get(
        "/connect/oauth2/authorize",
        params={
            "appid": "wx1", "redirect_uri": "http://h/p/oauth/wechat", "response_type": "code",
            "scope": "snsapi_base", "state": "st",
        },
        headers={"Cookie": f"wechat_user={openid}"},
    )  # fmt: skip
    back = urlsplit(answer.headers["location"])
    assert back.path == "/p/oauth/wechat"
    assert parse_qs(back.query)["state"] == ["st"]
    return parse_qs(back.query)["code"][0]


def _exchange(client: httpx.Client, code: str, **changes: str) -> dict[str, object]:
    parameters = {**APP, "code": code, "grant_type": "authorization_code", **changes}
    found: dict[str, object] = client.get("/sns/oauth2/access_token", params=parameters).json()
    return found


def test_a_code_is_good_once_and_only_for_the_account(wechat: httpx.Client) -> None:
    code = _code(wechat)
    assert _exchange(wechat, code, appid="other")["errcode"] == 40013
    assert _exchange(wechat, code, secret="guess")["errcode"] == 40125
    assert _exchange(wechat, "invented")["errcode"] == 40029
    assert _exchange(wechat, code)["openid"] == "wang"
    assert _exchange(wechat, code)["errcode"] == 40163


def test_a_browser_without_a_phone_is_asked_whose_it_is(wechat: httpx.Client) -> None:
    answer = wechat.get(
        "/connect/oauth2/authorize",
        params={"appid": "wx1", "redirect_uri": "http://h/", "response_type": "code", "scope": "snsapi_base"},
    )
    assert answer.status_code == 200
    assert "wang" in answer.text


def _token(client: httpx.Client) -> str:
    return str(client.get("/cgi-bin/token", params={**APP, "grant_type": "client_credential"}).json()["access_token"])


def _send(client: httpx.Client, token: str, **changes: object) -> dict[str, object]:
    body = {
        "touser": "wang",
        "template_id": "t1",
        "url": "http://h/p/reports/1",
        "data": {"thing1": {"value": "检验报告已出"}},
        **changes,
    }
    found: dict[str, object] = client.post(
        "/cgi-bin/message/template/send", params={"access_token": token}, json=body
    ).json()
    return found


def test_a_message_needs_a_known_token_follower_template_and_short_fields(wechat: httpx.Client) -> None:
    token = _token(wechat)
    assert _send(wechat, "forged")["errcode"] == 40001
    assert _send(wechat, token, touser="stranger")["errcode"] == 40003
    assert _send(wechat, token, template_id="t9")["errcode"] == 40037
    assert _send(wechat, token, data={"thing1": {"value": "长" * 21}})["errcode"] == 47003
    first = _send(wechat, token, client_msg_id="a")
    assert first["errcode"] == 0
    assert _send(wechat, token, client_msg_id="a")["msgid"] == first["msgid"]
    inbox = wechat.get("/simulator/messages", params={"openid": "wang"}).json()["messages"]
    assert [each["url"] for each in inbox] == ["http://h/p/reports/1"]


def test_a_new_token_leaves_the_old_one_good_for_a_while(wechat: httpx.Client) -> None:
    old, new = _token(wechat), _token(wechat)
    assert _send(wechat, old)["errcode"] == 0
    assert _send(wechat, new)["errcode"] == 0


def test_calls_fail_on_purpose_as_often_as_asked(wechat: httpx.Client) -> None:
    fault = {"path": "/cgi-bin/token", "fail_next": 1, "status": 200, "body": {"errcode": -1, "errmsg": "busy"}}
    assert wechat.post("/simulator/faults", json=fault).json() == {"ok": True}
    assert wechat.get("/cgi-bin/token", params={**APP, "grant_type": "client_credential"}).json()["errcode"] == -1
    assert _token(wechat)


def test_an_sms_needs_the_key_and_goes_out_once(sms: httpx.Client) -> None:
    message = {
        "id": "m1",
        "phone": "00013800001",
        "template": "binding_code",
        "parameters": {"code": "481516", "minutes": "5"},
    }
    assert sms.post("/sms", json=message).status_code == 401
    sends = [sms.post("/sms", json=message, headers={"X-Key": "key"}).json() for _ in range(2)]
    assert sends[0] == sends[1]
    assert sends[0]["ok"] is True
    unknown = sms.post("/sms", json={**message, "id": "m2", "template": "advert"}, headers={"X-Key": "key"}).json()
    assert unknown["permanent"] is True
    inbox = sms.get("/simulator/inbox", params={"phone": "00013800001"}).json()["messages"]
    assert [each["parameters"]["code"] for each in inbox] == ["481516"]
    assert "481516" in inbox[0]["text"]


def test_the_his_sends_the_same_order_until_the_laboratory_accepts_it(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ledger = Ledger(tmp_path / "his.jsonl", "his")
    client = HisClient(dial("127.0.0.1", listener.getsockname()[1]), ledger, reply_s=5, pause_s=0.01)
    sent = order(next(visits(1, NOW.date())), "H7", NOW)
    received: list[list[str]] = []

    def play() -> None:
        line = TcpLine(listener.accept()[0])
        mllp = Mllp(line)
        for code in ("AE", "AA"):
            found = mllp.receive(5) or []
            received.append(found)
            mllp.send(["MSH|^~\\&|LAB|||||ACK|1|P|2.5.1", f"MSA|{code}|{field(segment(found, 'MSH'), 10)}"])
        line.close()

    thread = threading.Thread(target=play)
    thread.start()
    assert client.send(sent, kind="order") is not None
    thread.join(10)
    client.hang_up()
    listener.close()
    ledger.close()
    assert received == [sent, sent]
    assert [each["event"] for each in read_ledger(tmp_path / "his.jsonl")] == ["not accepted", "accepted"]


def test_the_his_keeps_a_result_before_it_acknowledges_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "his.jsonl", "his")
    receiver = HisReceiver(ledger, "127.0.0.1", 0)
    receiver.start()
    line = TcpLine(socket.create_connection(("127.0.0.1", receiver.port)))
    mllp = Mllp(line)
    mllp.send(
        [
            "MSH|^~\\&|XINGLIN|LAB|HIS|XLYY|20261123||ORU^R01^ORU_R01|R5|P|2.5.1",
            "PID|1||M001^^^HIS^MR",
            "OBR|1|D1||CBC",
            "OBX|1|NM|WBC^白细胞||6.1|10*9/L|||||F",
        ]
    )
    answer = mllp.receive(5) or []
    assert segment(answer, "MSA")[1:3] == ["AA", "R5"]
    (kept,) = eventually(lambda: list(read_ledger(tmp_path / "his.jsonl")))
    assert kept["placer"] == "D1"
    assert kept["results"] == [{"code": "WBC", "value": "6.1", "unit": "10*9/L"}]
    line.close()
    receiver.close()
    ledger.close()
