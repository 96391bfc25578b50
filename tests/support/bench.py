"""A laboratory bench for tests: the starting catalogue, one analyzer, a patient, received specimens, staff."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.service import ensure_department
from cloud.kit.bulk import insert_rows
from cloud.kit.ids import new_id
from cloud.lis.catalog import load as catalog_load
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import Instrument, InstrumentChannel
from cloud.lis.orders.model import OrderItem
from cloud.lis.orders.service import place_order
from cloud.lis.results.service import MessageSource
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.people.rules import PersonDetails
from cloud.people.service import register
from protocols.model import Observation

GATEWAY, LINK = "box-1", "xn"


@dataclass(frozen=True, slots=True)
class Technologist:
    """Somebody who acts; `CurrentStaff` in the application."""

    name: str
    permissions: frozenset[str]
    id: uuid.UUID = field(default_factory=new_id)


def technician() -> Technologist:
    return Technologist("赵检验", frozenset({"result.read", "result.review", "unmatched.match", "report.read"}))


def pathologist() -> Technologist:
    return Technologist(
        "钱审核",
        frozenset({"result.read", "result.review", "result.release", "report.read", "report.amend", "unmatched.match"}),
    )


@dataclass(slots=True)
class Bench:
    """What one test works on."""

    session: Session
    person_id: uuid.UUID
    tests: dict[str, Test]
    sequence: int = 0

    def specimen(
        self,
        *codes: str,
        state: SpecimenState = SpecimenState.RECEIVED,
        person_id: uuid.UUID | None = None,
        panel: str | None = None,
    ) -> Specimen:
        """An order of these tests (or a panel); its first tube, on its way to `state`."""
        department = ensure_department(self.session, code="RESP", name="呼吸内科门诊")
        order = place_order(
            self.session,
            person_id=person_id or self.person_id,
            department_id=department.id,
            items=[panel] if panel else list(codes),
            source="manual",
            ordered_by="李医生",
            diagnosis="发热待查",
        )
        made = specimens.print_labels(self.session, order.id, by="staff:nurse")[0]
        if state in (SpecimenState.COLLECTED, SpecimenState.RECEIVED):
            made = specimens.collect(self.session, made.accession, by="staff:nurse")
        if state == SpecimenState.RECEIVED:
            made = specimens.receive(self.session, made.accession, by="staff:bench")
        return made

    def source(self, *, link: str = LINK) -> MessageSource:
        """The next message of a link."""
        self.sequence += 1
        return MessageSource(
            inbox_id=new_id(),
            gateway=GATEWAY,
            link=link,
            epoch="e1",
            sequence=self.sequence,
            received_at=datetime.now(UTC),
            driver="sysmex_xn",
            driver_version="1",
        )

    def items_of(self, specimen: Specimen) -> Sequence[OrderItem]:
        return self.session.scalars(
            select(OrderItem).where(OrderItem.specimen_id == specimen.id).execution_options(populate_existing=True)
        ).all()


def observed(specimen: Specimen | str | None, code: str, value: str | None, **more: object) -> Observation:
    """A value as a driver gives it; measured at 09:00 unless told otherwise."""
    barcode = specimen.accession if isinstance(specimen, Specimen) else specimen
    return Observation(specimen=barcode, code=code, value=value, **{"observed_at": "2026-11-23T09:00:00", **more})  # type: ignore[arg-type]


def set_up(session: Session) -> Bench:
    """Catalogue, an analyzer whose channels carry the tests' own codes, and a woman of 36 years."""
    if session.scalars(select(Test.id).limit(1)).first() is None:  # the template has it already
        catalog_load.load(session)
        session.flush()
    tests = {each.code: each for each in session.scalars(select(Test))}
    instrument = Instrument(code="XN1", name="Sysmex XN-550", gateway=GATEWAY, link=LINK, driver="sysmex_xn")
    session.add(instrument)
    session.flush()
    insert_rows(
        session,
        [
            InstrumentChannel(
                instrument_id=instrument.id, code=code, test_id=test.id, factor=Decimal(1), unit=test.unit
            )
            for code, test in tests.items()
        ],
    )
    person = register(
        session,
        PersonDetails(name="王小明", sex="F", birth_date=date(1990, 5, 1), identifiers=(("mrn", "P000001"),)),
        by="system",
    )
    session.flush()
    return Bench(session, person.id, tests)
