"""The patient index: nothing overwritten, merges as links, numbers unreadable at rest."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import date

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from cloud.kit import db
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.events import StoredEvent
from cloud.kit.sealed import Unreadable, blind_index, seal, unseal
from cloud.people import access, service
from cloud.people.access import Subject, visible_to
from cloud.people.match import match
from cloud.people.model import Person, PersonGrant, PersonLink, PersonVersion
from cloud.people.rules import PersonDetails

NUMBER, PHONE = "999101199005010022", "00013800001"


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


def wang(session: Session, mrn: str = "P1", **more: object) -> Person:
    values = {"name": "王芳", "sex": "F", "phone": PHONE, "id_number": NUMBER, **more}
    return service.register(session, PersonDetails(identifiers=(("mrn", mrn),), **values), by="his")  # type: ignore[arg-type]


def seen_by(session: Session, account: uuid.UUID, scope: str = "report") -> set[uuid.UUID]:
    return set(session.scalars(visible_to(Subject.account(account), scope)))


def granted(session: Session, person: Person) -> uuid.UUID:
    account = uuid.uuid4()
    access.grant(session, account_id=account, person_id=person.id, scopes=access.ALL_SCOPES, origin="self", by="t")
    return account


@pytest.mark.req("SEC-1")
def test_numbers_lie_encrypted_and_are_found_by_their_blind_index(session: Session) -> None:
    person = wang(session)
    session.flush()
    row = session.execute(text("SELECT p::text FROM person p")).scalar_one()
    version = session.execute(text("SELECT v::text FROM person_version v")).scalar_one()
    for secret in (NUMBER, PHONE):
        assert secret not in row + version
        assert secret.encode().hex() not in row + version
    assert "王芳".encode().hex() not in version
    session.expire_all()
    assert (person.phone, person.id_number) == (PHONE, NUMBER)
    assert match(session, name="王芳", id_number=NUMBER) is person


@pytest.mark.req("SEC-1")
def test_a_sealed_value_opens_only_for_its_purpose_and_unchanged(database: str) -> None:
    sealed = seal(NUMBER, "person.id_number")
    assert unseal(sealed, "person.id_number") == NUMBER
    assert seal(NUMBER, "person.id_number") != sealed
    for broken, purpose in ((sealed, "person.phone"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), "person.id_number")):
        with pytest.raises(Unreadable):
            unseal(broken, purpose)
    assert blind_index(PHONE, "person.phone") != blind_index(PHONE, "person.id_number")


@pytest.mark.req("SEC-1")
def test_another_secret_key_reads_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.config import settings

    sealed = seal(NUMBER, "person.id_number")
    monkeypatch.setenv("XINGLIN_SECRET_KEY", "another-key-for-tests-0123456789abcdef")
    settings.cache_clear()
    with pytest.raises(Unreadable):
        unseal(sealed, "person.id_number")


def test_every_state_of_a_file_is_kept(session: Session) -> None:
    person = wang(session)
    service.update(session, person.id, PersonDetails(phone="00013800002"), by="his")
    service.update(session, person.id, PersonDetails(name="王芳芳"), by="staff:1")
    rows = session.scalars(select(PersonVersion).order_by(PersonVersion.version)).all()
    kept = [json.loads(row.details) for row in rows]
    assert [(each["name"], each["phone"]) for each in kept] == [
        ("王芳", PHONE),
        ("王芳", "00013800002"),
        ("王芳芳", "00013800002"),
    ]
    facts = session.scalars(select(StoredEvent).where(StoredEvent.type == "people.person_updated")).all()
    assert [fact.payload["changed"] for fact in facts] == [["phone"], ["name"]]
    assert "00013800002" not in json.dumps([fact.payload for fact in facts])


def test_the_same_message_again_changes_nothing(session: Session) -> None:
    person = wang(session)
    for _ in range(2):
        service.update(session, person.id, PersonDetails(name="王芳", sex="F", identifiers=(("mrn", "P1"),)), by="his")
    assert session.scalar(select(func.count()).select_from(PersonVersion)) == 1


def test_an_update_without_a_field_leaves_it(session: Session) -> None:
    person = wang(session, birth_date=date(1990, 5, 1))
    service.update(session, person.id, PersonDetails(name="王方"), by="his")
    assert (person.sex, person.birth_date, person.phone) == ("F", date(1990, 5, 1), PHONE)


def test_a_number_belongs_to_one_file(session: Session) -> None:
    wang(session)
    with pytest.raises(Conflict):
        wang(session, "P1", name="李四")
    other = wang(session, "P2")
    with pytest.raises(Conflict):
        service.update(session, other.id, PersonDetails(identifiers=(("mrn", "P1"),)), by="his")


@pytest.mark.req("ACC-1")
def test_a_merge_is_a_link_and_moves_nothing(session: Session) -> None:
    kept, retired = wang(session, "P1"), wang(session, "P2")
    service.merge(session, into=kept.id, retired=retired.id, by="his", reason="ADT^A40")
    assert service.find(session, "mrn", "P2") is kept
    assert set(service.person_ids(session, retired.id)) == {kept.id, retired.id}
    assert session.get(Person, retired.id) is retired
    assert match(session, name="王芳", id_number=NUMBER) is kept
    service.unmerge(session, retired=retired.id, by="staff:1", reason="两个人")
    assert service.find(session, "mrn", "P2") is retired
    link = session.scalars(select(PersonLink)).one()
    assert (link.unlinked_by, link.unlink_reason) == ("staff:1", "两个人")


def test_merges_make_chains_and_never_a_circle(session: Session) -> None:
    a, b, c = (wang(session, number) for number in ("P1", "P2", "P3"))
    service.merge(session, into=b.id, retired=a.id, by="his", reason="A40")
    service.merge(session, into=c.id, retired=b.id, by="his", reason="A40")
    assert service.surviving_id(session, a.id) == c.id
    assert set(service.person_ids(session, a.id)) == {a.id, b.id, c.id}
    with pytest.raises(Conflict):
        service.merge(session, into=a.id, retired=c.id, by="his", reason="A40")
    with pytest.raises(Conflict):
        service.merge(session, into=wang(session, "P4").id, retired=a.id, by="his", reason="A40")
    again = service.merge(session, into=b.id, retired=a.id, by="his", reason="A40 again")
    assert again.reason == "A40"


@pytest.mark.req("ACC-1", "SEC-1")
def test_merge_and_unmerge_suspend_every_accounts_access(session: Session) -> None:
    kept, retired = wang(session, "P1"), wang(session, "P2")
    hers, his = granted(session, kept), granted(session, retired)
    service.merge(session, into=kept.id, retired=retired.id, by="his", reason="A40")
    assert seen_by(session, hers) == seen_by(session, his) == set()
    assert access.holders(session, kept.id, "report") == []
    access.grant(session, account_id=hers, person_id=retired.id, scopes=("report",), origin="self", by="t")
    assert seen_by(session, hers) == {kept.id, retired.id}
    service.unmerge(session, retired=retired.id, by="staff:1", reason="两个人")
    assert seen_by(session, hers) == set()
    states = session.scalars(select(PersonGrant.state).where(PersonGrant.account_id == his)).all()
    assert set(states) == {"suspended"}


@pytest.mark.req("SEC-1")
def test_nobody_is_seen_without_a_grant_for_the_scope_or_after_its_end(session: Session) -> None:
    person = wang(session)
    account = uuid.uuid4()
    assert seen_by(session, account) == set()
    access.grant(session, account_id=account, person_id=person.id, scopes=access.FAMILY_SCOPES, origin="family", by="t")
    assert seen_by(session, account, "pay") == {person.id}
    assert seen_by(session, account, "report") == set()
    with pytest.raises(NotFound):
        access.person(session, Subject.account(account), person.id, "report")
    access.end(session, account_id=account, person_id=person.id, why="unbound")
    assert seen_by(session, account, "pay") == set()


@pytest.mark.req("SEC-1")
def test_staff_see_patients_with_the_permission_and_nobody_without(session: Session) -> None:
    person = wang(session)

    class Staff:
        id = uuid.uuid4()
        permissions = frozenset({"patient.read"})

    class Engineer:
        id = uuid.uuid4()
        permissions = frozenset({"gateway.read"})

    assert set(session.scalars(visible_to(Subject.staff(Staff())))) == {person.id}
    assert set(session.scalars(visible_to(Subject.staff(Engineer())))) == set()


def test_unknown_and_newborn_files_stand_by_themselves(session: Session) -> None:
    unknown = service.register_unknown(session, PersonDetails(sex="M", identifiers=(("mrn", "U1"),)), by="his")
    mother = wang(session)
    baby = service.register_newborn(session, PersonDetails(name="王芳之女", sex="F"), mother_id=mother.id, by="his")
    assert (unknown.kind, baby.kind, baby.mother_id) == ("unknown", "newborn", mother.id)
    assert baby.id not in seen_by(session, granted(session, mother))
    service.update(session, unknown.id, PersonDetails(name="赵强"), by="staff:1")
    assert unknown.kind == "identified"


def test_several_files_with_one_number_match_nobody(session: Session) -> None:
    wang(session, "P1")
    wang(session, "P2")
    assert match(session, name="王芳", id_number=NUMBER) is None
    assert match(session, name="王芳", card="P1") is not None
    assert match(session, name="王方", card="P1") is None


@pytest.mark.req("ACC-1")
def test_two_merges_at_once_of_one_file_make_one_link(database: str) -> None:
    with db.begin() as session:
        first, second, retired = (wang(session, number).id for number in ("P1", "P2", "P3"))
    start, outcomes = threading.Barrier(2), []

    def merge(into: uuid.UUID) -> None:
        start.wait(10)
        try:
            with db.begin() as session:
                service.merge(session, into=into, retired=retired, by="his", reason="A40")
            outcomes.append("merged")
        except Conflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=merge, args=(into,)) for into in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["merged", "refused"]
    with db.begin() as session:
        assert session.scalar(select(func.count()).select_from(PersonLink)) == 1
