"""Review and release in a real browser: by keyboard and scanner alone, with results arriving while one looks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from cloud.kit.db import begin
from cloud.lis.reports.model import Report
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from tests.support.bench import Bench, observed, set_up
from tests.support.screens import at_the_desk, too_wide
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.browser


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with at_the_desk(site.base_url, "reviewer") as page:
        yield page


def specimens(*wanted: dict[str, str]) -> list[Specimen]:
    """One specimen for each set of values, all measured."""
    with begin() as session:
        bench = set_up(session)
        made = []
        for values in wanted:
            specimen = bench.specimen(*values)
            ingest(session, bench.source(), [observed(specimen, code, value) for code, value in values.items()])
            made.append(specimen)
        return made


def scan(page: Page, code: str) -> None:
    """The scanner types like a fast keyboard and ends with Enter."""
    page.keyboard.type(code)
    page.keyboard.press("Enter")


def ready(page: Page) -> None:
    """The page after a form came back listens to keys once its first row is selected."""
    expect(page.locator("[data-row][aria-selected=true]")).to_have_count(1)


@pytest.mark.req("LIS-18", "LIS-5", "LIS-7")
def test_a_reviewer_reviews_and_releases_by_keyboard_and_scanner_alone(page: Page) -> None:
    first, second = specimens({"WBC": "6.2", "HGB": "130"}, {"WBC": "5.1"})
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/staff/lis/review")
    scan(page, first.accession)
    page.wait_for_url(f"**/staff/lis/review/{first.id}**")
    rows = page.locator("[data-row]")
    expect(rows.nth(0)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("j")
    expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    expect(rows.nth(0)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("r")
    expect(page.locator("[data-release]")).to_be_visible()
    ready(page)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/staff/lis/review/{second.id}**")
    expect(page.locator("[data-released]")).to_contain_text(first.accession)
    ready(page)
    scan(page, first.accession)
    page.wait_for_url(f"**/staff/lis/review/{first.id}**")
    expect(page.locator(".state-released")).to_have_count(2)
    with begin() as session:
        assert session.scalars(select(Report.specimen_id)).all() == [first.id]


@pytest.mark.req("LIS-11")
def test_a_critical_value_takes_a_second_key_before_it_is_released(page: Page, site: Site) -> None:
    [specimen] = specimens({"K": "6.9"})
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}")
    page.keyboard.press("r")
    expect(page.locator("[data-release]")).to_be_visible()
    ready(page)
    page.keyboard.press("R")
    expect(page.get_by_role("alert")).to_contain_text("危急值")
    ready(page)
    page.keyboard.press("c")
    expect(page.locator("[name=confirm_critical]")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.locator("[data-released]")).to_be_visible()
    with begin() as session:
        assert session.scalars(select(Report.contains_critical)).all() == [True]


def test_the_key_map_names_every_key_and_closes(page: Page, site: Site) -> None:
    [specimen] = specimens({"WBC": "6.2"})
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}")
    page.keyboard.press("?")
    keys = page.locator("dialog#keyboard-map")
    expect(keys).to_be_visible()
    for meaning in ("下一项", "要求复检", "录入或更正结果", "初审通过", "下一份标本"):
        expect(keys).to_contain_text(meaning)
    page.keyboard.press("Escape")
    expect(keys).not_to_be_visible()


@pytest.mark.req("LIS-3")
def test_a_value_is_typed_by_keyboard_and_the_reason_is_asked_for(page: Page, site: Site) -> None:
    [specimen] = specimens({"WBC": "6.2"})
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}")
    page.keyboard.press("e")
    dialog = page.locator("dialog[data-dialog=enter]")
    expect(dialog).to_be_visible()
    page.keyboard.type("6.8")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()  # the reason is still missing
    page.keyboard.press("Tab")
    page.keyboard.type("显微镜复核")
    page.keyboard.press("Enter")
    expect(page.locator("[data-value]")).to_have_text("6.8")


def test_a_rerun_is_asked_for_by_key_and_its_value_appears_by_itself(page: Page, site: Site) -> None:
    [specimen] = specimens({"WBC": "6.2"})
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}")
    page.keyboard.press("x")
    expect(page.locator("[data-row]")).to_contain_text("等待复检")
    with begin() as session:
        bench = Bench(session, specimen.person_id, {})
        ingest(session, bench.source(), [observed(specimen, "WBC", "6.3", observed_at="2026-11-23T10:00:00")])
    expect(page.locator("[data-value]")).to_have_text("6.3")
    expect(page.locator("[data-row]")).not_to_contain_text("等待复检")


def test_a_value_that_came_before_the_page_could_listen_appears_too(page: Page, site: Site) -> None:
    [specimen] = specimens({"WBC": "6.2"})
    held: list[Route] = []
    page.route("**/staff/live?**", lambda route: held.append(route))
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}")
    expect(page.locator("[data-value]")).to_have_text("6.2")
    with begin() as session:
        bench = Bench(session, specimen.person_id, {})
        ingest(session, bench.source(), [observed(specimen, "WBC", "6.4", observed_at="2026-11-23T10:00:00")])
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    expect(page.locator("[data-row]")).to_contain_text("6.4")


def test_new_specimens_join_the_queue_while_one_looks(page: Page, site: Site) -> None:
    [specimen] = specimens({"WBC": "6.2"})
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}")
    expect(page.locator("[data-specimen-row]")).to_have_count(1)
    with begin() as session:
        bench = Bench(session, specimen.person_id, {})
        other = bench.specimen("HGB")
        ingest(session, bench.source(), [observed(other, "HGB", "130")])
    expect(page.locator("[data-specimen-row]")).to_have_count(2)


@pytest.mark.req("UX-1")
def test_nothing_reaches_beyond_the_workstations_screen(page: Page, site: Site) -> None:
    [specimen] = specimens({"WBC": "12.2", "HGB": "60", "MCHC": "331", "PLT": "40"})
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}")
    assert too_wide(page) == []


@pytest.mark.req("UX-1")
@pytest.mark.parametrize("width", [1366, 1440])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_the_buttons_of_the_selected_row_cover_no_other_cell(page: Page, site: Site, language: str, width: int) -> None:
    [specimen] = specimens({"WBC": "6.2", "MCHC": "331", "K": "6.9"})
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{site.base_url}/staff/lis/review/{specimen.id}?lang={language}")
    page.keyboard.press("r")
    expect(page.locator("[data-release]")).to_be_visible()
    ready(page)
    row = page.locator("[data-row][aria-selected=true]")
    expect(row.locator(".row-acts .btn")).to_have_count(3)
    edges = row.evaluate(
        """row => {
            const boxes = [...row.querySelectorAll('.row-acts .btn')].map(each => each.getBoundingClientRect());
            const state = row.querySelector('.state').getBoundingClientRect();
            const frame = row.closest('.results-frame');
            return {
                first: Math.min(...boxes.map(each => each.left)), stateEnds: state.right,
                covered: boxes.some((each, at) => at && each.left < boxes[at - 1].right),
                scrolls: frame.scrollWidth - frame.clientWidth,
            };
        }"""
    )
    assert edges["first"] >= edges["stateEnds"], edges
    assert not edges["covered"]
    assert edges["scrolls"] <= 0, edges


@pytest.mark.req("UX-1")
def test_a_long_queue_and_its_buttons_stay_on_one_screen(page: Page, site: Site) -> None:
    made = specimens(*({"WBC": "6.2"} for _ in range(20)))
    page.goto(f"{site.base_url}/staff/lis/review/{made[0].id}")
    expect(page.locator("[data-specimen-row]")).to_have_count(20)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
