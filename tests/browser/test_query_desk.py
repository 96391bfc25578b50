"""A technician finds a patient's values by keyboard alone, keeps the question, and sees the course."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import func, select

from cloud.app import load_slices
from cloud.history import load
from cloud.kit.db import begin
from cloud.lis.reports.model import Report
from cloud.lis.specimens.model import Specimen
from cloud.people.model import Person
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.screens import chromium, too_wide
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-8")]


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        load_slices()
        load.run(120, seed=9, days=60, until=datetime(2026, 11, 20, 9, 30, tzinfo=UTC), seal_after=False)
        hire_cast()
        with running_site() as running:
            yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def test_a_patient_is_found_and_followed_by_keyboard(site: Site, browser: Browser) -> None:
    with begin() as session:
        initials = session.scalars(
            select(Person.initials)
            .join(Report, Report.person_id == Person.id)
            .where(Person.status == "active")
            .group_by(Person.initials)
            .order_by(func.count().desc())
        ).first()
    assert initials
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=site.base_url, locale="zh-CN")
    page = context.new_page()
    page.goto("/staff/sign-in")
    page.fill("[name=login]", "technician")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff")
    page.keyboard.press("g")
    page.keyboard.press("Shift+Q")
    page.wait_for_url("**/staff/lis/query")
    page.keyboard.type(initials)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**patient={initials}**")
    expect(page.locator("#answer tbody tr").first).to_be_visible()
    assert too_wide(page) == []
    page.keyboard.press("s")
    expect(page.locator("input[name=name]")).to_be_focused()
    page.keyboard.type("我常看的患者")
    page.keyboard.press("Enter")
    expect(page.locator(".query-kept a", has_text="我常看的患者")).to_be_visible()
    page.wait_for_load_state()  # keys are heard once the page's scripts have run
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_url("**/staff/lis/query")
    page.wait_for_load_state()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.wait_for_url(f"**patient={initials}**")
    page.locator("#answer tbody a[href*=cumulative]").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff/lis/cumulative/**")
    expect(page.locator("table.cumulative")).to_be_visible()
    assert too_wide(page) == []
    page.locator("input.cumulative-pick").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("t")
    page.wait_for_url("**test=**")
    context.close()


def test_a_scan_on_the_page_asks_for_the_tube(site: Site, browser: Browser) -> None:
    with begin() as session:
        barcode = session.scalars(select(Specimen.barcode).where(Specimen.state == "done").limit(1)).one()
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=site.base_url, locale="zh-CN")
    page = context.new_page()
    page.goto("/staff/sign-in")
    page.fill("[name=login]", "reviewer")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff")
    page.goto("/staff/lis/query?flag=H")
    page.locator("h1").click()
    page.keyboard.type(barcode)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**barcode={barcode}**")
    expect(page.locator("#answer tbody tr")).to_have_count(1)
    context.close()
