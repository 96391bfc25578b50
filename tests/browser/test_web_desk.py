"""The workstation in a real browser: sign-in, keys, scanner, live numbers, nothing that the policy refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cloud.kit.db import begin
from cloud.kit.live import announce
from cloud.staff import worklist
from tests.support.screens import too_wide
from tests.support.site import PASSWORD, Site, hire_cast, running_site
from tests.support.waiting import eventually

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HAND_MS = 90
SCANNER_MS = 3

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


@pytest.fixture
def desk(site: Site, chromium: Browser) -> Iterator[Page]:
    """A reviewer's desk, signed in by keyboard; the browser's complaints fail the test."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, base_url=site.base_url, locale="zh-CN")
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.goto("/staff")
    expect(page.get_by_label("登录名")).to_be_focused()
    page.keyboard.type("reviewer")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="工作台")).to_be_visible()
    _ready(page)
    yield page
    context.close()
    assert [each for each in complaints if "404" not in each] == []


def _ready(page: Page) -> None:
    """Not `wait_for_function`: it polls by eval, which the pages' own policy refuses."""
    expect(page.locator("html[data-ready]")).to_have_count(1)


@pytest.mark.req("UX-1", "LIS-18")
def test_question_mark_shows_the_keys_of_this_page(desk: Page) -> None:
    desk.keyboard.press("?")
    keys = desk.get_by_role("dialog")
    expect(keys).to_be_visible()
    expect(keys).to_contain_text("回到扫描框")
    expect(keys).to_contain_text("结果审核")
    desk.keyboard.press("Escape")
    expect(keys).to_be_hidden()


@pytest.mark.req("LIS-18")
def test_two_keys_by_hand_lead_to_a_page(desk: Page) -> None:
    desk.keyboard.press("g")
    desk.wait_for_timeout(HAND_MS)
    desk.keyboard.press("r")
    expect(desk).to_have_url(re.compile("/staff/lis/review$"))


@pytest.mark.req("LIS-18")
@pytest.mark.parametrize(
    "code", ["260000000017", "g r 12", "PRE-00R123"], ids=["digits", "letters that are keys", "mixed"]
)
def test_what_a_scanner_types_anywhere_goes_to_the_scan_box_and_is_looked_up(desk: Page, code: str) -> None:
    code = code.replace(" ", "")
    desk.keyboard.type(code, delay=SCANNER_MS)
    desk.keyboard.press("Enter")
    expect(desk.get_by_text(f"“{code}”不是本院已知的标本")).to_be_visible()


@pytest.mark.req("LIS-18")
def test_a_slash_or_a_code_typed_by_hand_goes_to_the_scan_box_and_escape_leaves_it(desk: Page) -> None:
    box = desk.get_by_role("searchbox")
    desk.keyboard.press("/")
    expect(box).to_be_focused()
    desk.keyboard.press("Escape")
    expect(box).not_to_be_focused()
    desk.keyboard.type("B12", delay=HAND_MS)  # a batch's number by hand: no page wants the B for itself
    expect(box).to_have_value("B12")


def _listeners(site: Site) -> int:
    return int(site.app.state.hub.listeners)


def test_the_number_of_what_waits_changes_by_itself(site: Site, desk: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"waiting": 3}
    monkeypatch.setattr(worklist, "_cards", {})
    worklist.add(
        "待审核标本",
        "",
        "/staff/lis/review",
        permission="result.review",
        position=1,
        count=lambda session: numbers["waiting"],
        topic="results",
        urgent=True,
    )
    desk.goto("about:blank")
    eventually(lambda: _listeners(site) == 0, what="the page before is closed")
    desk.goto("/staff")
    eventually(lambda: _listeners(site) >= 1, what="the page listens")
    card = desk.locator(".waiting-card")
    expect(card).to_contain_text("3")
    numbers["waiting"] = 4
    with begin() as session:
        announce(session, "results", {"specimen": "1"})
    expect(card).to_contain_text("4")


@pytest.mark.req("UX-1")
def test_a_phone_sees_the_whole_home_page_without_scrolling_sideways(site: Site, chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740}, base_url=site.base_url)
    page = context.new_page()
    for path in ("/staff/sign-in", "/staff"):
        page.goto(path)
        if page.get_by_label("密码").count():
            page.get_by_label("登录名").fill("technician")
            page.get_by_label("密码").fill(PASSWORD)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.keyboard.press("Enter")
            page.wait_for_url("**/staff")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    menu = page.get_by_role("navigation")
    expect(menu).to_be_hidden()
    page.get_by_role("link", name="打开菜单").click()
    expect(menu).to_be_visible()
    assert menu.get_by_role("link").count() > 8
    assert too_wide(page) == []
    menu.get_by_role("link", name="收起菜单").click()
    expect(menu).to_be_hidden()
    context.close()


CONTRAST = """() => {
    const parse = text => { // drawn on a canvas, so that every way to write a colour becomes numbers
        const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
        canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = ([r, g, b]) => [r, g, b].map(each => each / 255)
        .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
        .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
    const found = {};
    for (const name of ['alert alert-warning', 'alert alert-danger', 'alert alert-info', 'alert alert-success',
            'tone-badge tone-warn', 'tone-badge tone-bad', 'tone-badge tone-good', 'tone-badge tone-info',
            'desk-trial']) {
        const box = Object.assign(document.createElement('div'), {className: name, textContent: '文字'});
        document.querySelector('main').append(box);
        const style = getComputedStyle(box);
        const [a, b] = [light(parse(style.color)), light(parse(style.backgroundColor))];
        found[name] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }
    return found;
}"""


@pytest.mark.req("UX-1")
def test_notes_and_marks_can_be_read(desk: Page) -> None:
    found = desk.evaluate(CONTRAST)
    assert len(found) == 9
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}, "WCAG 2.2, 1.4.3: at least 4.5 to 1"
