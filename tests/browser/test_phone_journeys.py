"""The patient's walks in Chromium on a 360 px phone, in normal and large type: bound, bills paid together, money back.

The channel's bridge is asked by script, and its word is not believed. Nothing may complain in the browser's console.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.support import bills, paying, registering
from tests.support.accessible import barriers
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phone_payments import PayTown, account_of, asked_of, pay_town
from tests.support.phones import MOTHER_ID, WANG_ID, WECHAT_VIEW, register
from tests.support.screens import DESK, PHONE, chromium, too_wide
from tests.support.site import PASSWORD, hire_cast
from tests.support.work import work

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
        context = browser.new_context(
            viewport=PHONE,  # type: ignore[arg-type]
            locale="zh-CN",
            base_url=place.town.url,
            user_agent=WECHAT_VIEW["User-Agent"],
        )
        context.add_cookies([{"name": "wechat_user", "value": "wang", "url": place.town.url}])
        page = context.new_page()
        page.set_default_timeout(20_000)
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


_SIZED = """large => {
    if (document.readyState !== "complete" || !document.documentElement) return false;
    document.documentElement.classList.toggle("large", large);
    return true;
}"""


def seen(page: Page, name: str) -> None:
    """Nothing is wider than the phone and nobody is shut out, in normal and in large type; with XINGLIN_SCREENSHOTS set
    both are kept."""
    folder = os.environ.get("XINGLIN_SCREENSHOTS")
    for size in ("normal", "large"):
        page.wait_for_function(_SIZED, arg=size == "large")
        if folder:
            page.screenshot(path=Path(folder) / f"{name}-{size}.png", full_page=True)
        assert too_wide(page) == [], f"{name} in {size} type"
        assert barriers(page) == [], f"{name} in {size} type"
    page.evaluate("document.documentElement.classList.remove('large')")


def tap_through_the_cashier(screen: Page) -> None:
    screen.get_by_role("button", name="微信支付 ¥").click()
    screen.get_by_role("button", name="确认支付").click()
    screen.get_by_role("link", name="完成").click()


def bind(place: PayTown, screen: Page, name: str, number: str, phone: str, relation: str) -> None:
    screen.get_by_role("link", name="绑定患者").click()
    screen.wait_for_url("**/p/bind")
    screen.get_by_label("患者姓名").fill(name)
    screen.get_by_label("身份证号或就诊卡号").fill(number)
    screen.get_by_label(relation, exact=True).check()
    seen(screen, "bind")
    screen.get_by_role("button", name="获取验证码").click()
    screen.wait_for_url("**/p/bind/*")
    seen(screen, "code")
    screen.get_by_label("6 位验证码").fill(place.town.sms_code(phone))
    screen.get_by_role("button", name="完成绑定").click()
    screen.wait_for_url("**/p/my")


@pytest.mark.req("ACC-1", "PAY-1", "PAY-4", "PAY-5", "REP-1", "UX-1")
def test_wang_binds_herself_and_her_mother_and_pays_three_bills_at_once(place: PayTown, screen: Page) -> None:
    wang = register("王芳", WANG_ID, "00013800001", mrn="P1")
    mother = register("李桂英", MOTHER_ID, "00013800002", mrn="P2")
    screen.goto("/p")
    seen(screen, "home-unbound")
    bind(place, screen, "王芳", WANG_ID, "00013800001", "本人")
    bind(place, screen, "李桂英", MOTHER_ID, "00013800002", "家人")
    expect(screen.get_by_text("李**")).to_be_visible()
    seen(screen, "my")
    exam = bills.arisen(wang, 12000, 3000, kind="exam")
    bills.arisen(wang, 1980, kind="drug")
    bills.arisen(mother, 2500, kind="lab")
    screen.goto("/p")
    seen(screen, "home-bills")
    screen.get_by_role("link", name="3 张账单待缴费").click()
    screen.wait_for_url("**/p/bills")
    expect(screen.get_by_text("李**")).to_be_visible()
    seen(screen, "bills")
    screen.get_by_role("button", name="去缴费").click()
    screen.wait_for_url("**/p/bills/pay**")
    expect(screen.get_by_text("194.80").first).to_be_visible()
    seen(screen, "bills-look-over")
    screen.get_by_role("button", name="确认缴费").click()
    tap_through_the_cashier(screen)
    screen.wait_for_url("**/p/bills/paid/**")
    bills.sweep()
    screen.reload()
    seen(screen, "bills-paid")
    assert [bills.charge(exam).state, bills.payment_of(exam).fen] == ["paid", 19480]
    screen.goto(f"/p/bills/{exam}")
    seen(screen, "bill")
    screen.get_by_role("link", name="申请退费").click()
    screen.wait_for_url("**/refund")
    seen(screen, "bill-refund")
    screen.get_by_role("button", name="确认退费").click()
    screen.goto("/p/today")
    expect(screen.get_by_text("退款 ¥ 150.00")).to_be_visible()
    seen(screen, "today")
    screen.get_by_text("退款 ¥ 150.00").click()
    expect(screen.get_by_text("渠道处理")).to_be_visible()
    bills.sweep()
    screen.reload()
    expect(screen.get_by_text("已到账")).to_be_visible()
    screen.goto(f"/p/bills/{exam}?lang=en")
    seen(screen, "bill-en")
    screen.goto("/p?lang=en")
    seen(screen, "home-en")
    screen.goto("/p/today?lang=zh-CN")
    expect(screen.get_by_text("今天没有安排")).to_be_visible()


@pytest.mark.req("REG-1", "REG-2", "REG-3", "REG-5", "PAY-4", "PAY-5", "UX-1")
def test_wang_books_an_expert_for_her_mother_pays_cancels_and_sees_the_refund_arrive(
    place: PayTown, screen: Page
) -> None:
    registering.opened_session(8)
    screen.goto("/p?lang=zh-CN")
    screen.get_by_role("link", name="挂号", exact=True).first.click()
    screen.wait_for_url("**/p/book")
    seen(screen, "book-departments")
    screen.get_by_label("按科室或医生姓名查找").fill("沈明远")
    screen.keyboard.press("Enter")
    screen.wait_for_url("**/p/book?q=**")
    screen.locator("[data-department]").first.click()
    screen.wait_for_url("**/departments/**")
    seen(screen, "book-department")
    screen.get_by_role("link", name="沈明远").click()
    screen.wait_for_url("**/doctors/**")
    seen(screen, "book-doctor")
    screen.locator("a[href^='/p/book/sessions/']").first.click()
    screen.wait_for_url("**/sessions/**")
    screen.get_by_label("李**").check()
    seen(screen, "book-times")
    screen.get_by_role("button", name="确认挂号").click()
    expect(screen.get_by_text("号为您保留到")).to_be_visible()
    seen(screen, "booking-held")
    screen.get_by_role("button", name="去支付").click()
    tap_through_the_cashier(screen)
    screen.wait_for_url("**/p/bookings/**")
    work("registration", "payments")
    screen.reload()
    expect(screen.get_by_text("挂号成功")).to_be_visible()
    expect(screen.get_by_alt_text("就诊凭证条码")).to_be_visible()
    seen(screen, "booking")
    screen.goto("/p")
    expect(screen.get_by_text("沈明远")).to_be_visible()
    seen(screen, "home-visit")
    screen.goto("/p/today")
    seen(screen, "today-visit")
    screen.goto("/p/bookings")
    seen(screen, "bookings")
    screen.get_by_text("沈明远").click()
    screen.get_by_role("link", name="退号").click()
    screen.wait_for_url("**/cancel")
    seen(screen, "booking-cancel")
    screen.get_by_role("button", name="确认").click()
    expect(screen.get_by_text("费用正在原路退回")).to_be_visible()
    screen.goto("/p/today")
    screen.get_by_text("退款 ¥ 50.00").click()
    paying.sweep(2)
    work("registration", "payments")
    screen.reload()
    expect(screen.get_by_text("已到账")).to_be_visible()
    screen.goto("/p/bookings?lang=en")
    seen(screen, "bookings-en")
    screen.goto("/p/book")
    seen(screen, "book-departments-en")
    screen.goto("/p?lang=en")
    seen(screen, "home-en2")
    screen.goto("/p?lang=zh-CN")


@pytest.mark.req("WIN-1", "PAY-4", "PAY-5")
def test_the_cashier_refunds_one_item_by_keyboard_and_the_phone_follows_it(place: PayTown, screen: Page) -> None:
    hire_cast()
    person = register("赵小月", "999101199005010030", "00013800003", mrn="P7")
    charge = bills.arisen(person, 3000, 2200, kind="exam")
    payer = bills.Payer(payer_key=str(account_of("wang")), payer="wang")
    payment_id = bills.paid(place.cashiers, [charge], payer)
    browser = screen.context.browser
    assert browser is not None
    desk = browser.new_page(viewport=DESK, base_url=place.town.url, locale="zh-CN")  # type: ignore[arg-type]
    desk.goto("/staff/sign-in")
    for typed, key in (("cashier", "Tab"), (PASSWORD, "Enter")):
        desk.keyboard.type(typed)
        desk.keyboard.press(key)
    desk.wait_for_url("**/staff")
    desk.goto("/staff/window")
    desk.wait_for_load_state("networkidle")
    desk.keyboard.type("CP7")
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/persons/**")
    desk.wait_for_load_state("networkidle")
    desk.get_by_label("项目2").focus()
    desk.keyboard.press("Space")
    desk.keyboard.press("r")
    expect(desk.get_by_label("退费原因")).to_be_focused()
    desk.keyboard.type("少做一项")
    desk.keyboard.press("Enter")
    expect(desk.get_by_text("退费 ¥ 22.00")).to_be_visible()
    desk.close()
    bills.sweep()
    assert bills.states(charge) == "paid: paid refunded"
    screen.goto(f"/p/transactions/{payment_id}?lang=zh-CN")
    expect(screen.get_by_text("部分退款")).to_be_visible()
    expect(screen.get_by_text("退款 ¥ 22.00")).to_be_visible()
    expect(screen.get_by_text("已到账")).to_be_visible()


@pytest.mark.req("PAY-1", "PAY-5", "UX-1")
def test_wang_pays_at_the_cashier_and_comes_to_what_she_paid_for(place: PayTown, screen: Page) -> None:
    place.cashiers.wechat.book.set_chaos({"notice_lost": 1.0})
    payment_id = asked_of("wang", 1234)
    screen.goto(f"/p/pay/{payment_id}")
    expect(screen.locator(".phone-amount")).to_contain_text("12.34")
    seen(screen, "pay")
    tap_through_the_cashier(screen)
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


def test_barriers_are_noticed(opened: tuple[Page, list[str]]) -> None:
    page, complaints = opened
    page.goto("about:blank")
    page.set_content(
        "<body><p>no heading</p><p id=a class=x>pale</p><button id=a></button><img src='data:,'><a href=/>ok</a>"
    )
    page.add_style_tag(content=".x{color:#aaa} button{width:9px;height:9px}")
    found = barriers(page)
    for each in ("contrast", "too small to tap", "without a name", "picture without", "not one h1", "language", "id"):
        assert any(each in said for said in found), each
    complaints.clear()
