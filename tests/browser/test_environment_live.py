"""The environment's page changes by itself when a device says something new; a point's course is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.lis.environment.model import EnvironmentPoint
from cloud.lis.results.service import MessageSource, ingest
from protocols.model import Reading
from tests.support.screens import at_the_desk, too_wide
from tests.support.site import Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-15", "GW-6")]


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with at_the_desk(site.base_url, "technician") as page:
        yield page


def arrived(value: str | None, *alarms: str, minutes_ago: int = 0) -> None:
    at = clock.now() - timedelta(minutes=minutes_ago)
    source = MessageSource(new_id(), "box-1", "cold", "e1", 1, at, "generic_modbus", "1")
    with begin() as session:
        ingest(session, source, [Reading("temperature", value, "°C", "血液冰箱 1", alarms=alarms, record=2)])


def test_a_new_reading_appears_and_an_alarm_is_dealt_with(page: Page) -> None:
    arrived("4.1", minutes_ago=5)
    with page.expect_response("**/staff/live?**"):
        page.goto("/staff/lis/environment")
    card = page.locator("[data-device='血液冰箱 1']")
    expect(card).to_contain_text("正常")
    arrived("9.3", "high")
    expect(card).to_contain_text("9.3")
    expect(card).to_contain_text("高于上限")
    page.reload()
    page.get_by_label("原因和处理措施").fill("门没关好，已关")
    page.get_by_role("button", name="登记处置").click()
    expect(page.get_by_text("门没关好，已关")).to_be_visible()
    assert too_wide(page) == []


def test_the_course_of_a_point_is_drawn_under_the_strict_policy(page: Page) -> None:
    refusals: list[str] = []
    page.on("console", lambda message: refusals.append(message.text) if message.type == "error" else None)
    for minutes, value in ((200, "4.1"), (120, None), (90, "4.4"), (10, "9.3")):
        arrived(value, *(() if value else ("no answer",)), minutes_ago=minutes)
    with begin() as session:
        (point,) = session.scalars(select(EnvironmentPoint.id))
    page.goto(f"/staff/lis/environment/points/{point}")
    expect(page.locator(".course svg path").first).to_be_attached()
    assert refusals == []
    assert too_wide(page) == []
