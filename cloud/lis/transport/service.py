"""The verbs of a hand-over batch: pack, send, arrive, receive, close. They never commit.

A tube is in one open batch (a unique index says so). What is missing is read from the tubes: sent, and not received.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.orders.numbers import with_check_digit
from cloud.lis.specimens import lookup, policy, record, service
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.transport.model import (
    BatchState,
    BatchTube,
    TransportBatch,
    UnexpectedTube,
    batch_numbers,
    may_become,
)
from cloud.web.i18n import mark as N_

PACKABLE = (SpecimenState.PRINTED, SpecimenState.COLLECTED)


def open_batch(session: Session, *, department_id: uuid.UUID, by: str, place: str = "") -> TransportBatch:
    """The batch that this person is packing for the department, or a new one."""
    if session.get(Department, department_id) is None:
        raise Invalid("department_unknown", N_("没有这个科室，请重新选择。"))
    found = session.scalars(
        select(TransportBatch)
        .where(
            TransportBatch.state == BatchState.PACKING,
            TransportBatch.department_id == department_id,
            TransportBatch.packed_by == by,
        )
        .order_by(TransportBatch.id.desc())
        .limit(1)
    ).first()
    if found is not None:
        return found
    number = f"B{with_check_digit(session.scalars(select(batch_numbers.next_value())).one())}"
    batch = TransportBatch(number=number, department_id=department_id, packed_by=by, place=place.strip())
    session.add(batch)
    session.flush()
    return batch


def by_number(session: Session, number: str) -> TransportBatch:
    """Raises `NotFound`, with the number named."""
    batch = session.scalar(select(TransportBatch).where(TransportBatch.number == number.strip().upper()[:16]))
    if batch is None:
        raise NotFound("batch_unknown", N_("没有编号为 {number} 的交接批次。"), number=number.strip()[:16])
    return batch


def pack(session: Session, number: str, barcode: str, *, by: str) -> Specimen:
    """Put a tube into a batch that is being packed; scanned twice into the same one, it is there once."""
    batch = _locked(session, number)
    if batch.state != BatchState.PACKING:
        raise Conflict("batch_sent", N_("批次 {number} 已送出，不能再放入标本。"), number=batch.number)
    specimen = lookup.by_barcode(session, barcode)
    if specimen.state not in PACKABLE:
        raise record.why_not(session, specimen)
    try:
        with session.begin_nested():
            session.add(BatchTube(batch_id=batch.id, specimen_id=specimen.id, put_in_by=by))
    except IntegrityError:
        other = session.scalar(
            select(TransportBatch.number)
            .join(BatchTube, BatchTube.batch_id == TransportBatch.id)
            .where(BatchTube.specimen_id == specimen.id, BatchTube.taken_out_at.is_(None))
        )
        if other == batch.number:
            return specimen
        raise Conflict(
            "in_other_batch", N_("标本 {barcode} 已在批次 {number} 中。"), barcode=specimen.barcode, number=other or ""
        ) from None
    record.append(session, specimen.id, "packed", by=by, place=batch.place, detail={"batch": batch.number})
    _tell(session, batch)
    return specimen


def take_out(session: Session, number: str, barcode: str, *, by: str, reason: str) -> Specimen:
    """Out of the batch again: before it is sent, or a tube that came back and never reached the laboratory."""
    because = record.needs_reason(reason)
    batch = _locked(session, number)
    if batch.state == BatchState.CLOSED:
        raise Conflict("batch_closed", N_("批次 {number} 已关闭。"), number=batch.number)
    specimen = record.locked(session, lookup.by_barcode(session, barcode).id)
    left = session.scalar(
        update(BatchTube)
        .where(BatchTube.batch_id == batch.id, BatchTube.specimen_id == specimen.id, BatchTube.taken_out_at.is_(None))
        .values(taken_out_at=clock.now(), taken_out_by=by)
        .returning(BatchTube.id)
    )
    if left is None:
        raise Conflict(
            "not_in_batch", N_("标本 {barcode} 不在批次 {number} 中。"), barcode=specimen.barcode, number=batch.number
        )
    detail: dict[str, Any] = {"batch": batch.number}
    if specimen.state == SpecimenState.IN_TRANSIT:
        back_to = SpecimenState.COLLECTED if specimen.collected_at else SpecimenState.PRINTED
        specimen = record.claim_back(session, specimen, back_to)
        detail["back_to"] = str(back_to)
        record.append(session, specimen.id, "sending_undone", by=by, reason=because, detail=detail)
        record.tests_changed(session, specimen)
    else:
        record.append(session, specimen.id, "unpacked", by=by, reason=because, detail=detail)
    _tell(session, batch)
    return specimen


def send(session: Session, number: str, *, by: str, courier: str, note: str = "") -> TransportBatch:
    """The courier took it: every tube is on its way. Tubes that were received meanwhile by hand stay as they are."""
    if not courier.strip():
        raise Invalid("courier_missing", N_("请填写运送人员。"))
    batch = _locked(session, number)
    tubes = tubes_of(session, batch.id)
    if not tubes:
        raise Conflict("batch_empty", N_("批次 {number} 中没有标本，不能送出。"), number=batch.number)
    batch = _claim(session, batch, BatchState.SENT, sent_at=clock.now(), sent_by=by, courier=courier.strip(), note=note)
    for specimen in tubes:
        if specimen.state in PACKABLE:
            service.send(session, specimen, by=by, place=batch.place, batch=batch.number)
    _seal(session, batch, "batch.send", by, {"tubes": len(tubes), "courier": batch.courier})
    return batch


def arrive(
    session: Session, number: str, *, by: str, temperature_c: Decimal | None = None, note: str = ""
) -> TransportBatch:
    """The laboratory has the batch in its hands; its tubes are received one by one. A second scan changes nothing."""
    batch = _locked(session, number)
    if batch.state in (BatchState.ARRIVED, BatchState.CLOSED):
        return batch
    now = clock.now()
    limit = policy.value(session, "batch_late_minutes")
    took = now - batch.sent_at if batch.sent_at else timedelta()
    late = None if limit is None else took > timedelta(minutes=limit)
    said = "；".join(filter(None, (batch.note, note.strip())))
    batch = _claim(
        session,
        batch,
        BatchState.ARRIVED,
        arrived_at=now,
        arrived_by=by,
        temperature_c=temperature_c,
        note=said,
        late=late,
    )
    _seal(session, batch, "batch.arrive", by, {"late": late, "temperature_c": str(temperature_c or "")})
    return batch


def receive_tube(session: Session, number: str, barcode: str, *, by: str) -> tuple[Specimen, bool]:
    """Receive a tube that came with this batch; the second value says whether it was packed into it.

    One that was not (unexpected) is received all the same, and noted.
    """
    batch = _locked(session, number)
    if batch.state != BatchState.ARRIVED:
        raise Conflict("batch_not_here", N_("请先扫描批次条码登记到达：{number}。"), number=batch.number)
    specimen = lookup.by_barcode(session, barcode)
    expected = specimen.id in {each.id for each in tubes_of(session, batch.id)}
    received = service.receive(
        session, barcode, by=by, detail={"batch": batch.number, **({} if expected else {"unexpected": True})}
    )
    if not expected:
        session.add(UnexpectedTube(batch_id=batch.id, specimen_id=specimen.id, by=by))
        session.flush()
    if not missing_of(session, batch.id):
        _close(session, batch, by=by, reason="")
    _tell(session, batch)
    return received, expected


def close(session: Session, number: str, *, by: str, reason: str) -> TransportBatch:
    """Nothing more is expected of this batch, although tubes are missing: why. They stay on the missing list."""
    because = record.needs_reason(reason)
    return _close(session, _locked(session, number), by=by, reason=because)


def _close(session: Session, batch: TransportBatch, *, by: str, reason: str) -> TransportBatch:
    missing = len(missing_of(session, batch.id))
    batch = _claim(session, batch, BatchState.CLOSED, closed_at=clock.now(), closed_by=by, close_reason=reason)
    _seal(session, batch, "batch.close", by, {"missing": missing}, reason)
    return batch


def tubes_of(session: Session, batch_id: uuid.UUID) -> list[Specimen]:
    """The tubes that are in the batch, in the order they were put in."""
    found = (
        select(Specimen)
        .join(BatchTube, BatchTube.specimen_id == Specimen.id)
        .where(BatchTube.batch_id == batch_id, BatchTube.taken_out_at.is_(None))
    )
    return list(session.scalars(found.order_by(BatchTube.id).execution_options(populate_existing=True)))


def missing_of(session: Session, batch_id: uuid.UUID) -> list[Specimen]:
    """Tubes of a batch that are still on their way."""
    return [each for each in tubes_of(session, batch_id) if each.state == SpecimenState.IN_TRANSIT]


def _locked(session: Session, number: str) -> TransportBatch:
    batch = by_number(session, number)
    return session.get_one(TransportBatch, batch.id, with_for_update=True, populate_existing=True)


def _claim(session: Session, batch: TransportBatch, goes_to: BatchState, **values: object) -> TransportBatch:
    claimed = session.scalar(
        update(TransportBatch)
        .where(TransportBatch.id == batch.id, TransportBatch.state.in_(may_become(goes_to)))
        .values(state=goes_to, **values)
        .returning(TransportBatch)
        .execution_options(populate_existing=True)
    )
    if claimed is None:
        session.refresh(batch)
        raise Conflict(f"batch_{batch.state}", N_("批次 {number} 的状态不允许此操作，请刷新。"), number=batch.number)
    return claimed


def _tell(session: Session, batch: TransportBatch) -> None:
    announce(session, "batches", {"batch": batch.number, "state": batch.state})


def _seal(
    session: Session, batch: TransportBatch, action: str, by: str, after: dict[str, object], reason: str = ""
) -> None:
    _tell(session, batch)
    audit.record(
        session, actor=by, action=action, aggregate=("batch", batch.number), after=after, reason=reason or None
    )


def since(moment: datetime) -> int:
    """Whole minutes from `moment` to now."""
    return int((clock.now() - moment) / timedelta(minutes=1))
