"""A working day by keyboard and scanner: the technician's strays, reruns and critical values, the ward's read-back, the
infection control officer's cases, the heads' rules and figures, the clerk's questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select, update

from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.lis.autoverify import starting
from cloud.lis.autoverify.model import RuleSetState, RuleSetVersion
from cloud.lis.critical.model import CriticalCase, CriticalState
from cloud.lis.infectious import load as infectious_list
from cloud.lis.infectious import opening
from cloud.lis.infectious.model import CaseState, InfectiousCase
from cloud.lis.reports import service as reports
from cloud.lis.reports.model import Report
from cloud.lis.results import review, sheets
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.lis.turnaround import times
from tests.support.bench import Bench, observed, pathologist, set_up, technician
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.hands import Hands, at_desk
from tests.support.screens import chromium, too_wide
from tests.support.site import Site, hire_cast, running_site
from tests.support.work import work

pytestmark = [pytest.mark.browser, pytest.mark.req("LIS-18")]
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def bench(database_server: DatabaseServer) -> Iterator[Bench]:
    """The laboratory of the whole module; its session is closed, acts take one of their own."""
    with (
        pytest.MonkeyPatch.context() as patch,
        database_server.clone(database_server.furnished) as url,
        cloud_on(url, patch),
    ):
        hire_cast()
        with begin() as session:
            made = set_up(session)
            infectious_list.load(session)
            starting.load(session)
        yield made


@pytest.fixture(scope="module")
def site(bench: Bench) -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def measured(bench: Bench, *runs: dict[str, str], told: str | None = None) -> Specimen:
    """A received specimen with its values, run after run; `told`: the barcode that the analyzer read instead."""
    with begin() as session:
        bench.session = session
        specimen = bench.specimen(*runs[0])
        for number, values in enumerate(runs):
            at = f"2026-11-23T{9 + number:02}:00:00"
            sent = [observed(told or specimen, code, value, observed_at=at) for code, value in values.items()]
            ingest(session, bench.source(), sent)
        return specimen


def released(bench: Bench, **values: str) -> Specimen:
    specimen = measured(bench, values)
    with begin() as session:
        review.mark_reviewed(session, specimen.id, by=technician(), version=sheets.version_of(session, specimen.id))
        report = reports.release(
            session,
            specimen.id,
            by=pathologist(),
            version=sheets.version_of(session, specimen.id),
            confirm_critical=True,
        )
        opening.screen(session, report.id)
        times.refresh(session, [specimen.id])
    return specimen


def chosen(specimen: Specimen, code: str) -> str | None:
    with begin() as session:
        return session.scalars(
            select(Result.value_text).where(
                Result.specimen_id == specimen.id, Result.channel_code == code, Result.chosen
            )
        ).one()


def answered(hands: Hands, reason: str) -> None:
    """The dialog that asks why."""
    expect(hands.page.locator("dialog[open]")).to_be_visible()
    hands.write(reason)
    hands.press("Enter")


def row_ready(hands: Hands) -> None:
    expect(hands.page.locator("[data-row][aria-selected=true]")).to_have_count(1)


@pytest.mark.req("LIS-4", "LIS-5", "LIS-11")
def test_the_bench_matches_a_stray_chooses_a_run_and_a_critical_value_reaches_the_ward(
    browser: Browser, site: Site, bench: Bench
) -> None:
    lost = measured(bench, {"HGB": "131"}, told="UNREAD7")
    twice = measured(bench, {"PLT": "88"}, {"PLT": "201"})
    critical = measured(bench, {"K": "6.9"})
    with at_desk(browser, site, "technician") as hands:
        hands.go("g", "u", to="**/unmatched")
        hands.sees("[data-group]", "UNREAD7")
        hands.press("m")
        expect(hands.page.locator("[name=barcode]").first).to_be_focused()
        hands.scan(lost.accession)  # its Enter leads on to what is still missing
        expect(hands.page.locator("[name=why]").first).to_be_focused()
        hands.write("架号与申请核对一致")
        hands.press("Enter")
        hands.sees("[role=status]", "已处理 1 项")
        assert chosen(lost, "HGB") == "131"

        hands.scan(twice.accession)
        hands.page.wait_for_url(f"**/specimens/{twice.accession}")
        hands.go("v", to=f"**/review/{twice.id}**")
        row_ready(hands)
        before = chosen(twice, "PLT")
        hands.press("o")
        answered(hands, "首次有血小板聚集")
        row_ready(hands)
        assert {before, chosen(twice, "PLT")} == {"88", "201"}
        hands.press("r")
        row_ready(hands)

        hands.scan(critical.accession)
        hands.page.wait_for_url(f"**/review/{critical.id}**")
        row_ready(hands)
        hands.press("r")
        expect(hands.page.locator("[data-row] .state-reviewed")).to_have_count(1)

        with at_desk(browser, site, "reviewer") as head:
            head.scan(critical.accession)
            head.page.wait_for_url(f"**/specimens/{critical.accession}")
            head.go("v", to=f"**/review/{critical.id}**")
            row_ready(head)
            head.press("c")
            expect(head.page.locator("[name=confirm_critical]")).to_be_checked()
            head.press("Enter")
            expect(head.page.locator("[data-released]")).to_contain_text(critical.accession)

        hands.go("g", "v", to="**/critical")
        hands.press("1")
        hands.write("前台")
        hands.tab_to("select[name=outcome]")
        hands.choose("未接通")
        hands.tab_to("[data-case] button")
        hands.press("Enter")
        hands.sees("[data-case]", "前台")

        with at_desk(browser, site, "nurse") as ward:
            ward.go("g", "W", to="**/ward/critical")
            ward.press("1")
            ward.write("9.6")
            ward.press("Enter")
            ward.sees("[role=alert]")
            ward.press("1")
            ward.write("6.9")
            ward.press("Enter")
            ward.sees("[data-ward-closed]", "王小明")
            ward.tab_to("[name=doctor]")
            ward.write("李医生")
            ward.press("Tab")
            ward.write("停补钾，复查")
            ward.press("Enter")
            ward.sees("[data-ward-closed]", "停补钾")

        hands.go("g", "v", to="**/critical")
        hands.sees("[data-closed]", "停补钾")
    with begin() as session:
        case = session.scalars(select(CriticalCase).where(CriticalCase.specimen_id == critical.id)).one()
        assert case.state == CriticalState.READ_BACK


@pytest.mark.slow
@pytest.mark.req("LIS-12")
def test_the_infection_control_officer_tells_reports_and_sees_what_was_missed(
    browser: Browser, site: Site, bench: Bench
) -> None:
    released(bench, TPAB="阳性")
    released(bench, HBSAG="阳性")
    with begin() as session:
        first, second = session.scalars(select(InfectiousCase).order_by(InfectiousCase.number)).all()
        late = clock.now() - timedelta(hours=30)
        session.execute(
            update(InfectiousCase)
            .where(InfectiousCase.id == second.id)
            .values(found_at=late, last_at=late, due_at=late + timedelta(hours=24))
        )
    with at_desk(browser, site, "infection_control") as officer:
        officer.go("g", "I", to="**/infectious")
        officer.tab_to(f"[data-case='{first.number}'] a")
        officer.press("Enter")
        officer.page.wait_for_url(f"**/infectious/{first.number}")
        officer.press("t", "Enter")
        officer.sees(".case-head", "已告知")
        officer.press("k")
        officer.write("2026-0417")
        for name, text in (
            ("phone", "13800000000"), ("residence", "本县区"), ("address", "测试路 1 号"),
            ("occupation", "工人"), ("certainty", "确诊病例"),
        ):  # fmt: skip
            officer.tab_to(f".card-form [name={name}]")
            if officer.page.locator("select:focus").count():
                officer.choose(text)
            else:
                officer.write(text)
        officer.tab_to(".card-form [name=onset_date]")
        officer.page.fill(".card-form [name=onset_date]", "2026-11-20")  # how a date is typed is the browser's language
        officer.tab_to(".card-form button")
        officer.press("Enter")
        officer.sees(".report-card", "2026-0417")
        officer.go("g", "I", to="**/infectious")
        officer.go("2", to="**/check")
        officer.sees("main table", str(second.number))
        assert too_wide(officer.page) == []
    with begin() as session:
        assert session.get_one(InfectiousCase, first.id).state == CaseState.REPORTED


@pytest.mark.slow
@pytest.mark.req("LIS-6")
def test_a_rule_is_changed_by_one_approved_by_another_goes_live_and_is_stopped(
    browser: Browser, site: Site, bench: Bench
) -> None:
    released(bench, WBC="6.3")
    with at_desk(browser, site, "reviewer") as author, at_desk(browser, site, "director") as head:
        author.go("g", "f", to="**/autoverify")
        author.tab_to("[data-set] a:has-text('血液')")
        author.press("Enter")
        author.page.wait_for_url("**/sets/*")
        address = author.page.url
        author.sees("main", "在结果旁试算，不影响结果")
        author.tab_to("[data-rule=r1] a")
        author.press("Enter")
        author.page.wait_for_url("**/rule?rule=r1")
        author.tab_to("[name=source]")
        author.press("End")
        author.write("，本室 2026-11 核对")
        author.press("Control+Enter")
        author.page.wait_for_url(address + "*")
        author.sees("[data-rule=r1]", "本室 2026-11 核对")
        author.press("t")
        author.tab_to("form[action$=backtest] button")
        author.press("Enter")
        author.page.wait_for_load_state()
        assert "autoverify.backtest" in work("autoverify")

        head.page.goto(address)
        head.tab_to("form[action$=approve] [name=reason]")
        head.write("验证合格")
        head.press("Enter")
        head.sees(".auto-road .is-now", "上线")
        author.go("b", to="**/autoverify")
        author.sees(".auto-state", "自动审核运行中")

        head.go("b", to="**/autoverify")
        head.press("s")
        head.tab_to(".auto-stop [name=reason]")
        head.write("试剂换批，先停")
        head.press("Enter")
        head.sees(".is-stopped", "试剂换批")
        head.tab_to(".auto-resume [name=reason]")
        head.write("新批号比对合格")
        head.press("Enter")
        head.sees(".auto-state", "自动审核运行中")
    with begin() as session:
        states = session.scalars(select(RuleSetVersion.state)).all()
    assert list(states).count(RuleSetState.APPROVED) == 1


@pytest.mark.slow
@pytest.mark.req("LIS-5", "LIS-7")
def test_the_reviewer_sees_the_course_and_releases_a_batch_by_keyboard(
    browser: Browser, site: Site, bench: Bench
) -> None:
    for number in range(3):
        released(bench, GLU=f"5.{number}")
    held = measured(bench, {"GLU": "5.4"})
    batch = [measured(bench, {"ALT": f"2{number}"}) for number in range(3)]
    with at_desk(browser, site, "reviewer") as hands:
        hands.scan(held.accession)
        hands.page.wait_for_url(f"**/specimens/{held.accession}")
        hands.go("v", to=f"**/review/{held.id}**")
        row_ready(hands)
        expect(hands.page.locator("[data-detail-of=GLU] svg")).to_be_visible()
        expect(hands.page.locator("[data-detail-of=GLU] tbody tr")).to_have_count(3)
        hands.go("g", "r", to="**/review")
        hands.go("F1", to="**stage=review*")
        hands.go("a", to="**/batch**")
        hands.press("r")
        expect(hands.page.locator("[data-batch-done]")).to_be_visible()
        hands.go("q", to="**/review?**")
        hands.go("F2", to="**stage=release*")
        hands.go("A", to="**/batch**")
        hands.press("R")
        expect(hands.page.locator("[data-batch-done]")).to_be_visible()
    with begin() as session:
        out = set(session.scalars(select(Report.specimen_id)))
    assert {each.id for each in batch} <= out


@pytest.mark.slow
@pytest.mark.req("LIS-8", "LIS-13")
def test_the_clerk_asks_and_exports_and_the_director_reads_the_figures(
    browser: Browser, site: Site, bench: Bench
) -> None:
    specimen = released(bench, CREA="71")
    with at_desk(browser, site, "clerk") as clerk:
        clerk.go("g", "Q", to="**/query")
        clerk.write("wxm")
        clerk.press("Enter")
        clerk.page.wait_for_url("**patient=wxm**")
        clerk.sees("#answer", specimen.accession)
        clerk.page.keyboard.press("Escape")
        with clerk.page.expect_download() as loaded:
            clerk.press("c")
        assert specimen.accession in loaded.value.path().read_text(encoding="utf-8-sig")
        clerk.tab_to("#answer tbody a[href*=cumulative]")
        clerk.press("Enter")
        clerk.page.wait_for_url("**/cumulative/**")
        clerk.sees("table.cumulative", "71")
    with begin() as session:
        assert session.scalars(select(AuditEntry.action).where(AuditEntry.action.like("%export%"))).all()
    with at_desk(browser, site, "director") as director:
        director.go("g", "t", to="**/turnaround")
        director.go("2", to="**/statistics")
        director.sees(".figure-row", "P90")
        director.go("g", "v", to="**/critical")
        director.go("e", to="**/critical/statistics")
        director.sees(".figure-row", "危急值通报率")
        director.go("g", "N", to="**/quality")
        director.sees("main table", "标本类型错误率")
        assert too_wide(director.page) == []
