"""Signing in, and what each role is let into, over HTTP."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update

from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.live import announce
from cloud.staff import service
from cloud.staff.model import StaffAccount
from cloud.web.rate import RateLimit
from cloud.web.sessions import WebSession
from tests.support.site import CAST, PASSWORD, Site, Visitor, hire_cast, running_site

pytestmark = pytest.mark.req("SEC-1")


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def _actions_on(login: str) -> list[str]:
    with begin() as session:
        account = service.account_by_login(session, login)
        assert account is not None
        entries = (
            select(AuditEntry.action).where(AuditEntry.aggregate_id == str(account.id)).order_by(AuditEntry.number)
        )
        return list(session.scalars(entries))


def _change(login: str, **values: object) -> None:
    with begin() as session:
        session.execute(update(StaffAccount).where(StaffAccount.login == login).values(**values))


def test_a_technician_signs_in_and_out(site: Site) -> None:
    visitor = site.visitor()
    asked = visitor.get("/staff")
    assert asked.url.path == "/staff/sign-in"
    home = visitor.post("/staff/sign-in", {"login": "technician", "password": PASSWORD})
    assert (home.status_code, home.url.path) == (200, "/staff")
    assert CAST["technician"] in home.text
    visitor.post("/staff/sign-out")
    assert visitor.get("/staff").url.path == "/staff/sign-in"
    assert _actions_on("technician") == ["staff.create", "staff.sign_in"]


def test_a_form_without_the_page_token_is_refused_in_words(site: Site) -> None:
    visitor = site.visitor()
    visitor.get("/staff/sign-in")
    for token in ("", "0" * 64):
        refused = visitor.http.post(
            "/staff/sign-in", data={"login": "technician", "password": PASSWORD, "csrf_token": token}
        )
        assert refused.status_code == 403
        assert "页面已过期" in refused.text
    assert _actions_on("technician") == ["staff.create"]


def test_a_token_of_another_browser_is_refused(site: Site) -> None:
    thief, owner = site.visitor(), site.visitor()
    owner.get("/staff/sign-in")
    thief.get("/staff/sign-in")
    thief.token = owner.token
    assert thief.post("/staff/sign-in", {"login": "technician", "password": PASSWORD}).status_code == 403


def test_ten_wrong_passwords_lock_the_account_until_an_administrator_unlocks_it(site: Site) -> None:
    visitor = site.visitor()
    for _ in range(service.WRONG_PASSWORDS_TO_LOCK):
        assert visitor.sign_in("technician", "wrong-password").status_code == 401
    locked = visitor.sign_in("technician")
    assert locked.status_code == 403
    assert "账号已锁定" in locked.text
    assert _actions_on("technician").count("staff.wrong_password") == service.WRONG_PASSWORDS_TO_LOCK - 1
    assert _actions_on("technician")[-1] == "staff.locked"

    admin = site.staff("admin")
    accounts = admin.get("/staff/accounts")
    unlock = re.search(r"/staff/accounts/[0-9a-f-]+/unlock", accounts.text)
    assert unlock is not None
    admin.post(unlock.group())
    assert visitor.sign_in("technician").status_code == 200


def test_a_lock_ends_by_time(site: Site) -> None:
    _change("technician", locked_until=clock.now() - timedelta(seconds=1))
    assert site.visitor().sign_in("technician").status_code == 200


def test_an_unknown_login_is_answered_like_a_wrong_password(site: Site) -> None:
    known = site.visitor().sign_in("technician", "wrong-password")
    unknown = site.visitor().sign_in("nobody", "wrong-password")
    assert (known.status_code, unknown.status_code) == (401, 401)
    assert "登录名或密码不正确" in unknown.text


def test_one_address_may_not_try_for_ever(site: Site) -> None:
    from cloud.staff.routes import SIGN_INS_PER_ADDRESS

    visitor = site.visitor()
    visitor.sign_in("nobody", "wrong-password")
    with begin() as session:
        session.execute(update(RateLimit).values(count=SIGN_INS_PER_ADDRESS))
    slowed = visitor.sign_in("technician")
    assert slowed.status_code == 429
    assert "尝试过于频繁" in slowed.text


def test_signing_in_gives_a_new_session_and_a_new_page_token(site: Site) -> None:
    visitor = site.staff("technician")
    before = dict(visitor.http.cookies)
    token = visitor.token
    visitor.sign_in("technician")
    assert visitor.http.cookies["xl_staff"] != before["xl_staff"]
    assert visitor.token != token
    stolen = site.visitor()
    stolen.http.cookies.set("xl_staff", before["xl_staff"])
    assert stolen.get("/staff").url.path == "/staff/sign-in"


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(site: Site) -> None:
    visitor = site.visitor()
    visitor.get("/staff/sign-in")
    answer = visitor.post("/staff/sign-in", {"login": "technician", "password": PASSWORD})
    cookies = [cookie for each in answer.history for cookie in each.headers.get_list("set-cookie")]
    assert cookies
    for cookie in cookies:
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()


def test_the_database_does_not_hold_the_cookie(site: Site) -> None:
    visitor = site.staff("technician")
    with begin() as session:
        stored = session.scalars(select(WebSession.token_hash)).all()
    assert all(visitor.http.cookies["xl_staff"].encode() not in each for each in stored)


def test_an_idle_session_ends(site: Site) -> None:
    visitor = site.staff("technician")
    with begin() as session:
        session.execute(update(WebSession).values(seen_at=clock.now() - timedelta(hours=3)))
    assert visitor.get("/staff").url.path == "/staff/sign-in"


def test_a_disabled_account_is_out_at_once(site: Site) -> None:
    technician, admin = site.staff("technician"), site.staff("admin")
    accounts = admin.get("/staff/accounts").text
    row = accounts[accounts.index('data-login="technician"') :]
    disable = re.search(r"/staff/accounts/[0-9a-f-]+/active", row)
    assert disable is not None
    admin.post(disable.group(), {"active": "false"})
    assert technician.get("/staff").url.path == "/staff/sign-in"
    assert technician.sign_in("technician").status_code == 401


def test_an_administrator_makes_an_account_whose_password_must_be_changed(site: Site) -> None:
    admin = site.staff("admin")
    admin.get("/staff/accounts")
    made = admin.post("/staff/accounts", {"login": "new.one", "name": "郑新来", "roles": ["technician", "cashier"]})
    password = re.search(r"data-first-password>([^<]+)<", made.text)
    assert password is not None
    newcomer = site.visitor()
    assert newcomer.sign_in("new.one", password.group(1)).url.path == "/staff/password"
    assert newcomer.get("/staff").status_code == 403
    newcomer.get("/staff/password")
    own = "my own long password"
    changed = newcomer.post("/staff/password", {"old": password.group(1), "new": own, "again": own})
    assert (changed.status_code, changed.url.path) == (200, "/staff")
    assert "password_hash" not in str(_actions_on("new.one"))
    assert _actions_on("new.one")[0] == "staff.create"


@pytest.mark.parametrize("new", ["short", "aaaaaaaaaaaa", "technician-2026"])
def test_a_weak_password_is_refused(site: Site, new: str) -> None:
    visitor = site.staff("technician")
    visitor.get("/staff/password")
    assert visitor.post("/staff/password", {"old": PASSWORD, "new": new, "again": new}).status_code == 422


@pytest.mark.parametrize("role", CAST)
def test_only_the_administrator_sees_the_accounts(site: Site, role: str) -> None:
    answer = site.staff(role).get("/staff/accounts")
    if role == "admin":
        assert answer.status_code == 200
    else:
        assert answer.status_code == 403
        assert "管理账号" in answer.text


def test_sign_in_leads_only_to_our_own_pages(site: Site) -> None:
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        visitor = site.visitor()
        visitor.get("/staff/sign-in")
        home = visitor.post("/staff/sign-in", {"login": "technician", "password": PASSWORD, "next": elsewhere})
        assert home.url.path == "/staff"


@pytest.mark.req("UX-1")
def test_english_is_chosen_once_and_kept(site: Site) -> None:
    visitor = site.visitor()
    assert "登录名" in visitor.get("/staff/sign-in").text
    assert "Login name" in visitor.get("/staff/sign-in?lang=en").text
    assert "Login name" in visitor.get("/staff/sign-in").text
    assert "登录名" in visitor.get("/staff/sign-in?lang=zh-CN").text


def test_open_pages_hear_what_was_committed_and_nothing_else(site: Site) -> None:
    visitor = site.staff("technician")
    timeout = httpx.Timeout(30)
    with visitor.http.stream("GET", "/staff/live?topics=results", timeout=timeout) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": listening"
        with begin() as session:
            announce(session, "gateways", {"gateway": "box-1"})
        with pytest.raises(RuntimeError), begin() as session:  # noqa: PT012
            announce(session, "results", {"specimen": "rolled back"})
            raise RuntimeError("nothing of this is committed")
        with begin() as session:
            announce(session, "results", {"specimen": "123"})
        position, *heard = [line for line in (next(lines) for _ in range(4)) if line]
    assert position.startswith("id: ")
    assert heard == ["event: results", 'data: {"specimen":"123"}']


def _stream_of(page: str) -> str:
    """The address of the event stream that a page was read with."""
    [address] = re.findall(r'"(/staff/live\?[^"]*results[^"]*)"', page)
    return html.unescape(address)


def _first_event(visitor: Visitor, address: str, headers: dict[str, str] | None = None) -> list[str]:
    with visitor.http.stream("GET", address, timeout=httpx.Timeout(30), headers=headers) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": listening"
        return [line for line in (next(lines) for _ in range(5)) if line]


@pytest.mark.req("LIS-18")
def test_a_page_hears_what_was_committed_between_its_reading_and_its_listening(site: Site) -> None:
    visitor = site.staff("reviewer")
    address = _stream_of(visitor.get("/staff/lis/review").text)
    with begin() as session:
        announce(session, "results", {"specimen": "meanwhile"})
    position, *heard = _first_event(visitor, address)
    assert heard == ["event: results", 'data: {"specimen":"meanwhile"}']

    with begin() as session:
        announce(session, "results", {"specimen": "while away"})
    again = _first_event(visitor, address, {"Last-Event-ID": position.removeprefix("id: ")})
    assert again[1:] == ["event: results", 'data: {"specimen":"while away"}'], "a browser that reconnects names its own"


def test_a_page_whose_position_is_forgotten_is_told_that_all_may_have_changed(site: Site) -> None:
    for position in ("another-12", "nonsense", "-", f"{'0' * 12}-99999"):
        heard = _first_event(site.staff("reviewer"), f"/staff/live?topics=results&since={position}")
        assert heard[1:] == ["event: results", "data: {}"]


def test_the_stream_is_closed_to_strangers(site: Site) -> None:
    assert site.visitor().get("/staff/live?topics=results").url.path == "/staff/sign-in"


def test_a_person_sees_where_they_are_signed_in_and_ends_a_forgotten_one(site: Site) -> None:
    here, forgotten, third, stranger = (site.staff(each) for each in ("reviewer", "reviewer", "reviewer", "technician"))
    opened = re.findall(r'data-session="([0-9a-f-]{36})"', forgotten.get("/staff/sessions").text)
    assert len(opened) == 3, "only one's own"
    page = here.get("/staff/sessions").text
    assert page.count("本次登录") == 1
    ends = re.findall(r"/staff/sessions/([0-9a-f-]{36})/end", page)
    assert len(ends) == 2
    assert stranger.post(f"/staff/sessions/{ends[0]}/end").status_code == 404, "nobody ends another person's"
    assert here.post(f"/staff/sessions/{ends[0]}/end").status_code == 200
    assert here.post(f"/staff/sessions/{ends[0]}/end").status_code == 404
    paths = sorted(each.get("/staff").url.path for each in (forgotten, third))
    assert paths == ["/staff", "/staff/sign-in"], "one was ended, the other lives"
    assert here.post("/staff/sessions/end-others").status_code == 200
    assert {each.get("/staff").url.path for each in (forgotten, third)} == {"/staff/sign-in"}
    assert here.get("/staff").url.path == stranger.get("/staff").url.path == "/staff"
    assert _actions_on("reviewer").count("staff.end_session") == 2
