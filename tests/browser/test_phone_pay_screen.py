"""Paying in Chromium on a 360 px phone: the channel's bridge is asked by script, its word is not believed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.support import paying
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phone_payments import PayTown, account_of, asked_of, pay_town
from tests.support.screens import PHONE, chromium, too_wide

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def place(database_server: DatabaseServer) -> Iterator[PayTown]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        pay_town(patched) as found,
    ):
        yield found


def _matters(said: ConsoleMessage, ours: str) -> bool:
    """Not the cashier's missing icon, not the refusal that a test provokes."""
    return said.type == "error" and said.location["url"].startswith(ours) and "status of 503" not in said.text


@pytest.fixture(scope="module")
def opened(place: PayTown) -> Iterator[tuple[Page, list[str]]]:
    """Wang's phone, signed in; what the browser complains about is kept."""
    complaints: list[str] = []
    with chromium() as browser:
        context = browser.new_context(viewport=PHONE, locale="zh-CN", base_url=place.town.url)  # type: ignore[arg-type]
        context.add_cookies([{"name": "wechat_user", "value": "wang", "url": place.town.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if _matters(said, place.town.url) else None)
        page.goto("/p")
        account_of("wang")
        yield page, complaints


@pytest.fixture
def screen(place: PayTown, opened: tuple[Page, list[str]]) -> Iterator[Page]:
    page, complaints = opened
    complaints.clear()
    yield page
    place.cashiers.wechat.book.set_chaos({})
    assert complaints == []


def seen(page: Page, name: str) -> None:
    """Nothing is wider than the phone, in normal and in large type; with XINGLIN_SCREENSHOTS set both are kept."""
    folder = os.environ.get("XINGLIN_SCREENSHOTS")
    for size in ("normal", "large"):
        page.evaluate(f"document.documentElement.classList.toggle('large', {str(size == 'large').lower()})")
        if folder:
            page.screenshot(path=Path(folder) / f"{name}-{size}.png", full_page=True)
        assert too_wide(page) == [], f"{name} in {size} type"
    page.evaluate("document.documentElement.classList.remove('large')")


@pytest.mark.req("PAY-1", "PAY-5", "UX-1")
def test_wang_pays_at_the_cashier_and_comes_to_what_she_paid_for(place: PayTown, screen: Page) -> None:
    place.cashiers.wechat.book.set_chaos({"notice_lost": 1.0})
    payment_id = asked_of("wang", 1234)
    screen.goto(f"/p/pay/{payment_id}")
    expect(screen.locator(".phone-amount")).to_contain_text("12.34")
    seen(screen, "pay")
    screen.get_by_role("button", name="微信支付 ¥").click()
    screen.get_by_role("button", name="确认支付").click()
    screen.get_by_role("link", name="完成").click()
    screen.wait_for_url("**/p/reports")
    assert paying.payment(payment_id).state == "paid"
    screen.goto("/p/transactions")
    expect(screen.get_by_text("已支付")).to_be_visible()
    seen(screen, "transactions")
    paying.refund(payment_id, 234)
    screen.goto(f"/p/transactions/{payment_id}")
    expect(screen.get_by_text("渠道处理")).to_be_visible()
    seen(screen, "transaction")
    paying.sweep(2)
    screen.reload()
    expect(screen.get_by_text("已到账")).to_be_visible()
    screen.goto(f"/p/transactions/{payment_id}?lang=en")
    seen(screen, "transaction-en")
    screen.goto("/p?lang=zh-CN")


@pytest.mark.req("PAY-5")
@pytest.mark.parametrize(
    ("word", "told"), [("cancel", "您已取消支付"), ("ok", "正在向支付渠道确认"), ("fail", "正在向支付渠道确认")]
)
def test_what_the_bridge_says_is_no_proof(screen: Page, word: str, told: str) -> None:
    """WeChat's web view says "ok" (or a page pretends it did) and no money came: nothing is paid."""
    payment_id = asked_of("wang")
    screen.goto(f"/p/pay/{payment_id}")
    screen.evaluate(
        f"window.WeixinJSBridge = {{ invoke: (name, asked, done) => done({{ err_msg: name + ':{word}' }}) }}"
    )
    screen.get_by_role("button", name="微信支付 ¥").click()
    expect(screen.locator("[data-say]:visible")).to_contain_text(told)
    assert paying.payment(payment_id).state == "prepared"


@pytest.mark.req("PAY-1")
def test_the_bridge_is_asked_with_what_the_channel_signed(screen: Page) -> None:
    payment_id = asked_of("wang")
    screen.goto(f"/p/pay/{payment_id}")
    screen.evaluate("window.WeixinJSBridge = { invoke: (name, asked) => { window.asked = [name, asked]; } }")
    screen.get_by_role("button", name="微信支付 ¥").click()
    name, asked = screen.evaluate("window.asked")
    assert name == "getBrandWCPayRequest"
    assert set(asked) == {"appId", "timeStamp", "nonceStr", "package", "signType", "paySign"}
    expect(screen.get_by_role("button", name="微信支付 ¥")).to_be_disabled()


@pytest.mark.req("UX-1")
def test_pages_for_a_channel_that_is_away_and_a_payment_that_is_over(place: PayTown, screen: Page) -> None:
    payment_id = asked_of("wang")
    place.cashiers.wechat.book.set_chaos({"call_lost_before": 1.0})
    answer = screen.goto(f"/p/pay/{payment_id}")
    assert answer is not None
    assert answer.status == 503
    seen(screen, "pay-away")
    paying.over(payment_id)
    screen.goto(f"/p/pay/{payment_id}")
    expect(screen.get_by_text("请不要重复支付")).to_be_visible()
    seen(screen, "pay-closing")
    place.cashiers.wechat.book.set_chaos({})
    expect(screen.get_by_text("已经关闭，没有扣款")).to_be_visible()
    seen(screen, "pay-over")
