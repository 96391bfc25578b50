"""The self-service machine: what a scan shows, what it holds back, each version once, nothing left on the screen."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.kiosk import machines, offering, visits
from cloud.lis.kiosk.model import How, Kiosk, KioskVisit
from cloud.lis.kiosk.offering import State
from cloud.lis.orders.model import Order
from cloud.lis.printing import printers, queue
from cloud.lis.printing.model import PrintCopy, PrinterKind, PrintJob
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report
from cloud.lis.results.correction import released_results
from cloud.lis.specimens.model import Specimen
from cloud.web.rate import RateLimit
from tests.support.bench import Bench, pathologist, set_up
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phones import register, release_report
from tests.support.printers import an_agent_printer
from tests.support.site import Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("LIS-7", "REP-1")

_codes = iter(range(1, 1000))


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


@pytest.fixture
def kiosk(site: Site) -> Kiosk:
    """A machine whose printer is there."""
    number = next(_codes)
    printer_id, _ = an_agent_printer(f"KP{number}", PrinterKind.KIOSK)
    with begin() as session:
        printers.seen(session, printer_id)
        return machines.register(
            session,
            code=f"K{number}",
            name="门诊大厅 1 号机",
            place="一楼",
            printer=f"KP{number}",
            days=30,
            idle_s=40,
            by="staff:1",
        )


@pytest.fixture
def screen(site: Site, kiosk: Kiosk) -> Visitor:
    """The machine's browser, let in."""
    with begin() as session:
        code = machines.enrolment(session, kiosk.id, by="staff:1")
        session.execute(text("DELETE FROM rate_limit"))
    visitor = site.visitor()
    visitor.get("/kiosk")
    assert "data-scanner" in visitor.post("/kiosk/enrol", {"code": f" {code[:4]}-{code[4:].lower()} "}).text
    return visitor


def patient(
    name: str = "王小梅", phone: str | None = "13800001234", number: str | None = None
) -> tuple[uuid.UUID, str]:
    mrn = f"M{next(_codes):06d}"
    return register(name, mrn=mrn, phone=phone, number=number), mrn


def look(kiosk: Kiosk, code: str, *, typed: bool = False) -> KioskVisit | None:
    with begin() as session:
        return visits.look(session, kiosk, code, typed=typed)


def states(kiosk: Kiosk, code: str) -> list[str]:
    visit = look(kiosk, code)
    assert visit is not None
    with begin() as session:
        return [str(each.state) for each in offering.offers(session, kiosk, visit)]


def printed(kiosk: Kiosk) -> list[uuid.UUID]:
    """The machine's printer prints all that waits there; the reports that came out."""
    out: list[uuid.UUID] = []
    while True:
        with begin() as session:
            taken = queue.take(session, printers.by_id(session, kiosk.printer_id))
        if taken is None:
            return out
        with begin() as session:
            out.append(queue.printed(session, taken.job.id).report_id)


def print_all(kiosk: Kiosk, code: str) -> int:
    visit = look(kiosk, code)
    assert visit is not None
    with begin() as session:
        return offering.print_ready(session, kiosk, visit)


def offered(page: str) -> list[str]:
    return re.findall(r'data-offer="([a-z_]+)"', page)


def test_a_patient_scans_the_card_prints_once_and_another_copy_is_had_at_the_window(
    kiosk: Kiosk, screen: Visitor
) -> None:
    person_id, mrn = patient("欧阳慧敏")
    report_id = release_report(person_id, WBC="6.5")
    page = screen.post("/kiosk/scan", {"code": f"C{mrn}"})
    assert "欧*" in page.text
    assert "欧阳慧敏" not in page.text, "no whole name on a screen in a hall"
    assert "6.5" not in page.text, "values stand on paper alone"
    assert offered(page.text) == [State.READY]
    visit = str(page.url).rsplit("/", 1)[1]
    assert 'data-printing="1"' in screen.post(f"/kiosk/visits/{visit}/print").text
    assert 'data-printing="1"' in screen.post(f"/kiosk/visits/{visit}/print").text, "pressed twice is printed once"
    assert printed(kiosk) == [report_id]
    assert offered(screen.get(f"/kiosk/visits/{visit}").text) == [State.PRINTED]
    again = screen.post("/kiosk/scan", {"code": f"C{mrn}"})
    assert offered(again.text) == [State.PRINTED]
    assert "补打请到窗口" in again.text
    screen.post(f"/kiosk/visits/{str(again.url).rsplit('/', 1)[1]}/print")
    assert printed(kiosk) == []
    with begin() as session:
        (copy,) = session.scalars(select(PrintCopy).where(PrintCopy.report_id == report_id))
        assert copy.by == f"kiosk:{kiosk.id}"


