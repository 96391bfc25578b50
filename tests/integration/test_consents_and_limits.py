"""What a person lets a relative see, who looked, and what an account may not change: each refusal says what to do."""

from __future__ import annotations

import ast
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

import cloud.patient
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.patient.identity import account, binding, consent, hindrances, looked, policy
from cloud.patient.identity.consent import Wish
from cloud.patient.identity.model import Binding, PatientAccount
from cloud.patient.registration import service as registration
from cloud.people import access
from cloud.people.access import Subject
from cloud.people.model import PersonGrant
from tests.support import registering as desk
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phones import MOTHER_ID, Phone, Town, register, release_report, town

pytestmark = pytest.mark.req("ACC-1", "SEC-1")

REMEMBER = {"log_access", "remember", "my_booking", "_opened", "_log", "_refused"}
"""What the slices' pages call with an act; a page that called something else would have no act in `acts` below."""
HER_PHONE, MY_PHONE = "00013800002", "00013800001"


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[Town]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        town(patched) as made,
    ):
        yield made


class Family:
    """A mother with a phone of her own, and the daughter's phone that bound her."""

    def __init__(self, hospital: Town, phone_on_file: str | None = HER_PHONE) -> None:
        self.hospital = hospital
        name = uuid.uuid4().hex
        self.daughters, self.mothers = hospital.phone(f"d{name}"), hospital.phone(f"m{name}")
        self.daughter, self.mother = register("王芳", None, MY_PHONE), register("李秀英", MOTHER_ID, phone_on_file)
        for phone in (self.daughters, self.mothers):
            phone.sign_in()
        self.ids = {each: self._account(each) for each in (self.daughters.openid, self.mothers.openid)}
        self._bind(self.daughters, self.daughter, "self")
        self._bind(self.mothers, self.mother, "self")
        self.binding = self._bind(self.daughters, self.mother, "family")

    @staticmethod
    def _account(openid: str) -> uuid.UUID:
        with begin() as session:
            return session.scalars(select(PatientAccount.id).where(PatientAccount.open_id == openid)).one()

    def _bind(self, phone: Phone, person: uuid.UUID, relation: str) -> uuid.UUID:
        with begin() as session:
            mine = session.get_one(PatientAccount, self.ids[phone.openid])
            return binding.bind(session, mine, person, relation=relation, method="window", by="test").id

    @property
    def hers(self) -> uuid.UUID:
        return self.ids[self.daughters.openid]

    def sees(self) -> set[str]:
        with begin() as session:
            subject = Subject.account(self.hers)
            return {
                scope
                for scope in consent.SCOPES
                if self.mother in set(session.scalars(access.visible_to(subject, scope)))
            }

    def asks(self, **form: object) -> tuple[int, str]:
        address = f"/p/bindings/{self.binding}/consent"
        answer = self.daughters.post(address, form, token_from="/p/my")  # type: ignore[arg-type]
        return answer.status_code, answer.headers.get("location", answer.text)


@pytest.fixture
def family(hospital: Town) -> Family:
    with begin() as session:
        session.execute(text("TRUNCATE rate_limit"))
    return Family(hospital)


def test_on_her_own_phone_she_allows_what_she_chooses_for_as_long_as_she_chooses(family: Family) -> None:
    page = f"/p/relatives/{family.binding}"
    assert "30 天" in family.mothers.get(page).text
    assert family.mothers.post(page, {"scope": ["report", "visit"], "term": "30"}).status_code == 303  # type: ignore[dict-item]
    assert family.sees() == {"report", "visit"}
    with begin() as session:
        grants = session.scalars(
            select(PersonGrant).where(PersonGrant.origin == "consent", PersonGrant.account_id == family.hers)
        )
        lasts = [each.expires_at - each.granted_at for each in grants if each.expires_at]
    assert len(lasts) == 2
    assert all(abs(each - timedelta(days=30)) < timedelta(minutes=1) for each in lasts)
    assert family.mothers.post(page, {"scope": "order", "term": "0"}).status_code == 303
    assert family.sees() == {"order"}, "what is not chosen any more is taken back"
    assert family.mothers.post(f"{page}/revoke").status_code == 303
    assert family.sees() == set()
    record = family.mothers.get("/p/my/record").text
    assert record.count("data-consent=") == 2
    assert "本人手机授权" in record
    assert "收回" in record


