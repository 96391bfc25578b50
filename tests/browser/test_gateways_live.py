"""The page of boxes changes by itself when a box speaks, and says what waits for a person."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.kit import clock
from cloud.kit.db import begin
from protocols.uplink.envelope import GatewayState, LinkState, state_topic, up_topic
from tests.support.gateways import EPOCH, MORNING, envelope, registered
from tests.support.screens import at_the_desk, too_wide
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.browser


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    registered(("box-a", 0))
    with running_site() as running:
        yield running


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with at_the_desk(site.base_url, "field_engineer") as page:
        yield page


@pytest.mark.req("GW-14")
def test_a_box_that_speaks_appears_without_a_reload(page: Page) -> None:
    refusals: list[str] = []
    page.on("console", lambda message: refusals.append(message.text) if message.type == "error" else None)
    with page.expect_response("**/staff/live?**"):
        page.goto("/staff/gateways")
    expect(page.get_by_text("从未联系")).to_be_visible()
    link = LinkState("xn", "open", "sysmex_xn", MORNING, 41, 17)
    state = GatewayState("box-a", EPOCH, clock.now(), True, "1.4.2", 0, (link,))
    stray = envelope("stranger", "xn", [1])
    Inbox(begin, 0).store(
        [
            Arrival(state_topic(0, "box-a"), state.to_bytes()),
            Arrival(up_topic(0, "stranger", "xn"), stray.to_bytes()),
        ]
    )
    expect(page.get_by_text("在线")).to_be_visible()
    expect(page.locator("[data-link=xn]")).to_contain_text("已连接")
    expect(page.get_by_text("被隔离")).to_be_visible()
    assert too_wide(page) == []
    assert refusals == []
