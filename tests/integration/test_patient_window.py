"""Binding at the window: card, short code and document, by a clerk who may; and the staff's record of messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import select, text

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.patient.identity.model import Binding
from cloud.staff.service import create_account
from tests.support.phones import WANG_ID, Phone, Town, register, town
from tests.support.work import work

PASSWORD = "morning-round-2026"


@pytest.fixture
def hospital(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    with town(monkeypatch) as made:
        yield made


@pytest.fixture
def phone(hospital: Town) -> Phone:
    made = hospital.phone("wang")
    made.sign_in()
    return made


def desk(hospital: Town, login: str, *roles: str) -> httpx.Client:
    """A member of staff signed in at a desk."""
    with begin() as session:
        create_account(session, login=login, name="孙收费", roles=list(roles), password=PASSWORD, by="system")
    browser = hospital.phone(login).browser
    page = browser.get("/staff/sign-in").text
    data = {"login": login, "password": PASSWORD, "csrf_token": token(page)}
    assert browser.post("/staff/sign-in", data=data).status_code == 303
    return browser


def token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    assert found is not None
    return found[1]


def short_code(phone: Phone) -> str:
    page = phone.post("/p/bind/window", token_from="/p/bind")
    found = re.search(r"data-window-code>([^<]+)<", page.text)
    assert found is not None
    return found[1]


def post(browser: httpx.Client, path: str, **data: str) -> httpx.Response:
    page = browser.get("/staff/window/bind").text
    return browser.post(path, data={**data, "csrf_token": token(page)})


@pytest.mark.req("ACC-1", "WIN-1")
def test_the_clerk_binds_with_card_code_and_document(hospital: Town, phone: Phone) -> None:
    register("王芳", WANG_ID, None, mrn="P1")
    clerk = desk(hospital, "clerk", "cashier")
    code = short_code(phone)
    shown = post(clerk, "/staff/window/bind/check", card="CP1", code=code.lower())
    assert "王芳" in shown.text
    assert WANG_ID not in shown.text
    assert "999101********0022" in shown.text
    refused = post(clerk, "/staff/window/bind", card="CP1", code=code, relation="self")
    assert refused.status_code == 422
    done = post(clerk, "/staff/window/bind", card="CP1", code=code, relation="self", document_seen="true")
    assert "绑定完成" in done.text
    assert "王芳" in phone.get("/p/my").text
    again = post(clerk, "/staff/window/bind", card="CP1", code=code, relation="self", document_seen="true")
    assert again.status_code == 409
    with begin() as session:
        binding = session.scalars(select(Binding)).one()
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "patient.bind")).one()
    assert binding.method == "window"
    assert entry.actor == binding.by
    assert binding.by.startswith("staff:")


@pytest.mark.req("ACC-1")
def test_a_wrong_card_a_wrong_code_and_a_late_code_bind_nobody(hospital: Town, phone: Phone) -> None:
    register("王芳", WANG_ID, None, mrn="P1")
    clerk = desk(hospital, "clerk", "cashier")
    code = short_code(phone)
    assert post(clerk, "/staff/window/bind/check", card="CP9", code=code).status_code == 404
    refused = post(clerk, "/staff/window/bind/check", card="CP1", code="ABCD2345")
    assert refused.status_code == 409
    assert 'value="CP1"' in refused.text, "the form stays with what was scanned"
    assert "短码不正确" in refused.text
    newer = short_code(phone)
    assert post(clerk, "/staff/window/bind/check", card="CP1", code=code).status_code == 409
    assert post(clerk, "/staff/window/bind/check", card="CP1", code=newer).status_code == 200
    with begin() as session:
        session.execute(text("UPDATE patient_window_code SET expires_at = now()"))
    assert post(clerk, "/staff/window/bind/check", card="CP1", code=newer).status_code == 409


@pytest.mark.req("SEC-1")
def test_who_may_not_bind_sees_no_window(hospital: Town) -> None:
    technician = desk(hospital, "tech", "technician")
    assert technician.get("/staff/window/bind").status_code == 403


@pytest.mark.req("OPS-1")
def test_staff_see_what_became_of_a_message_without_its_content(hospital: Town, phone: Phone) -> None:
    register("王芳", WANG_ID, "00013800001")
    phone.ask_for_code("王芳", WANG_ID)
    code = hospital.sms_code("00013800001")
    work("notify")
    director = desk(hospital, "chief", "director")
    page = director.get("/staff/notify").text
    assert "绑定验证码" in page
    assert "000****0001" in page
    found = re.search(r'href="(/staff/notify/[0-9a-f-]+)"', page)
    assert found is not None
    detail = director.get(found[1]).text
    assert "已发送" in detail
    for secret in (code, "00013800001", "王芳"):
        assert secret not in page + detail
    assert director.get("/staff/hospital/departments").status_code == 200
    assert "Messages" in director.get("/staff/notify?lang=en").text
