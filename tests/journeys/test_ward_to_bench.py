"""A tube's way to the bench by scanner and keyboard: the nurse draws it, the courier carries it, the reception takes
it in, misses one, rejects one and has it drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select

from cloud.kit.db import begin
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.hands import at_desk
from tests.support.lab import Lab, labelled, open_lab
from tests.support.screens import chromium
from tests.support.site import Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-2", "LIS-18")]
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def lab(database_server: DatabaseServer) -> Iterator[Lab]:
    with (
        pytest.MonkeyPatch.context() as patch,
        database_server.clone(database_server.furnished) as url,
        cloud_on(url, patch),
    ):
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


def state(accession: str) -> str:
    with begin() as session:
        return specimens.by_barcode(session, accession).state


def replacement(accession: str) -> str:
    """The tube that is to be drawn instead of a rejected one."""
    with begin() as session:
        rejected = specimens.by_barcode(session, accession)
        return session.scalars(select(Specimen.accession).where(Specimen.replaces_id == rejected.id)).one()


def test_a_tube_goes_from_the_bedside_to_the_bench_by_scanner(browser: Browser, site: Site, lab: Lab) -> None:
    tubes = [labelled(lab, (test,)) for test in ("ALT", "PT", "WBC")]
    with ExitStack() as desks:
        nurse = desks.enter_context(at_desk(browser, site, "nurse"))
        nurse.go("g", "B", to="**/bedside")
        nurse.page.wait_for_selector("[data-bedside-ready]")
        nurse.scan("P0002")
        nurse.sees("[data-person]", "李建国")
        nurse.scan(tubes[0])
        nurse.sees("[data-outcome=bad]", "这支试管不属于该患者")
        assert state(tubes[0]) == "printed"
        nurse.scan("P0001")
        nurse.sees("[data-person]", "王小梅")
        for tube in tubes:
            nurse.scan(tube)
            expect(nurse.page.locator(f"[data-drawn='{tube}']")).to_be_visible()

        nurse.go("g", "T", to="**/transport")
        nurse.press("d")
        nurse.choose("NK")
        nurse.press("Escape", "n")
        nurse.page.wait_for_url("**/transport/B*")
        batch = nurse.page.url.rsplit("/", 1)[1]
        for tube in tubes:
            nurse.scan(tube)
            expect(nurse.page.locator(f"[data-tube='{tube}']")).to_be_visible()
        nurse.tab_to("[name=courier]")
        nurse.write("冯运送")
        nurse.press("F9")
        expect(nurse.page.locator("[data-batch]")).to_have_attribute("data-state", "sent")

        courier = desks.enter_context(at_desk(browser, site, "courier"))
        courier.scan(batch)
        courier.page.wait_for_url(f"**/transport/{batch}")
        courier.sees("[data-batch]", "冯运送")
        expect(courier.page.locator("[data-tube]")).to_have_count(3)
        expect(courier.page.locator("main")).not_to_contain_text("王小梅")  # who carries need not know whose blood

        reception = desks.enter_context(at_desk(browser, site, "reception"))
        reception.scan(batch)
        reception.page.wait_for_url(f"**/transport/{batch}")
        reception.scan(batch)
        reception.sees("[data-outcome=good]", "批次已到达")
        for tube in tubes[:2]:
            reception.scan(tube)
            expect(reception.page.locator(f"[data-tube='{tube}'][data-state=received]")).to_be_visible()
        reception.go("g", "T", to="**/transport")
        reception.go("m", to="**/missing")
        reception.sees("main table", tubes[2])
        assert state(tubes[2]) == "in_transit"

        reception.scan(tubes[1])
        reception.page.wait_for_url(f"**/specimens/{tubes[1]}")
        reception.go("x", to="**")
        reception.choose("凝集")
        reception.tab_to("[data-step-form=reject] button")
        reception.press("Enter")
        reception.sees("[data-defect=rejected]", "凝集")
        again = replacement(tubes[1])
        assert state(tubes[1]) == "rejected"
        reception.tab_to("[name=whom]")
        reception.write("郑护士")
        reception.press("Enter")
        reception.sees("[data-defect=rejected]", "已通知 郑护士")

        nurse.go("g", "B", to="**/bedside")
        nurse.page.wait_for_selector("[data-bedside-ready]")
        nurse.scan("P0001")
        expect(nurse.page.locator(f"[data-specimen='{again}']")).to_be_visible()
        nurse.scan(again)
        expect(nurse.page.locator(f"[data-drawn='{again}']")).to_be_visible()

        reception.go("g", "s", to="**/scan")
        reception.scan(again)
        reception.sees("[data-outcome=good]", again)
        reception.scan(tubes[2])  # the missing one turned up
        reception.sees("[data-outcome=good]", tubes[2])
        reception.go("g", "T", to="**/transport")
        reception.go("m", to="**/missing")
        reception.sees(".empty-state-title", "没有缺失标本")
    assert (state(again), state(tubes[2])) == ("received", "received")
