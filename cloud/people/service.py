"""The patient index: register, update, merge and unmerge. Persons are never overwritten and never deleted (must 12).

These verbs are for the hospital's own doors (HIS messages, staff acts, jobs). A page that shows a person, and
everything under `cloud.patient`, asks `cloud.people.access` instead, which checks who is asking.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.events import publish
from cloud.people import access
from cloud.people.events import PersonRegistered, PersonsMerged, PersonsUnmerged, PersonUpdated
from cloud.people.identity import person_ids, surviving_id
from cloud.people.model import Person, PersonIdentifier, PersonLink, PersonVersion, snapshot
from cloud.people.rules import PersonDetails
from cloud.web.i18n import mark as N_

__all__ = [
    "PersonDetails",
    "find",
    "get",
    "merge",
    "person_ids",
    "register",
    "register_newborn",
    "register_unknown",
    "surviving_id",
    "unmerge",
    "update",
]


def get(session: Session, person_id: uuid.UUID) -> Person:
    """The person that goes on under `person_id` (merges followed); raises `NotFound`."""
    person = session.get(Person, surviving_id(session, person_id))
    if person is None:
        raise NotFound("person_not_found", N_("没有这位患者的档案。"), person_id=str(person_id))
    return person


def find(session: Session, system: str, value: str) -> Person | None:
    """Who carries this number, merges followed; None when nobody does."""
    holder = session.scalar(
        select(PersonIdentifier.person_id).where(PersonIdentifier.system == system, PersonIdentifier.value == value)
    )
    return None if holder is None else get(session, holder)


def register(session: Session, details: PersonDetails, *, by: str) -> Person:
    """A new file. An identifier that somebody carries already raises `Conflict` (update or merge instead)."""
    return _register(session, details, kind="identified", mother_id=None, by=by)


def register_unknown(session: Session, details: PersonDetails, *, by: str) -> Person:
    """A person nobody can name yet (emergency): a file of its own, merged into the right one when it is known."""
    return _register(session, details, kind="unknown", mother_id=None, by=by)


def register_newborn(session: Session, details: PersonDetails, *, mother_id: uuid.UUID, by: str) -> Person:
    """A newborn, linked to the mother's file; the link gives nobody access."""
    return _register(session, details, kind="newborn", mother_id=mother_id, by=by)


def _register(session: Session, details: PersonDetails, *, kind: str, mother_id: uuid.UUID | None, by: str) -> Person:
    person = Person(
        name=details.name.strip(),
        sex=details.sex,
        birth_date=details.birth_date,
        phone=details.phone or None,
        id_number=details.id_number or None,
        kind=kind,
        mother_id=mother_id,
        version=1,
    )
    session.add(person)
    session.flush()
    _add_identifiers(session, person, details.identifiers)
    _keep_version(session, person, by)
    publish(session, PersonRegistered(aggregate_id=person.id, kind=kind, by=by))
    return person


def update(session: Session, person_id: uuid.UUID, details: PersonDetails, *, by: str) -> Person:
    """The file says this from now on; what it said is kept. None (and an empty name) leaves a field as it was.

    Naming an unknown person makes it an identified one. Nothing changed: no version, no event.
    """
    person = _locked(session, surviving_id(session, person_id))
    new = {
        "name": details.name.strip() or person.name,
        "sex": details.sex if details.sex != "U" else person.sex,
        "birth_date": details.birth_date or person.birth_date,
        "phone": details.phone or person.phone,
        "id_number": details.id_number or person.id_number,
    }
    if person.kind == "unknown" and details.name.strip():
        new["kind"] = "identified"
    changed = tuple(name for name, value in new.items() if getattr(person, name) != value)
    added = _add_identifiers(session, person, details.identifiers)
    if not changed and not added:
        return person
    for name in changed:
        setattr(person, name, new[name])
    person.version += 1
    session.flush()
    _keep_version(session, person, by)
    changed += ("identifiers",) if added else ()
    publish(session, PersonUpdated(aggregate_id=person.id, version_number=person.version, changed=changed, by=by))
    return person


