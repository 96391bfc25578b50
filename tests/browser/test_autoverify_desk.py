"""A head makes a rule set and stops the auto-verification by keyboard alone; a tube is explained by its scan."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from cloud.kit.db import begin
from cloud.lis.autoverify import live, starting
from cloud.lis.results.service import ingest
from tests.support.bench import observed, set_up
from tests.support.screens import at_the_desk, too_wide
from tests.support.site import Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-6", "LIS-18")]


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with at_the_desk(site.base_url, "director") as page:
        yield page


def scanned() -> str:
    """A tube with a low haemoglobin that the starting rules looked at."""
    with begin() as session:
        bench = set_up(session)
        starting.load(session)
        specimen = bench.specimen("WBC", "HGB")
        ingest(session, bench.source(), [observed(specimen, "WBC", "6.2"), observed(specimen, "HGB", "90")])
        live.consider(session, specimen.id)
        return specimen.accession


def test_rules_are_made_stopped_and_asked_by_keyboard(page: Page) -> None:
    accession = scanned()
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/autoverify")
    expect(page.locator("[data-set]")).to_have_count(4)
    page.keyboard.type(accession)
    page.keyboard.press("Enter")
    page.wait_for_url("**/specimens/**")
    expect(page.locator("[data-decision]")).to_contain_text("90 不在 115～150 之内")
    assert too_wide(page) == []
    page.go_back()
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    expect(page.locator("#stop-what")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type("电解质分析仪检修")
    page.keyboard.press("Enter")
    expect(page.locator(".is-stopped")).to_contain_text("电解质分析仪检修")
    page.wait_for_load_state()
    page.keyboard.press("2")
    page.wait_for_url("**/sets/**")
    page.wait_for_load_state()
    page.keyboard.press("a")
    expect(page.locator("select[name=kind]")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/rule?kind=range")
    assert too_wide(page) == []
