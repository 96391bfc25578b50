"""A small laboratory to test in: the catalogue, a campus with departments, patients and ordered tubes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.app import load_slices
from cloud.hospital import service as hospital
from cloud.kit import jobs
from cloud.kit.db import begin
from cloud.kit.events import StoredEvent
from cloud.lis.catalog import load
from cloud.lis.instruments import service as instruments
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import Order
from cloud.lis.specimens import service as specimens
from cloud.people import service as people
from cloud.people.rules import PersonDetails

_numbers = itertools.count(1)
GATEWAY = "gw-1"


@dataclass(frozen=True)
class Lab:
    """Ids of what every test needs."""

    wang: uuid.UUID
    li: uuid.UUID
    department: uuid.UUID


def open_lab() -> Lab:
    """Catalogue, two departments, patient Wang (F, 1985), patient Li (M, 1960); an XN and a BS on one box."""
    load_slices()
    load.run()
    with begin() as session:
        department = hospital.ensure_department(session, code="NK", name="内科")
        wang = people.register(
            session,
            PersonDetails(name="王小梅", sex="F", birth_date=date(1985, 3, 2), identifiers=(("mrn", "P0001"),)),
            by="system",
        )
        li = people.register(
            session,
            PersonDetails(name="李建国", sex="M", birth_date=date(1960, 7, 9), identifiers=(("mrn", "P0002"),)),
            by="system",
        )
        for code, link, driver in (("XN-1", "xn", "sysmex_xn"), ("BS-1", "bs", "mindray_bs")):
            instruments.register(
                session, code=code, name=code, gateway=GATEWAY, link=link, driver=driver, preset=driver, by="system"
            )
        return Lab(wang.id, li.id, department.id)


def order(
    session: Session,
    lab: Lab,
    items: Sequence[str] = ("CBC",),
    *,
    placer: str | None = None,
    person: uuid.UUID | None = None,
    priority: str = "R",
) -> Order:
    """An order from the HIS for Wang, with a number of its own unless one is given."""
    return orders.place_order(
        session,
        person_id=person or lab.wang,
        department_id=lab.department,
        items=items,
        priority=priority,
        source="his",
        placer_number=placer or f"HIS{next(_numbers):06d}",
        ordered_by="his",
    )


def labelled(lab: Lab, items: Sequence[str] = ("CBC",)) -> str:
    """The accession of an order's first tube, its label printed."""
    with begin() as session:
        return specimens.print_labels(session, order(session, lab, items).id, by="system")[0].accession


def received(lab: Lab, items: Sequence[str] = ("CBC",)) -> str:
    """The accession of a tube that is in the laboratory; the reactions to it have run."""
    accession = labelled(lab, items)
    with begin() as session:
        specimens.receive(session, accession, by="system")
    react()
    return accession


def react(*slices: str) -> None:
    """Run what subscribes to every fact stored so far, as the job workers would, until nothing new is said.

    Facts that had their reactions in an earlier call react again: reactions are idempotent, and this shows it.
    """
    seen: set[uuid.UUID] = set()
    while True:
        with begin() as session:
            facts = session.execute(select(StoredEvent.id, StoredEvent.type).order_by(StoredEvent.id)).all()
        new = [(fact, type_) for fact, type_ in facts if fact not in seen]
        if not new:
            return
        for fact, type_ in new:
            seen.add(fact)
            for name in jobs_of(type_):
                if name.startswith(slices or ("lis.specimens", "lis.worklists")):
                    jobs.execute(name, {"event_id": str(fact)}, begin)


def jobs_of(type_: str) -> list[str]:
    """Names of the jobs that react to facts of that type."""
    from cloud.kit import events

    return list(events._subscribers.get(type_, ()))
