"""A range is written and approved with the keyboard alone, by two people at two browsers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.lab import open_lab
from tests.support.screens import chromium, too_wide
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-16", "LIS-18")]


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    open_lab()
    with running_site() as running:
        yield running


def at_desk(browser: Browser, site: Site, role: str) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, base_url=site.base_url)
    page.goto("/staff/sign-in")
    page.fill("[name=login]", role)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff")
    page.keyboard.press("Escape")
    return page


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_range_is_found_by_pinyin_written_and_approved_without_a_mouse(site: Site) -> None:
    with chromium() as browser:
        writer = at_desk(browser, site, "reviewer")
        refusals: list[str] = []
        writer.on("console", lambda said: refusals.append(said.text) if "Content Security" in said.text else None)
        press(writer, "g", "c")
        writer.wait_for_url("**/staff/lis/catalog")
        expect(writer.locator("[name=q]")).to_be_focused()
        writer.keyboard.type("tdb")
        press(writer, "Enter")
        writer.wait_for_url(re.compile(r"q=tdb"))
        writer.locator("tr[data-code=FERR] a").focus()
        press(writer, "Enter")
        writer.wait_for_url("**/tests/FERR")
        press(writer, "1")
        writer.wait_for_url(re.compile(r"add=range"))
        expect(writer.locator("#f-sex")).to_be_focused()
        writer.keyboard.type("女")
        for field, text in {"low": "13", "high": "150", "source": "本室验证报告 2026-11", "reason": "新建区间"}.items():
            writer.locator(f"#f-{field}").focus()
            writer.keyboard.type(text)
        press(writer, "Control+Enter")
        writer.wait_for_url(re.compile(r"/tests/FERR$"))
        expect(writer.locator("[data-change]")).to_contain_text("待批准")
        assert too_wide(writer) == []
        assert refusals == []

        director = at_desk(browser, site, "director")
        director.goto("/staff/lis/catalog/approvals?changed=true&kind=range")
        line = director.locator("tr[data-line]")
        expect(line).to_contain_text("FERR 铁蛋白")
        expect(line).to_contain_text("新建区间")
        press(director, "a")
        expect(director.locator("[data-chosen]")).to_have_text("1")
        press(director, "Control+Enter")
        expect(director.locator(".empty-state-title")).to_have_text("没有待批准的变更")
        writer.reload()
        expect(writer.locator("tr[data-band]")).to_contain_text("已批准")
