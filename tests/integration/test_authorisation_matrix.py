"""Every address that the application answers, asked by everybody who might: own, one scope alone, stranger, nobody.

The addresses come from the application's own OpenAPI document with the pages' routes in it. A phone's address stands in
`PHONE` with whose right opens it; one that nobody classified fails the first test. An answer leaks when a person's data
stand in it, or when it is anything but a refusal that looks like what does not exist.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select

from cloud.billing import paying as bill_paying
from cloud.billing.intake import ItemIn
from cloud.hospital.model import ClinicSession, Department
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.patient.identity import binding
from cloud.patient.identity.access import REALM, SIGNED_IN_FOR
from cloud.patient.identity.model import BindingCode, PatientAccount
from cloud.patient.registration import limits, waiting
from cloud.people import access
from cloud.people.model import SCOPES
from cloud.staff.service import create_account
from cloud.web import csrf
from cloud.web.sessions import WebSession
from tests.properties.test_no_request_breaks import document, routers
from tests.support import bills, clinic
from tests.support import registering as desk
from tests.support.cashiers import running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phone_payments import asked_of
from tests.support.phones import WANG_ID, register, release_report
from tests.support.site import PASSWORD, Site, Visitor, running_site

pytestmark = pytest.mark.req("SEC-1", "ACC-1")

ACCOUNT, HOSPITAL, OPEN = "account", "hospital", "open"
"""The account's own matter whatever it may do for whom; what the hospital tells everybody signed in; no sign-in."""

PHONE: dict[str, str] = {
    "GET /p": ACCOUNT,
    "GET /p/today": ACCOUNT,
    "GET /p/my": ACCOUNT,
    "GET /p/bind": ACCOUNT,
    "POST /p/bind": ACCOUNT,
    "POST /p/bind/window": ACCOUNT,
    "GET /p/bind/{code_id}": ACCOUNT,
    "POST /p/bind/{code_id}": ACCOUNT,
    "POST /p/bindings/{binding_id}/end": ACCOUNT,
    "GET /p/my/record": ACCOUNT,
    "GET /p/bindings/{family_id}/consent": ACCOUNT,
    "POST /p/bindings/{family_id}/consent": ACCOUNT,
    "GET /p/relatives/{relative_id}": ACCOUNT,
    "POST /p/relatives/{relative_id}": ACCOUNT,
    "POST /p/relatives/{relative_id}/revoke": ACCOUNT,
    "GET /p/sign-in": OPEN,
    "GET /p/oauth/wechat": OPEN,
    "GET /p/oauth/alipay": OPEN,
    "POST /p/sign-out": OPEN,
    "GET /p/reports": "report",
    "GET /p/reports/{report_id}": "report",
    "GET /p/reports/{report_id}/pdf": "report",
    "GET /p/bills": "pay",
    "GET /p/bills/pay": "pay",
    "POST /p/bills/pay": "pay",
    "GET /p/bills/paid/{bill_payment_id}": "pay",
    "GET /p/bills/{charge_id}": "pay",
    "GET /p/bills/{charge_id}/refund": "pay",
    "POST /p/bills/{charge_id}/refund": "pay",
    "GET /p/book": HOSPITAL,
    "GET /p/book/left": HOSPITAL,
    "GET /p/book/departments/{department_id}": HOSPITAL,
    "GET /p/book/doctors/{doctor_id}": HOSPITAL,
    "GET /p/book/sessions/{clinic_id}": HOSPITAL,
    "POST /p/book/sessions/{clinic_id}": "book",
    "POST /p/book/sessions/{clinic_id}/wait": "book",
    "POST /p/booking-blocks/{block_id}/appeal": "book",
    "GET /p/bookings": "book",
    "GET /p/bookings/{booking_id}": "book",
    "GET /p/bookings/{booking_id}/barcode.svg": "book",
    "GET /p/bookings/{booking_id}/cancel": "book",
    "GET /p/bookings/{booking_id}/change": "book",
    "GET /p/bookings/{booking_id}/visit.ics": "book",
    "POST /p/bookings/{booking_id}/change": "book",
    "POST /p/bookings/{booking_id}/cancel": "book",
    "POST /p/bookings/{booking_id}/pay": "book",
    "POST /p/bookings/{booking_id}/rebook": "book",
    "GET /p/waiting/{entry_id}": ACCOUNT,
    "POST /p/waiting/{entry_id}/leave": ACCOUNT,
    "POST /p/waiting/{entry_id}/take": ACCOUNT,
    "GET /p/pay/{payment_id}": ACCOUNT,
    "GET /p/pay/{payment_id}/stand": ACCOUNT,
    "POST /p/pay/{payment_id}/give-up": ACCOUNT,
    "GET /p/transactions": ACCOUNT,
    "GET /p/transactions/{payment_id}": ACCOUNT,
}
ALSO = {("visit", "GET /p"): "book", ("visit", "GET /p/today"): "book"}
"""Who may follow a person's visits is told of the visit that is booked, on the pages that put everything together."""
ELSEWHERE = {
    "POST /pay/notice/{channel}": "a channel's signature is its sign-in (the forgery set)",
    "GET /hospital/doctors/{doctor_id}/photo": "a doctor's picture, as on the wall",
    "GET /kiosk": "the machine's first page, empty",
    "POST /kiosk/enrol": "the code that staff give a kiosk",
    "POST /kiosk/scan": "a kiosk's own session",
    "GET /kiosk/visits/{visit_id}": "a kiosk's own session",
    "POST /kiosk/visits/{visit_id}/print": "a kiosk's own session",
    "POST /kiosk/visits/{visit_id}/confirm": "a kiosk's own session",
    "POST /api/print/v1/here": "a printer's key",
    "POST /api/print/v1/take": "a printer's key",
    "POST /api/print/v1/jobs/{job_id}/printed": "a printer's key",
    "POST /api/print/v1/jobs/{job_id}/failed": "a printer's key",
}
STAFF_OPEN = {
    "GET /staff/sign-in",
    "POST /staff/sign-in",
    "POST /staff/sign-out",
}
"""Pages of staff that ask nobody who they are."""
NOT_ASKED = {"GET /staff/live": "a stream without an end"}


