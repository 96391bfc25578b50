"""Storing what arrived: many envelopes in one transaction, each message once under its identity, receipts afterwards.

Nothing is judged here: a payload that is not of the contract, an unknown box and a wrong topic are kept in quarantine,
a single unreadable message is kept under its own sequence, so that it never blocks its link (rule L8).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session

from cloud.gateways import rules
from cloud.gateways.arrivals import (
    Arrival,
    Identity,
    InboxRow,
    LinkKey,
    Refusal,
    RegisteredGateway,
    check_sender,
    message_row,
    read_counts,
    read_envelope,
    read_state,
    refused_row,
    set_aside,
)
from cloud.gateways.model import (
    Gateway,
    InboxMessage,
    LinkCursor,
    LostRange,
    Quarantine,
)
from cloud.gateways.parts import read_part, take
from cloud.gateways.states import store_state
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin
from cloud.kit.live import announce
from cloud.kit.retryable import is_retryable
from cloud.kit.storable import storable
from protocols.uplink import counts, parts
from protocols.uplink.counts import Counts
from protocols.uplink.envelope import (
    Envelope,
    GapRequest,
    GatewayState,
    Receipt,
    RefusedMessage,
    Topic,
    UplinkError,
    parse_topic,
)
from protocols.uplink.parts import Part


@dataclass(slots=True)
class Stored:
    """What one transaction kept, and what is to be said to the boxes now that it is committed."""

    receipts: list[tuple[str, Receipt]] = field(default_factory=list)
    gaps: list[tuple[str, GapRequest]] = field(default_factory=list)
    links: Counter[LinkKey] = field(default_factory=Counter)
    """Links that have something new to apply, and how much."""
    stored: int = 0
    repeated: int = 0
    quarantined: int = 0
    states: list[GatewayState] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    """What boxes say that they hold: to be compared now that everything that came before is committed."""


@dataclass(slots=True)
class _Sorted:
    envelopes: list[tuple[Envelope, tuple[RefusedMessage, ...]]] = field(default_factory=list)
    states: list[GatewayState] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)


class Inbox:
    """The receiving side of one partition, for as long as its lease is held by this process."""

    def __init__(self, begin: Begin, partition: int) -> None:
        self._begin = begin
        self._partition = partition
        self._intakes: dict[LinkKey, rules.Intake] = {}
        self._announced = 0.0

    def store(self, arrivals: Sequence[Arrival]) -> Stored:
        """Keep all of them in one transaction; returns after its commit.

        Content that the database cannot hold must not cost its neighbours: then each arrival gets a transaction of its
        own, and the one that fails is quarantined.
        """
        try:
            return self._store(arrivals)
        except (DBAPIError, StatementError, ValueError, OverflowError) as error:
            if is_retryable(error):
                # Another server may answer next, and one that took over may lack the last commits: count anew.
                self._intakes.clear()
                raise
        merged = Stored()
        for each in arrivals:
            merged = _merge(merged, self._store_alone(each))
        return merged

    def _store_alone(self, arrival: Arrival) -> Stored:
        try:
            return self._store([arrival])
        except (DBAPIError, StatementError, ValueError, OverflowError) as error:
            if is_retryable(error):
                raise
            reason = f"not storable: {getattr(error, 'orig', None) or error}"
        with self._begin() as session:
            _quarantine(session, [Refusal(arrival, None, reason)])
        return Stored(quarantined=1)

    def _store(self, arrivals: Sequence[Arrival]) -> Stored:
        with self._begin() as session:
            sorted_ = self._sort(session, arrivals)
            whole, broken = take(session, sorted_.parts, self._partition)
            sorted_.envelopes += whole
            sorted_.refused += broken
            result = Stored(quarantined=len(sorted_.refused), counts=sorted_.counts)
            touched = self._store_messages(session, sorted_, result)
            _quarantine(session, sorted_.refused)
            intakes = {key: self._intake(session, key, min(touched[key])) for key in touched}
            for state in sorted_.states:
                self._store_state(session, state, result)
            seen = {envelope.gateway for envelope, _ in sorted_.envelopes} | {each.gateway for each in sorted_.states}
            _mark_seen(session, seen)
            self._announce(session, bool(result.quarantined or sorted_.states))
        for key, sequences in touched.items():
            intake = self._intakes.setdefault(key, intakes[key])
            intake.add(sequences)
            result.receipts.append((key[0], intake.receipt(key[1], key[2], sequences)))
        return result

    def _sort(self, session: Session, arrivals: Sequence[Arrival]) -> _Sorted:
        """Envelopes, states, and what is neither (with the reason)."""
        found = _Sorted()
        parsed: list[tuple[Arrival, Topic]] = []
        for each in arrivals:
            try:
                parsed.append((each, parse_topic(each.topic)))
            except UplinkError as error:
                found.refused.append(Refusal(each, None, str(error)))
        known = _gateways(session, {topic.gateway for _, topic in parsed})
        for arrival, topic in parsed:
            try:
                check_sender(known.get(topic.gateway), topic)
                if topic.direction == "state":
                    found.states.append(read_state(arrival, topic))
                elif topic.kind == parts.KIND:
                    found.parts.append(read_part(arrival, topic))
                elif topic.kind == counts.KIND:
                    found.counts.append(read_counts(arrival, topic))
                elif topic.kind:
                    continue  # what a newer box says beside its messages
                else:
                    found.envelopes.append(read_envelope(arrival, topic))
            except UplinkError as error:
                found.refused.append(Refusal(arrival, topic.gateway, str(error)))
        return found

    def _store_messages(self, session: Session, sorted_: _Sorted, result: Stored) -> dict[LinkKey, set[int]]:
        rows: dict[Identity, InboxRow] = {}
        touched: dict[LinkKey, set[int]] = defaultdict(set)
        reused: list[InboxRow] = []
        arrived = 0
        for envelope, refused in sorted_.envelopes:
            key = (envelope.gateway, envelope.epoch, envelope.link)
            new = [message_row(key, each) for each in envelope.messages] + [refused_row(key, each) for each in refused]
            arrived += len(new)
            for row in new:
                touched[key].add(row["sequence"])
                first = rows.setdefault((*key, row["sequence"]), row)
                if first["sha256"] != row["sha256"]:
                    reused.append(row)
        stored = _insert(session, list(rows.values()))
        repeated = [rows[identity] for identity in rows.keys() - stored]
        reused += _contradictions(session, repeated)
        result.quarantined += len(_insert(session, [set_aside(each) for each in reused]))
        result.stored, result.repeated = len(stored), arrived - len(stored)
        result.links.update(identity[:3] for identity in stored)
        return touched

    def _announce(self, session: Session, at_once: bool) -> None:
        """Open pages look again: at once for what needs a person, else about once a second."""
        if at_once or monotonic() - self._announced > 1.0:
            self._announced = monotonic()
            announce(session, "gateways")

    def _intake(self, session: Session, key: LinkKey, lowest: int | None = None) -> rules.Intake:
        """What is committed of a link: remembered, else read from the database (includes this transaction's rows)."""
        known = self._intakes.get(key)
        if known is None:
            return load_intake(session, key)
        below = known.through if lowest is None else min(lowest - 1, known.through)
        if known.beyond or below < known.through:  # somebody may have declared a range lost: before them, or with them
            known.skip(lost_ranges(session, key, after=below))
        return known

    def _store_state(self, session: Session, state: GatewayState, result: Stored) -> None:
        store_state(session, state)
        result.states.append(state)
        for link in state.links:
            key = (state.gateway, state.epoch, link.link)
            tail = rules.missing_tail(link.last_sequence, link.waiting, self._intake(session, key).through)
            if tail is not None:
                result.gaps.append((state.gateway, GapRequest(state.epoch, link.link, *tail)))


def load_intake(session: Session, key: LinkKey) -> rules.Intake:
    """Counted from the rows of the link beyond its cursor."""
    gateway, epoch, link = key
    cursor = session.get(LinkCursor, key)
    intake = rules.Intake(0 if cursor is None else cursor.applied_through)
    intake.add(
        session.scalars(
            select(InboxMessage.sequence).where(
                InboxMessage.gateway == gateway,
                InboxMessage.epoch == epoch,
                InboxMessage.link == link,
                InboxMessage.sequence > intake.through,
            )
        )
    )
    intake.skip(lost_ranges(session, key, after=0))
    return intake


def lost_ranges(session: Session, key: LinkKey, *, after: int) -> list[tuple[int, int]]:
    """Ranges of this link that were declared lost and end beyond `after`, in rising order."""
    gateway, epoch, link = key
    rows = session.execute(
        select(LostRange.first, LostRange.last)
        .where(LostRange.gateway == gateway, LostRange.epoch == epoch, LostRange.link == link, LostRange.last > after)
        .order_by(LostRange.first)
    )
    return [(row.first, row.last) for row in rows]


def _gateways(session: Session, ids: set[str]) -> dict[str, RegisteredGateway]:
    rows = session.execute(select(Gateway.id, Gateway.partition, Gateway.state).where(Gateway.id.in_(ids)))
    return {row.id: row for row in rows}


def _insert(session: Session, rows: list[InboxRow]) -> set[Identity]:
    """Identities that were not there before."""
    if not rows:
        return set()
    statement = (
        insert(InboxMessage)
        .on_conflict_do_nothing(index_elements=["gateway", "epoch", "link", "sequence"])
        .returning(InboxMessage.gateway, InboxMessage.epoch, InboxMessage.link, InboxMessage.sequence)
    )
    return {(row.gateway, row.epoch, row.link, row.sequence) for row in session.execute(statement, rows)}


def _contradictions(session: Session, repeated: list[InboxRow]) -> list[InboxRow]:
    """Repeats whose bytes are not those of the first time (a box restored from an old image reuses its identities)."""
    if not repeated:
        return []
    by_identity = {(each["gateway"], each["epoch"], each["link"], each["sequence"]): each for each in repeated}
    columns = (InboxMessage.gateway, InboxMessage.epoch, InboxMessage.link, InboxMessage.sequence)
    # Of the bytes as they are stored now: they may have been changed since their hash was noted.
    sha256 = func.encode(func.sha256(InboxMessage.raw), "hex").label("sha256")
    known = session.execute(select(*columns, sha256).where(tuple_(*columns).in_(list(by_identity))))
    rows = ((by_identity[(each.gateway, each.epoch, each.link, each.sequence)], each.sha256) for each in known)
    return [row for row, stored in rows if row["sha256"] != stored]


def _quarantine(session: Session, refused: Iterable[Refusal]) -> None:
    for each in refused:
        statement = insert(Quarantine).values(
            id=new_id(),
            topic=storable(each.arrival.topic),
            gateway=each.gateway,
            payload=each.arrival.payload,
            sha256=hashlib.sha256(each.arrival.payload).hexdigest(),
            reason=storable(each.reason)[:2000],
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["topic", "sha256"],
                set_={
                    "times": Quarantine.times + 1,
                    "last_at": text("clock_timestamp()"),
                    "reason": statement.excluded.reason,
                },
            )
        )


def _mark_seen(session: Session, gateways: set[str]) -> None:
    if gateways:
        session.execute(
            update(Gateway).where(Gateway.id.in_(sorted(gateways))).values(last_seen_at=text("clock_timestamp()")),
            execution_options={"synchronize_session": False},
        )


def _merge(one: Stored, other: Stored) -> Stored:
    return Stored(
        one.receipts + other.receipts,
        one.gaps + other.gaps,
        one.links + other.links,
        one.stored + other.stored,
        one.repeated + other.repeated,
        one.quarantined + other.quarantined,
        one.states + other.states,
        one.counts + other.counts,
    )