def merge(session: Session, *, into: uuid.UUID, retired: uuid.UUID, by: str, reason: str) -> PersonLink:
    """From now on `retired` goes on as `into`. Phone access to both stops until it is verified again.

    A link is written; no order, result or report is moved. Repeating the same merge gives the same link (a HIS sends
    its ADT^A40 again). Raises `Conflict` when `retired` already goes on as somebody else, or both are one already.
    """
    known = _live_link(session, retired)
    if known is not None:
        if known.surviving_id == into or surviving_id(session, into) == surviving_id(session, retired):
            return known
        raise Conflict("person_already_merged", N_("这份档案已经合并到另一份档案，请先撤销原来的合并。"))
    target = surviving_id(session, into)
    if target == retired:
        raise Conflict("person_merge_circle", N_("这两份档案的合并方向相反，请核对后再合并。"))
    survivor, gone = _locked_pair(session, target, retired)
    if survivor.status != "active" or gone.status != "active":
        raise Conflict("person_merge_race", N_("这份档案刚刚被合并，请刷新后重试。"))
    link = PersonLink(retired_id=gone.id, surviving_id=survivor.id, reason=reason, by=by)
    gone.status = "merged"
    session.add(link)
    session.flush()
    access.suspend(session, person_ids(session, survivor.id), why="merge")
    publish(session, PersonsMerged(aggregate_id=survivor.id, retired_id=gone.id, by=by, reason=reason))
    return link


def unmerge(session: Session, *, retired: uuid.UUID, by: str, reason: str) -> PersonLink:
    """Take a merge back: `retired` stands by itself again. Phone access to both stops until it is verified again."""
    link = _live_link(session, retired)
    if link is None:
        raise Conflict("person_not_merged", N_("这份档案没有被合并。"))
    access.suspend(session, person_ids(session, retired), why="unmerge")
    _, gone = _locked_pair(session, link.surviving_id, retired)
    link.unlinked_at = clock.now()
    link.unlinked_by = by
    link.unlink_reason = reason
    gone.status = "active"
    session.flush()
    publish(session, PersonsUnmerged(aggregate_id=link.surviving_id, retired_id=retired, by=by, reason=reason))
    return link


def _live_link(session: Session, retired: uuid.UUID) -> PersonLink | None:
    return session.scalar(
        select(PersonLink).where(PersonLink.retired_id == retired, PersonLink.unlinked_at.is_(None)).with_for_update()
    )


def _locked(session: Session, person_id: uuid.UUID) -> Person:
    person = session.get(Person, person_id, with_for_update=True, populate_existing=True)
    if person is None:
        raise NotFound("person_not_found", N_("没有这位患者的档案。"), person_id=str(person_id))
    return person


def _locked_pair(session: Session, first: uuid.UUID, second: uuid.UUID) -> tuple[Person, Person]:
    """Both rows, locked in one order whoever asks, so that two merges at once cannot block each other."""
    rows = {person_id: _locked(session, person_id) for person_id in sorted((first, second))}
    return rows[first], rows[second]


def _add_identifiers(session: Session, person: Person, identifiers: Sequence[tuple[str, str]]) -> bool:
    """Write the numbers that are new; True if there were any."""
    added = False
    for system, value in identifiers:
        known = session.scalar(
            select(PersonIdentifier).where(PersonIdentifier.system == system, PersonIdentifier.value == value)
        )
        if known is None:
            session.add(PersonIdentifier(person_id=person.id, system=system, value=value))
            added = True
        elif surviving_id(session, known.person_id) != surviving_id(session, person.id):
            raise Conflict("identifier_taken", N_("这个号码已经属于另一份档案：{system}。"), system=system)
    session.flush()
    return added


def _keep_version(session: Session, person: Person, by: str) -> None:
    details = json.dumps(snapshot(person), ensure_ascii=False)
    session.add(PersonVersion(person_id=person.id, version=person.version, details=details, by=by))
    session.flush()
