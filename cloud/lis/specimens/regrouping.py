"""Splitting and merging tubes by hand before they are drawn: with a reason, and an event on both."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Conflict, Invalid
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens import lookup, record, timed, tubing
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.web.i18n import mark as N_


def split(session: Session, barcode: str, item_ids: Sequence[uuid.UUID], *, by: str, reason: str) -> Specimen:
    """These tests get a tube of their own; at least one stays on the old. The new tube."""
    because = record.needs_reason(reason)
    found = lookup.by_barcode(session, barcode)
    order = orders.locked(session, found.order_id)
    specimen = _undrawn(session, found)
    wanted = set(item_ids)
    on_it = {each.id for each in lookup.live_items(session, specimen.id)}
    if not wanted or not wanted < on_it:
        raise Invalid("split_what", N_("请选择要分出的项目，并至少留一项在原管。"))
    new = tubing.make(session, order, specimen.tube_id, specimen.specimen_type, by=by)
    _move(session, wanted, specimen, new)
    _note(session, specimen, "split", new, by, because)
    return new


def merge(session: Session, barcode: str, into: str, *, by: str, reason: str) -> Specimen:
    """All tests of the first tube go to the second, of the same order and kind; the first label is void."""
    because = record.needs_reason(reason)
    first, second = lookup.by_barcode(session, barcode), lookup.by_barcode(session, into)
    orders.locked(session, first.order_id)
    away, kept = _undrawn(session, first), _undrawn(session, second)
    due = timed.due_of(session, [away, kept])
    if due.get(away.id, timed.NOTHING).timing != due.get(kept.id, timed.NOTHING).timing:
        raise Conflict("other_time", N_("采集时点不同的标本不能合并。"))
    same = (away.order_id, away.tube_id, away.specimen_type) == (kept.order_id, kept.tube_id, kept.specimen_type)
    if not same or away.id == kept.id:
        raise Conflict("not_mergeable", N_("只能合并同一申请、同一种试管的标本。"))
    _move(session, {each.id for each in lookup.live_items(session, away.id)}, away, kept)
    away = record.claim(session, away, SpecimenState.CANCELLED)
    _note(session, away, "merged_away", kept, by, because)
    record.append(session, kept.id, "merged", by=by, reason=because, detail={"other": away.accession})
    return kept


def _undrawn(session: Session, specimen: Specimen) -> Specimen:
    held = record.locked(session, specimen.id)
    if held.state != SpecimenState.PRINTED:
        raise record.why_not(session, held)
    return held


def _move(session: Session, item_ids: set[uuid.UUID], away: Specimen, to: Specimen) -> None:
    session.execute(
        update(OrderItem)
        .where(OrderItem.id.in_(item_ids), OrderItem.specimen_id == away.id, OrderItem.state == ItemState.ORDERED)
        .values(specimen_id=to.id)
    )


def _note(session: Session, specimen: Specimen, type_: str, other: Specimen, by: str, reason: str) -> None:
    record.append(session, specimen.id, type_, by=by, reason=reason, detail={"other": other.accession})
    record.tell_pages(session, specimen)
    audit.record(
        session,
        actor=by,
        action=f"specimen.{type_}",
        aggregate=("specimen", str(specimen.id)),
        after={"other": other.accession},
        reason=reason,
    )
