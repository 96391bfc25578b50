"""Ordering and scanning with the keyboard and a scanner alone, in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from cloud.hospital.service import ensure_department
from cloud.kit.db import begin
from tests.support.lab import open_lab
from tests.support.screens import at_the_desk
from tests.support.site import Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-1", "LIS-2", "LIS-18")]


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    open_lab()
    with running_site() as running:
        yield running


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with at_the_desk(site.base_url, "technician") as page:
        yield page


def typed(page: Page, text: str) -> None:
    """As a scanner or a fast typist does: the whole word and Enter, without waiting."""
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_an_order_is_entered_labelled_and_its_tubes_received_without_a_mouse(page: Page) -> None:
    refusals: list[str] = []
    page.on("console", lambda message: refusals.append(message.text) if "Content Security" in message.text else None)
    page.keyboard.press("Escape")
    for key in "go":
        page.keyboard.press(key)
    page.wait_for_url("**/staff/lis/orders")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_url("**/staff/lis/orders/new")
    typed(page, "P0001")
    expect(page.locator("[data-person]")).to_contain_text("王小梅")
    page.wait_for_selector("[data-order-entry][data-ready]")
    typed(page, "xcg")
    typed(page, "jg")
    expect(page.locator("[data-picked] [name=items]")).to_have_count(2)
    assert page.locator("[data-picked] [name=items]").evaluate_all("all => all.map(each => each.value)") == [
        "CBC",
        "CREA",
    ]
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile(r"/staff/lis/orders/[0-9a-f-]{36}$"))
    expect(page.locator("#tubes")).to_contain_text("还没有打印条码")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_url("**/staff/lis/specimens/labels/**")
    accessions = page.locator("[data-specimen]").evaluate_all("all => all.map(each => each.dataset.specimen)")
    assert len(accessions) == 2
    page.goto("/staff/lis/specimens/scan")
    for accession in accessions:
        typed(page, accession)
        expect(page.locator("[data-outcome=good]")).to_contain_text(accession)
    typed(page, "4711")
    expect(page.locator("[data-outcome=bad]")).to_contain_text("没有条码为 4711 的标本")
    expect(page.locator("[name=code]").last).to_be_focused()
    expect(page.locator("[name=code]").last).to_have_value("")
    typed(page, accessions[0])
    expect(page.locator("[data-outcome=bad]")).to_contain_text("接收，不能重复操作")
    assert refusals == []


def test_a_department_is_chosen_and_never_taken_for_granted(page: Page) -> None:
    with begin() as session:
        ensure_department(session, code="JZ", name="急诊科")
    page.goto("/staff/lis/orders/new?q=P0001")
    page.wait_for_selector("[data-order-entry][data-ready]")
    typed(page, "xcg")
    expect(page.locator("[data-picked] [name=items]")).to_have_count(1)
    page.keyboard.press("Control+Enter")
    department = page.locator("[name=department]")
    expect(department).to_be_focused()
    assert department.input_value() == ""
    page.keyboard.type("JZ")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile(r"/staff/lis/orders/[0-9a-f-]{36}$"))
    expect(page.locator("main")).to_contain_text("急诊科")


def test_escape_leaves_the_box_and_the_key_map_opens(page: Page) -> None:
    page.goto("/staff/lis/orders/new?q=P0001")
    page.wait_for_selector("[data-order-entry][data-ready]")
    expect(page.locator("#f-pick")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("dialog#keyboard-map")).to_contain_text("选择项目")


def test_a_tube_with_its_own_barcode_is_bound_by_two_scans(page: Page) -> None:
    page.goto("/staff/lis/orders/new?q=P0002")
    page.wait_for_selector("[data-order-entry][data-ready]")
    typed(page, "CRP")
    page.keyboard.press("Control+Enter")  # at once: sending waits for the word that is still looked up
    page.wait_for_url(re.compile(r"/staff/lis/orders/[0-9a-f-]{36}$"))
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_url("**/staff/lis/specimens/labels/**")
    accession = page.locator("[data-specimen]").get_attribute("data-specimen")
    assert accession is not None
    page.goto("/staff/lis/specimens/scan?mode=collect")
    page.locator("[name=preprinted]").focus()
    typed(page, "PP-90001")
    typed(page, accession)
    expect(page.locator("[data-outcome=good]")).to_contain_text(accession)
    page.goto("/staff/lis/specimens/PP-90001")
    expect(page.locator("[data-step=bound]")).to_contain_text("PP-90001")
