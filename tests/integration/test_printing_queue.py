"""Jobs on their way to paper: over a socket to a printer, through absence, refusal, a lost answer, an amendment."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text, update

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.printing import following, printers, queue, sending
from cloud.lis.printing.model import JobState, Origin, PrintCopy, Printer, PrinterKind, PrintJob
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report
from cloud.lis.results.correction import released_results
from tests.support.bench import pathologist, set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phones import release_report
from tests.support.printers import an_agent_printer, an_ipp_printer, ipp_printer, nowhere
from tests.support.work import work

pytestmark = pytest.mark.req("LIS-7")


@pytest.fixture(scope="module")
def laboratory(database_server: DatabaseServer) -> Iterator[uuid.UUID]:
    """One laboratory for all tests here; gives the patient."""
    with (
        pytest.MonkeyPatch.context() as patch,
        database_server.clone(database_server.furnished) as url,
        cloud_on(url, patch),
    ):
        from cloud.app import load_slices

        load_slices()
        with begin() as session:
            patient = set_up(session).person_id
        yield patient


_codes = iter(range(1, 1000))


def code() -> str:
    return f"P{next(_codes)}"


def put(report_id: uuid.UUID, printer_id: uuid.UUID, reason: str = "", by: str = "staff:1") -> uuid.UUID:
    with begin() as session:
        return queue.put(session, report_id=report_id, printer_id=printer_id, by=by, reason=reason).id


def job(job_id: uuid.UUID) -> PrintJob:
    with begin() as session:
        return session.get_one(PrintJob, job_id)


def copies_of(report_id: uuid.UUID) -> list[tuple[int, int, str]]:
    with begin() as session:
        rows = session.scalars(
            select(PrintCopy).where(PrintCopy.report_id == report_id).order_by(PrintCopy.at, PrintCopy.number)
        )
        return [(each.report_version, each.number, each.reason) for each in rows]


def jobs_of(report_id: uuid.UUID) -> list[tuple[int, str, str]]:
    with begin() as session:
        rows = session.scalars(select(PrintJob).where(PrintJob.report_id == report_id).order_by(PrintJob.number))
        return [(each.report_version, str(each.state), each.trouble) for each in rows]


def amended(report_id: uuid.UUID, value: str = "7.1") -> None:
    with begin() as session:
        specimen_id = session.get_one(Report, report_id).specimen_id
        (result,) = released_results(session, specimen_id)
        amend(
            session,
            report_id,
            by=pathologist(),
            reason="稀释倍数录入错误",
            corrections=[Correction(result.test_id, value=value)],
        )


def recalled(report_id: uuid.UUID) -> None:
    with begin() as session:
        reports.recall(session, report_id, by=pathologist(), reason="标本贴错条码")


def now_again(printer_id: uuid.UUID) -> None:
    """The pause of the printer is over, and so are its jobs' leases."""
    with begin() as session:
        session.execute(update(Printer).where(Printer.id == printer_id).values(retry_at=None))
        session.execute(
            text(
                "UPDATE lab_print_job SET lease_until = now() - interval '1 s' WHERE printer_id = :id"
                " AND state = 'taken' AND device_job IS NULL"
            ),
            {"id": printer_id},
        )


def test_a_report_is_printed_once_acknowledged_by_the_device_and_its_copy_is_on_record(laboratory: uuid.UUID) -> None:
    report_id = release_report(laboratory, WBC="6.5")
    with ipp_printer(by_itself=False) as (device, address):
        printer_id = an_ipp_printer(address, code())
        job_id = put(report_id, printer_id)
        assert work("printing") != []
        assert job(job_id).state == JobState.TAKEN, "the device has it and has not printed it yet"
        assert copies_of(report_id) == []
        device.finish()
        assert sending.run(begin, printer_id).printed == 1
        assert job(job_id).state == JobState.PRINTED
        assert copies_of(report_id) == [(1, 1, "")]
        assert sending.run(begin, printer_id) == sending.Pass()
        (sheet,) = device.sheets
    with begin() as session:
        assert sheet.document == reports.pdf(session, report_id, 1)
        assert sheet.name == f"XL-{job(job_id).number}"
        assert sheet.attributes["sides"] == ["one-sided"]
        entry = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.action == "report.print", AuditEntry.aggregate_id == str(report_id))
            .order_by(AuditEntry.number.desc())
        ).first()
        assert entry is not None
        assert entry.after is not None
        assert entry.after["copy"] == 1


