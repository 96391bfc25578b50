"""The page of a box and of a reading anew change by themselves, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.redecode import running, service
from cloud.gateways.redecode.model import Which
from cloud.gateways.redecode.service import Wanted
from cloud.gateways.watch import silence
from cloud.kit import clock
from cloud.kit.db import begin
from protocols.uplink.envelope import GatewayState, LinkState, state_topic
from tests.support.bench import GATEWAY, LINK, technician
from tests.support.gateways import EPOCH, MORNING
from tests.support.redecoding import Laboratory, misread, raw_of
from tests.support.screens import DESK, PHONE, chromium, too_wide
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = pytest.mark.browser


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running_:
        yield running_


@pytest.fixture
def laboratory(site: Site) -> Laboratory:
    return Laboratory()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def signed_in(browser: Browser, site: Site, login: str) -> Page:
    page = browser.new_page(viewport=DESK, base_url=site.base_url)  # type: ignore[arg-type]
    page.goto("/staff/sign-in")
    page.fill("[name=login]", login)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff")
    return page


def fits_on_a_desk_and_a_phone(page: Page) -> None:
    for screen in (DESK, PHONE):
        page.set_viewport_size(screen)  # type: ignore[arg-type]
        assert too_wide(page) == []


def says(state: str, reason: str = "") -> None:
    link = LinkState(LINK, state, "sysmex_xn", MORNING, 1, 0, reason=reason)
    said = GatewayState(GATEWAY, EPOCH, clock.now(), True, "1.4.2", 0, (link,))
    Inbox(begin, 0).store([Arrival(state_topic(0, GATEWAY), said.to_bytes())])


@pytest.mark.req("GW-14")
def test_a_port_that_shuts_and_an_analyzer_that_falls_silent_appear_without_a_reload(
    browser: Browser, site: Site, laboratory: Laboratory
) -> None:
    barcode, _tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    says("open")
    page = signed_in(browser, site, "field_engineer")
    with page.expect_response("**/staff/live?**"):
        page.goto(f"/staff/gateways/box/{GATEWAY}")
    line = page.locator(f"[data-link={LINK}]")
    expect(line).to_contain_text("已连接")
    says("failed", "the cable is out")
    expect(line).to_contain_text("the cable is out")
    expect(page.locator("[data-change=port]")).to_contain_text("故障")
    with begin() as session:
        silence.look(session, clock.now() + timedelta(days=40))
    expect(page.locator("[data-open-alarm]")).to_have_count(1)
    fits_on_a_desk_and_a_phone(page)


@pytest.mark.req("GW-12")
def test_a_second_person_sees_both_readings_and_approves_them(
    browser: Browser, site: Site, laboratory: Laboratory
) -> None:
    barcode, _tube = laboratory.tube("WBC")
    laboratory.hears(raw_of(barcode, WBC="6.4"), misread(barcode, WBC="64"))
    with begin() as session:
        row = service.ask(session, Wanted(GATEWAY, LINK, Which.ALL, "sysmex_xn"), by=technician(), reason="驱动已更正")
    page = signed_in(browser, site, "reviewer")
    with page.expect_response("**/staff/live?**"):
        page.goto(f"/staff/gateways/redecode/{row.id}")
    expect(page.get_by_text("正在试读，完成后自动显示。")).to_be_visible()
    running.dry_run(begin, row.id)
    change = page.locator("[data-difference=changed]")
    expect(change).to_contain_text("64 10*3/uL")
    expect(change).to_contain_text("6.4 10*3/uL")
    page.reload()
    page.fill("[name=reason]", "已核对仪器打印结果")
    page.get_by_role("button", name="批准写入").click()
    expect(page.get_by_text("正在写入")).to_be_visible()
    running.apply(begin, row.id)
    expect(page.locator("[data-outcome]")).to_contain_text("取代旧值 1")
    fits_on_a_desk_and_a_phone(page)
