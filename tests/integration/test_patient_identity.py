"""Patients sign in through WeChat and are bound to their file: by a code to the phone on file, or at the window."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.patient.identity import account
from cloud.patient.identity.model import BindingCode, PatientAccount
from cloud.people import service as people
from cloud.people.access import Subject, visible_to
from cloud.people.rules import PersonDetails
from tests.support.phones import MOTHER_ID, WANG_ID, Phone, Town, register, town

PHONE = "00013800001"


@pytest.fixture
def hospital(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    with town(monkeypatch) as made:
        yield made


@pytest.fixture
def wang(hospital: Town) -> Phone:
    phone = hospital.phone("wang")
    phone.sign_in()
    return phone


def sees(openid: str) -> set[str]:
    """Names of the persons whose reports this account may read."""
    with begin() as session:
        mine = session.scalars(select(PatientAccount).where(PatientAccount.open_id == openid)).one()
        ids = session.scalars(visible_to(Subject.account(mine.id))).all()
        return {people.get(session, each).name for each in ids}


@pytest.mark.req("CHN-1", "SEC-1")
def test_a_stranger_is_sent_to_wechat_and_comes_back_to_the_page_wanted(hospital: Town) -> None:
    phone = hospital.phone("wang")
    refused = phone.get("/p/reports")
    assert (refused.status_code, refused.headers["location"]) == (303, "/p/sign-in?next=/p/reports")
    assert phone.sign_in("/p/reports").headers["location"] == "/p/reports"
    assert phone.get("/p/reports").status_code == 200


@pytest.mark.req("SEC-1")
def test_a_sign_in_link_made_in_another_browser_signs_nobody_in(hospital: Town) -> None:
    attacker, victim = hospital.phone("attacker"), hospital.phone("victim")
    back = attacker.authorize()
    answer = victim.get(back)
    assert answer.status_code == 403
    assert victim.get("/p").status_code == 303
    assert attacker.get(back).status_code == 303


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize("state", ["", "forged-state-0123456789"])
def test_a_forged_state_is_refused_before_wechat_is_asked(hospital: Town, state: str) -> None:
    phone = hospital.phone("wang")
    phone.authorize()
    assert phone.get(f"/p/oauth/wechat?state={state}&code=x").status_code == 403
    assert not [code for code in hospital.wechat.codes.values() if code.used]


@pytest.mark.req("SEC-1")
def test_a_code_and_a_state_are_good_once(hospital: Town) -> None:
    phone = hospital.phone("wang")
    back = phone.authorize()
    assert phone.get(back).status_code == 303
    assert phone.get(back).status_code == 403
    code = back.split("code=")[1].split("&")[0]
    other = phone.authorize()
    replayed = other.replace(other.split("code=")[1].split("&")[0], code)
    assert phone.get(replayed).status_code == 403


def test_a_late_return_from_wechat_is_refused(hospital: Town) -> None:
    phone = hospital.phone("wang")
    back = phone.authorize()
    with begin() as session:
        session.execute(text("UPDATE patient_sign_in SET expires_at = now() - interval '1 second'"))
    assert phone.get(back).status_code == 403


def test_next_page_never_leads_to_another_site(hospital: Town) -> None:
    phone = hospital.phone("wang")
    for wanted in ("https://evil.test/p", "//evil.test/p", "/staff/results"):
        assert phone.sign_in(wanted).headers["location"] == "/p"


def test_wechat_away_is_told_and_the_next_try_works(hospital: Town) -> None:
    phone = hospital.phone("wang")
    hospital.wechat.faults["/sns/oauth2/access_token"] = fault(1)
    assert phone.get(phone.authorize()).status_code == 503
    assert phone.sign_in().status_code == 303


def test_signing_out_ends_the_session_on_the_server(wang: Phone) -> None:
    cookies = dict(wang.browser.cookies)
    assert wang.post("/p/sign-out").status_code == 200
    wang.browser.cookies.update(cookies)
    assert wang.get("/p/my").status_code == 303


def test_a_form_without_our_page_token_is_refused(wang: Phone) -> None:
    wang.token("/p/bind")
    answer = wang.browser.post("/p/bind", data={"name": "王芳", "number": WANG_ID}, follow_redirects=False)
    assert answer.status_code == 403


@pytest.mark.req("ACC-1")
def test_the_code_goes_to_the_phone_on_file_and_binds(hospital: Town, wang: Phone) -> None:
    register("王芳", WANG_ID, PHONE)
    asked = wang.ask_for_code(" 王 芳 ", WANG_ID.lower())
    assert PHONE not in asked.text
    page = wang.get(asked.headers["location"])
    assert "000****0001" in page.text
    assert hospital.sms_code(PHONE) not in page.text
    wang.bind("王芳", WANG_ID, PHONE)
    assert sees("wang") == {"王芳"}
    assert "王芳" in wang.get("/p/my").text


@pytest.mark.req("ACC-1", "SEC-1")
def test_nobody_several_wrong_name_and_no_phone_answer_alike(hospital: Town) -> None:
    register("王芳", WANG_ID, PHONE)
    register("双双", MOTHER_ID, "00013800002")
    register("双双", MOTHER_ID, "00013800003")
    register("无号", "99910120100101005X")
    answers = set()
    cases = [("赵某", "999101198808080038"), ("双双", MOTHER_ID), ("王方", WANG_ID), ("无号", "99910120100101005X")]
    for number, (name, id_number) in enumerate(cases):
        phone = hospital.phone(f"guest{number}")
        phone.sign_in()
        answer = phone.ask_for_code(name, id_number)
        answers.add((answer.status_code, answer.text.replace(phone.token("/p/bind"), "")))
    assert len(answers) == 1
    assert hospital.sms.messages == []


@pytest.mark.req("ACC-1", "SEC-1")
def test_five_wrong_codes_end_the_code_even_for_the_right_one(hospital: Town, wang: Phone) -> None:
    register("王芳", WANG_ID, PHONE)
    page = wang.ask_for_code("王芳", WANG_ID).headers["location"]
    right = hospital.sms_code(PHONE)
    wrong = "000000" if right != "000000" else "000001"
    for left in (4, 3, 2, 1):
        answer = wang.post(page, {"code": wrong}, token_from=page)
        assert answer.status_code == 422
        assert f"还可以再试 {left} 次" in answer.text
    assert "已经失效" in wang.post(page, {"code": wrong}, token_from=page).text
    assert wang.post(page, {"code": right}).status_code == 409
    assert sees("wang") == set()


@pytest.mark.req("ACC-1")
def test_a_code_is_over_after_its_time_after_its_use_and_on_another_phone(hospital: Town, wang: Phone) -> None:
    register("王芳", WANG_ID, PHONE)
    page = wang.ask_for_code("王芳", WANG_ID).headers["location"]
    code = hospital.sms_code(PHONE)
    thief = hospital.phone("thief")
    thief.sign_in()
    assert thief.post(page, {"code": code}).status_code == 409
    assert wang.post(page, {"code": code}, token_from=page).status_code == 303
    assert wang.post(page, {"code": code}).status_code == 409
    again = hospital.phone("wang2")
    again.sign_in()
    page = again.ask_for_code("王芳", WANG_ID).headers["location"]
    code = hospital.sms_code(PHONE)
    with begin() as session:
        session.execute(text("UPDATE patient_binding_code SET expires_at = now() WHERE used_at IS NULL"))
    assert again.post(page, {"code": code}).status_code == 409
    assert sees("wang2") == set()


@pytest.mark.req("SEC-1")
def test_the_code_lies_nowhere_in_the_database(hospital: Town, wang: Phone) -> None:
    register("王芳", WANG_ID, PHONE)
    wang.ask_for_code("王芳", WANG_ID)
    code = hospital.sms_code(PHONE)
    with begin() as session:
        rows = session.execute(
            text("SELECT d::text FROM delivery d UNION ALL SELECT b::text FROM patient_binding_code b")
        )
        stored = " ".join(rows.scalars())
        jobs = " ".join(session.execute(text("SELECT args::text FROM procrastinate_jobs")).scalars())
    assert PHONE.encode().hex() not in stored
    assert code.encode().hex() not in stored
    assert f"{code}" not in jobs
    assert PHONE not in stored + jobs


@pytest.mark.req("SEC-1")
def test_lookups_are_limited_for_an_account_and_for_a_number(hospital: Town, wang: Phone) -> None:
    for _ in range(5):
        assert wang.ask_for_code("王芳", WANG_ID).status_code == 200
    assert wang.ask_for_code("李四", MOTHER_ID).status_code == 429
    other = hospital.phone("other")
    other.sign_in()
    assert other.ask_for_code("王芳", WANG_ID).status_code == 429


@pytest.mark.req("ACC-1")
def test_after_unbinding_binding_online_waits_for_the_cool_down(hospital: Town, wang: Phone) -> None:
    register("王芳", WANG_ID, PHONE)
    wang.bind("王芳", WANG_ID, PHONE)
    with begin() as session:
        mine = session.scalars(select(PatientAccount)).one()
        [bound] = account.persons(session, mine.id)
    assert wang.post(f"/p/bindings/{bound.binding_id}/end").status_code == 303
    assert sees("wang") == set()
    refused = wang.ask_for_code("王芳", WANG_ID)
    assert refused.status_code == 409
    assert "起才能在线再次绑定" in refused.text
    assert "窗口" in refused.text
    with begin() as session:
        session.execute(text("UPDATE patient_binding SET ended_at = now() - interval '31 days'"))
    wang.bind("王芳", WANG_ID, PHONE)
    assert sees("wang") == {"王芳"}


def test_nobody_ends_another_accounts_binding(hospital: Town, wang: Phone) -> None:
    register("王芳", WANG_ID, PHONE)
    wang.bind("王芳", WANG_ID, PHONE)
    with begin() as session:
        [bound] = account.persons(session, session.scalars(select(PatientAccount.id)).one())
    stranger = hospital.phone("stranger")
    stranger.sign_in()
    assert stranger.post(f"/p/bindings/{bound.binding_id}/end").status_code == 404
    assert sees("wang") == {"王芳"}


@pytest.mark.req("ACC-1", "SEC-1")
def test_a_merge_suspends_access_until_verified_again(hospital: Town, wang: Phone) -> None:
    old = register("王芳", WANG_ID, PHONE, mrn="P1")
    kept = register("王芳", None, "00013800009", mrn="P2")
    wang.bind("王芳", WANG_ID, PHONE)
    with begin() as session:
        people.merge(session, into=kept, retired=old, by="his", reason="ADT^A40")
    assert sees("wang") == set()
    assert "访问已暂停" in wang.get("/p/my").text
    wang.bind("王芳", WANG_ID, "00013800009")
    with begin() as session:
        mine = session.scalars(select(PatientAccount)).one()
        assert set(session.scalars(visible_to(Subject.account(mine.id)))) == {old, kept}
    with begin() as session:
        people.unmerge(session, retired=old, by="staff:1", reason="wrong file")
    assert sees("wang") == set()


def test_a_merge_between_code_and_entry_makes_the_code_worthless(hospital: Town, wang: Phone) -> None:
    old, kept = register("王芳", WANG_ID, PHONE), register("王芳", None, "00013800009")
    page = wang.ask_for_code("王芳", WANG_ID).headers["location"]
    code = hospital.sms_code(PHONE)
    with begin() as session:
        people.merge(session, into=kept, retired=old, by="his", reason="ADT^A40")
    assert wang.post(page, {"code": code}).status_code == 409
    assert sees("wang") == set()


def test_a_new_phone_on_file_gets_the_next_code(hospital: Town, wang: Phone) -> None:
    person = register("王芳", WANG_ID, PHONE)
    with begin() as session:
        people.update(session, person, PersonDetails(phone="+86 000 1380 0007"), by="his")
    wang.ask_for_code("王芳", WANG_ID)
    assert hospital.sms_code("00013800007")
    with begin() as session:
        issued = session.scalars(select(BindingCode)).one()
        assert issued.expires_at - clock.now() <= timedelta(minutes=5)


def fault(times: int) -> object:
    """The simulator's knob: so many calls fail with HTTP 503."""
    from simulators.http_service import Fault

    return Fault(fail_next=times, status=503)