def test_a_printer_that_is_switched_off_keeps_its_jobs_in_order_and_prints_them_when_it_is_back(
    laboratory: uuid.UUID,
) -> None:
    address = nowhere()
    printer_id = an_ipp_printer(address, code())
    wanted = [put(release_report(laboratory, WBC=value), printer_id) for value in ("5.1", "5.2", "5.3")]
    assert sending.run(begin, printer_id) == sending.Pass()
    assert sending.run(begin, printer_id) == sending.Pass(), "one absence is one pause"
    with begin() as session:
        printer = printers.by_id(session, printer_id)
        assert (printer.failures, printers.away(printer)) == (1, True)
    assert [job(each).state for each in wanted] == [JobState.WAITING] * 3
    with ipp_printer(int(address.split(":")[2].split("/")[0])) as (device, _):
        now_again(printer_id)
        assert sending.run(begin, printer_id).sent == 3
        assert sending.run(begin, printer_id).printed == 3
        assert [each.name for each in device.sheets] == [f"XL-{job(each).number}" for each in wanted]
    with begin() as session:
        assert not printers.away(printers.by_id(session, printer_id))


def test_a_job_whose_answer_was_lost_is_looked_for_by_name_and_not_printed_a_second_time(
    laboratory: uuid.UUID,
) -> None:
    report_id = release_report(laboratory, WBC="6.5")
    with ipp_printer(hang_up_after_taking=1) as (device, address):
        printer_id = an_ipp_printer(address, code())
        job_id = put(report_id, printer_id)
        sending.run(begin, printer_id)
        assert job(job_id).state == JobState.TAKEN
        assert job(job_id).device_job is None, "nobody knows what came of it"
        now_again(printer_id)
        sending.run(begin, printer_id)
        sending.run(begin, printer_id)
        assert len(device.sheets) == 1
    assert job(job_id).state == JobState.PRINTED
    assert copies_of(report_id) == [(1, 1, "")]


def test_what_the_device_gives_up_fails_with_its_words_and_a_person_prints_it_again_once(laboratory: uuid.UUID) -> None:
    report_id = release_report(laboratory, WBC="6.5")
    with ipp_printer(by_itself=False) as (device, address):
        printer_id = an_ipp_printer(address, code())
        job_id = put(report_id, printer_id)
        sending.run(begin, printer_id)
        device.finish(8, "卡纸")
        assert sending.run(begin, printer_id).failed == 1
        assert (job(job_id).state, job(job_id).trouble) == (JobState.FAILED, "卡纸")
        with begin() as session:
            second = queue.again(session, job_id, by="staff:2").id
        with begin() as session, pytest.raises(Conflict, match=r"print\.replaced"):
            queue.again(session, job_id, by="staff:2")
        sending.run(begin, printer_id)
        device.finish()
        sending.run(begin, printer_id)
    assert job(second).state == JobState.PRINTED
    assert job(job_id).state == JobState.FAILED, "what happened stays"
    assert copies_of(report_id) == [(1, 1, "")]


def test_a_printer_without_paper_is_given_nothing_and_says_why(laboratory: uuid.UUID) -> None:
    with ipp_printer(out_of_paper=True) as (device, address):
        printer_id = an_ipp_printer(address, code())
        job_id = put(release_report(laboratory, WBC="6.5"), printer_id)
        sending.run(begin, printer_id)
        with begin() as session:
            assert printers.by_id(session, printer_id).trouble == "media-empty"
        assert job(job_id).state == JobState.WAITING
        device.out_of_paper = False
        sending.run(begin, printer_id)
        sending.run(begin, printer_id)
    assert job(job_id).state == JobState.PRINTED


def test_a_job_that_the_device_forgot_is_failed_for_a_person_to_decide_and_never_sent_by_itself(
    laboratory: uuid.UUID,
) -> None:
    with ipp_printer(by_itself=False) as (device, address):
        printer_id = an_ipp_printer(address, code())
        job_id = put(release_report(laboratory, WBC="6.5"), printer_id)
        sending.run(begin, printer_id)
        device.sheets.clear()
        sending.run(begin, printer_id)
        sending.run(begin, printer_id)
        assert device.sheets == []
    assert (job(job_id).state, job(job_id).trouble) == (JobState.FAILED, queue.FORGOTTEN)


