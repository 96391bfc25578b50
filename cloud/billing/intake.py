"""Charges as they come: from the hospital's own system, or typed by hand. Stored once, replaced only before payment.

A repeated equal message changes nothing. One with another content replaces the bill while nobody has paid or is paying
it; afterwards it is refused, and a case asks for a person: the money has been taken for what stood there before.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Sequence, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.billing import execution, record, settling
from cloud.billing.events import ChargeArose, ChargeVoided
from cloud.billing.model import KINDS, SOURCES, Charge, ChargeItem, ChargeState, ItemState
from cloud.billing.rules import LONGEST_KEY
from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.web.i18n import mark as N_

NUMBERS = Sequence("charge_number_seq")
LARGEST_FEN = 10_000_000_00
MOST_ITEMS = 500


@dataclass(frozen=True, slots=True)
class ItemIn:
    """One line. `fen` is the line's amount as its source says it; `line` the source's name of it (empty: its place)."""

    code: str
    name: str
    fen: int
    quantity: Decimal = Decimal(1)
    price_fen: int | None = None
    unit: str = ""
    spec: str = ""
    goods: bool = False
    order_key: str | None = None
    line: str = ""


@dataclass(frozen=True, slots=True)
class ChargeIn:
    """A bill as its source says it. `number`: the source's own, once for each bill."""

    source: str
    number: str
    person_id: uuid.UUID
    kind: str
    made_at: datetime
    items: tuple[ItemIn, ...] = field(default=())
    visit: str | None = None
    department_id: uuid.UUID | None = None
    executing_department_id: uuid.UUID | None = None

    @property
    def total_fen(self) -> int:
        return sum(each.fen for each in self.items)


@dataclass(frozen=True, slots=True)
class Done:
    """That an order was done already when its bill came."""

    at: datetime
    by: str


done_before: list[Callable[[Session, Collection[str]], dict[str, Done]]] = []
"""Who knows which order keys were done already, registered by the slices that do them (the laboratory's reception)."""


def take_in(session: Session, charge: ChargeIn, *, by: str = "his") -> Charge:
    """Store it, replace it, or find it unchanged.

    Raises `Invalid` (amounts, kind, no line), `Conflict` (``charge.paid``: paid already, a case is open;
    ``charge.paying``: somebody is paying it this moment, send it again in a few minutes; ``charge.void``;
    ``charge.of_another``: the number belongs to another patient's bill).
    A case is written in a unit of work of its own: the refusal takes back the caller's.
    """
    _check(charge)
    record.take_turns(session, [each.order_key for each in charge.items if each.order_key])
    made: Charge | None = session.scalar(
        insert(Charge)
        .values(_values(charge) | {"id": new_id(), "created_at": clock.now(), "state": "payable", "version": 1})
        .on_conflict_do_nothing(constraint="uq_charge_number")
        .returning(Charge)
    )
    if made is None:
        return _again(session, charge, by)
    _arise(session, made, charge)
    _audit(session, made, "charge.take_in", by)
    return made


def _values(charge: ChargeIn) -> dict[str, object]:
    return {
        "source": charge.source,
        "number": charge.number,
        "person_id": charge.person_id,
        "visit": charge.visit,
        "kind": charge.kind,
        "department_id": charge.department_id,
        "executing_department_id": charge.executing_department_id,
        "made_at": charge.made_at,
        "total_fen": charge.total_fen,
        "digest": digest(charge),
    }


def digest(charge: ChargeIn) -> str:
    """Of what the source says, whoever sends it and when."""
    said = asdict(charge) | {"items": [asdict(each) for each in charge.items]}
    return hashlib.sha256(json.dumps(said, default=str, sort_keys=True).encode()).hexdigest()


def _check(charge: ChargeIn) -> None:
    if charge.source not in SOURCES or charge.kind not in KINDS or not charge.number.strip():
        raise Invalid("charge.unreadable", N_("账单缺少来源、单号或费用类别。"))
    if not 0 < len(charge.items) <= MOST_ITEMS:
        raise Invalid("charge.no_items", N_("账单没有明细，或明细过多。"))
    if any(each.fen < 0 or (each.price_fen or 0) < 0 or each.quantity <= 0 for each in charge.items):
        raise Invalid("charge.amount", N_("账单明细的金额或数量不正确；退费请走退费流程，不能用负数账单。"))
    if charge.total_fen > LARGEST_FEN:
        raise Invalid("charge.amount", N_("账单明细的金额或数量不正确；退费请走退费流程，不能用负数账单。"))
    if any(len(each.order_key or "") > LONGEST_KEY or not each.name.strip() for each in charge.items):
        raise Invalid("charge.item", N_("账单明细缺少名称，或医嘱号过长。"))
    lines = [each.line or str(at) for at, each in enumerate(charge.items, 1)]
    if len(set(lines)) != len(lines):
        raise Invalid("charge.item", N_("账单明细的行号重复。"))


