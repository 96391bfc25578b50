"""Who may do what to which tests: granted, revoked, enforced at the server, refused with a sentence, shown by date."""

from __future__ import annotations

import csv
import io
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud import demo
from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound, XinglinError
from cloud.lis.authority import service
from cloud.lis.authority.model import AuthorityGrant
from cloud.lis.authority.reading import ending, enforced, matrix
from cloud.lis.authority.service import missing_authority, require_authority
from cloud.lis.authority.words import ACTS
from cloud.lis.catalog import load
from cloud.staff.model import StaffAccount
from tests.support.bench import Technologist
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.req("SEC-1", "SEC-2", "LIS-5")
PAGE = "/staff/lis/authority"


def today() -> date:
    return clock.today()


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[Site]:
    """One database and site for all tests here, with the cast and the catalogue."""
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        hire_cast()
        load.run()
        with running_site() as running:
            yield running


@pytest.fixture
def people(hospital: Site) -> dict[str, Technologist]:
    """The cast by role; nobody has granted or decided anything."""
    with begin() as session:
        session.execute(text("TRUNCATE lab_authority_grant, lab_authority_policy"))
        accounts = session.scalars(select(StaffAccount)).all()
        return {each.login: Technologist(each.name, frozenset(), each.id) for each in accounts}


def refusals(session: Session, by: Technologist) -> list[AuditEntry]:
    """What the trail says was refused to this person; the newest first."""
    return list(
        session.scalars(
            select(AuditEntry)
            .where(AuditEntry.action == "authority.refused", AuditEntry.aggregate_id == str(by.id))
            .order_by(AuditEntry.number.desc())
        )
    )


def give(
    session: Session, people: dict[str, Technologist], who: str = "reviewer", **changed: object
) -> list[AuthorityGrant]:
    given: dict[str, object] = {
        "acts": ["result.release"],
        "scope": "section",
        "targets": ["chemistry"],
        "valid_from": today(),
        "valid_to": today() + timedelta(days=10),
        "reason": "考核合格",
        "by": people["director"],
    }
    return service.give(session, staff_id=people[who].id, **{**given, **changed})  # type: ignore[arg-type]


def enforce(people: dict[str, Technologist], **changed: object) -> None:
    with begin() as session:
        give(session, people, **changed)
        service.set_enforced(session, act="result.release", value=True, by=people["director"], reason="制度")


def refusal(by: Technologist, *tests: str, act: str = "result.release") -> XinglinError | None:
    with begin() as session:
        try:
            require_authority(session, by, act, tests)
        except Forbidden as refused:
            return refused
    return None


def test_until_somebody_decides_the_role_alone_counts_and_the_page_says_so(
    hospital: Site, people: dict[str, Technologist]
) -> None:
    assert refusal(people["reviewer"], "K") is None
    assert 'data-policy="undecided"' in hospital.staff("technician").get(PAGE).text


def test_a_grant_on_a_section_covers_its_tests_and_no_other(people: dict[str, Technologist]) -> None:
    enforce(people)
    assert refusal(people["reviewer"], "K", "NA") is None
    refused = refusal(people["reviewer"], "K", "WBC")
    assert refused is not None
    assert refused.code == "authority.none"
    assert "白细胞" in refused.fields["tests"]
    assert "钾" not in refused.fields["tests"]


def test_a_grant_on_a_panel_covers_what_is_in_it(people: dict[str, Technologist]) -> None:
    enforce(people, scope="panel", targets=["CBC"])
    assert refusal(people["reviewer"], "WBC", "HGB") is None
    assert refusal(people["reviewer"], "K") is not None


@pytest.mark.parametrize(
    ("days", "code"),
    [((-20, -1), "authority.expired"), ((1, 20), "authority.not_yet"), ((-20, 0), None), ((0, 20), None)],
)
def test_the_days_of_a_grant_are_kept_to_the_day(
    people: dict[str, Technologist], days: tuple[int, int], code: str | None
) -> None:
    enforce(people, who="director", by=None)
    with begin() as session:
        give(
            session,
            people,
            valid_from=today() + timedelta(days=days[0]),
            valid_to=today() + timedelta(days=days[1]),
        )
    refused = refusal(people["reviewer"], "K")
    assert (refused.code if refused else None) == code


def test_an_expired_grant_is_refused_in_a_sentence_and_the_refusal_is_in_the_audit_trail(
    people: dict[str, Technologist],
) -> None:
    enforce(people, who="director", by=None)
    with begin() as session:
        give(session, people, valid_from=today() - timedelta(days=9), valid_to=today() - timedelta(days=1))
    refused = refusal(people["reviewer"], "K")
    assert refused is not None
    sentence = refused.message.format(**refused.fields)
    assert (
        sentence == f"您“医学审核（签发）”（钾）的授权已于 {today() - timedelta(days=1)} 到期，请找科主任续期后再操作。"
    )
    with begin() as session:
        entry = refusals(session, people["reviewer"])[0]
        assert entry.actor == f"staff:{people['reviewer'].id}"
        assert entry.after == {"act": "result.release", "tests": {"K": "expired"}}


