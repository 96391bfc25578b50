"""Somebody at a screen with a keyboard and a scanner and no mouse: a browser page that is only ever typed at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.screens import DESK
from tests.support.site import PASSWORD, Site

REACHES = 120
"""Presses of Tab after which something counts as out of the keyboard's reach."""


class Hands:
    """What a person types; what the page's scripts complain about is kept in `complaints`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._heard(said.text) if said.type == "error" else None)

    def _heard(self, text: str) -> None:
        if "Content Security" in text:
            self.complaints.append(text)

    def press(self, *keys: str) -> None:
        """Keys one after the other, slower than a scanner; a page that still loads does not listen yet."""
        self.page.wait_for_load_state()
        for each in keys:
            self.page.keyboard.press(each)
            if each not in ("Tab", "Enter", "Escape"):
                self.page.wait_for_timeout(60)  # quicker would be a scan

    def go(self, *keys: str, to: str) -> None:
        """Leave whatever box has the focus and go where the keys lead."""
        self.page.keyboard.press("Escape")
        self.press(*keys)
        self.page.wait_for_url(to)

    def scan(self, code: str) -> None:
        """The whole code at once, then Enter."""
        self.page.wait_for_load_state()
        self.page.keyboard.type(code)
        self.page.keyboard.press("Enter")

    def write(self, text: str) -> None:
        """Into the box that has the focus."""
        expect(self.page.locator("input:focus, textarea:focus, select:focus")).to_have_count(1)
        self.page.keyboard.type(text)

    def choose(self, option: str) -> None:
        """In the select that has the focus: arrow down to the option of this text."""
        chosen = self.page.locator("select:focus")
        expect(chosen).to_have_count(1)
        for _ in range(chosen.locator("option").count()):
            if option in (chosen.evaluate("each => each.selectedOptions[0]?.textContent || ''")):
                return
            self.page.keyboard.press("ArrowDown")
        assert option in chosen.evaluate("each => each.selectedOptions[0]?.textContent || ''"), option

    def tab_to(self, target: str | Locator) -> None:
        """Tab until the target has the focus; a control that the keyboard cannot reach fails here."""
        wanted = self.page.locator(target).first if isinstance(target, str) else target.first
        expect(wanted).to_be_attached()
        for _ in range(REACHES):
            if wanted.evaluate("each => each === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not reach {target}")

    def sees(self, selector: str, text: str = "") -> None:
        expect(self.page.locator(selector).first).to_contain_text(text)


@contextmanager
def at_desk(browser: Browser, site: Site, login: str, screen: dict[str, int] = DESK) -> Iterator[Hands]:
    """Signed in by typing, on the home page."""
    context = browser.new_context(viewport=screen, base_url=site.base_url, locale="zh-CN")  # type: ignore[arg-type]
    hands = Hands(context.new_page())
    hands.page.goto("/staff/sign-in")
    expect(hands.page.locator("[name=login]")).to_be_focused()
    hands.page.keyboard.type(login)
    hands.page.keyboard.press("Tab")
    hands.page.keyboard.type(PASSWORD)
    hands.page.keyboard.press("Enter")
    hands.page.wait_for_url("**/staff")
    try:
        yield hands
    finally:
        context.close()
    assert hands.complaints == []