@dataclass
class Asked:
    status: int
    text: str
    where: str


@dataclass
class Matrix:
    site: Site
    operations: list[str]
    ids: dict[str, str] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    """Scope -> a word that stands in Wang's data of that scope and nowhere else."""
    forms: dict[str, dict[str, str]] = field(default_factory=dict)
    phones: dict[str, httpx.Client] = field(default_factory=dict)

    def ask(self, browser: httpx.Client, operation: str, token: str) -> Asked:
        verb, _, path = operation.partition(" ")
        filled = re.sub(r"{(\w+)}", lambda name: self.ids.get(name[1], str(uuid.UUID(int=9))), path)
        if operation == "GET /p/bills/pay":
            filled += f"?charge={self.ids['charge_id']}"
        form = {**self.forms.get(path, {}), csrf.FIELD: token}
        answer = browser.request(
            verb, filled, data=form if verb == "POST" else None, headers={csrf.HEADER: token}, follow_redirects=False
        )
        return Asked(answer.status_code, answer.text, answer.headers.get("location", ""))


@pytest.fixture(scope="module")
def matrix(database_server: DatabaseServer) -> Iterator[Matrix]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone(database_server.furnished) as url,
        cloud_on(url, patched),
        running(patched),
    ):
        for each in routers():
            if hasattr(each, "include_in_schema"):
                patched.setattr(each, "include_in_schema", True)
            for inner in getattr(each, "routes", []):  # a router within a router remembers how it was taken in
                if hasattr(inner, "include_context"):
                    patched.setattr(inner, "include_context", replace(inner.include_context, include_in_schema=True))
        with running_site() as site:
            paths = document(site.app)["paths"]
            made = Matrix(site, [f"{verb.upper()} {path}" for path, verbs in paths.items() for verb in verbs])
            _furnish(made)
            yield made
            for browser in made.phones.values():
                browser.close()


