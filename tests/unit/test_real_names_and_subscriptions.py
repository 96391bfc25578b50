"""A real-name service that says nothing has not said no; a subscription message is WeChat's other call."""

from __future__ import annotations

import json
import uuid

import pytest
import requests

from cloud.config import Settings
from cloud.notify.service import Message
from cloud.notify.transports import wechat_message
from cloud.patient.identity import real_names


class _Line:
    """The gateway at the other end of the line."""

    trust_env = False

    def __init__(self, status: int, body: bytes, broken: bool) -> None:
        self.status, self.body, self.broken = status, body, broken
        self.sent: list[tuple[bytes, dict[str, str]]] = []

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None: ...

    def post(self, _url: str, *, data: bytes, headers: dict[str, str]) -> requests.Response:
        self.sent.append((data, headers))
        if self.broken:
            raise requests.ConnectTimeout
        answer = requests.Response()
        answer.status_code, answer._content = self.status, self.body
        return answer


@pytest.mark.req("ACC-1")
@pytest.mark.parametrize(
    ("status", "body", "broken", "said"),
    [
        (200, b'{"result": "same"}', False, real_names.SAME),
        (200, b'{"result": "different"}', False, real_names.DIFFERENT),
        (200, b'{"result": "no_record"}', False, real_names.UNKNOWN),
        (200, b"[]", False, real_names.UNKNOWN),
        (200, b"<html>", False, real_names.UNKNOWN),
        (500, b'{"result": "different"}', False, real_names.UNKNOWN),
        (200, b"", True, real_names.UNKNOWN),
    ],
)
def test_only_a_clear_answer_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, broken: bool, said: str
) -> None:
    line = _Line(status, body, broken)
    monkeypatch.setattr(real_names, "timed_session", lambda _url: line)
    service = real_names.service(Settings(real_name_url="http://127.0.0.1/names", real_name_key="k"))  # type: ignore[arg-type]
    assert service.compare("王芳", "999101199005010022") == said
    [(sent, headers)] = line.sent
    assert json.loads(sent)["name"] == "王芳"
    assert len(headers["X-Signature"]) == 64


def test_where_there_is_no_service_nobody_is_asked() -> None:
    assert real_names.service(Settings(real_name_url="")).compare("王芳", "999101199005010022") is None


@pytest.mark.req("CHN-1")
@pytest.mark.parametrize("api", ["template", "subscribe"])
def test_a_subscription_message_goes_by_its_own_call_and_names_a_page(
    monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    known = Settings(wechat_app_id="wx", wechat_report_template_id="t", wechat_message_api=api)  # type: ignore[arg-type]
    monkeypatch.setattr(wechat_message, "settings", lambda: known)
    calls: list[tuple[str, dict[str, object]]] = []

    def post(_begin: object, endpoint: str, content: dict[str, object]) -> dict[str, object]:
        calls.append((endpoint, content))
        return {"errcode": 0}

    monkeypatch.setattr(wechat_message.wechat, "post", post)
    words = {"hospital": "杏林医院", "patient": "王*", "released": "11-24 09:00", "link": "https://h.test/p"}
    message = Message(uuid.uuid4(), 1, "wechat_message", "oOpen", "report_ready", words)
    assert wechat_message.send(None, message) is None  # type: ignore[arg-type]
    [(endpoint, content)] = calls
    assert endpoint == {"template": "message/template/send", "subscribe": "message/subscribe/bizsend"}[api]
    assert ("page" in content, "url" in content) == (api == "subscribe", api == "template")
    assert content["touser"] == "oOpen"