@pytest.mark.parametrize(
    ("form", "word"), [({"term": "30"}, "至少选择一项"), ({"scope": "report", "term": "99"}, "授权期限")]
)
def test_a_consent_without_content_or_with_a_term_nobody_offers_is_refused(
    family: Family, form: dict[str, str], word: str
) -> None:
    answer = family.mothers.post(f"/p/relatives/{family.binding}", form)
    assert (answer.status_code, word in answer.text) == (422, True)
    assert family.asks(**form)[0] == 422
    assert family.mothers.post(f"/p/relatives/{family.binding}", {"scope": "book", "term": "30"}).status_code == 422


def test_nobody_else_gives_takes_or_asks_for_it(family: Family) -> None:
    for phone in (family.daughters, family.hospital.phone("nobody")):
        phone.sign_in()
        page = f"/p/relatives/{family.binding}"
        assert phone.get(page).status_code == 404
        assert phone.post(page, {"scope": "report", "term": "30"}).status_code == 404
        assert phone.post(f"{page}/revoke").status_code == 404
    assert family.mothers.get(f"/p/bindings/{family.binding}/consent").status_code == 404
    assert family.mothers.post(f"/p/bindings/{family.binding}/consent", {"scope": "report"}).status_code == 404
    assert family.sees() == set()


def test_the_code_goes_to_her_phone_on_file_and_says_what_it_allows(family: Family) -> None:
    status, page = family.asks(scope="report", term="1")
    assert status == 303, page
    code = family.hospital.sms_code(HER_PHONE)
    message = [each for each in family.hospital.sms.messages if each["phone"] == HER_PHONE][-1]
    assert message["template"] == "consent_code"
    assert "王*申请查看" in message["text"]
    assert "1 天" in message["text"]
    assert family.daughters.post(page, {"code": "wrong"}, token_from=page).status_code == 422
    assert family.sees() == set()
    assert family.daughters.post(page, {"code": code}, token_from=page).status_code == 303
    assert family.sees() == {"report"}
    assert family.daughters.post(page, {"code": code}).status_code == 409
    mine = family.mothers.get("/p/my")
    assert 'data-allowed="report"' in mine.text
    assert "短信验证码授权" in family.mothers.get("/p/my/record").text
    with begin() as session:
        session.execute(text("UPDATE person_grant SET expires_at = now() WHERE origin = 'consent'"))
    assert family.sees() == set()
    assert "已到期" in family.mothers.get("/p/my/record").text


def test_a_code_for_a_consent_binds_nobody_and_the_other_way_round(family: Family) -> None:
    _, page = family.asks(scope="report", term="1")
    code = family.hospital.sms_code(HER_PHONE)
    with begin() as session:
        tried = binding.codes.try_code(session, family.hers, uuid.UUID(page.rsplit("/")[-1]), code)
        assert tried.right
    with begin() as session, pytest.raises(Conflict, match="code_over"):
        binding.bind_by_code(session, tried)
    with begin() as session:
        consent.give_by_code(session, tried)
    assert family.sees() == {"report"}


def test_let_go_while_the_code_was_on_its_way_nothing_is_allowed(family: Family) -> None:
    _, page = family.asks(scope="report", term="1")
    code = family.hospital.sms_code(HER_PHONE)
    with begin() as session:
        binding.unbind(session, family.hers, family.binding)
    assert family.daughters.post(page, {"code": code}, token_from=page).status_code == 404
    assert family.sees() == set()


