"""The worklist of each box: refreshed from a specimen's state, read after a revision. Never commits."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from cloud.kit import clock
from cloud.kit.events import publish
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.instruments.model import Instrument, InstrumentChannel, InstrumentState
from cloud.lis.orders.model import ItemState
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.worklists import dilutions
from cloud.lis.worklists.events import WorklistChanged
from cloud.lis.worklists.model import WorklistCounter, WorklistRow
from cloud.lis.worklists.rules import Ability, orders_by_gateway
from protocols.model import Order
from protocols.uplink.envelope import WorklistEntry
from protocols.uplink.items import order_from_json

LIFE = timedelta(hours=72)
"""How long a box answers queries about a received specimen: reruns happen within days, and its memory is small."""
KEPT = timedelta(days=30)
"""How long expired revisions stay in the database."""
_BELIEVABLE = 2**62
MEASURABLE = (SpecimenState.COLLECTED, SpecimenState.IN_TRANSIT, SpecimenState.RECEIVED)
"""A collected tube is on no worklist; one that stands on an analyzer is in the laboratory, scanned or not."""
TO_BE_MEASURED = (ItemState.COLLECTED, ItemState.RECEIVED, ItemState.RESULTED)


def refresh(session: Session, specimen_id: uuid.UUID) -> list[str]:
    """Tell every box what is to be done on this specimen now; gives the boxes that got a new revision.

    Repeating changes nothing. One at a time for each specimen, reading included: who read it before a cancellation
    must not write after it.
    """
    specimen = session.get(Specimen, specimen_id, populate_existing=True, with_for_update={"key_share": True})
    if specimen is None:
        return []
    wanted = wanted_by_gateway(session, specimen) if specimen.state == SpecimenState.RECEIVED else {}
    told = session.scalars(select(WorklistRow.gateway).where(WorklistRow.specimen_id == specimen_id).distinct())
    # In one order whoever asks, so that two refreshes cannot wait for each other.
    gateways = sorted({*told, *wanted})
    return [each for each in gateways if _write(session, each, specimen, wanted.get(each, {}))]


def wanted_by_gateway(session: Session, specimen: Specimen) -> dict[str, dict[str, Any]]:
    """Box to link to order (JSON) of what is to be measured on this tube; {} for one that nobody may measure."""
    if specimen.state not in MEASURABLE:
        return {}
    test_ids = {each.test_id for each in specimens.live_items(session, specimen.id) if each.state in TO_BE_MEASURED}
    collected = clock.local(specimen.collected_at).replace(tzinfo=None) if specimen.collected_at else None
    order = Order(
        specimen=specimen.barcode,
        codes=(),
        priority=specimen.priority,
        specimen_type=specimen.specimen_type,
        collected_at=collected.isoformat(timespec="seconds") if collected else None,
    )
    return orders_by_gateway(_abilities(session, test_ids), test_ids, order, dilutions.asked(session, specimen.id))


def _abilities(session: Session, test_ids: Iterable[uuid.UUID]) -> list[Ability]:
    found = (
        select(
            Instrument.gateway, Instrument.link, InstrumentChannel.test_id, InstrumentChannel.code, Instrument.driver
        )
        .join(Instrument, Instrument.id == InstrumentChannel.instrument_id)
        .where(
            Instrument.state == InstrumentState.ACTIVE,
            InstrumentChannel.sendable,
            InstrumentChannel.state != ApprovalState.RETIRED,
            InstrumentChannel.test_id.in_(tuple(test_ids)),
        )
        .order_by(Instrument.gateway, Instrument.link, InstrumentChannel.id)
    )
    return [
        Ability(gateway, link, test_id, code, driver)
        for gateway, link, test_id, code, driver in session.execute(found)
        if test_id is not None
    ]


def analyzers_that_dilute(session: Session, test_id: uuid.UUID, factor: str) -> list[Instrument]:
    """Active analyzers that take the test in an order together with such a dilution."""
    found = session.scalars(
        select(Instrument)
        .join(InstrumentChannel, InstrumentChannel.instrument_id == Instrument.id)
        .where(
            Instrument.state == InstrumentState.ACTIVE,
            InstrumentChannel.test_id == test_id,
            InstrumentChannel.sendable,
            InstrumentChannel.state != ApprovalState.RETIRED,
        )
        .order_by(Instrument.code)
    )
    return [each for each in found.unique() if dilutions.can(each.driver, factor)]


def _write(session: Session, gateway: str, specimen: Specimen, orders: dict[str, Any]) -> bool:
    """A new revision, unless the newest of this specimen says the same. The counter's row is locked until commit."""
    counter = insert(WorklistCounter).values(gateway=gateway, revision=0)
    session.execute(counter.on_conflict_do_update(index_elements=["gateway"], set_={"gateway": gateway}))
    last = session.scalars(
        select(WorklistRow)
        .where(WorklistRow.gateway == gateway, WorklistRow.specimen_id == specimen.id)
        .order_by(WorklistRow.revision.desc())
        .limit(1)
    ).first()
    if (last.orders if last else {}) == orders:
        return False
    revision = session.scalars(
        update(WorklistCounter)
        .where(WorklistCounter.gateway == gateway)
        .values(revision=WorklistCounter.revision + 1)
        .returning(WorklistCounter.revision)
    ).one()
    session.add(
        WorklistRow(
            gateway=gateway,
            revision=revision,
            specimen_id=specimen.id,
            specimen=specimen.barcode,
            orders=orders,
            expires_at=clock.now() + LIFE,
        )
    )
    session.flush()
    publish(session, WorklistChanged(aggregate_id=specimen.id, gateway=gateway, revision=revision))
    return True


