"""What matched nothing, on its way to the list that a person works through; the same value sent again waits once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.bulk import insert_rows
from cloud.kit.live import announce
from cloud.lis.results.matching import Lookup
from cloud.lis.results.model import UnmatchedReason, UnmatchedResult
from cloud.lis.results.source import MessageSource
from protocols.model import Item, Observation, Undecoded
from protocols.uplink.items import item_to_json

Stray = tuple[int, Item, UnmatchedReason]


def keep_strays(session: Session, source: MessageSource, found: Lookup, strays: Sequence[Stray]) -> tuple[int, int]:
    """Keep them; gives (how many wait now, how many were a repetition of one that is there)."""
    if not strays:
        return 0, 0
    rows = [_row(source, found, *each) for each in strays]
    seen = _seen(session, source, {each.specimen for each in rows})
    for row in rows:
        if row.observed_at is not None and _identity(row.item) in seen:
            row.state = "resend"
    insert_rows(session, rows)
    announce(session, "unmatched", {"link": source.link})
    repeated = sum(row.state == "resend" for row in rows)
    return len(rows) - repeated, repeated


def _seen(session: Session, source: MessageSource, barcodes: set[str | None]) -> set[str]:
    """What these barcodes had on this link before, whatever became of it."""
    items = session.scalars(
        select(UnmatchedResult.item).where(
            UnmatchedResult.gateway == source.gateway,
            UnmatchedResult.link == source.link,
            UnmatchedResult.specimen.in_(barcodes),
            UnmatchedResult.inbox_id != source.inbox_id,
        )
    )
    return {_identity(each) for each in items}


_SAME = ("specimen", "code", "value", "unit", "run", "observed_at", "flags", "status")


def _identity(item: dict[str, object]) -> str:
    return repr([item.get(key) for key in _SAME])


def _row(source: MessageSource, found: Lookup, at: int, item: Item, reason: UnmatchedReason) -> UnmatchedResult:
    observation = item if isinstance(item, Observation) else None
    specimen = found.specimen_of(observation) if observation else None
    return UnmatchedResult(
        inbox_id=source.inbox_id,
        ordinal=at,
        gateway=source.gateway,
        link=source.link,
        instrument_id=found.instrument_id,
        specimen_id=specimen.id if specimen else None,
        reason=reason,
        specimen=observation.specimen if observation else None,
        code=observation.code if observation else "",
        value=observation.value if observation else (item.reason if isinstance(item, Undecoded) else None),
        unit=observation.unit if observation else None,
        observed_at=clock.from_instrument(observation.observed_at) if observation else None,
        received_at=source.received_at,
        item=item_to_json(item),
    )