def test_a_tube_shows_its_order_a_voucher_its_visit_and_a_card_the_person(kiosk: Kiosk) -> None:
    person_id, mrn = patient(number="999101199005010022")
    first, second = release_report(person_id, WBC="5.1"), release_report(person_id, WBC="5.2")
    with begin() as session:
        report = session.get_one(Report, first)
        session.execute(update(Order).where(Order.id == report.order_id).values(visit_number=f"V{mrn}"))
        barcode = session.get_one(Specimen, session.get_one(Report, second).specimen_id).barcode
    for code, how, number in (
        (barcode, How.SPECIMEN, 1),
        (f"V{mrn}", How.VISIT, 1),
        (f"C{mrn}", How.CARD, 2),
        (mrn, How.CARD, 2),
        ("999101199005010022", How.ID_NUMBER, 2),
    ):
        visit = look(kiosk, code)
        assert visit is not None, code
        assert visit.how == how
        with begin() as session:
            assert len(offering.offers(session, kiosk, visit)) == number, code


def test_what_the_doctor_sees_first_is_held_back_without_its_name(kiosk: Kiosk, screen: Visitor) -> None:
    person_id, mrn = patient()
    critical, sensitive = release_report(person_id, K="7.2"), release_report(person_id, WBC="6.6")
    with begin() as session:
        session.execute(update(Report).where(Report.id == sensitive).values(sensitive=True))
        titles = {reports.released(session, each).content.title for each in (critical, sensitive)}
    page = screen.post("/kiosk/scan", {"code": mrn})
    assert offered(page.text) == [State.HELD, State.HELD]
    assert not [title for title in titles if title and title in page.text]
    screen.post(f"/kiosk/visits/{str(page.url).rsplit('/', 1)[1]}/print")
    assert printed(kiosk) == []
    with begin() as session:
        reports.set_limits(session, critical_after_minutes=45, by="staff:9", reason="制度")
    assert "后可以打印" in screen.post("/kiosk/scan", {"code": mrn}).text, "it says until when"
    with begin() as session:
        reports.disclose(session, sensitive, by=pathologist(), note="已告知")
    assert sorted(states(kiosk, mrn)) == [State.HELD, State.READY]
    assert print_all(kiosk, mrn) == 1
    assert printed(kiosk) == [sensitive]


def test_what_is_being_measured_partly_done_or_recalled_is_told_and_not_printed(kiosk: Kiosk) -> None:
    person_id, mrn = patient()
    recalled, partly = release_report(person_id, WBC="5.1"), release_report(person_id, WBC="5.2")
    with begin() as session:
        Bench(session, person_id, {}).specimen("WBC")
        reports.recall(session, recalled, by=pathologist(), reason="贴错")
        session.execute(update(Report).where(Report.id == partly).values(state="preliminary"))
    assert sorted(states(kiosk, mrn)) == [State.IN_WORK, State.PARTLY, State.WITHDRAWN]
    assert print_all(kiosk, mrn) == 0


def test_an_amended_version_is_printed_once_more_and_the_old_one_never_comes_out(kiosk: Kiosk) -> None:
    person_id, mrn = patient()
    report_id = release_report(person_id, WBC="5.1")
    assert print_all(kiosk, mrn) == 1
    with begin() as session:
        (result,) = released_results(session, session.get_one(Report, report_id).specimen_id)
        change = Correction(result.test_id, value="7.1")
        amend(session, report_id, by=pathologist(), reason="复核", corrections=[change])
    assert printed(kiosk) == [], "what waited was the old version"
    assert states(kiosk, mrn) == [State.READY]
    assert print_all(kiosk, mrn) == 1
    assert printed(kiosk) == [report_id]
    with begin() as session:
        (copy,) = session.scalars(select(PrintCopy).where(PrintCopy.report_id == report_id))
        assert copy.report_version == 2