def test_a_printer_that_takes_no_pdf_fails_the_job_with_the_devices_refusal(laboratory: uuid.UUID) -> None:
    with ipp_printer(takes_pdf=False) as (_, address):
        printer_id = an_ipp_printer(address, code())
        job_id = put(release_report(laboratory, WBC="6.5"), printer_id)
        sending.run(begin, printer_id)
    assert (job(job_id).state, job(job_id).trouble) == (JobState.FAILED, "0x040a")


def test_a_second_copy_asks_for_a_reason_and_bears_the_next_number(laboratory: uuid.UUID) -> None:
    report_id = release_report(laboratory, WBC="6.5")
    with ipp_printer() as (_, address):
        printer_id = an_ipp_printer(address, code())
        put(report_id, printer_id)
        with pytest.raises(Invalid, match=r"print\.reason"):
            put(report_id, printer_id)
        put(report_id, printer_id, "患者遗失")
        sending.run(begin, printer_id)
        sending.run(begin, printer_id)
    assert copies_of(report_id) == [(1, 1, ""), (1, 2, "患者遗失")]


def test_an_amended_version_cancels_what_waits_and_is_printed_where_the_old_one_was(laboratory: uuid.UUID) -> None:
    report_id = release_report(laboratory, WBC="6.5")
    with ipp_printer() as (device, address):
        printed_at, waits_at = an_ipp_printer(address, code()), an_ipp_printer(nowhere(), code())
        put(report_id, printed_at)
        sending.run(begin, printed_at)
        sending.run(begin, printed_at)
        put(report_id, waits_at, "送病区")
        amended(report_id)
        work("printing")
        assert jobs_of(report_id)[:2] == [(1, "printed", ""), (1, "cancelled", queue.SUPERSEDED)]
        assert sorted(each[:1] for each in jobs_of(report_id)[2:]) == [(2,), (2,)], "one for each printer"
        with begin() as session:
            assert following.released(session, report_id, 2) == [], "twice is the same as once"
        sending.run(begin, printed_at)
        sending.run(begin, printed_at)
        assert len(device.sheets) == 2
    assert copies_of(report_id) == [(1, 1, ""), (2, 1, "")]


def test_a_recalled_report_is_never_printed(laboratory: uuid.UUID) -> None:
    report_id = release_report(laboratory, WBC="6.5")
    printer_id = an_ipp_printer(nowhere(), code())
    job_id = put(report_id, printer_id)
    recalled(report_id)
    with begin() as session:
        assert queue.take(session, printers.by_id(session, printer_id)) is None, "before any reaction has run"
    assert (job(job_id).state, job(job_id).trouble) == (JobState.CANCELLED, queue.RECALLED)
    with pytest.raises(Conflict, match=r"report\.recalled"):
        put(report_id, printer_id, "补打")
    with begin() as session, pytest.raises(Conflict):
        queue.again(session, job_id, by="staff:1")
    assert copies_of(report_id) == []


def test_amending_against_taking_ends_in_one_consistent_outcome(laboratory: uuid.UUID) -> None:
    printer_id, _ = an_agent_printer(code())
    seen = set()
    with ThreadPoolExecutor(2) as pool:
        for value in ("5.1", "5.2", "5.3", "5.4"):
            report_id = release_report(laboratory, WBC=value)
            job_id = put(report_id, printer_id)
            line = threading.Barrier(2)

            def take(line: threading.Barrier = line) -> bytes:
                line.wait(20)
                with begin() as session:
                    taken = queue.take(session, printers.by_id(session, printer_id))
                    return b"" if taken is None else taken.document

            def change(line: threading.Barrier = line, report_id: uuid.UUID = report_id) -> None:
                line.wait(20)
                amended(report_id)

            out, done = pool.submit(take), pool.submit(change)
            document = out.result(60)
            done.result(60)
            if document:
                with begin() as session:
                    assert document == reports.pdf(session, report_id, 1)
                    queue.printed(session, job_id)
                assert copies_of(report_id) == [(1, 1, "")], "the old version's copy is known"
            else:
                assert (job(job_id).state, job(job_id).trouble) == (JobState.CANCELLED, queue.SUPERSEDED)
            work("printing")
            with begin() as session:
                after = queue.take(session, printers.by_id(session, printer_id))
                assert after is not None
                assert after.job.report_version == 2, "either way the new version follows"
                queue.printed(session, after.job.id)
            seen.add(bool(document))
    assert seen


