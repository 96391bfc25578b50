"""The page of the audit trail: filters, paging by key, and no patient for who may not read patients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from cloud.kit import clock
from cloud.kit.audit import AuditEntry, record
from cloud.kit.db import begin
from cloud.staff import service, trail
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.req("SEC-1", "OPS-1")
PAGE = "/staff/audit"
ENTRY = re.compile(r'data-entry="([0-9a-f-]{36})"')
OLDER = re.compile(r'rel="next" href="([^"]+)"')


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def _report_commented() -> str:
    with begin() as session:
        record(
            session,
            actor="his",
            action="result.comment",
            aggregate=("specimen", "s-1"),
            before={"comment": "乳糜血", "version": 2},
            after={"comment": "患者王小梅 00013800001 / 999001198503020001 已告知", "phone": "00013800001"},
            reason="因故再看 00013800001",
        )
        return str(session.scalars(select(AuditEntry.id).where(AuditEntry.aggregate_id == "s-1")).one())


def _numbers(html: str) -> list[str]:
    return ENTRY.findall(html)


def test_the_director_reads_an_entry_before_and_after_with_numbers_of_persons_masked(site: Site) -> None:
    entry = _report_commented()
    director = site.staff("director")
    page = director.get(f"{PAGE}/{entry}").text
    for seen in ("乳糜血", "修改报告备注", "标本", "comment", "等待封存"):
        assert seen in page, seen
    for hidden in ("00013800001", "999001198503020001"):
        assert hidden not in page
        assert hidden not in director.get(PAGE).text


def test_an_administrator_sees_that_something_happened_to_a_specimen_and_not_what(site: Site) -> None:
    entry = _report_commented()
    admin = site.staff("admin")
    listed, page = admin.get(PAGE, params={"kind": "specimen"}).text, admin.get(f"{PAGE}/{entry}").text
    assert "修改报告备注" in listed
    for hidden in ("乳糜血", "王小梅", "因故再看", "00013800001"):
        assert hidden not in page + listed
    assert "您的账号看不到" in page
    assert ">2<" in page, "a version says nothing of the patient"


def test_an_administrator_sees_what_was_done_to_accounts(site: Site) -> None:
    admin = site.staff("admin")
    with begin() as session:
        account = service.account_by_login(session, "cashier")
        assert account is not None
        service.set_roles(session, account.id, roles=["technician"], by="system")
        changed = session.scalars(select(AuditEntry.id).where(AuditEntry.action == "staff.set_roles")).one()
    page = admin.get(f"{PAGE}/{changed}").text
    assert "修改角色" in page
    assert re.search(r"cashier</td>.*technician</td>", page, re.DOTALL)
    assert "Roles changed" in admin.get(f"{PAGE}/{changed}", params={"lang": "en"}).text


@pytest.mark.parametrize("role", ["technician", "reviewer", "field_engineer", "cashier"])
def test_who_does_not_answer_for_the_trail_does_not_read_it(site: Site, role: str) -> None:
    visitor = site.staff(role)
    assert visitor.get(PAGE).status_code == 403
    assert visitor.get(f"{PAGE}/{_report_commented()}").status_code == 403


def test_filters_by_kind_thing_actor_action_and_day(site: Site) -> None:
    entry = _report_commented()
    director = site.staff("director")
    today = clock.today()

    def found(**filters: str) -> list[str]:
        answer = director.get(PAGE, params=filters)
        assert answer.status_code == 200, answer.text
        return _numbers(answer.text)

    assert found(kind="specimen") == found(id="s-1") == found(actor="his") == found(action="result.comment") == [entry]
    assert found(kind="specimen", actor="system") == []
    assert found(kind="specimen", since=str(today), until=str(today)) == [entry]
    assert found(kind="specimen", since=str(today + timedelta(days=1))) == []
    assert found(kind="specimen", until=str(today - timedelta(days=1))) == []
    with begin() as session:
        signed_in = select(AuditEntry.id).where(AuditEntry.action == "staff.sign_in")
        assert found(actor="director", action="staff.sign_in") == [str(session.scalars(signed_in).one())]


@pytest.mark.parametrize(
    "wrong",
    [{"since": "tomorrow"}, {"until": "9999-12-31"}, {"before": "x~y"}, {"before": "2026-01-01T00:00:00~" + "0" * 32}],
)
def test_a_filter_that_cannot_be_read_is_refused_in_words(site: Site, wrong: dict[str, str]) -> None:
    assert site.staff("director").get(PAGE, params=wrong).status_code == 422


def test_pages_follow_one_another_by_key_while_new_entries_come_in(site: Site) -> None:
    with begin() as session:
        for number in range(2 * trail.PAGE_SIZE + 5):
            record(session, actor="system", action="specimen.reject", aggregate=("specimen", f"s-{number}"))
        newest_first = select(AuditEntry.id).where(AuditEntry.kind == "specimen").order_by(AuditEntry.at.desc())
        expected = [str(each) for each in session.scalars(newest_first.order_by(AuditEntry.id.desc()))]
    director = site.staff("director")
    seen: list[str] = []
    address: str | None = f"{PAGE}?kind=specimen"
    pages = 0
    while address is not None:
        page = director.get(address).text
        seen += _numbers(page)
        pages += 1
        with begin() as session:  # an offset would show the last entry of this page again on the next
            record(session, actor="system", action="specimen.reject", aggregate=("specimen", "came later"))
        following = OLDER.search(page)
        address = following.group(1).replace("&amp;", "&") if following else None
    assert pages == 3
    assert seen == expected


def test_entries_of_one_moment_are_neither_left_out_nor_shown_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = clock.now()
    with monkeypatch.context() as frozen:
        frozen.setattr(clock, "now", lambda: moment)
        with begin() as session:
            for number in range(trail.PAGE_SIZE + 3):
                record(session, actor="system", action="order.add", aggregate=("order", f"o-{number}"))
    director = site.staff("director")
    first = director.get(PAGE, params={"kind": "order"}).text
    following = OLDER.search(first)
    assert following is not None
    second = director.get(following.group(1).replace("&amp;", "&")).text
    assert (
        len({*_numbers(first), *_numbers(second)})
        == len(_numbers(first)) + len(_numbers(second))
        == trail.PAGE_SIZE + 3
    )