def test_a_sheet_that_did_not_come_out_in_time_is_not_printed_for_the_next_patient(kiosk: Kiosk) -> None:
    person_id, mrn = patient()
    release_report(person_id, WBC="5.1")
    assert print_all(kiosk, mrn) == 1
    with begin() as session:
        session.execute(update(PrintJob).values(expires_at=clock.now() - timedelta(seconds=1)))
        assert queue.expire(session) >= 1
    assert printed(kiosk) == []
    assert states(kiosk, mrn) == [State.READY], "the patient may scan again"


def test_a_typed_number_shows_nothing_before_the_telephones_last_digits(kiosk: Kiosk, screen: Visitor) -> None:
    person_id, mrn = patient()
    release_report(person_id, WBC="5.1")
    page = screen.post("/kiosk/scan", {"code": mrn, "typed": "true"})
    assert offered(page.text) == []
    address = f"/kiosk/visits/{str(page.url).rsplit('/', 1)[1]}"
    screen.post(f"{address}/print")
    assert printed(kiosk) == []
    assert screen.post(f"{address}/confirm", {"digits": "0000"}).status_code == 422
    assert offered(screen.post(f"{address}/confirm", {"digits": "1234"}).text) == [State.READY]
    other = str(screen.post("/kiosk/scan", {"code": mrn, "typed": "true"}).url).rsplit("/", 1)[1]
    for _ in range(3):
        ended = screen.post(f"/kiosk/visits/{other}/confirm", {"digits": "9999"})
    assert "data-said" in ended.text
    assert "data-said" in screen.post(f"/kiosk/visits/{other}/confirm", {"digits": "1234"}).text, "too late"


def test_without_a_telephone_on_file_a_typed_number_leads_to_the_window(kiosk: Kiosk) -> None:
    _, mrn = patient(phone=None)
    visit = look(kiosk, mrn, typed=True)
    assert visit is not None
    with begin() as session, pytest.raises(Conflict):
        visits.confirm(session, kiosk, visits.open_visit(session, kiosk, visit.id), "1234")


def test_nothing_of_a_patient_stays_on_the_screen(kiosk: Kiosk, screen: Visitor) -> None:
    person_id, mrn = patient("陈一")
    release_report(person_id, WBC="5.1")
    page = screen.post("/kiosk/scan", {"code": mrn})
    assert page.headers["cache-control"] == "no-store"
    assert re.search(r'http-equiv="refresh" content="\d+;url=/kiosk"', page.text), "also without scripts"
    assert "data-scanner" not in page.text
    address = page.url.path
    screen.get("/kiosk")
    assert "data-said" in screen.get(address).text, "going back shows nothing"
    again = screen.post("/kiosk/scan", {"code": mrn}).url.path
    with begin() as session:
        session.execute(update(KioskVisit).values(expires_at=clock.now() - timedelta(seconds=1)))
    assert "data-said" in screen.get(again).text
    assert "data-said" in screen.post(f"{again}/print").text


def test_a_visit_belongs_to_its_own_machine(site: Site, kiosk: Kiosk, screen: Visitor) -> None:
    person_id, mrn = patient()
    release_report(person_id, WBC="5.1")
    address = screen.post("/kiosk/scan", {"code": mrn}).url.path
    stranger = site.visitor()
    assert offered(stranger.get(address).text) == []
    number = next(_codes)
    an_agent_printer(f"KP{number}", PrinterKind.KIOSK)
    with begin() as session:
        other = machines.register(
            session, code=f"K{number}", name="2 号机", place="", printer=f"KP{number}", days=30, idle_s=40, by="staff:1"
        )
        code = machines.enrolment(session, other.id, by="staff:1")
    stranger.get("/kiosk")
    stranger.post("/kiosk/enrol", {"code": code})
    assert offered(stranger.get(address).text) == []


