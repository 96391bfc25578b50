"""From matched observations to rows: new result, rerun, resend or a value after release; and what matched nothing."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ARRAY, Uuid, any_, bindparam, or_, select
from sqlalchemy.orm import Session

from cloud.kit.bulk import insert_rows
from cloud.kit.events import publish
from cloud.kit.live import announce
from cloud.lis.catalog.model import Test
from cloud.lis.results import calculating, judging, reflexes
from cloud.lis.results.choosing import choose_newest, chosen_numbers, items_resulted, settle_choice
from cloud.lis.results.diluting import declared
from cloud.lis.results.entry import Entry, judge_entries, new_result, read
from cloud.lis.results.events import ResultsReceived
from cloud.lis.results.known import instrument_code
from cloud.lis.results.matching import Lookup, Match
from cloud.lis.results.model import Result, ResultResend
from cloud.lis.results.notices import Placed, attach, is_picture, keep_messages
from cloud.lis.results.source import MessageSource
from cloud.lis.results.strays import Stray, keep_strays
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from protocols.model import Observation

__all__ = ["choose_newest", "chosen_numbers", "settle_choice", "store_observations", "store_results"]


@dataclass(slots=True)
class Stored:
    """What became of the observations of one message."""

    matched: int = 0
    after_release: int = 0
    unmatched: int = 0
    resent: int = 0
    attachments: int = 0
    messages: int = 0


@dataclass(slots=True)
class _Work:
    """The observations of one specimen."""

    specimen: Specimen
    placed: list[tuple[int, Observation, Match]] = field(default_factory=list)


def store_observations(
    session: Session, source: MessageSource, found: Lookup, observations: Sequence[Placed]
) -> Stored:
    """Sort observations to their specimens and store each specimen's; the sheets are locked already (`look_up`)."""
    stored = Stored()
    work: dict[uuid.UUID, _Work] = {}
    strays: list[Stray] = []
    said: list[Placed] = []
    for at, observation in observations:
        specimen = found.specimen_of(observation)
        if specimen is not None:
            stored.attachments += attach(session, source, specimen.id, at, observation)
        if observation.code in found.messages:
            said.append((at, observation))
            continue
        match = found.match(observation)
        if isinstance(match, Match):
            work.setdefault(match.specimen.id, _Work(match.specimen)).placed.append((at, observation, match))
        elif specimen is None or not is_picture(observation):
            strays.append((at, observation, match))
    for each in work.values():
        store_results(session, source, found.instrument_id, each.specimen, each.placed, stored)
    stored.messages = len(said)
    keep_messages(session, source, found, said)
    stored.unmatched, resent = keep_strays(session, source, found, strays)
    stored.resent += resent
    return stored


def store_results(
    session: Session,
    source: MessageSource,
    instrument_id: uuid.UUID | None,
    specimen: Specimen,
    placed: Sequence[tuple[int, Observation, Match]],
    stored: Stored,
) -> list[Result]:
    """Results of one specimen; returns the new rows, in the order of `placed`."""
    history, chosen = _measured_before(session, specimen.id, {match.item.id for _, _, match in placed})
    entries: list[Entry] = []
    for at, observation, match in placed:
        same_tube = [each for each in history.get(match.item.id, []) if each.specimen_id == specimen.id]
        first = resent_of(same_tube, instrument_id, observation)
        if first is not None:
            session.add(
                ResultResend(result_id=first.id, inbox_id=source.inbox_id, ordinal=at, received_at=source.received_at)
            )
            stored.resent += 1
            continue
        entries.append(read(at, observation, match, declared(history.get(match.item.id, ()))))
    if not entries:
        return []
    code = instrument_code(session, instrument_id)
    means = {
        each.match.test.id: judging.Means(code, each.match.channel.method if each.match.channel else "")
        for each in entries
    }
    tests, items = [each.match.test for each in entries], [each.match.item for each in entries]
    known = judging.background(session, specimen, tests, means=means, items=items)
    judge_entries(entries, known, chosen)
    added = [_made(source, instrument_id, specimen, known, each, history) for each in entries]
    insert_rows(session, added)
    items_resulted(session, added)
    specimens.on_instrument(session, specimen.id, device=code or f"{source.gateway}/{source.link}")
    moved = {each.match.test.code for each in entries}
    calculated = calculating.follow(session, specimen, changed=moved)
    stored.matched += len(added)
    stored.after_release += sum(each.after_release for each in added)
    announce_results(session, specimen, [*added, *calculated])
    reflexes.react(session, specimen, changed=[*moved, *calculating.codes(session, calculated)])
    return added