def entries_after(session: Session, gateway: str, revision: int, limit: int = 500) -> list[WorklistEntry]:
    """What a box that stands at `revision` must still learn, in rising revision.

    What a later revision replaced or the clock has ended is left out (the box may skip numbers: the publish says after
    which revision it starts); the newest revision of all is always there, so that the box ends up level.
    """
    later, newest = aliased(WorklistRow), aliased(WorklistCounter)
    replaced = select(later.id).where(
        later.gateway == WorklistRow.gateway,
        later.specimen_id == WorklistRow.specimen_id,
        later.revision > WorklistRow.revision,
    )
    last = select(newest.revision).where(newest.gateway == gateway).scalar_subquery()
    rows = session.scalars(
        select(WorklistRow)
        .where(
            WorklistRow.gateway == gateway,
            WorklistRow.revision > revision,
            ~replaced.exists(),
            (WorklistRow.expires_at > clock.now()) | (WorklistRow.revision == last),
        )
        .order_by(WorklistRow.revision)
        .limit(limit)
    )
    return [
        WorklistEntry(
            revision=each.revision,
            specimen=each.specimen,
            orders={link: order_from_json(order) for link, order in each.orders.items()},
            expires_at=each.expires_at,
        )
        for each in rows
    ]


def newest_revision(session: Session, gateway: str) -> int:
    """The newest revision of a box's worklist; 0 when it never had one."""
    return session.scalar(select(WorklistCounter.revision).where(WorklistCounter.gateway == gateway)) or 0


def overtake(session: Session, gateway: str, revision: int) -> bool:
    """Move a box's worklist, in its order, behind a revision that the box has and we never gave; says whether it did.

    A database restored from a backup gives its revisions a second time, and the box would take each for known. Numbers
    beyond 2^62 are not believed.
    """
    if not newest_revision(session, gateway) < revision < _BELIEVABLE:
        return False
    counter = insert(WorklistCounter).values(gateway=gateway, revision=revision)
    moved = {"revision": WorklistCounter.revision + revision}
    session.execute(
        counter.on_conflict_do_update(index_elements=["gateway"], set_=moved, where=WorklistCounter.revision < revision)
    )
    session.execute(
        update(WorklistRow)
        .where(WorklistRow.gateway == gateway, WorklistRow.revision < revision)
        .values(revision=WorklistRow.revision + revision)
        .execution_options(synchronize_session=False)
    )
    return True


def prune(session: Session) -> int:
    """Delete revisions that ended long ago, never a box's newest; how many."""
    newest = select(WorklistCounter.revision).where(WorklistCounter.gateway == WorklistRow.gateway).scalar_subquery()
    gone = session.scalars(
        delete(WorklistRow)
        .where(WorklistRow.expires_at < clock.now() - KEPT, WorklistRow.revision < newest)
        .returning(WorklistRow.id)
    )
    return len(list(gone))