def _again(session: Session, charge: ChargeIn, by: str) -> Charge:
    known = session.scalars(
        select(Charge)
        .where(Charge.source == charge.source, Charge.number == charge.number)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    if known.digest == digest(charge):
        return known
    if known.person_id != charge.person_id:
        raise Conflict("charge.of_another", N_("账单号 {number} 已用于另一位患者，请核对。"), number=charge.number)
    _changeable(session, known, "charge_changed_after_payment", fen=charge.total_fen)
    if any(each.executed_at is not None for each in record.items_of(session, known.id)):
        record.open_case(known, "charge_changed_after_execution", fen=charge.total_fen)
        raise Conflict("charge.executed", N_("账单 {number} 已有项目执行，不能更改，请人工处理。"), number=known.number)
    before: dict[str, object] = {"fen": known.total_fen, "version": known.version}
    record.move_items(
        session, [each.id for each in record.items_of(session, known.id)], (ItemState.PAYABLE,), ItemState.VOID
    )
    for name, value in _values(charge).items():
        setattr(known, name, value)
    known.version += 1
    known.told_at = None
    session.flush()
    _arise(session, known, charge)
    _audit(session, known, "charge.replace", by, before=before)
    return known


def _changeable(session: Session, known: Charge, case: str, **facts: object) -> None:
    """Raises why this charge can't be changed or taken back any more."""
    if known.state == ChargeState.PAYING:
        raise Conflict("charge.paying", N_("账单 {number} 正在缴费，请稍后重发。"), number=known.number)
    if known.state == ChargeState.PAID:
        record.open_case(known, case, **facts)
        raise Conflict("charge.paid", N_("账单 {number} 已缴费，不能更改，请先退费。"), number=known.number)
    if known.state == ChargeState.VOID:
        raise Conflict("charge.void", N_("账单 {number} 已作废。"), number=known.number)


def _arise(session: Session, charge: Charge, said: ChargeIn) -> None:
    """Its items, what of them was done already, and the fact."""
    done: dict[str, Done] = {}
    keys = {each.order_key for each in said.items if each.order_key}
    for ask in done_before if keys else ():
        done |= ask(session, keys)
    for at, each in enumerate(said.items, 1):
        was = done.get(each.order_key or "")
        session.add(
            ChargeItem(
                charge_id=charge.id,
                version=charge.version,
                line=each.line or str(at),
                position=at,
                code=each.code,
                name=each.name,
                spec=each.spec,
                unit=each.unit,
                quantity=each.quantity,
                price_fen=each.price_fen if each.price_fen is not None else round(Decimal(each.fen) / each.quantity),
                fen=each.fen,
                goods=each.goods,
                order_key=each.order_key,
                executed_at=was.at if was else None,
                executed_by=was.by if was else None,
            )
        )
    session.flush()
    for who in sorted({each.by for each in done.values()}):
        mine = [each for each in record.items_of(session, charge.id) if each.executed_by == who]
        execution.tell_done(session, mine, by=who)
    if charge.total_fen == 0:
        settling.without_money(session, charge, how="free", at=clock.now())
        return
    publish(
        session,
        ChargeArose(
            aggregate_id=charge.id,
            person_id=charge.person_id,
            source=charge.source,
            number=charge.number,
            charge_version=charge.version,
            fen=charge.total_fen,
        ),
    )
    record.tell_pages(session, charge)


def void(session: Session, source: str, number: str, *, by: str, reason: str) -> Charge | None:
    """Its source takes it back. None: there is no such bill (that is no error: a cancellation may overtake it).

    Raises `Conflict` as `take_in` does; when it was paid or done, a case is open.
    """
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    known = session.scalar(
        select(Charge)
        .where(Charge.source == source, Charge.number == number)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if known is None or known.state == ChargeState.VOID:
        return known
    _changeable(session, known, "charge_voided_after_payment")
    items = record.locked_items(session, [each.id for each in record.items_of(session, known.id)])
    if any(each.executed_at is not None for each in items):
        record.open_case(known, "charge_voided_after_execution")
        raise Conflict("charge.executed", N_("账单 {number} 已有项目执行，不能作废，请人工处理。"), number=known.number)
    moved = record.move_charge(session, known.id, (ChargeState.PAYABLE,), ChargeState.VOID)
    assert moved is not None
    record.move_items(session, [each.id for each in items], (ItemState.PAYABLE,), ItemState.VOID)
    publish(
        session,
        ChargeVoided(aggregate_id=moved.id, person_id=moved.person_id, source=moved.source, number=moved.number),
    )
    audit.record(session, actor=by, action="charge.void", aggregate=("charge", moved.id), reason=reason.strip())
    record.tell_pages(session, moved)
    return moved


def manual_number(session: Session) -> str:
    """A number for a bill typed by hand: the hospital's day and a number of the database."""
    drawn = session.scalar(select(NUMBERS.next_value()))
    return f"M{clock.today():%Y%m%d}{drawn:08d}"


def _audit(session: Session, charge: Charge, action: str, by: str, before: dict[str, object] | None = None) -> None:
    audit.record(
        session,
        actor=by,
        action=action,
        aggregate=("charge", charge.id),
        before=before,
        after={"number": charge.number, "fen": charge.total_fen, "version": charge.version, "state": charge.state},
    )