def test_a_refusal_stays_in_the_trail_though_the_act_is_taken_back(people: dict[str, Technologist]) -> None:
    enforce(people)

    def act_and_fail() -> None:
        with begin() as session:
            require_authority(session, people["technician"], "result.release", ["K"])

    with pytest.raises(Forbidden):
        act_and_fail()
    with begin() as session:
        assert len(refusals(session, people["technician"])) == 1


def test_revoking_ends_a_grant_at_once_and_is_done_once(people: dict[str, Technologist]) -> None:
    enforce(people, who="director", by=None)
    with begin() as session:
        [grant] = give(session, people)
    assert refusal(people["reviewer"], "K") is None

    def revoke(_: int) -> str:
        try:
            with begin() as session:
                service.revoke(session, grant.id, by=people["director"], reason="调岗")
        except Conflict as refused:
            return refused.code
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(revoke, range(2))) == ["authority.revoked_already", "done"]
    refused = refusal(people["reviewer"], "K")
    assert refused is not None
    assert refused.code == "authority.revoked"


def test_nobody_grants_to_himself_not_even_past_the_program(people: dict[str, Technologist]) -> None:
    with begin() as session, pytest.raises(Forbidden):
        give(session, people, who="director")
    director = people["director"]
    row = AuthorityGrant(
        staff_id=director.id,
        act="result.release",
        scope="all",
        target="",
        valid_from=today(),
        reason="-",
        granted_by=director.id,
        granted_by_name=director.name,
    )
    with begin() as session:
        session.add(row)
        with pytest.raises(IntegrityError, match="not_to_oneself"):
            session.flush()
        session.rollback()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"reason": " "}, "authority.reason"),
        ({"acts": []}, "authority.act"),
        ({"acts": ["result.wish"]}, "authority.act"),
        ({"scope": "house"}, "authority.scope"),
        ({"targets": []}, "authority.targets"),
        ({"scope": "test", "targets": ["NOSUCH"]}, "authority.unknown_target"),
        ({"valid_to": date(2020, 1, 1)}, "authority.days"),
    ],
)
def test_an_incomplete_grant_is_refused(people: dict[str, Technologist], changed: dict[str, object], code: str) -> None:
    with begin() as session, pytest.raises(Invalid) as refused:
        give(session, people, **changed)
    assert refused.value.code == code


def test_a_grant_to_nobody_and_the_end_of_no_grant_are_refused(people: dict[str, Technologist]) -> None:
    nobody = {"reviewer": Technologist("无", frozenset()), "director": people["director"]}
    with begin() as session, pytest.raises(NotFound):
        give(session, nobody)
    with begin() as session, pytest.raises(NotFound):
        service.revoke(session, uuid.uuid4(), by=people["director"], reason="-")
    with begin() as session, pytest.raises(Invalid):
        service.revoke(session, uuid.uuid4(), by=people["director"], reason=" ")


def test_what_nobody_could_do_is_not_enforced(people: dict[str, Technologist]) -> None:
    with begin() as session, pytest.raises(Conflict) as refused:
        service.set_enforced(session, act="result.release", value=True, by=people["director"], reason="制度")
    assert refused.value.code == "authority.nobody"
    with begin() as session:
        give(session, people, who="technician")  # whose role does not release
    with begin() as session, pytest.raises(Conflict):
        service.set_enforced(session, act="result.release", value=True, by=people["director"], reason="制度")


def test_the_newest_decision_rules_an_act(people: dict[str, Technologist]) -> None:
    enforce(people)
    with begin() as session:
        assert enforced(session, "result.release")
        assert not enforced(session, "result.review")
        service.set_enforced(session, act="", value=False, by=people["director"], reason="停用")
    with begin() as session:
        assert not enforced(session, "result.release")


def test_an_act_that_does_not_exist_is_a_fault_of_the_program(people: dict[str, Technologist]) -> None:
    with begin() as session, pytest.raises(LookupError):
        missing_authority(session, people["reviewer"].id, "result.wish", ["K"])


def test_the_matrix_of_a_past_day_shows_what_was_in_force_then(people: dict[str, Technologist]) -> None:
    with begin() as session:
        [grant] = give(session, people, valid_from=today() - timedelta(days=40))
        session.execute(
            text("UPDATE lab_authority_grant SET created_at = created_at - interval '30 days' WHERE id = :id"),
            {"id": grant.id},
        )
    with begin() as session:
        service.revoke(session, grant.id, by=people["director"], reason="调岗")

    def held(days_ago: int, test: str = "") -> bool:
        with begin() as session:
            rows = {row.person.login: row for row in matrix(session, today() - timedelta(days=days_ago), test)}
        return bool(rows["reviewer"].cells["result.release"].grants)

    assert [held(0), held(1), held(29), held(31)] == [False, True, True, False]
    assert [held(1, "K"), held(1, "WBC")] == [True, False]