def _furnish(matrix: Matrix) -> None:
    """Wang with one of everything, and phones that may do all, one thing, or nothing for her."""
    wang, other = register("王小芳", WANG_ID, "00013800001", mrn="P1"), register("赵它", None, "00013800002")
    child = register("钱小二")
    accounts = {name: _phone(matrix, name) for name in ("own", *SCOPES, "stranger", "nobody")}
    with begin() as session:
        mine = session.get_one(PatientAccount, accounts["own"])
        bound = binding.bind(session, mine, wang, relation="self", method="window", by="test")
        others = session.get_one(PatientAccount, accounts["stranger"])
        binding.bind(session, others, other, relation="self", method="window", by="test")
        for scope in SCOPES:
            access.grant(
                session, account_id=accounts[scope], person_id=wang, scopes=(scope,), origin="consent", by="test"
            )
        cousin = PatientAccount(channel="wechat", app_id="wx", open_id="cousin")
        session.add(cousin)
        session.flush()
        followed = binding.bind(session, cousin, wang, relation="family", method="window", by="test")
        theirs = binding.bind(session, mine, child, relation="family", method="window", by="test")
        matrix.ids |= {"relative_id": str(followed.id), "family_id": str(theirs.id)}
        code = BindingCode(
            account_id=accounts["own"],
            person_id=wang,
            relation="self",
            code_hash="x",
            phone_shown="000****7788",
            expires_at=clock.now() + timedelta(minutes=5),
        )
        session.add(code)
        session.flush()
        matrix.ids |= {"binding_id": str(bound.id), "code_id": str(code.id)}
    matrix.ids["report_id"] = str(release_report(wang, WBC="6.13"))
    matrix.ids["charge_id"] = str(bills.arisen(wang, ItemIn("Q1", "奇特项目甲", 4321)))
    held = bills.arisen(wang, ItemIn("Q2", "奇特项目乙", 8765))
    with begin() as session:
        payer = bills.Payer(payer_key=str(accounts["own"]), payer="own")
        payment = bill_paying.begin(session, [held], payer, key="matrix", by="test")
        matrix.ids["bill_payment_id"] = str(payment.subject_id)
    matrix.ids["payment_id"] = str(asked_of("own", 7654))
    day = desk.opened_session()
    matrix.ids["booking_id"] = str(desk.held(day, (accounts["own"], wang)))
    another = desk.opened_session()
    with begin() as session:
        found = session.get_one(ClinicSession, another)
        entry = waiting.WaitingEntry(person_id=wang, account_id=accounts["own"], clinic_session_id=another)
        session.add(entry)
        session.flush()
        block = limits.block(session, wang, days=3, note="多次爽约", by="staff:test")
        matrix.ids |= {"clinic_id": str(another), "entry_id": str(entry.id), "block_id": str(block.id)}
        matrix.ids["department_id"] = str(session.get_one(Department, found.department_id).id)
        matrix.ids["doctor_id"] = str(found.doctor_id)
    assert clinic  # the sessions' department and doctor are the support's
    key = str(new_id())
    matrix.forms = {
        "/p/bills/pay": {"charge": matrix.ids["charge_id"], "fen": "4321", "key": key},
        "/p/bills/{charge_id}/refund": {"reason": "不做了"},
        "/p/book/sessions/{clinic_id}": {"person": str(wang), "key": key},
        "/p/book/sessions/{clinic_id}/wait": {"person": str(wang)},
        "/p/booking-blocks/{block_id}/appeal": {"words": "请复核"},
        "/p/bookings/{booking_id}/change": {"clinic": str(another), "key": key},
        "/p/bookings/{booking_id}/rebook": {"clinic": str(another), "key": key},
        "/p/waiting/{entry_id}/take": {"key": key},
        "/p/bind/{code_id}": {"code": "000000"},
        "/p/relatives/{relative_id}": {"scope": "report", "term": "30"},
        "/p/bindings/{family_id}/consent": {"scope": "report", "term": "30"},
        "/p/bind": {"name": "无此人", "number": "C99999", "relation": "self"},
    }
    matrix.marks = {
        "report": matrix.ids["report_id"],
        "pay": matrix.ids["charge_id"],
        "book": matrix.ids["booking_id"],
        "account": matrix.ids["payment_id"],
    }
    with begin() as session:
        create_account(session, login="errand", name="冯运送", password=PASSWORD, roles=["courier"])


def _phone(matrix: Matrix, name: str) -> uuid.UUID:
    token = secrets.token_urlsafe(32)
    now = clock.now()
    with begin() as session:
        made = PatientAccount(channel="wechat", app_id="wx", open_id=name)
        session.add(made)
        session.flush()
        session.add(
            WebSession(
                realm=REALM,
                subject_id=made.id,
                token_hash=hashlib.sha256(token.encode()).digest(),
                data={},
                seen_at=now,
                expires_at=now + SIGNED_IN_FOR,
                address="127.0.0.1",
                browser="",
            )
        )
        account_id = made.id
    matrix.phones[name] = httpx.Client(base_url=matrix.site.base_url, trust_env=False, timeout=60)
    matrix.phones[name].cookies.set(f"xl_{REALM}", token)
    return account_id


def token_of(browser: httpx.Client) -> str:
    page = browser.get("/staff/sign-in").text
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    assert found is not None
    return found[1]


def test_every_address_is_classified(matrix: Matrix) -> None:
    """A new one wants a line in `PHONE` (or a reason in `ELSEWHERE`), and the sentences below then ask it."""
    known = set(PHONE) | set(ELSEWHERE)
    new = {each for each in matrix.operations if not each.partition(" ")[2].startswith("/staff") and each not in known}
    assert new == set(), "nobody said whose right opens these"
    assert known - set(matrix.operations) == set(), "these are no more"


def test_a_route_that_nobody_classified_is_found(matrix: Matrix) -> None:
    invented = Matrix(matrix.site, [*matrix.operations, "GET /p/diagnoses/{diagnosis_id}"])
    with pytest.raises(AssertionError, match="diagnoses"):
        test_every_address_is_classified(invented)