def test_two_takers_at_one_moment_never_get_the_same_job(laboratory: uuid.UUID) -> None:
    printer_id, _ = an_agent_printer(code())
    for value in ("5.1", "5.2", "5.3"):
        put(release_report(laboratory, WBC=value), printer_id)

    def take_all() -> list[int]:
        found: list[int] = []
        while True:
            with begin() as session:
                taken = queue.take(session, printers.by_id(session, printer_id))
                if taken is None:
                    return found
                found.append(taken.job.number)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(take_all) for _ in range(2)]
        numbers = [each for one in both for each in one.result(60)]
    assert len(numbers) == len(set(numbers)) == 3


def test_an_agent_that_died_gets_its_job_again_and_after_five_times_a_person_is_asked(laboratory: uuid.UUID) -> None:
    printer_id, _ = an_agent_printer(code())
    job_id = put(release_report(laboratory, WBC="6.5"), printer_id)
    for attempt in range(1, 6):
        with begin() as session:
            taken = queue.take(session, printers.by_id(session, printer_id))
            assert taken is not None
            assert (taken.again, taken.job.attempts) == (attempt > 1, attempt)
        with begin() as session:
            assert queue.take(session, printers.by_id(session, printer_id)) is None, "its lease runs"
        now_again(printer_id)
    with begin() as session:
        assert queue.take(session, printers.by_id(session, printer_id)) is None
    assert (job(job_id).state, job(job_id).trouble) == (JobState.FAILED, queue.NOT_ACKNOWLEDGED)


def test_acknowledging_twice_makes_one_copy_and_what_is_done_cannot_be_undone(laboratory: uuid.UUID) -> None:
    printer_id, _ = an_agent_printer(code())
    report_id = release_report(laboratory, WBC="6.5")
    job_id = put(report_id, printer_id)
    with begin() as session, pytest.raises(Conflict):
        queue.printed(session, job_id)  # nobody took it
    with begin() as session:
        queue.take(session, printers.by_id(session, printer_id))
    for _ in range(2):
        with begin() as session:
            queue.printed(session, job_id)
    assert copies_of(report_id) == [(1, 1, "")]
    for act in (
        lambda session: queue.failed(session, job_id, "x"),
        lambda session: queue.cancel(session, job_id, by="staff:1"),
        lambda session: queue.again(session, job_id, by="staff:1"),
    ):
        with begin() as session, pytest.raises(Conflict):
            act(session)
    with begin() as session, pytest.raises(Exception, match="append-only"):
        session.execute(text("UPDATE lab_print_copy SET number = 9"))


def test_a_waiting_job_is_cancelled_or_sent_to_another_printer_and_one_on_its_way_is_not(laboratory: uuid.UUID) -> None:
    (first, _), (second, _) = an_agent_printer(code()), an_agent_printer(code())
    report_id = release_report(laboratory, WBC="6.5")
    job_id = put(report_id, first)
    with begin() as session, pytest.raises(Conflict, match=r"print\.waits"):
        queue.again(session, job_id, by="staff:1")
    with begin() as session:
        moved = queue.again(session, job_id, by="staff:1", printer_id=second).id
    assert (job(job_id).state, job(job_id).trouble) == (JobState.CANCELLED, queue.REDIRECTED)
    with begin() as session:
        assert queue.take(session, printers.by_id(session, second)) is not None
    with begin() as session, pytest.raises(Conflict, match=r"print\.taken"):
        queue.cancel(session, moved, by="staff:1")
    with begin() as session, pytest.raises(Conflict, match=r"print\.not_open"):
        queue.again(session, moved, by="staff:1", printer_id=first)
    other = put(release_report(laboratory, WBC="6.6"), first)
    with begin() as session:
        queue.cancel(session, other, by="staff:1")
    assert job(other).state == JobState.CANCELLED


