"""A technician types a worksheet by keyboard and scanner alone: down the column, grades by key, a wrong cell mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud.kit.db import begin
from cloud.lis.results import choices
from cloud.lis.specimens.model import Specimen
from tests.support.bench import Bench, set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.screens import chromium
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-3", "LIS-18")]

DESK = {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as monkeypatch, database_server.clone() as url, cloud_on(url, monkeypatch):
        hire_cast()
        with running_site() as running:
            yield running


@pytest.fixture
def page(site: Site, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESK, base_url=site.base_url, locale="zh-CN")  # type: ignore[arg-type]
    opened = context.new_page()
    opened.goto("/staff/sign-in")
    opened.fill("[name=login]", "technician")
    opened.fill("[name=password]", PASSWORD)
    opened.keyboard.press("Enter")
    opened.wait_for_url("**/staff")
    yield opened
    context.close()


def urines(number: int) -> list[Specimen]:
    with begin() as session:
        bench: Bench = set_up(session)
        choices.load(session)
        return [bench.specimen("U_PRO", "U_GLU", "U_PH", "U_SG") for _ in range(number)]


def test_a_worksheet_is_typed_without_a_mouse(page: Page) -> None:
    tubes = urines(3)
    page.keyboard.type("g", delay=90)
    page.keyboard.type("g", delay=90)
    page.wait_for_url("**/staff/lis/worksheets")
    page.keyboard.type("U_PRO U_GLU U_PH")
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff/lis/worksheets/*")

    page.locator(".worksheet-scan input[name=code]").fill(tubes[0].barcode)
    page.keyboard.press("Enter")
    page.locator(".worksheet-scan input[name=code]").focus()
    page.keyboard.press("ArrowDown")  # without a scanner: from the scan box to the first cell that waits
    assert page.locator("td[data-cell]").first.locator("input:focus").count() == 1
    units = page.locator("thead .worksheet-test")
    assert {each.evaluate("th => getComputedStyle(th).textTransform") for each in units.all()} == {"none"}
    for typed in ("2", "5", "0"):
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
    protein = page.locator('td[data-cell]:has(input[aria-label="尿蛋白"]) input.cell-value')
    expect(protein.nth(0)).to_have_value("2+")
    expect(protein.nth(1)).to_have_value("±")
    expect(protein.nth(2)).to_have_value("-")

    # The third Enter went on at the top of the next test.
    for typed in ("9", "1"):
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
    refused = page.locator('td[data-code="value.no_choice"]')
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("0=-")
    expect(page.locator("td.is-refused input.cell-value")).to_have_value("9")

    page.locator(".worksheet-scan input[name=code]").fill(tubes[2].barcode)
    page.keyboard.press("Enter")
    expect(page.locator("tr.is-scanned")).to_contain_text(tubes[2].barcode)
    page.keyboard.type("3")
    page.keyboard.press("ArrowRight")
    page.keyboard.type("6.5")
    page.keyboard.press("Enter")
    acidity = page.locator(f'tr[data-barcode="{tubes[2].barcode}"] input[aria-label="尿酸碱度"]')
    expect(acidity).to_have_value("6.5")
    expect(page.locator(f'tr[data-barcode="{tubes[2].barcode}"] td.is-there')).to_have_count(3)