def test_guessing_numbers_locks_the_machine_and_every_look_is_in_the_trail(kiosk: Kiosk, screen: Visitor) -> None:
    person_id, mrn = patient()
    release_report(person_id, WBC="5.1")
    for number in range(11):
        screen.post("/kiosk/scan", {"code": f"99999{number:04d}"})
    locked = screen.post("/kiosk/scan", {"code": mrn})
    assert offered(locked.text) == []
    assert "过于频繁" in locked.text
    with begin() as session:
        looks = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "kiosk.look", AuditEntry.actor == f"kiosk:{kiosk.id}")
        ).all()
        assert [each.after["found"] for each in looks if each.after] == [False] * 11
        assert "99999" not in str([each.after for each in looks]), "what was typed is nobody's business"
        assert session.scalar(
            select(AuditEntry.number).where(AuditEntry.action == "kiosk.locked", AuditEntry.aggregate_id == kiosk.code)
        )
        session.execute(update(Kiosk).values(locked_until=None))
        session.execute(text("DELETE FROM rate_limit WHERE act = 'kiosk.miss'"))
    assert offered(screen.post("/kiosk/scan", {"code": mrn}).text) == [State.READY]
    with begin() as session:
        session.execute(update(RateLimit).where(RateLimit.act == "kiosk.look").values(count=1000))
    assert "过于频繁" in screen.post("/kiosk/scan", {"code": mrn}).text


def test_a_machine_is_let_in_by_a_code_once_and_a_new_code_lets_the_old_browser_out(
    site: Site, kiosk: Kiosk, screen: Visitor
) -> None:
    stranger = site.visitor()
    assert "/kiosk/enrol" in stranger.get("/kiosk").text
    assert stranger.post("/kiosk/enrol", {"code": "WRONG123"}).status_code == 422
    assert stranger.post("/kiosk/scan", {"code": "1"}).url.path == "/kiosk"
    director = site.staff("director")
    director.get("/staff/lis/kiosks")
    page = director.post(f"/staff/lis/kiosks/{kiosk.code}/enrolment").text
    found = re.search(r"data-enrolment>([0-9A-Z]{4}-[0-9A-Z]{4})<", page)
    assert found is not None
    assert "/kiosk/enrol" in screen.get("/kiosk").text, "the old browser is out"
    stranger.get("/kiosk")
    assert "data-scanner" in stranger.post("/kiosk/enrol", {"code": found[1]}).text
    third = site.visitor()
    third.get("/kiosk")
    assert third.post("/kiosk/enrol", {"code": found[1]}).status_code == 422, "a code is good once"
    director.get("/staff/lis/kiosks")
    director.post(f"/staff/lis/kiosks/{kiosk.code}/retire")
    assert "/kiosk/enrol" in stranger.get("/kiosk").text
    assert director.post(f"/staff/lis/kiosks/{kiosk.code}/retire").status_code == 409
    assert director.post(f"/staff/lis/kiosks/{kiosk.code}/enrolment").status_code == 409
    assert site.staff("technician").get("/staff/lis/kiosks").status_code == 403


def test_a_form_that_our_page_did_not_send_is_refused(site: Site, screen: Visitor) -> None:
    assert screen.http.post("/kiosk/scan", data={"code": "1"}).status_code == 403


def test_a_machine_whose_printer_is_away_says_so_and_takes_no_jobs(kiosk: Kiosk, screen: Visitor) -> None:
    person_id, mrn = patient()
    release_report(person_id, WBC="5.1")
    with begin() as session:
        printers.pause(session, kiosk.printer_id, paused=True, by="staff:1")
    assert "data-trouble" in screen.get("/kiosk").text
    page = screen.post("/kiosk/scan", {"code": mrn})
    assert "data-trouble" in page.text
    screen.post(f"{page.url.path}/print")
    with begin() as session:
        assert queue.waiting_at(session, kiosk.printer_id) == 0


@pytest.mark.parametrize("wrong", [{"code": "一号"}, {"name": ""}, {"days": 0}, {"idle_s": 5}, {"printer": "desk"}])
def test_a_machine_that_cannot_work_is_not_registered(kiosk: Kiosk, wrong: dict[str, object]) -> None:
    with begin() as session:
        inside = printers.by_id(session, kiosk.printer_id).code
    if "printer" in wrong:
        wrong = {"printer": f"R{next(_codes)}"}
        an_agent_printer(str(wrong["printer"]))
    good: dict[str, object] = {
        "code": f"K{next(_codes)}",
        "name": "2 号机",
        "printer": inside,
        "days": 30,
        "idle_s": 40,
    }
    with begin() as session, pytest.raises(Invalid):
        machines.register(session, **{"place": "", **good, **wrong}, by="staff:1")  # type: ignore[arg-type]
    with begin() as session, pytest.raises(Conflict):
        machines.register(session, **{"place": "", **good, "code": kiosk.code}, by="staff:1")  # type: ignore[arg-type]
