"""The collector on a telephone, the receiver at a desk: by scanner alone, and while the network is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud.kit.db import begin
from cloud.lis.specimens import policy
from cloud.lis.specimens import service as specimens
from cloud.lis.storage import service as storage
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.lab import Lab, labelled, open_lab, order
from tests.support.screens import DESK, PHONE, chromium, too_wide
from tests.support.site import PASSWORD, Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-2", "LIS-18")]


@pytest.fixture(scope="module")
def lab(database_server: DatabaseServer) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        hire_cast()
        yield open_lab()


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def signed_in(browser: Browser, site: Site, role: str, screen: dict[str, int]) -> Page:
    page = browser.new_context(viewport=screen, base_url=site.base_url).new_page()  # type: ignore[arg-type]
    page.goto("/staff/sign-in")
    page.fill("[name=login]", role)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/staff")
    return page


def scan(page: Page, code: str) -> None:
    """As a scanner does: the whole code and Enter."""
    page.keyboard.type(code)
    page.keyboard.press("Enter")


def state(accession: str) -> str:
    with begin() as session:
        return specimens.by_barcode(session, accession).state


def test_the_collector_scans_wristband_and_tubes_on_a_telephone_also_while_the_network_is_away(
    browser: Browser, site: Site, lab: Lab
) -> None:
    first, second = labelled(lab, ("ALT",)), labelled(lab, ("PT",))
    page = signed_in(browser, site, "nurse", PHONE)
    page.goto("/staff/lis/specimens/bedside")
    page.wait_for_selector("[data-bedside-ready]")
    scan(page, first)
    expect(page.locator("[data-outcome=bad]")).to_contain_text("请先扫描患者腕带")
    scan(page, "P0002")
    expect(page.locator("[data-person]")).to_contain_text("李建国")
    scan(page, first)
    expect(page.locator("[data-outcome=bad]")).to_contain_text("这支试管不属于该患者")
    assert state(first) == "printed"
    scan(page, "P0001")
    expect(page.locator("[data-person]")).to_contain_text("王小梅")
    assert too_wide(page) == []
    scan(page, first)
    expect(page.locator("[data-outcome=good]")).to_contain_text(first)
    expect(page.locator(f"[data-drawn='{first}']")).to_be_visible()
    page.context.set_offline(True)
    scan(page, second)
    expect(page.locator("[data-bedside-kept]")).to_contain_text("1")
    assert state(second) == "printed"
    scan(page, "4711")
    expect(page.locator("[data-refused='4711']")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("[data-bedside-kept]")).to_be_hidden()
    assert state(second) == "collected"
    with begin() as session:
        tube = specimens.by_barcode(session, second)
        (drawn,) = [each for each in specimens.timeline(session, tube.id) if each.type == "collected"]
        assert drawn.clock_source == "device"
    page.context.close()


def test_a_tube_of_a_glucose_series_that_is_early_takes_a_reason_and_a_scan_is_none(
    browser: Browser, site: Site, lab: Lab
) -> None:
    with begin() as session:
        policy.set_value(session, "timed_minutes", 10, by="staff:director", reason="护理规定")
        placed = order(session, lab, ("GLU@load+0", "GLU@load+60"))
        before, after = (each.accession for each in specimens.print_labels(session, placed.id, by="system"))
    page = signed_in(browser, site, "nurse", PHONE)
    page.goto("/staff/lis/specimens/bedside")
    page.wait_for_selector("[data-bedside-ready]")
    scan(page, "P0001")
    expect(page.locator("[data-person]")).to_contain_text("王小梅")
    scan(page, before)
    expect(page.locator("[data-outcome=good]")).to_contain_text(before)
    page.locator("[data-start=load] button").click()
    expect(page.locator(f"[data-specimen='{after}']")).to_contain_text("应采")
    page.locator("[data-bedside] [name=code]").focus()
    scan(page, after)
    expect(page.locator("[data-question=timed]")).to_contain_text("早")
    expect(page.locator("[data-reason]")).to_be_focused()
    scan(page, after)
    expect(page.locator("[data-question=timed]")).to_contain_text("早")
    assert state(after) == "printed", "a tube scanned into the reason's box is no reason"
    expect(page.locator("[data-reason]")).to_have_value("")
    scan(page, "患者呕吐，终止试验")
    expect(page.locator("[data-outcome=good]")).to_contain_text(after)
    assert too_wide(page) == []
    page.context.close()


def test_a_batch_and_a_rack_are_worked_through_at_a_desk_with_the_scanner_alone(
    browser: Browser, site: Site, lab: Lab
) -> None:
    tubes = [labelled(lab, ("ALT",)) for _ in range(2)]
    with begin() as session:
        for each in tubes:
            specimens.collect(session, each, by="staff:nurse")
        unit = storage.add_unit(session, code="FR", name="冰箱", kind="fridge", by="system")
        storage.add_rack(session, code="RK-1", name="架", unit_id=unit.id, rows=2, columns=2, by="system")
    page = signed_in(browser, site, "technician", DESK)
    page.goto("/staff/lis/transport")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(page.locator("[name=department]")).to_be_focused()
    page.keyboard.type("NK")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_url("**/staff/lis/transport/B*")
    number = page.url.rsplit("/", 1)[1]
    for each in tubes:
        scan(page, each)
        expect(page.locator(f"[data-tube='{each}']")).to_be_visible()
    page.locator("[name=courier]").fill("冯运送")
    page.keyboard.press("F9")
    expect(page.locator("[data-batch]")).to_have_attribute("data-state", "sent")
    page.goto("/staff")
    scan(page, number)
    page.wait_for_url(f"**/staff/lis/transport/{number}")
    scan(page, number)
    expect(page.locator("[data-outcome=good]")).to_contain_text("批次已到达")
    for each in tubes:
        scan(page, each)
        expect(page.locator(f"[data-tube='{each}'][data-state=received]")).to_be_visible()
    expect(page.locator("[data-batch]")).to_have_attribute("data-state", "closed")
    page.goto("/staff")
    scan(page, "RK-1")
    page.wait_for_url("**/staff/lis/storage/racks/RK-1")
    for each, place in zip(tubes, ("A1", "A2"), strict=True):
        scan(page, each)
        expect(page.locator(f"[data-place={place}] a")).to_be_visible()
    scan(page, tubes[0])
    page.goto("/staff")
    scan(page, tubes[1])
    page.wait_for_url(f"**/staff/lis/specimens/{tubes[1]}")
    expect(page.locator("[data-stored]")).to_contain_text("A2")
    page.context.close()