def _measured_before(
    session: Session, specimen_id: uuid.UUID, item_ids: set[uuid.UUID]
) -> tuple[dict[uuid.UUID, list[Result]], dict[str, Result]]:
    """Every value of these order items, oldest first, and the specimen's chosen ones as `chosen_numbers` gives them."""
    rows = session.execute(_BEFORE, {"specimen": specimen_id, "items": list(item_ids)})
    history: dict[uuid.UUID, list[Result]] = {}
    chosen: dict[str, Result] = {}
    for result, code, unit in rows:
        history.setdefault(result.order_item_id, []).append(result)
        if result.chosen and result.specimen_id == specimen_id and result.unit == unit:
            chosen[code] = result
    return history, chosen


_BEFORE = (
    select(Result, Test.code, Test.unit)
    .join(Test, Test.id == Result.test_id)
    .where(
        or_(
            Result.specimen_id == bindparam("specimen"),
            Result.order_item_id == any_(bindparam("items", type_=ARRAY(Uuid(as_uuid=True)))),
        )
    )
    .order_by(Result.run)
    .execution_options(populate_existing=True)
)


def _made(
    source: MessageSource,
    instrument_id: uuid.UUID | None,
    specimen: Specimen,
    known: judging.Background,
    entry: Entry,
    history: dict[uuid.UUID, list[Result]],
) -> Result:
    earlier = history.setdefault(entry.match.item.id, [])
    result = new_result(entry, specimen, known, received_at=source.received_at)
    result.instrument_id, result.inbox_id, result.ordinal = instrument_id, source.inbox_id, entry.at
    choose_newest(result, entry.match.item, earlier, late=source.late)
    earlier.append(result)
    return result


def resent_of(earlier: Sequence[Result], instrument_id: uuid.UUID | None, observation: Observation) -> Result | None:
    """The result that the instrument sends a second time, if it is one: alike in all that it says of the measurement.

    `earlier`: the values of this tube (a test whose tube was rejected is measured again on another), oldest first.

    A value without a time or run number can only repeat the newest of its instrument (what lies before it was measured
    again since); after a rerun was asked for, it is taken for the rerun.
    """
    told_apart = observation.observed_at is not None or observation.run is not None
    mine = [each for each in earlier if each.instrument_id == instrument_id and each.channel_code == observation.code]
    for row in mine if told_apart else mine[-1:]:
        same = (
            row.raw_value == observation.value
            and row.raw_unit == observation.unit
            and row.instrument_run == observation.run
            and row.observed_at_raw == observation.observed_at
            and row.instrument_flags == list(observation.flags)
            and row.details.get("status") == observation.status
        )
        if same and (told_apart or row.rerun_requested_at is None):
            return row
    return None


def announce_results(session: Session, specimen: Specimen, added: Sequence[Result]) -> None:
    """The stored fact, and the sign to the pages that are open."""
    if not added:
        return
    publish(
        session,
        ResultsReceived(
            aggregate_id=specimen.id,
            order_id=specimen.order_id,
            person_id=specimen.person_id,
            result_ids=tuple(each.id for each in added),
            contains_critical=any(each.critical for each in added),
            after_release=any(each.after_release for each in added),
        ),
    )
    announce(session, "results", {"specimen": str(specimen.id), "accession": specimen.accession})