@pytest.mark.parametrize(
    ("on_file", "word"), [(None, "登记手机"), ("01088881234", "登记手机"), (MY_PHONE, "登记的是您的手机")]
)
def test_a_code_that_could_prove_nothing_is_not_sent(hospital: Town, on_file: str | None, word: str) -> None:
    family = Family(hospital, on_file)
    before = len(hospital.sms.messages)
    status, told = family.asks(scope="report", term="1")
    assert (status, word in told, "窗口" in told) == (409, True, True)
    assert len(hospital.sms.messages) == before


def test_asking_again_and_again_is_limited(family: Family) -> None:
    statuses = [family.asks(scope="report", term="1")[0] for _ in range(6)]
    assert statuses == [303] * 5 + [429]


def test_she_sees_who_looked_and_who_was_refused(family: Family) -> None:
    report = release_report(family.mother, WBC="6.1")
    assert family.daughters.reads(report).status_code == 404
    with begin() as session:
        consent.give(session, family.ids[family.mothers.openid], family.binding, Wish(("report",), 30))
    assert family.daughters.reads(report).status_code == 200
    assert family.daughters.get(f"/p/reports/{report}/pdf").status_code == 200
    page = family.mothers.get("/p/my/record").text
    for words in ("想查看报告，被拒绝", "查看了报告", "下载了报告", "王*"):
        assert words in page
    assert "tried to open a report: refused" in family.mothers.get("/p/my/record?lang=en").text
    assert "想查看报告" not in family.daughters.get("/p/my/record?lang=zh-CN").text, "hers, not her daughter's"


