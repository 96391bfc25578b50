"""The director changes how a report looks, sees it at once, and saves it as a further version with a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from cloud.kit.db import begin
from cloud.lis.reports import form_store
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.screens import chromium, too_wide
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-7", "LIS-16")]


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    furnished = database_server.furnished
    with pytest.MonkeyPatch.context() as patch, database_server.clone(furnished) as url, cloud_on(url, patch):
        hire_cast()
        with running_site() as running:
            yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def test_what_is_changed_on_a_form_is_shown_at_once_and_kept_when_it_is_saved(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=site.base_url, locale="zh-CN")
    page = context.new_page()
    page.goto("/staff/sign-in")
    page.fill("[name=login]", "director")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff")
    page.goto("/staff/lis/report-forms/urine")
    before = page.locator("#paper-preview img").first.get_attribute("src")
    page.focus("[name=bilingual]")
    page.keyboard.press("Space")
    expect(page.locator("#paper-preview img").first).not_to_have_attribute("src", before or "", timeout=20_000)
    assert not too_wide(page)
    page.fill("[name=reason]", "国际门诊")
    page.keyboard.press("Enter")
    expect(page.locator("[data-version='2']")).to_contain_text("国际门诊")
    with begin() as session:
        assert form_store.by_code(session, "urine").settings.bilingual
    context.close()
