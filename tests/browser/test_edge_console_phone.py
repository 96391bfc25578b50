"""An engineer with a phone at the bench: the box's own page at 360 px, without network and cloud."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from provisioning.console_key import hash_of
from tests.support.analyzer import Analyzer, over_tcp, xn_result
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.console import add_console
from tests.support.screens import PHONE, chromium, too_wide

pytestmark = pytest.mark.browser

KEY = "abcd-efgh-jkmn-pqrs"
LATIN = re.compile(r"[A-Za-z]{3,}")
OWN_NAMES = {
    "English",
    "WBC",
    "XN",
    "sysmex",
    "mindray",
    "xn",
    "bs",
    "gw",
    "test",
    "TCP",
    "source",
    "MB",
    "ASTM",
    "HL7",
}


@pytest.fixture
def console() -> int:
    return free_port()


@pytest.fixture
def box(tmp_path: Path, console: int) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())
    made.add_tcp("xn-1")
    made.add_tcp("bs-1", driver="mindray_bs")
    add_console(made, f'key_hash = "{hash_of(KEY)}"\n', console)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def analyzer(box: Box) -> Iterator[Analyzer]:
    made = over_tcp("127.0.0.1", box.ports["xn-1"])
    yield made
    made.close()


@pytest.fixture
def page(box: Box, console: int) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport=PHONE, base_url=f"http://127.0.0.1:{console}")  # type: ignore[arg-type]
        refusals: list[str] = []
        page.on("console", lambda message: refusals.append(message.text) if message.type == "error" else None)
        page.goto("/")
        page.get_by_label("本盒的钥匙").fill(KEY)
        page.get_by_role("button", name="进入").click()
        expect(page.get_by_role("heading", name="链路", exact=True)).to_be_visible()
        yield page
        assert refusals == []


@pytest.mark.req("GW-14", "UX-1")
def test_a_result_appears_on_the_overview_by_itself(page: Page, analyzer: Analyzer) -> None:
    link = page.locator("[data-link=xn-1]")
    expect(link).to_contain_text("还没有")
    analyzer.report(xn_result("2601"))
    expect(link).to_contain_text("结果 2601 WBC 6.52")
    expect(link).to_contain_text("已解码")
    expect(page.locator("[data-link=bs-1]")).to_contain_text("等待仪器连接")
    assert too_wide(page) == []
    words = set(LATIN.findall(page.locator("body").inner_text())) - OWN_NAMES
    assert words <= {"nothing", "listens"}, words
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", name="Links")).to_be_visible()
    assert not re.search(r"[\u4e00-\u9fff]", page.locator("main").inner_text())
    assert too_wide(page) == []


@pytest.mark.req("GW-14")
def test_the_bytes_of_a_line_are_seen_while_the_analyzer_talks_and_the_message_below_them(
    page: Page, analyzer: Analyzer
) -> None:
    page.get_by_role("link", name="xn-1").click()
    monitor = page.locator("#monitor")
    expect(monitor).to_have_attribute("data-live", "yes")
    analyzer.report(xn_result("<img src=x onerror=alert(1)>"))
    expect(monitor).to_contain_text("<ENQ>")
    expect(monitor).to_contain_text("<STX>1H|\\^&|||XN-10")
    expect(monitor).to_contain_text("<ACK>")
    expect(monitor.locator("li.in").first).to_contain_text("仪器")
    expect(monitor.locator("li.out").first).to_contain_text("盒")
    expect(page.locator("#messages [data-sequence='1']")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("main img").count() == 0
    assert too_wide(page) == []
    page.get_by_label("十六进制").check()
    expect(monitor).to_contain_text("02 31 48 7C")
    assert too_wide(page) == []


@pytest.mark.req("GW-14", "GW-12")
def test_a_line_is_captured_and_the_capture_replayed_through_a_driver_that_is_chosen(
    page: Page, analyzer: Analyzer, box: Box
) -> None:
    page.get_by_role("link", name="xn-1").click()
    page.get_by_role("button", name="开始抓取到文件").click()
    expect(page.get_by_text("正在抓取")).to_be_visible()
    analyzer.report(xn_result("2605"))
    expect(page.locator("#messages [data-sequence='1']")).to_be_visible()
    page.get_by_role("button", name="停止抓取").click()
    page.get_by_role("link", name=re.compile(r"\.capture$")).click()
    expect(page.locator(".bytes.as-text")).to_contain_text("<ENQ>")
    with page.expect_download() as download:
        page.get_by_role("link", name="下载仪器发来的字节").click()
    captured = Path(download.value.path()).read_bytes()
    assert captured.startswith(b"\x05\x021H|")
    assert captured.endswith(b"\x04")
    assert too_wide(page) == []
    page.get_by_label("用驱动重放").select_option("sysmex_xn")
    page.get_by_role("button", name="重放").click()
    expect(page.get_by_text("什么都没有保存")).to_be_visible()
    expect(page.locator(".items")).to_contain_text("2605")
    expect(page.locator(".items")).to_contain_text("R|1|^^^^WBC^1|6.52")
    assert too_wide(page) == []
    page.goto("/links/xn-1/messages/1")
    page.get_by_label("用驱动重放").select_option("generic_astm")
    page.get_by_role("button", name="重放").click()
    expect(page.get_by_role("heading", name="和原来不同的")).to_be_visible()
    assert too_wide(page) == []
    assert box.messages("xn-1") == [(1, "decoded")]


@pytest.mark.req("GW-14")
def test_the_self_test_lists_its_findings_with_the_worst_first(page: Page) -> None:
    page.get_by_role("link", name="自检").click()
    page.get_by_role("button", name="开始自检").click()
    checks = page.locator(".checks li")
    expect(checks.first).to_contain_text("云端")
    expect(checks.first).to_contain_text("不正常")
    expect(page.locator("[data-check='写入存储']")).to_contain_text("正常")
    expect(page.locator("[data-check='磁盘落盘时间']")).to_contain_text("毫秒")
    assert too_wide(page) == []
    page.get_by_role("link", name="缺医嘱的管").click()
    expect(page.get_by_text("没有缺医嘱的管")).to_be_visible()
    assert too_wide(page) == []
