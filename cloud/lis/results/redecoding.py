"""A message that was taken in is read anew: what is new or changed becomes further results, the old ones stay.

An old value that nobody released gives way (superseded); a released one stands in its report until a person amends it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.live import announce
from cloud.lis.qc import service as qc
from cloud.lis.qc.model import QcResult
from cloud.lis.results import sheets
from cloud.lis.results.differences import CHANGED, Compared, Difference, Plain
from cloud.lis.results.matching import look_up, specimens_by_barcode
from cloud.lis.results.model import OPEN_STATES, Result, ResultResend, ResultState, UnmatchedReason, UnmatchedResult
from cloud.lis.results.notices import keep_events
from cloud.lis.results.source import MessageSource
from cloud.lis.results.storing import store_observations
from cloud.lis.results.strays import keep_strays
from cloud.lis.specimens.model import Specimen
from cloud.lis.specimens.rules import clean_barcode
from protocols.model import InstrumentEvent, Item, Observation, Undecoded
from protocols.uplink.items import item_from_json


@dataclass(frozen=True, slots=True)
class Standing:
    """A released value that the new reading contradicts: a person decides about an amendment."""

    result_id: uuid.UUID
    specimen_id: uuid.UUID
    new_result_id: uuid.UUID | None
    """None: the new reading has no such value."""


@dataclass(slots=True)
class Replaced:
    """What one message read anew became."""

    ordinals: list[int]
    """Under which ordinal each item of the new reading is stored."""
    results: int = 0
    superseded: int = 0
    unmatched: int = 0
    qc: int = 0
    repeated: int = 0
    """Differences that change nothing of the value itself."""
    not_applied: int = 0
    """Differences of kinds that are only shown (queries, readings of sensors, steps of an assembly line)."""
    standing: list[Standing] = field(default_factory=list)


def read_anew(
    session: Session,
    source: MessageSource,
    before_ordinals: Sequence[int],
    after: Sequence[Plain],
    compared: Compared,
    *,
    by_name: str,
) -> Replaced:
    """Store what the new reading of an ingested message says otherwise. `source.late` has to be set.

    `before_ordinals`: under which ordinal each item of the old reading is stored. The caller sees to it that one
    reading is stored once.
    """
    done = Replaced(_ordinals(before_ordinals, len(after), compared))
    gone = [before_ordinals[each.before_at] for each in compared.differences if each.before_at is not None]
    fresh = [each.after_at for each in compared.differences if each.after_at is not None]
    items = [(done.ordinals[place], item_from_json(after[place])) for place in fresh]
    old = _old_results(session, source, gone)
    _lock(session, old, [item for _, item in items])
    _store(session, source, items, done)
    _step_back(session, source, gone, by_name)
    _supersede(session, source, before_ordinals, compared.differences, done)
    announce(session, "results", {"link": source.link})
    return done


def _ordinals(before: Sequence[int], count: int, compared: Compared) -> list[int]:
    """What is alike keeps its ordinal, everything else gets a new one behind all that were used."""
    kept = {new: before[old] for old, new in compared.same}
    free = max([*before, -1]) + 1
    ordinals = []
    for place in range(count):
        if place not in kept:
            kept[place], free = free, free + 1
        ordinals.append(kept[place])
    return ordinals


def _old_results(session: Session, source: MessageSource, ordinals: Sequence[int]) -> Mapping[int, Result]:
    rows = session.scalars(
        select(Result)
        .where(Result.inbox_id == source.inbox_id, Result.ordinal.in_(ordinals))
        .execution_options(populate_existing=True)
    )
    return {each.ordinal: each for each in rows}


def _lock(session: Session, old: Mapping[int, Result], items: Sequence[Item]) -> None:
    """All sheets at once and in their order, so that no two messages wait for each other."""
    barcodes = {clean_barcode(each.specimen or "") for each in items if isinstance(each, Observation) and not each.qc}
    found = specimens_by_barcode(session, barcodes - {""}).values()
    sheets.touch(session, {each.id for each in found} | {each.specimen_id for each in old.values()})


def _store(session: Session, source: MessageSource, items: Sequence[tuple[int, Item]], done: Replaced) -> None:
    observations = [(at, item) for at, item in items if isinstance(item, Observation) and item.qc is None]
    controls = [(at, item) for at, item in items if isinstance(item, Observation) and item.qc is not None]
    events = [(at, item) for at, item in items if isinstance(item, InstrumentEvent)]
    undecoded = [(at, item) for at, item in items if isinstance(item, Undecoded)]
    found = look_up(session, source.gateway, source.link, [item for _, item in observations + controls])
    stored = store_observations(session, source, found, observations)
    if controls:
        qc.store(session, source, found.instrument_id, found.test_ids(), controls)
    keep_events(session, source, found, events)
    keep_strays(session, source, found, [(at, item, UnmatchedReason.UNDECODED) for at, item in undecoded])
    session.flush()
    done.results, done.unmatched, done.qc = stored.matched, stored.unmatched, len(controls)
    done.repeated = stored.resent
    done.not_applied = len(items) - len(observations) - len(controls) - len(events) - len(undecoded)


def _step_back(session: Session, source: MessageSource, gone: Sequence[int], by_name: str) -> None:
    """What of the old reading waits for a person or stands among the controls makes room for the new one."""
    session.execute(
        update(UnmatchedResult)
        .where(
            UnmatchedResult.inbox_id == source.inbox_id,
            UnmatchedResult.ordinal.in_(gone),
            UnmatchedResult.state == "waiting",
        )
        .values(
            state="dismissed", handled_by_name=by_name, handled_at=clock.now(), handled_reason="重新解码后被新值取代"
        ),
        execution_options={"synchronize_session": False},
    )
    session.execute(
        update(QcResult)
        .where(QcResult.inbox_id == source.inbox_id, QcResult.ordinal.in_(gone))
        .values(superseded=True),
        execution_options={"synchronize_session": False},
    )
    announce(session, "unmatched", {"link": source.link})


def _supersede(
    session: Session,
    source: MessageSource,
    before_ordinals: Sequence[int],
    differences: Sequence[Difference],
    done: Replaced,
) -> None:
    """The old results, after the new ones are there. A value that the new reading only repeats stays."""
    wanted = [each for each in differences if each.before_at is not None]
    old = _old_results(session, source, [before_ordinals[each.before_at or 0] for each in wanted])
    new = _old_results(session, source, done.ordinals)
    for each in wanted:
        result = old.get(before_ordinals[each.before_at or 0])
        if result is None:
            continue
        after = new.get(done.ordinals[each.after_at]) if each.after_at is not None else None
        if after is None and each.what == CHANGED:
            after = _repeated(session, source, done.ordinals[each.after_at or 0])
        if after is not None and after.id == result.id:
            continue
        if result.state == ResultState.RELEASED:
            done.standing.append(Standing(result.id, result.specimen_id, after.id if after else None))
        else:
            done.superseded += _give_way(session, result, after)
    session.flush()


def _repeated(session: Session, source: MessageSource, ordinal: int) -> Result | None:
    """The stored value that the new reading only says once more: then it is linked as a resend, and no new row."""
    found = select(Result).join(ResultResend, ResultResend.result_id == Result.id)
    mine = found.where(ResultResend.inbox_id == source.inbox_id, ResultResend.ordinal == ordinal)
    return session.scalars(mine.execution_options(populate_existing=True)).first()


def _give_way(session: Session, old: Result, new: Result | None) -> bool:
    """The old value is superseded; False where it was rejected. One that was measured already takes its place."""
    if old.state in OPEN_STATES:
        chosen, old.chosen = old.chosen, False
        old.move_to(ResultState.SUPERSEDED)
        session.flush()
        if chosen and new is not None and new.state == ResultState.SUPERSEDED and not new.after_release:
            new.move_to(ResultState.RECEIVED)
            new.chosen = True
    if old.state != ResultState.SUPERSEDED:
        return False
    old.details = {**old.details, "redecoded": True}
    _tell(session, old)
    return True


def _tell(session: Session, result: Result) -> None:
    specimen = session.get_one(Specimen, result.specimen_id)
    announce(session, "results", {"specimen": str(specimen.id), "accession": specimen.accession})