def test_a_grant_that_ends_soon_is_listed_until_it_is_renewed(people: dict[str, Technologist]) -> None:
    with begin() as session:
        give(session, people)
        give(session, people, targets=["hematology"], valid_to=today() + timedelta(days=31))
    with begin() as session:
        assert [each.grant.target for each in ending(session)] == ["chemistry"]
        give(session, people, valid_from=today() + timedelta(days=11), valid_to=today() + timedelta(days=300))
    with begin() as session:
        # The renewal is not in force yet: it does not count before its first day.
        assert len(ending(session)) == 1
        give(session, people, valid_to=None)
    with begin() as session:
        assert ending(session) == []


def test_the_director_grants_on_the_page_and_the_table_and_its_export_show_it(
    hospital: Site, people: dict[str, Technologist]
) -> None:
    director = hospital.staff("director")
    director.get(f"{PAGE}/grants")
    form = {
        "person": str(people["reviewer"].id),
        "act": ["result.review", "result.release"],
        "scope": "test",
        "codes": "K，NA  WBC",
        "valid_from": today().isoformat(),
        "valid_to": (today() + timedelta(days=5)).isoformat(),
        "reason": "=考核合格",
    }
    answer = director.post(f"{PAGE}/grants", form)
    assert answer.status_code == 200
    assert answer.text.count('data-standing="valid"') == 6
    assert 'data-ending="6"' in answer.text
    row = re.findall(r'<tr data-login="reviewer">.*?</tr>', director.get(PAGE).text, re.S)[0]
    assert re.findall(r'class="authority-grant"[^>]*>(\w+)<', row) == ["K", "NA", "WBC"] * 2
    exported = director.get(f"{PAGE}/export.csv?test=K")
    lines = list(csv.reader(io.StringIO(exported.content.decode("utf-8-sig"))))
    mine = [line for line in lines if line[2] == "reviewer" and line[7] == "K"]
    assert [line[3] for line in mine] == ["技术审核", "医学审核（签发）"]
    assert mine[0][-1] == "'=考核合格"  # a spreadsheet must not run it


def test_who_may_not_grant_sees_the_table_and_no_form(hospital: Site) -> None:
    technician = hospital.staff("technician")
    assert technician.get(PAGE).status_code == 200
    assert "授权记录" in technician.get(f"{PAGE}/grants").text
    assert 'name="act"' not in technician.get(f"{PAGE}/grants").text
    assert technician.post(f"{PAGE}/grants", {}).status_code == 403
    assert technician.post(f"{PAGE}/policy", {"value": "true"}).status_code == 403


def test_a_refused_grant_keeps_what_was_filled_in(hospital: Site, people: dict[str, Technologist]) -> None:
    director = hospital.staff("director")
    director.get(f"{PAGE}/grants")
    answer = director.post(
        f"{PAGE}/grants",
        {
            "person": str(people["reviewer"].id),
            "act": ["result.review"],
            "scope": "test",
            "codes": "NOSUCH",
            "valid_from": "gestern",
            "reason": "考核合格",
        },
    )
    assert answer.status_code == 422
    assert 'value="NOSUCH"' in answer.text
    assert 'data-code="authority.date"' in answer.text


def test_revoking_and_the_decision_by_page(hospital: Site, people: dict[str, Technologist]) -> None:
    with begin() as session:
        [grant] = give(session, people)
    director = hospital.staff("director")
    director.get(f"{PAGE}/grants")
    answer = director.post(f"{PAGE}/policy", {"act": "result.release", "value": "true", "reason": "制度"})
    assert 'data-policy-act="result.release" data-enforced="yes"' in answer.text
    answer = director.post(f"{PAGE}/grants/{grant.id}/revoke", {"reason": "调岗"})
    assert 'data-standing="revoked"' in answer.text
    answer = director.post(f"{PAGE}/policy", {"act": "", "value": "true", "reason": "制度"})
    assert (answer.status_code, 'data-code="authority.nobody"' in answer.text) == (409, True)


def test_the_demonstration_can_work_from_its_first_minute(people: dict[str, Technologist]) -> None:
    demo.run()
    demo.run()
    with begin() as session:
        assert all(enforced(session, act) for act in ACTS)
        accounts = {each.login: each.id for each in session.scalars(select(StaffAccount))}
        assert not missing_authority(session, accounts["technician"], "result.review", ["K"])
        assert not missing_authority(session, accounts["reviewer"], "result.release", ["K"])
        assert missing_authority(session, accounts["technician"], "result.release", ["K"])
        assert not missing_authority(session, accounts["director"], "catalog.approve")
