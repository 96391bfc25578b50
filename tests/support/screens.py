"""Headless Chromium (the system's) for the browser tests; skipped with the reason where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.site import PASSWORD

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1366, "height": 768}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def at_the_desk(base_url: str, login: str) -> Iterator[Page]:
    """A person of the cast signed in at a workstation by keyboard. What the browser complains about fails the test, but
    for refusals (4xx), which a test provokes."""
    complaints: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport=DESK, base_url=base_url, locale="zh-CN")  # type: ignore[arg-type]
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto("/staff/sign-in")
        expect(page.locator("[name=login]")).to_be_focused()
        page.keyboard.type(login)
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/staff")
        yield page
    assert [each for each in complaints if "status of 4" not in each] == []


def too_wide(page: Page) -> list[str]:
    """What reaches beyond the right edge of the screen: tag and text of each such element (empty: nothing does)."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
            .map(each => each.tagName + ' ' + (each.textContent || '').trim().slice(0, 40))"""
    )
    return found
