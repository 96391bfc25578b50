"""The print room, the queue, printers and the agent's door over HTTP: who may, what is refused, what is on record."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pypdf import PdfReader
from sqlalchemy import select, text

from cloud.kit.db import begin
from cloud.lis.printing.agent import Agent, Journal, connect
from cloud.lis.printing.model import JobState, PrintCopy, PrintJob, PrintRule
from cloud.lis.reports import service as reports
from tests.support.bench import pathologist, set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phones import register, release_report
from tests.support.printers import an_agent_printer, an_ipp_printer, ipp_printer, nowhere
from tests.support.site import Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("LIS-7", "SEC-1")

PAGE = "/staff/lis/printing"


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


@pytest.fixture(scope="module")
def technician(site: Site) -> Visitor:
    return site.staff("technician")


@pytest.fixture(scope="module")
def director(site: Site) -> Visitor:
    return site.staff("director")


_numbers = iter(range(1, 1000))


def report(name: str = "王小梅", value: str = "6.5") -> uuid.UUID:
    return release_report(register(name, mrn=f"P{next(_numbers):05d}"), WBC=value)


def copies_of(report_id: uuid.UUID) -> list[PrintCopy]:
    with begin() as session:
        return list(session.scalars(select(PrintCopy).where(PrintCopy.report_id == report_id)))


def shown(page: str) -> set[str]:
    return set(re.findall(r'data-report="([^"]+)"', page))


def test_reports_are_found_by_what_is_not_printed_yet_and_printed_in_one_pdf(technician: Visitor) -> None:
    wanted = [report("陈一"), report("陈二")]
    page = technician.get(PAGE).text
    assert {str(each) for each in wanted} <= shown(page)
    answer = technician.post(f"{PAGE}/print", {"how": "pdf", "report": [str(each) for each in wanted]})
    assert answer.headers["content-type"] == "application/pdf"
    with begin() as session:
        pages = sum(len(PdfReader(io.BytesIO(reports.pdf(session, each))).pages) for each in wanted)
    assert len(PdfReader(io.BytesIO(answer.content)).pages) == pages
    assert [len(copies_of(each)) for each in wanted] == [1, 1]
    assert copies_of(wanted[0])[0].batch_id == copies_of(wanted[1])[0].batch_id
    after = technician.get(PAGE).text
    assert not {str(each) for each in wanted} & shown(after)
    assert {str(each) for each in wanted} <= shown(technician.get(PAGE, params={"show": "all"}).text)
    record = technician.get(f"{PAGE}/reports/{wanted[0]}").text
    assert 'data-copy="1-1"' in record
    assert "赵检验" in record


def test_where_one_of_the_chosen_was_printed_before_none_is_printed_until_there_is_a_reason(
    technician: Visitor,
) -> None:
    old, new = report(), report()
    technician.get(PAGE)
    technician.post(f"{PAGE}/print", {"how": "pdf", "report": [str(old)]})
    technician.get(PAGE)
    refused = technician.post(f"{PAGE}/print", {"how": "pdf", "report": [str(new), str(old)], "show": "all"})
    assert refused.status_code == 409
    assert 'data-problems="1"' in refused.text
    assert copies_of(new) == []
    done = technician.post(
        f"{PAGE}/print", {"how": "pdf", "report": [str(new), str(old)], "reason": "病历归档", "show": "all"}
    )
    assert done.headers["content-type"] == "application/pdf"
    assert sorted((each.number, each.reason) for each in copies_of(old)) == [(1, ""), (2, "病历归档")]


def test_a_recalled_report_is_neither_offered_nor_printed_and_its_old_copies_are_listed(technician: Visitor) -> None:
    report_id = report("孙某")
    technician.get(PAGE)
    technician.post(f"{PAGE}/print", {"how": "pdf", "report": [str(report_id)]})
    with begin() as session:
        reports.recall(session, report_id, by=pathologist(), reason="贴错条码")
    assert str(report_id) not in shown(technician.get(PAGE).text)
    stale = technician.get(PAGE, params={"show": "stale"}).text
    assert str(report_id) in shown(stale)
    assert f'value="{report_id}"' not in stale
    refused = technician.post(f"{PAGE}/print", {"how": "pdf", "report": [str(report_id)], "reason": "补打"})
    assert refused.status_code == 409
    assert len(copies_of(report_id)) == 1


def test_chosen_reports_go_to_a_printer_and_the_queue_shows_them(technician: Visitor) -> None:
    printer_id = an_ipp_printer(nowhere(), "Q1")
    report_id = report("周某")
    page = technician.get(PAGE, params={"q": "周某"}).text
    assert re.search(rf'value="{report_id}"[^>]* checked', page), "one that was scanned is chosen already"
    answer = technician.post(f"{PAGE}/print", {"how": "printer", "printer": "Q1", "report": [str(report_id)]})
    assert str(answer.url).split("?")[0].endswith("/queue")
    with begin() as session:
        job = session.scalars(select(PrintJob).where(PrintJob.report_id == report_id)).one()
        assert (job.printer_id, job.state) == (printer_id, JobState.WAITING)
    assert f'data-job="{job.number}"' in answer.text
    assert f'data-job="{job.number}"' not in technician.post(f"{PAGE}/queue/{job.id}/cancel").text
    assert f'data-job="{job.number}"' in technician.get(f"{PAGE}/queue", params={"show": "done"}).text


def test_nothing_chosen_too_many_or_an_unknown_printer_is_said(technician: Visitor) -> None:
    technician.get(PAGE)
    assert technician.post(f"{PAGE}/print", {"how": "pdf"}).status_code == 422
    many = [str(uuid.uuid4()) for _ in range(201)]
    assert technician.post(f"{PAGE}/print", {"how": "pdf", "report": many}).status_code == 422
    unknown: dict[str, object] = {"how": "printer", "printer": "NOWHERE", "report": [str(report())]}
    assert technician.post(f"{PAGE}/print", unknown).status_code == 404


def test_only_who_may_print_prints_and_only_who_may_configure_configures(site: Site, technician: Visitor) -> None:
    nurse = site.staff("nurse")
    assert nurse.get(PAGE).status_code == 403
    assert nurse.post(f"{PAGE}/print", {"how": "pdf", "report": [str(report())]}).status_code == 403
    assert technician.get(f"{PAGE}/setup").status_code == 403
    assert technician.post(f"{PAGE}/setup/printers", {"code": "X"}).status_code == 403
    assert site.staff("field_engineer").get(f"{PAGE}/setup").status_code == 200


def test_a_printer_and_a_rule_are_set_up_tested_and_retired(director: Visitor) -> None:
    with ipp_printer() as (_, address):
        director.get(f"{PAGE}/setup")
        made = director.post(
            f"{PAGE}/setup/printers",
            {"code": "S1", "name": "三楼", "kind": "report", "road": "ipp", "address": address, "two_sided": "true"},
        )
        assert made.status_code == 200
        assert 'data-test="good"' in director.post(f"{PAGE}/setup/printers/S1/test").text
    assert 'data-test="bad"' in director.post(f"{PAGE}/setup/printers/S1/test").text
    changed: dict[str, object] = {"name": "三楼护士站", "place": "住院楼", "address": "ipp://h/p", "department": "RESP"}
    director.post(f"{PAGE}/setup/printers/S1", changed)
    assert "三楼护士站" in director.get(f"{PAGE}/setup").text
    director.post(f"{PAGE}/setup/rules", {"printer": "S1", "department": "RESP", "section": "hematology"})
    assert director.post(f"{PAGE}/setup/printers/S1/retire").status_code == 409
    with begin() as session:
        rule = session.scalars(select(PrintRule)).one()
        assert rule.section == "hematology"
    director.get(f"{PAGE}/setup")
    director.post(f"{PAGE}/setup/rules/{rule.id}/end")
    assert director.post(f"{PAGE}/setup/printers/S1/retire").status_code == 200
    assert "三楼护士站" not in director.get(f"{PAGE}/setup").text


def test_an_agent_takes_prints_and_acknowledges_with_its_token_alone(site: Site, director: Visitor) -> None:
    _, token = an_agent_printer("G1")
    _, stranger = an_agent_printer("G2")
    report_id = report("吴某")
    director.get(PAGE)
    director.post(f"{PAGE}/print", {"how": "printer", "printer": "G1", "report": [str(report_id)]})
    http = site.visitor().http
    assert http.post("/api/print/v1/take").status_code == 401
    assert http.post("/api/print/v1/take", headers={"Authorization": "Bearer wrong"}).status_code == 401
    mine, theirs = ({"Authorization": f"Bearer {each}"} for each in (token, stranger))
    assert http.post("/api/print/v1/take", headers=theirs).status_code == 204
    taken = http.post("/api/print/v1/take", headers=mine)
    assert taken.status_code == 200
    assert taken.content.startswith(b"%PDF")
    assert taken.headers["x-print-attempt"] == "1"
    job = f"/api/print/v1/jobs/{taken.headers['x-print-job']}"
    assert http.post(f"{job}/printed", headers=theirs).status_code == 404
    assert http.post(f"{job}/failed", headers=theirs, json={"reason": "x"}).status_code == 404
    for _ in range(2):
        assert http.post(f"{job}/printed", headers=mine).status_code == 204
    assert len(copies_of(report_id)) == 1
    assert http.post(f"{job}/failed", headers=mine, json={"reason": "x"}).status_code == 409
    assert http.post("/api/print/v1/take", headers=mine, json={"trouble": "缺纸"}).status_code == 204
    assert "缺纸" in director.get(f"{PAGE}/queue").text
    director.get(f"{PAGE}/setup/printers/G2")
    page = director.post(f"{PAGE}/setup/printers/G2/token").text
    fresh = re.search(r"data-token>([^<]+)<", page)
    assert fresh is not None
    assert http.post("/api/print/v1/take", headers=theirs).status_code == 401
    assert http.post("/api/print/v1/take", headers={"Authorization": f"Bearer {fresh[1]}"}).status_code == 204


def test_a_failed_job_is_on_the_home_page_and_printed_again_elsewhere(site: Site, technician: Visitor) -> None:
    _, token = an_agent_printer("H1")
    an_agent_printer("H2")
    report_id = report("郑某")
    technician.get(PAGE)
    technician.post(f"{PAGE}/print", {"how": "printer", "printer": "H1", "report": [str(report_id)]})
    http, mine = site.visitor().http, {"Authorization": f"Bearer {token}"}
    taken = http.post("/api/print/v1/take", headers=mine)
    job = taken.headers["x-print-job"]
    http.post(f"/api/print/v1/jobs/{job}/failed", headers=mine, json={"reason": "硒鼓用尽"})
    assert "打印失败" in technician.get("/staff").text
    failed = technician.get(f"{PAGE}/queue", params={"show": "failed"}).text
    assert "硒鼓用尽" in failed
    technician.post(f"{PAGE}/queue/{job}/again", {"printer": "H2"})
    with begin() as session:
        again = session.scalars(select(PrintJob).where(PrintJob.replaces_id == uuid.UUID(job))).one()
        assert again.state == JobState.WAITING
    technician.get(f"{PAGE}/queue")
    assert technician.post(f"{PAGE}/printers/H2/pause", {"paused": "true"}).status_code == 200
    assert technician.post(f"{PAGE}/printers/H2/pause", {"paused": "true"}).status_code == 409
    assert technician.post(f"{PAGE}/printers/H2/pause", {"paused": "false"}).status_code == 200
    assert technician.post(f"{PAGE}/printers/H2/try").status_code == 409


Agents = Callable[[Site, str, str, Path], Agent]


@pytest.fixture
def agents() -> Iterator[Agents]:
    """Agents that do not rest and say nothing; their connections are closed in the end."""
    lines: list[httpx.Client] = []

    def made(site: Site, token: str, address: str, journal: Path) -> Agent:
        lines.append(connect(site.base_url, token))
        return Agent(lines[-1], address, Journal(journal), lambda line: None, lambda seconds: None)

    yield made
    for each in lines:
        each.close()


def queued(director: Visitor, printer: str) -> uuid.UUID:
    report_id = report()
    director.get(PAGE)
    director.post(f"{PAGE}/print", {"how": "printer", "printer": printer, "report": [str(report_id)]})
    return report_id


def test_the_print_agent_prints_what_waits_and_says_so(
    site: Site, director: Visitor, tmp_path: Path, agents: Agents
) -> None:
    _, token = an_agent_printer("L1")
    report_id = queued(director, "L1")
    with ipp_printer() as (device, address):
        mine = agents(site, token, address, tmp_path / "journal")
        assert mine.step()
        assert not mine.step()
        assert len(device.sheets) == len(copies_of(report_id)) == 1
        device.out_of_paper = True
        queued(director, "L1")
        assert not mine.step(), "nothing is taken that cannot be printed"
    assert "缺纸" in director.get(f"{PAGE}/queue").text


def test_an_agent_that_died_before_it_said_so_prints_nothing_twice(
    site: Site, director: Visitor, tmp_path: Path, agents: Agents
) -> None:
    _, token = an_agent_printer("L2")
    report_id = queued(director, "L2")
    with ipp_printer() as (device, address):
        first = agents(site, token, address, tmp_path / "journal")
        says = first._post

        def dies(act: str, **said: str) -> httpx.Response:
            if act.endswith("/printed"):
                raise httpx.ConnectError("the line is cut")
            return says(act, **said)

        first._post = dies  # type: ignore[method-assign]
        with pytest.raises(httpx.ConnectError):
            first.step()
        with begin() as session:
            session.execute(text("UPDATE lab_print_job SET lease_until = now() - interval '1 s' WHERE state = 'taken'"))
        assert copies_of(report_id) == []
        assert agents(site, token, address, tmp_path / "journal").step()
        assert len(device.sheets) == len(copies_of(report_id)) == 1


def test_what_the_wards_printer_refuses_fails_with_its_words(
    site: Site, director: Visitor, tmp_path: Path, agents: Agents
) -> None:
    _, token = an_agent_printer("L3")
    queued(director, "L3")
    with ipp_printer(takes_pdf=False) as (_, address):
        assert agents(site, token, address, tmp_path / "journal").step()
    assert "0x040a" in director.get(f"{PAGE}/queue", params={"show": "failed"}).text