def test_a_paused_printer_gets_nothing_until_a_person_lets_it_go_on(laboratory: uuid.UUID) -> None:
    printer_id, _ = an_agent_printer(code())
    put(release_report(laboratory, WBC="6.5"), printer_id)
    with begin() as session:
        printers.pause(session, printer_id, paused=True, by="staff:1")
    with begin() as session:
        assert queue.take(session, printers.by_id(session, printer_id)) is None
    with begin() as session, pytest.raises(Conflict):
        printers.pause(session, printer_id, paused=True, by="staff:1")
    with begin() as session:
        printers.pause(session, printer_id, paused=False, by="staff:1")
        assert queue.take(session, printers.by_id(session, printer_id)) is not None


def test_a_rule_prints_final_reports_of_its_department_by_itself_and_once(laboratory: uuid.UUID) -> None:
    printer_id = an_ipp_printer(nowhere(), code())
    with begin() as session:
        department = session.execute(text("SELECT id FROM department WHERE code = 'RESP'")).scalar_one()
        rule = following.add_rule(session, printer_id=printer_id, department_id=department, by="staff:3")
        with pytest.raises(Conflict):
            following.add_rule(session, printer_id=printer_id, department_id=department, by="staff:3")
        with pytest.raises(Invalid):
            following.add_rule(session, printer_id=printer_id, section="nowhere", by="staff:3")
        rule_id = rule.id
    report_id = release_report(laboratory, WBC="6.5")
    work("printing")
    assert jobs_of(report_id) == [(1, "waiting", "")]
    with begin() as session:
        assert following.released(session, report_id, 1) == []
        for mark in ("sensitive", "preliminary"):
            other = release_report(laboratory, WBC="6.6")
            change = {"sensitive": "sensitive = true", "preliminary": "state = 'preliminary'"}[mark]
            session.execute(text(f"UPDATE lab_report SET {change} WHERE id = :id"), {"id": other})
            assert following.released(session, other, 1) == [], f"the rule does not print what is {mark}"
    with begin() as session:
        following.end_rule(session, rule_id, by="staff:3")
    with begin() as session, pytest.raises(Conflict):
        following.end_rule(session, rule_id, by="staff:3")
    later = release_report(laboratory, WBC="6.7")
    work("printing")
    assert jobs_of(later) == []


def test_a_printer_is_told_apart_by_its_code_and_a_new_token_ends_the_old_one(laboratory: uuid.UUID) -> None:
    name = code()
    printer_id, token = an_agent_printer(name)
    with pytest.raises(Conflict, match=r"printer\.code_taken"):
        an_agent_printer(name)
    with begin() as session:
        found = printers.by_token(session, token)
        assert found is not None
        assert found.id == printer_id
        fresh = printers.issue_token(session, printer_id, by="staff:1")
    with begin() as session:
        assert printers.by_token(session, token) is None
        assert printers.by_token(session, "") is None
        printers.retire(session, printer_id, by="staff:1")
    with begin() as session:
        assert printers.by_token(session, fresh) is None
        with pytest.raises(Conflict):
            queue.put(session, report_id=release_report(laboratory, WBC="6.5"), printer_id=printer_id, by="staff:1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "病区"},
        {"name": " "},
        {"kind": "fax"},
        {"address": "http://host/"},
        {"department_id": uuid.uuid4()},
    ],
)
def test_a_printer_that_cannot_work_is_not_registered(laboratory: uuid.UUID, wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"code": code(), "name": "打印机", "kind": "report", "road": "ipp", "address": nowhere()}
    with begin() as session, pytest.raises(Invalid):
        printers.register(session, **{**good, **wrong}, by="staff:1")  # type: ignore[arg-type]


def test_a_kiosks_printer_takes_no_jobs_of_the_desk_and_what_nobody_took_in_time_is_cancelled(
    laboratory: uuid.UUID,
) -> None:
    from datetime import timedelta

    from cloud.kit import clock

    printer_id, _ = an_agent_printer(code(), PrinterKind.KIOSK)
    report_id = release_report(laboratory, WBC="6.5")
    with pytest.raises(Conflict, match=r"printer\.kiosk_only"):
        put(report_id, printer_id)
    with begin() as session:
        late = queue.put(
            session,
            report_id=report_id,
            printer_id=printer_id,
            by="kiosk:1",
            origin=Origin.KIOSK,
            expires_at=clock.now() - timedelta(seconds=1),
        ).id
    with begin() as session:
        assert queue.take(session, printers.by_id(session, printer_id)) is None
    assert (job(late).state, job(late).trouble) == (JobState.CANCELLED, queue.EXPIRED)
