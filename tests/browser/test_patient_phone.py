"""The patient's pages in Chromium on a 360 px phone, without any script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.accessible import barriers
from tests.support.phones import WANG_ID, Town, register, release_report, town
from tests.support.screens import PHONE, chromium, too_wide
from tests.support.work import work

pytestmark = pytest.mark.browser

ON_FILE = "00013800001"


@pytest.fixture
def hospital(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    with town(monkeypatch) as made:
        yield made


@pytest.fixture
def screen(hospital: Town) -> Iterator[Page]:
    """Wang's phone: WeChat knows her, scripts are off, and no page may break the content security policy."""
    with chromium() as browser:
        context: BrowserContext = browser.new_context(viewport=PHONE, java_script_enabled=False, locale="zh-CN")
        context.add_cookies([{"name": "wechat_user", "value": "wang", "url": hospital.url}])
        page = context.new_page()
        complaints: list[str] = []
        page.on(
            "console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None
        )
        yield page
        context.close()
        assert complaints == []


def seen(page: Page, name: str) -> None:
    """Nothing is wider than the phone and nobody is shut out, in normal and in large type; with XINGLIN_SCREENSHOTS set
    both pictures are kept there."""
    folder = os.environ.get("XINGLIN_SCREENSHOTS")
    for size in ("large", "normal"):
        page.evaluate(f"document.documentElement.classList.toggle('large', {str(size == 'large').lower()})")
        if folder:
            page.screenshot(path=Path(folder) / f"{name}-{size}.png", full_page=True)
        assert too_wide(page) == [], f"{name} in {size} type"
        assert barriers(page) == [], f"{name} in {size} type"


@pytest.mark.req("REP-1", "ACC-1", "UX-1")
def test_wang_signs_in_binds_and_reads_her_report_on_a_narrow_phone(hospital: Town, screen: Page) -> None:
    wang = register("王芳", WANG_ID, ON_FILE, mrn="P1")
    screen.goto(f"{hospital.url}/p")
    expect(screen.get_by_role("heading", name="首页")).to_be_visible()
    seen(screen, "home-unbound")
    screen.get_by_role("link", name="绑定患者").click()
    screen.get_by_label("患者姓名").fill("王芳")
    screen.get_by_label("身份证号或就诊卡号").fill(WANG_ID)
    seen(screen, "bind")
    screen.get_by_role("button", name="获取验证码").click()
    expect(screen.get_by_text("000****0001")).to_be_visible()
    seen(screen, "code")
    screen.get_by_label("6 位验证码").fill("12345")
    screen.get_by_label("6 位验证码").fill(hospital.sms_code(ON_FILE))
    screen.get_by_role("button", name="完成绑定").click()
    expect(screen.get_by_text("王芳")).to_be_visible()
    seen(screen, "my")
    report = release_report(wang, WBC="12.3", HGB="98", PLT="210", RBC="4.41", HCT="0.395", MCV="89.6", MCH="29.9")
    release_report(wang, WBC="0.3")
    work("patient", "notify", "lis")
    [push] = hospital.pushes("wang")
    screen.goto(str(push["url"]))
    assert str(report) in screen.url
    expect(screen.locator('[data-code="WBC"]')).to_contain_text("高于参考范围")
    expect(screen.locator('[data-code="HGB"]')).to_contain_text("低于参考范围")
    assert screen.locator(".indicator").count() == 7
    seen(screen, "report")
    screen.get_by_role("link", name="报告", exact=True).click()
    expect(screen.get_by_text("检验中")).to_be_visible()
    seen(screen, "reports")
    screen.goto(f"{hospital.url}/p/reports?lang=en")
    seen(screen, "reports-en")
    screen.goto(str(push["url"]))
    seen(screen, "report-en")


@pytest.mark.req("ACC-1")
def test_a_mistyped_code_is_told_on_the_page(hospital: Town, screen: Page) -> None:
    register("王芳", WANG_ID, ON_FILE)
    screen.goto(f"{hospital.url}/p/bind")
    screen.get_by_label("患者姓名").fill("王芳")
    screen.get_by_label("身份证号或就诊卡号").fill(WANG_ID)
    screen.get_by_role("button", name="获取验证码").click()
    right = hospital.sms_code(ON_FILE)
    screen.get_by_label("6 位验证码").fill("000000" if right != "000000" else "111111")
    screen.get_by_role("button", name="完成绑定").click()
    expect(screen.get_by_role("alert")).to_contain_text("还可以再试 4 次")
    seen(screen, "code-wrong")


@pytest.mark.req("ACC-1")
def test_the_window_code_is_shown_large_with_its_qr(hospital: Town, screen: Page) -> None:
    screen.goto(f"{hospital.url}/p/bind")
    screen.get_by_role("button", name="到窗口绑定").click()
    expect(screen.get_by_alt_text("短码的二维码")).to_be_visible()
    seen(screen, "window-code")
    screen.goto(f"{hospital.url}/p/reports/01a20879-0000-7000-8000-000000000000")
    seen(screen, "not-found")
