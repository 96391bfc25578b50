"""What a message may say, when it is tried again, and which hosts it may go to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloud.config import Settings
from cloud.notify.errors import UnofficialHost
from cloud.notify.rules import BACK_OFF_S, TEMPLATES, TemplateMisused, checked_parameters, next_wait
from cloud.notify.wechat import check_hosts

ALLOWED_WORDS = {
    "hospital",
    "patient",
    "released",
    "link",
    "code",
    "minutes",
    "department",
    "time",
    "count",
    "yuan",
    "who",
    "what",
}


@pytest.mark.req("SEC-1")
def test_no_template_has_a_place_for_a_finding() -> None:
    for template in TEMPLATES.values():
        assert template.parameters <= ALLOWED_WORDS, template.name


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("extra", [{"value": "12.3"}, {"test": "WBC"}, {"diagnosis": "x"}])
def test_a_message_with_more_than_its_template_declares_is_refused(extra: dict[str, str]) -> None:
    with pytest.raises(TemplateMisused):
        checked_parameters("binding_code", {"code": "1", "minutes": "5", **extra})
    with pytest.raises(TemplateMisused):
        checked_parameters("no_such_template", {})
    with pytest.raises(TemplateMisused):
        checked_parameters("binding_code", {"code": "1"})


def test_the_back_off_grows_and_listens_to_the_channel() -> None:
    waits = [next_wait(attempt) for attempt in range(1, 10)]
    assert waits == sorted(waits)
    assert waits[0] == timedelta(seconds=BACK_OFF_S[0])
    assert waits[-1] == timedelta(seconds=BACK_OFF_S[-1])
    assert next_wait(1, retry_after_s=120) == timedelta(seconds=120)
    assert next_wait(9, retry_after_s=1) == timedelta(seconds=BACK_OFF_S[-1])


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9999",
        "http://api.weixin.qq.com",
        "https://api.weixin.qq.com.evil.test",
        "https://api.weixin.qq.com:8443",
        "https://user@evil.test/api.weixin.qq.com",
    ],
)
def test_production_speaks_to_no_stand_in_for_wechat(url: str) -> None:
    with pytest.raises(UnofficialHost):
        check_hosts(Settings(environment="production", wechat_api_url=url))
    with pytest.raises(UnofficialHost):
        check_hosts(Settings(environment="production", wechat_open_url=url))
    check_hosts(Settings(environment="demo", wechat_api_url=url))


def test_production_speaks_to_wechat_itself() -> None:
    check_hosts(Settings(environment="production"))


@pytest.mark.req("SEC-1")
def test_the_web_application_does_not_start_in_production_with_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud import config
    from cloud.app import create_app

    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "production")
    monkeypatch.setenv("XINGLIN_SECRET_KEY", "a-key-for-tests-only-0123456789abcdef")
    monkeypatch.setenv("XINGLIN_WECHAT_API_URL", "http://127.0.0.1:9999")
    config.settings.cache_clear()
    try:
        with pytest.raises(UnofficialHost):
            create_app()
    finally:
        config.settings.cache_clear()
