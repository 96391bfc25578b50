"""Tubes that an analyzer asked about in vain: they appear by themselves, on a desk's screen and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.lis.results.service import MessageSource, ingest
from protocols.model import UnansweredQuery
from protocols.uplink.asking import NoOrder
from tests.support.lab import GATEWAY, labelled, open_lab
from tests.support.screens import PHONE, at_the_desk, too_wide
from tests.support.site import Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("GW-7", "UX-1")]
PAGE = "/staff/lis/worklists/unanswered"


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with at_the_desk(site.base_url, "technician") as page:
        yield page


def asked_about(*tubes: UnansweredQuery) -> None:
    """The box's word of tubes without an order arrives."""
    with begin() as session:
        ingest(session, MessageSource(new_id(), GATEWAY, "xn", "e1", 1, clock.now(), "box", "1"), tubes)


def test_a_tube_appears_while_somebody_looks_and_every_word_of_it_fits(page: Page) -> None:
    lab = open_lab()
    printed = labelled(lab, ("HGB",))
    with page.expect_response("**/staff/live?**"):
        page.goto(PAGE)
    expect(page.get_by_text("没有未应答的标本")).to_be_visible()
    asked_about(
        UnansweredQuery("26112300017", NoOrder.UNKNOWN, "12", "7"),
        UnansweredQuery(printed, NoOrder.NOT_COLLECTED, "12", "8"),
        UnansweredQuery(None, NoOrder.NO_BARCODE, "12", "9"),
        UnansweredQuery("26112300018", NoOrder.NOT_REACHED),
    )
    rows = page.locator("[data-unanswered]")
    expect(rows).to_have_count(4)
    assert too_wide(page) == []
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert too_wide(page) == []
