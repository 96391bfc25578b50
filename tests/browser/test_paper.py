"""The print room by keyboard alone; a patient at the self-service machine with nothing but a slip and a finger."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from cloud.kit.db import begin
from cloud.lis.kiosk import machines
from cloud.lis.printing import printers, queue, sending
from cloud.lis.printing.model import PrintCopy, PrinterKind
from tests.support.bench import set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phones import register, release_report
from tests.support.printers import an_agent_printer, an_ipp_printer, ipp_printer
from tests.support.screens import at_the_desk, chromium, too_wide
from tests.support.site import Site, hire_cast, running_site

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-7", "LIS-18")]

PAGE = "/staff/lis/printing"
UPRIGHT = {"width": 1080, "height": 1920}


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[Site]:
    with (
        pytest.MonkeyPatch.context() as patch,
        database_server.clone(database_server.furnished) as url,
        cloud_on(url, patch),
        running_site() as made,
    ):
        with begin() as session:
            set_up(session)
        hire_cast()
        yield made


def copies_of(*report_ids: uuid.UUID) -> list[int]:
    with begin() as session:
        rows = select(PrintCopy.number).where(PrintCopy.report_id.in_(report_ids)).order_by(PrintCopy.number)
        return list(session.scalars(rows))


def scan(page: Page, code: str) -> None:
    """As a scanner types: fast, with an Enter at the end."""
    page.keyboard.type(code, delay=1)
    page.keyboard.press("Enter")


def test_the_print_room_prints_a_wards_reports_by_keyboard_and_sees_them_come_out(site: Site) -> None:
    wanted = [release_report(register(name, mrn=f"R{name}"), WBC="6.5") for name in ("陈一", "陈二", "陈三")]
    with ipp_printer() as (_, address):
        printer_id = an_ipp_printer(address, "ROOM")
        with at_the_desk(site.base_url, "technician") as page:
            page.keyboard.press("g")
            page.keyboard.press("Shift+P")
            page.wait_for_url(f"**{PAGE}")
            expect(page.locator("tr[data-report]")).to_have_count(3)
            expect(page.locator("html[data-ready]")).to_be_attached()
            page.keyboard.press("a")
            expect(page.locator("[data-chosen]")).to_have_text("3")
            page.keyboard.press("x")
            expect(page.locator("[data-chosen]")).to_have_text("2")
            page.keyboard.press("p")
            page.wait_for_url(f"**{PAGE}/queue**")
            expect(page.locator("tr[data-job]")).to_have_count(2)
            assert too_wide(page) == []
            sending.run(begin, printer_id)
            sending.run(begin, printer_id)
            expect(page.locator("tr[data-job]")).to_have_count(0)
            assert copies_of(*wanted) == [1, 1]
            page.keyboard.press("z")
            expect(page.locator("tr[data-state=printed]")).to_have_count(2)
            page.keyboard.press("1")
            page.wait_for_url(f"**{PAGE}")
            expect(page.locator("tr[data-report]")).to_have_count(1)
            assert too_wide(page) == []


def test_a_patient_scans_the_slip_takes_the_report_and_leaves_nothing_on_the_screen(site: Site) -> None:
    person = register("欧阳慧敏", mrn="KSK1", phone="13800001234")
    report_id = release_report(person, WBC="6.5")
    printer_id, _ = an_agent_printer("HALL", PrinterKind.KIOSK)
    with begin() as session:
        printers.seen(session, printer_id)
        kiosk = machines.register(
            session, code="K1", name="门诊大厅", place="一楼", printer="HALL", days=30, idle_s=15, by="staff:1"
        )
        code = machines.enrolment(session, kiosk.id, by="staff:1")
    with chromium() as browser:
        page = browser.new_page(viewport=UPRIGHT, base_url=site.base_url, locale="zh-CN")  # type: ignore[arg-type]
        page.clock.install()
        page.goto("/kiosk")
        page.keyboard.type(code)
        page.keyboard.press("Enter")
        expect(page.locator("html[data-ready]")).to_be_attached()
        expect(page.locator("[data-scanner]")).to_be_attached()
        assert too_wide(page) == []
        scan(page, "KSK1")
        page.wait_for_url("**/kiosk/visits/**")
        expect(page.locator("[data-offer=ready]")).to_have_count(1)
        expect(page.locator("body")).not_to_contain_text("慧敏")
        assert too_wide(page) == []
        page.locator("[data-print]").click()
        expect(page.locator("[data-offer=printing]")).to_have_count(1)
        with begin() as session:
            taken = queue.take(session, printers.by_id(session, printer_id))
            assert taken is not None
        with begin() as session:
            queue.printed(session, taken.job.id)
        page.clock.run_for(2500)
        expect(page.locator("[data-offer=printed]")).to_have_count(1)
        assert copies_of(report_id) == [1]
        shown = page.url
        page.clock.run_for(16_000)
        page.wait_for_url("**/kiosk")
        expect(page.locator("[data-offer]")).to_have_count(0)
        page.goto(shown)
        expect(page.locator("[data-offer]")).to_have_count(0)
        page.get_by_text("没有带卡").click()
        for digit in "123":
            page.locator(f"[data-digit='{digit}']").click()
        page.locator("[data-erase]").click()
        expect(page.locator("[data-keypad-shown]")).to_have_value("12")
        page.get_by_role("button", name="确定").click()
        page.wait_for_url("**/kiosk?said=unknown")
        expect(page.locator("[data-said]")).to_be_visible()
