"""Pages on paper: what scrolls or wraps on the screen is whole on an A4 sheet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.support.lab import open_lab
from tests.support.screens import chromium
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("UX-1")]

SHEET = {"width": 688, "height": 1017}
"""A4 less its margins of 14 mm, at 96 pixels an inch."""


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    open_lab()
    with running_site() as running:
        yield running


@pytest.fixture
def sheet(site: Site) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport=SHEET, base_url=site.base_url)  # type: ignore[arg-type]
        page.goto("/staff/sign-in")
        page.fill("[name=login]", "technician")
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/staff")
        page.emulate_media(media="print")
        yield page


@pytest.mark.parametrize("path", ["/staff/lis/catalog", "/staff/lis/catalog/tests/WBC", "/staff/lis/orders"])
def test_no_column_is_cut_off_on_paper(sheet: Page, path: str) -> None:
    sheet.goto(path)
    widths = sheet.locator("main table").evaluate_all("all => all.map(each => each.getBoundingClientRect().right)")
    assert widths or "orders" in path, "a page without its table proves nothing"
    assert all(right <= SHEET["width"] for right in widths)
    assert sheet.locator(".lab-filter").evaluate_all("all => all.every(each => each.offsetParent === null)")
