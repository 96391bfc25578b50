"""A morning's twenty specimens: the technician reviews, the chief releases, all by keyboard; one is sent back, one
amended, one recalled.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from cloud.kit.db import begin
from cloud.lis.reports.model import Report, ReportState
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from tests.support.bench import observed, set_up
from tests.support.screens import DESK, chromium
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-5", "LIS-7", "LIS-18")]
expect.set_options(timeout=20_000)


@pytest.fixture(params=[4, pytest.param(20, marks=pytest.mark.slow)])
def specimens(request: pytest.FixtureRequest) -> int:
    """How many wait: a few each time, a morning's where there is time for it."""
    return int(request.param)


@pytest.fixture
def site(database: str, specimens: int) -> Iterator[Site]:
    hire_cast()
    with begin() as session:
        bench = set_up(session)
        for number in range(specimens):
            specimen = bench.specimen("WBC", "PLT")
            values = {"WBC": f"{5 + number / 10:.1f}", "PLT": str(200 + number)}
            ingest(session, bench.source(), [observed(specimen, code, value) for code, value in values.items()])
    with running_site() as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def signed_in(browser: Browser, site: Site, login: str) -> Page:
    page = browser.new_context(viewport=DESK).new_page()
    page.goto(f"{site.base_url}/staff/sign-in")
    expect(page.locator("[name=login]")).to_be_focused()
    page.keyboard.type(login)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/staff/lis/review")
    return page


def stage(page: Page, key: str, name: str) -> None:
    """To a queue of one stage and its first specimen, by key."""
    with page.expect_navigation(url=f"**stage={name}*"):
        page.keyboard.press(key)
    page.keyboard.press("n")
    expect(page.locator("[data-row][aria-selected=true]")).to_have_count(1)


def pressed(page: Page, key: str, waits: int) -> None:
    """An act that takes the specimen out of the queue: the next one is there, and so many still wait."""
    page.keyboard.press(key)
    expect(page.locator("[data-specimen-row]")).to_have_count(waits)
    if waits:
        expect(page.locator("[data-row][aria-selected=true]")).to_have_count(1)


def asked(page: Page, key: str, reason: str) -> None:
    """An act that wants a reason."""
    page.keyboard.press(key)
    expect(page.locator("dialog[open]")).to_be_visible()
    page.keyboard.type(reason)
    page.keyboard.press("Enter")


def into(page: Page, key: str, field: str) -> None:
    """By key to a field, as a hand types: what comes faster is a scanner's."""
    page.keyboard.press(key)
    expect(page.locator(f"[name={field}]").first).to_be_focused()


def reports_by_state() -> dict[str, int]:
    with begin() as session:
        states = [str(each) for each in session.scalars(select(Report.state))]
    return {each: states.count(each) for each in set(states)}


def test_a_mornings_specimens_are_reviewed_and_released_by_keyboard(
    site: Site, browser: Browser, specimens: int
) -> None:
    technician = signed_in(browser, site, "technician")
    stage(technician, "F1", "review")
    expect(technician.locator("[data-detail-of]")).to_be_visible()
    for done in range(1, specimens + 1):
        pressed(technician, "r", specimens - done)

    chief = signed_in(browser, site, "reviewer")
    stage(chief, "F2", "release")
    asked(chief, "z", "血小板请涂片复核")  # one is sent back
    expect(chief.locator("[data-specimen-row]")).to_have_count(specimens - 1)
    with technician.expect_navigation():  # the page before has the same address
        technician.keyboard.press("F1")
    expect(technician.locator("[data-specimen-row]")).to_have_count(1)
    technician.keyboard.press("n")
    expect(technician.locator(".sheet-trail")).to_contain_text("血小板请涂片复核")
    expect(technician.locator("[data-row][aria-selected=true]")).to_have_count(1)
    pressed(technician, "r", 0)

    stage(chief, "F2", "release")
    for done in range(1, specimens + 1):
        pressed(chief, "Enter", specimens - done)
    assert reports_by_state() == {ReportState.FINAL: specimens}

    with begin() as session:
        first, second = session.scalars(select(Report.id).order_by(Report.released_at).limit(2)).all()
    chief.goto(f"{site.base_url}/staff/lis/reports/{first}")
    chief.keyboard.press("m")
    chief.wait_for_url("**/amend")
    into(chief, "e", "value")
    chief.keyboard.type("7.7")
    chief.keyboard.press("Escape")
    into(chief, "y", "reason")
    chief.keyboard.type("复核后更正")
    chief.keyboard.press("Enter")
    chief.wait_for_url(f"**/reports/{first}")
    chief.keyboard.press("x")
    expect(chief.locator("[data-changed]")).to_have_count(1)
    expect(chief.locator("[data-changed]")).to_contain_text("7.7")

    chief.goto(f"{site.base_url}/staff/lis/reports/{second}")
    into(chief, "y", "reason")
    chief.keyboard.type("标本错误")
    chief.keyboard.press("Enter")
    expect(chief.get_by_role("alert")).to_contain_text("已召回")
    assert reports_by_state() == {ReportState.FINAL: specimens - 2, ReportState.AMENDED: 1, ReportState.RECALLED: 1}
    with begin() as session:
        values = session.scalars(select(Result.value_text).where(Result.value_text == "7.7", Result.chosen)).all()
    assert list(values) == ["7.7"]
