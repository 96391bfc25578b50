"""The outpatient office at its desk: a week that moves by itself, a session stopped by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from cloud.hospital import schedules
from cloud.hospital.model import ClinicSession, Department
from cloud.kit.db import begin
from tests.support import clinic
from tests.support.clinic import BY
from tests.support.screens import at_the_desk, too_wide
from tests.support.site import Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("REG-1", "UX-1")]


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with at_the_desk(site.base_url, "outpatient_office") as page:
        yield page


def test_a_session_appears_while_somebody_looks_and_is_stopped_with_the_reason_that_patients_read(page: Page) -> None:
    with begin() as session:
        of = clinic.department(session)
        sits = clinic.doctor(session, of=of)
        first = schedules.publish(session, clinic.wish(of, sits), by=BY)
    page.keyboard.type("gY")
    page.wait_for_url("**/schedule")
    with page.expect_response("**/staff/live?**"):
        page.goto(f"/staff/hospital/schedule?week={clinic.tomorrow()}&department=XN")
    chips = page.locator("[data-session]")
    expect(chips).to_have_count(1)
    with begin() as session:
        of = session.get_one(Department, of.id)
        schedules.publish(session, clinic.wish(of, half="afternoon"), by=BY)
    expect(chips).to_have_count(2)
    assert too_wide(page) == []
    page.locator(f"[data-session='{first.id}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(str(first.id)))
    page.keyboard.press("x")
    expect(page.locator("#f-stop")).to_be_focused()  # nothing is stopped without a reason
    page.keyboard.type("医生外出会诊")
    page.keyboard.press("Enter")
    expect(page.get_by_text("停诊原因")).to_be_visible()
    assert too_wide(page) == []
    with begin() as session:
        row = session.get_one(ClinicSession, first.id)
        assert (row.state, row.stopped_why) == ("stopped", "医生外出会诊")
