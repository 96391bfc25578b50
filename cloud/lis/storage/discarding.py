"""Tubes that are due to be thrown away, in batches; with a second person where the director wants it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.orders.numbers import with_check_digit
from cloud.lis.specimens import policy, record
from cloud.lis.specimens.model import Specimen, SpecimenState, Whereabouts, may_get
from cloud.lis.storage import service
from cloud.lis.storage.model import Discard, DiscardState, DiscardTube, StorageRack, StoredTube, discard_numbers
from cloud.web.i18n import mark as N_

MOST = 2000
"""Tubes in one discard; a larger refrigerator takes two."""
UNFINISHED = (ItemState.ORDERED, ItemState.COLLECTED, ItemState.RECEIVED, ItemState.RESULTED)


def due(session: Session, on: date, rack_id: uuid.UUID | None = None) -> list[tuple[StoredTube, StorageRack, Specimen]]:
    """Tubes whose day has come, by rack and place, those with open work left out."""
    rows = session.execute(_due(on, rack_id).order_by(StorageRack.code, StoredTube.position).limit(MOST))
    return [(row[0], row[1], row[2]) for row in rows]


def due_count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(_due(clock.today(), None).subquery())) or 0


def _due(on: date, rack_id: uuid.UUID | None) -> Select[StoredTube, StorageRack, Specimen]:
    open_work = select(OrderItem.id).where(OrderItem.specimen_id == Specimen.id, OrderItem.state.in_(UNFINISHED))
    found = (
        select(StoredTube, StorageRack, Specimen)
        .join(StorageRack, StorageRack.id == StoredTube.rack_id)
        .join(Specimen, Specimen.id == StoredTube.specimen_id)
        .where(StoredTube.left_at.is_(None), StoredTube.discard_on <= on, ~_still_open(open_work))
    )
    return found if rack_id is None else found.where(StoredTube.rack_id == rack_id)


def _still_open(open_work: Select[uuid.UUID]) -> ColumnElement[bool]:
    return (Specimen.state == SpecimenState.RECEIVED) & open_work.exists()


def propose(session: Session, specimen_ids: Sequence[uuid.UUID], *, by: str, how: str = "") -> Discard:
    """A batch of tubes to throw away. Where one person is enough it is done at once, else a second one confirms."""
    chosen = sorted(set(specimen_ids))
    if not chosen or len(chosen) > MOST:
        raise Invalid("discard_what", N_("请选择要丢弃的标本（一次最多 2000 支）。"))
    number = f"D{with_check_digit(session.scalars(select(discard_numbers.next_value())).one())}"
    discard = Discard(number=number, proposed_by=by, how=how.strip(), count=len(chosen))
    session.add(discard)
    session.flush()
    session.add_all(DiscardTube(discard_id=discard.id, specimen_id=each) for each in chosen)
    session.flush()
    announce(session, "storage", {"discard": number})
    if policy.value(session, "discard_two_persons") == 1:
        audit.record(
            session, actor=by, action="discard.propose", aggregate=("discard", number), after={"tubes": len(chosen)}
        )
        return discard
    return _carry_out(session, discard, by=by)


def confirm(session: Session, number: str, *, by: str) -> Discard:
    """The second person checked the tubes; it must be another one."""
    discard = by_number(session, number)
    if discard.proposed_by == by:
        raise Conflict("same_person", N_("须由另一位人员核对确认。"))
    return _carry_out(session, discard, by=by)


def withdraw(session: Session, number: str, *, by: str, reason: str) -> Discard:
    """Not to be thrown away after all."""
    because = record.needs_reason(reason)
    discard = _claim(session, by_number(session, number), DiscardState.WITHDRAWN)
    audit.record(session, actor=by, action="discard.withdraw", aggregate=("discard", number), reason=because)
    return discard


def by_number(session: Session, number: str) -> Discard:
    discard = session.scalar(select(Discard).where(Discard.number == number.strip().upper()[:16]))
    if discard is None:
        raise NotFound("discard_unknown", N_("没有编号为 {number} 的丢弃批次。"), number=number.strip()[:16])
    return discard


def _carry_out(session: Session, discard: Discard, *, by: str) -> Discard:
    """Throw away what may still be thrown away; what was taken out or got work meanwhile is kept, and said so."""
    discard = _claim(session, discard, DiscardState.DONE, confirmed_by=by, done_at=clock.now())
    rows = session.scalars(
        select(DiscardTube).where(DiscardTube.discard_id == discard.id).order_by(DiscardTube.specimen_id)
    ).all()
    gone = 0
    for row in rows:
        row.kept_why = _throw_away(session, row.specimen_id, discard, by=by)
        gone += not row.kept_why
    discard.count = gone
    session.flush()
    announce(session, "storage", {"discard": discard.number})
    audit.record(
        session,
        actor=by,
        action="discard.done",
        aggregate=("discard", discard.number),
        after={"tubes": gone, "kept": len(rows) - gone, "proposed_by": discard.proposed_by},
    )
    return discard


def _throw_away(session: Session, specimen_id: uuid.UUID, discard: Discard, *, by: str) -> str:
    """Why it was kept; "" when it was thrown away. The specimen's row is locked: nobody pours from it meanwhile."""
    specimen = record.locked(session, specimen_id)
    if specimen.whereabouts not in may_get(Whereabouts.DISCARDED):
        return specimen.whereabouts
    open_work = select(OrderItem.id).where(OrderItem.specimen_id == specimen_id, OrderItem.state.in_(UNFINISHED))
    if specimen.state == SpecimenState.RECEIVED and session.scalar(open_work.limit(1)) is not None:
        return "work_open"
    if specimen.state in service.NOT_HERE:
        return specimen.state
    service.leave(session, specimen_id, by=by, how="discarded")
    record.put(session, specimen, Whereabouts.DISCARDED)
    record.append(session, specimen_id, "discarded", by=by, detail={"discard": discard.number, "how": discard.how})
    return ""


def _claim(session: Session, discard: Discard, goes_to: DiscardState, **values: object) -> Discard:
    claimed = session.scalar(
        update(Discard)
        .where(Discard.id == discard.id, Discard.state == DiscardState.PROPOSED)
        .values(state=goes_to, **values)
        .returning(Discard)
        .execution_options(populate_existing=True)
    )
    if claimed is None:
        raise Conflict("discard_closed", N_("丢弃批次 {number} 已处理，请刷新。"), number=discard.number)
    return claimed