def test_every_act_that_is_remembered_has_words() -> None:
    """The acts are found in the code of the patient's slices, so that a new one fails here until it has words."""
    acts = set()
    for path in Path(cloud.patient.__path__[0]).rglob("*routes.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REMEMBER:
                values = [*node.args, *(each.value for each in node.keywords)]
                acts |= {each.value for each in values if isinstance(each, ast.Constant)}
    acts = {each for each in acts if isinstance(each, str)}
    assert acts >= {"report.open", "bill.open", "booking.cancel", "booking.calendar"}
    assert {each for each in acts if each not in looked.WORDS} == set()


# ---------------------------------------------------------------------- limits on changes


def settle(key: str, value: int) -> None:
    with begin() as session:
        policy.set_value(session, key, value, by="staff:test", reason="测试")


def alone(family: Family) -> None:
    """No other test's mother has her name and number."""
    with begin() as session:
        session.execute(
            text("UPDATE person SET id_number_index = NULL WHERE id <> :own AND name = :name"),
            {"own": family.mother, "name": "李秀英"},
        )


def test_the_sixth_person_is_refused_with_what_to_do_and_the_limit_is_settable(family: Family) -> None:
    settle("persons", 2)
    try:
        for number in (MOTHER_ID, "999101198808080038"):  # known here or not: the answer is the account's own
            answer = family.daughters.ask_for_code("陈一", number, "family")
            assert answer.status_code == 409
            assert "最多绑定 2 位" in answer.text
            assert "解除一位" in answer.text
    finally:
        settle("persons", policy.SETTINGS["persons"].delivered)
    assert family.daughters.ask_for_code("陈一", "999101198808080038", "family").status_code == 200


def test_a_person_with_enough_accounts_is_sent_to_the_window(family: Family) -> None:
    settle("accounts", 1)
    other = family.hospital.phone(f"o{uuid.uuid4().hex}")
    other.sign_in()
    before = len(family.hospital.sms.messages)
    alone(family)
    answer = other.ask_for_code("李秀英", MOTHER_ID)
    settle("accounts", policy.SETTINGS["accounts"].delivered)
    assert answer.status_code == 200
    assert "窗口" in answer.text
    assert len(family.hospital.sms.messages) == before


@pytest.mark.parametrize(
    ("key", "value", "reason", "code"),
    [("persons", 0, "x", "policy_value"), ("nothing", 1, "x", "policy_value"), ("persons", 3, " ", "reason.missing")],
)
def test_a_rule_out_of_its_span_or_without_a_reason_is_refused(
    hospital: Town, key: str, value: int, reason: str, code: str
) -> None:
    with begin() as session, pytest.raises(Invalid, match=code):
        policy.set_value(session, key, value, by="staff:test", reason=reason)


def test_the_longest_consent_is_the_hospitals_to_say(hospital: Town) -> None:
    settle("consent_days", 30)
    with begin() as session:
        assert policy.terms(session) == [1, 30]
        with pytest.raises(Invalid, match=r"consent\.term"):
            consent.wish(session, ["report"], "365")
    settle("consent_days", 0)
    with begin() as session:
        assert policy.terms(session) == [1, 30, 365, None]


def test_a_live_booking_keeps_the_person(family: Family) -> None:
    booked = desk.held(desk.opened_session(), (family.hers, family.mother))
    answer = family.daughters.post(f"/p/bindings/{family.binding}/end")
    assert (answer.status_code, "请先在“我的挂号”里退号" in answer.text) == (409, True)
    with begin() as session:
        assert account.may(session, family.hers, family.mother, "book") == family.mother
        registration.cancel(session, booked, by=f"account:{family.hers}", reason="不去了")
    assert family.daughters.post(f"/p/bindings/{family.binding}/end").status_code == 303


@pytest.mark.parametrize("name", ["bookings", "fee", "waiting", "bills", "refunds"])
def test_whatever_is_open_keeps_the_person(family: Family, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each slice's word reaches the phone; what each looks for is asked of the database with nothing in it."""
    known = hindrances._registered[name]
    with begin() as session:
        assert known.holds(session, family.hers, [family.mother]) is False
    monkeypatch.setitem(hindrances._registered, name, hindrances.Hindrance(name, known.todo, lambda *_: True))
    answer = family.daughters.post(f"/p/bindings/{family.binding}/end")
    assert (answer.status_code, "解除绑定" in answer.text) == (409, True)
    with begin() as session:
        assert session.get_one(Binding, family.binding).ended_at is None


def test_booking_and_unbinding_at_once_leave_no_booking_behind(family: Family) -> None:
    clinics = [desk.opened_session() for _ in range(4)]
    for clinic in clinics:
        start = threading.Barrier(2)
        ends: list[str] = []

        def book(clinic: uuid.UUID = clinic, start: threading.Barrier = start, ends: list[str] = ends) -> None:
            start.wait()
            try:
                with begin() as session:
                    access.person_for(session, Subject.account(family.hers), family.mother, "book")
                    registration.hold(session, desk.wish(clinic, (family.hers, family.mother)))
                ends.append("booked")
            except NotFound:
                ends.append("no right")

        def let_go(start: threading.Barrier = start, ends: list[str] = ends) -> None:
            start.wait()
            try:
                with begin() as session:
                    binding.unbind(session, family.hers, family.binding)
                ends.append("let go")
            except Conflict:
                ends.append("kept")

        crew = [threading.Thread(target=each) for each in (book, let_go)]
        for each in crew:
            each.start()
        for each in crew:
            each.join()
        assert sorted(ends) in (["booked", "kept"], ["let go", "no right"])
        with begin() as session:
            session.execute(text("UPDATE booking SET state = 'cancelled' WHERE person_id = :id"), {"id": family.mother})
        if "let go" in ends:
            family.binding = family._bind(family.daughters, family.mother, "family")


def test_the_cool_down_is_settable_and_its_day_is_told(family: Family) -> None:
    settle("cool_down_days", 10)
    with begin() as session:
        binding.unbind(session, family.hers, family.binding)
    alone(family)
    answer = family.daughters.ask_for_code("李秀英", MOTHER_ID, "family")
    day = clock.local(clock.now() + timedelta(days=10)).date().isoformat()
    assert (answer.status_code, day in answer.text) == (409, True)
    settle("cool_down_days", 0)
    assert family.daughters.ask_for_code("李秀英", MOTHER_ID, "family").status_code == 303
    settle("cool_down_days", 30)