def test_nobody_gets_behind_a_door_without_signing_in(matrix: Matrix) -> None:
    through = []
    with httpx.Client(base_url=matrix.site.base_url, trust_env=False, timeout=60) as browser:
        token = token_of(browser)
        for each in matrix.operations:
            if each in NOT_ASKED or each in STAFF_OPEN or PHONE.get(each) == OPEN or each in ELSEWHERE:
                continue
            answer = matrix.ask(browser, each, token)
            sent_away = answer.status == 303 and "/sign-in" in answer.where
            if not sent_away and answer.status not in (401, 403, 422):
                through.append(f"{each}: {answer.status}")
    assert through == []


def test_a_patient_and_a_courier_open_no_page_of_hers(matrix: Matrix) -> None:
    """The courier (the smallest role, without the right to read patients) has pages; none of them names Wang."""
    courier: Visitor = matrix.site.staff("errand")
    own = matrix.phones["own"]
    tokens = {"patient": (own, token_of(own)), "courier": (courier.http, courier.token)}
    through = []
    for each in matrix.operations:
        if not each.partition(" ")[2].startswith("/staff") or each in NOT_ASKED or each in STAFF_OPEN:
            continue
        for who, (browser, token) in tokens.items():
            answer = matrix.ask(browser, each, token)
            leaks = [mark for mark in (*matrix.marks.values(), "王小芳") if mark in answer.text]
            refused = answer.status in (401, 403, 404, 409, 422) or "/sign-in" in answer.where
            if leaks or (who == "patient" and not refused):
                through.append(f"{each} by {who}: {answer.status} {leaks}")
    assert through == []


def right_of(who: str, need: str) -> bool:
    return need in (HOSPITAL, OPEN) or who == "own" or who == need


def test_no_scope_opens_another_and_a_stranger_opens_nothing(matrix: Matrix) -> None:
    leaks = []
    asked = 0
    for who, browser in matrix.phones.items():
        if who == "own":
            continue
        token = token_of(browser)
        for each, need in PHONE.items():
            if need == OPEN:
                continue
            answer = matrix.ask(browser, each, token) if not right_of(who, need) or each[:3] == "GET" else None
            if answer is None:
                continue
            asked += 1
            shown = [
                name
                for name, mark in {**matrix.marks, "name": "王小芳", "phone": "000****7788"}.items()
                if mark in answer.text and name not in (who, ALSO.get((who, each)))
            ]
            particular = "{" in each or (need in ("pay", "book", "report") and each.startswith("POST"))
            opened = particular and not right_of(who, need) and answer.status not in (403, 404, 409, 422)
            if (shown and not _echo(each, answer, matrix)) or opened:
                leaks.append(f"{each} by {who}: {answer.status} shows {shown}")
    assert leaks == []
    assert asked > 300


def _echo(operation: str, answer: Asked, matrix: Matrix) -> bool:
    """A refusal names no address but the one that was asked for."""
    if answer.status not in (404, 409, 422):
        return False
    return not any(word in answer.text for word in ("王小芳", "000****7788", "奇特项目"))


def test_the_person_opens_all_of_it(matrix: Matrix) -> None:
    """The same addresses answer their owner: the refusals above are no accident of a wrong request."""
    browser = matrix.phones["own"]
    token = token_of(browser)
    shut = []
    for each, need in PHONE.items():
        if need != OPEN and each.startswith("GET"):
            answer = matrix.ask(browser, each, token)
            if answer.status not in (200, 303) or "/sign-in" in answer.where:
                shut.append(f"{each}: {answer.status}")
    assert shut == []


def test_each_list_shows_its_own_scope(matrix: Matrix) -> None:
    for scope, page in {"report": "/p/reports", "pay": "/p/bills", "book": "/p/bookings"}.items():
        assert matrix.marks[scope] in matrix.phones[scope].get(page).text
        for who in (*SCOPES, "stranger", "nobody"):
            if who != scope:
                assert matrix.marks[scope] not in matrix.phones[who].get(page).text, f"{who} on {page}"


def test_every_refusal_of_a_persons_data_is_remembered_without_whose_it_was(matrix: Matrix) -> None:
    from cloud.patient.identity.model import AccessRecord

    stranger = matrix.phones["stranger"]
    assert stranger.get(f"/p/reports/{matrix.ids['report_id']}").status_code == 404
    with begin() as session:
        rows = session.scalars(
            select(AccessRecord)
            .join(PatientAccount, PatientAccount.id == AccessRecord.account_id)
            .where(PatientAccount.open_id == "stranger", AccessRecord.act == "report.open")
        ).all()
        assert rows
        assert all(not each.allowed and each.person_id is None for each in rows)
