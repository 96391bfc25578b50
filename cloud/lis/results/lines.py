"""One specimen as the review page shows it: who, what was ordered, every value with its history, pictures, strays."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.lis.catalog.choice import weeks_on
from cloud.lis.catalog.model import Test
from cloud.lis.catalog.words import PHASES
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.results import notices, sheets
from cloud.lis.results.double_entry import FirstEntry, first_entries
from cloud.lis.results.model import (
    InstrumentNotice,
    Result,
    ResultAttachment,
    ResultSheet,
    ResultState,
    UnmatchedReason,
    UnmatchedResult,
)
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.people.access import person as visible_person
from cloud.people.model import Person


@dataclass(frozen=True, slots=True)
class Line:
    """One ordered test: the value to report and everything else that was ever measured for it."""

    item: OrderItem
    test: Test
    result: Result | None
    others: tuple[Result, ...]
    """Earlier runs, superseded values; newest first."""
    late: tuple[Result, ...]
    """Values that came after the release."""
    instrument: Instrument | None
    first: FirstEntry | None = None
    """Typed once and waiting for its second entry: who typed it is shown, what never is."""

    @property
    def waiting(self) -> bool:
        """Ordered, and no value yet (or one that is being measured again)."""
        return self.item.state != ItemState.RELEASED and (
            self.result is None or self.result.rerun_requested_at is not None
        )


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything on the right side of the page."""

    specimen: Specimen
    order: Order
    person: Person
    department: Department | None
    version: int
    comment: str | None
    lines: tuple[Line, ...]
    attachments: tuple[ResultAttachment, ...] = ()
    strays: tuple[UnmatchedResult, ...] = field(default=())
    """Values of tests that were not ordered, or with codes nobody mapped."""
    messages: tuple[InstrumentNotice, ...] = ()
    """What the instruments said about the specimen besides its values."""

    @property
    def phase(self) -> str:
        """The phase of the cycle that the order tells, in a marked word; "" untold."""
        return PHASES.get(self.order.cycle_phase, "")

    @property
    def weeks(self) -> int | None:
        """Completed weeks of pregnancy on the day of collection, as they choose the range."""
        at = self.specimen.collected_at or self.specimen.received_at or self.order.ordered_at
        return weeks_on(self.order.gestation_weeks, clock.local(self.order.ordered_at).date(), clock.local(at).date())

    @property
    def phase_untold(self) -> bool:
        """A value stands unjudged because nobody said."""
        reasons = (each for line in self.lines if line.result for each in line.result.decision.get("reasons", ()))
        return any(each["code"] == "phase_unknown" for each in reasons)

    def _open(self) -> list[Result]:
        return [
            each.result
            for each in self.lines
            if each.result is not None and each.result.state in (ResultState.RECEIVED, ResultState.REVIEWED)
        ]

    @property
    def to_review(self) -> list[Result]:
        return [each for each in self._open() if each.state == ResultState.RECEIVED and each.rerun_requested_at is None]

    @property
    def to_release(self) -> list[Result]:
        return [each for each in self._open() if each.state == ResultState.REVIEWED]

    @property
    def missing(self) -> list[Line]:
        return [each for each in self.lines if each.waiting]

    @property
    def critical(self) -> list[Result]:
        return [each for each in self._open() if each.critical]

    @property
    def instruments(self) -> list[str]:
        """Codes of the analyzers that measured the values shown."""
        return list(dict.fromkeys(each.instrument.code for each in self.lines if each.instrument is not None))

    @property
    def draft(self) -> bool:
        return any(each.result is not None and each.result.draft for each in self.lines)


def desk(session: Session, subject: Subject, specimen: Specimen) -> Desk:
    """What the page shows of a specimen. `NotFound` where the person may not be seen."""
    order = session.get_one(Order, specimen.order_id)
    sheet = session.get(ResultSheet, specimen.id, populate_existing=True)
    return Desk(
        specimen=specimen,
        order=order,
        person=visible_person(session, subject, specimen.person_id),
        department=session.get(Department, order.department_id),
        version=sheet.version if sheet else sheets.version_of(session, specimen.id),
        comment=sheet.comment if sheet else None,
        lines=tuple(_lines(session, specimen.id)),
        messages=tuple(notices.of_specimen(session, specimen.id)),
        attachments=tuple(
            session.scalars(
                select(ResultAttachment)
                .where(ResultAttachment.specimen_id == specimen.id)
                .order_by(ResultAttachment.received_at, ResultAttachment.ordinal)
            )
        ),
        strays=tuple(
            session.scalars(
                select(UnmatchedResult)
                .where(
                    UnmatchedResult.specimen_id == specimen.id,
                    UnmatchedResult.state == "waiting",
                    UnmatchedResult.reason.in_([UnmatchedReason.NOT_ORDERED, UnmatchedReason.UNKNOWN_CODE]),
                )
                .order_by(UnmatchedResult.received_at, UnmatchedResult.ordinal)
            )
        ),
    )


def _lines(session: Session, specimen_id: uuid.UUID) -> list[Line]:
    items = session.execute(
        select(OrderItem, Test)
        .join(Test, Test.id == OrderItem.test_id)
        .where(OrderItem.specimen_id == specimen_id, OrderItem.state != ItemState.CANCELLED)
        .order_by(OrderItem.position, Test.position)
        .execution_options(populate_existing=True)
    ).all()
    results: dict[uuid.UUID, list[Result]] = {}
    for result in session.scalars(
        select(Result)
        .where(Result.specimen_id == specimen_id)
        .order_by(Result.run.desc())
        .execution_options(populate_existing=True)
    ):
        results.setdefault(result.order_item_id, []).append(result)
    used = {each.instrument_id for rows in results.values() for each in rows if each.instrument_id}
    instruments = {each.id: each for each in session.scalars(select(Instrument).where(Instrument.id.in_(used)))}
    firsts = first_entries(session, [specimen_id])
    return [
        replace(_line(item, test, results.get(item.id, []), instruments), first=firsts.get((specimen_id, test.id)))
        for item, test in items
    ]


def _line(item: OrderItem, test: Test, rows: Sequence[Result], instruments: dict[uuid.UUID, Instrument]) -> Line:
    chosen = next((each for each in rows if each.chosen), None)
    return Line(
        item=item,
        test=test,
        result=chosen,
        others=tuple(each for each in rows if not each.chosen and not each.after_release),
        late=tuple(each for each in rows if each.after_release and not each.chosen),
        instrument=instruments.get(chosen.instrument_id) if chosen and chosen.instrument_id else None,
    )
