"""Comparing what a box holds of a link with what is stored here: differences are narrowed down, repaired, and shown.

A box says every hour how many messages it holds of a range and a hash over them (`protocols.uplink.counts`), or when it
is asked. What is stored here is hashed from the bytes themselves, not from what was once noted beside them. Where the
two differ the box is asked for smaller ranges, down to single messages. What is missing here is asked for and stored as
ever; a message whose bytes differ is never overwritten: the box's copy is set aside beside it, for a person.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.gateways.broker import Publisher
from cloud.gateways.model import Comparison, Gateway, GatewayStatus, Reconciliation
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin, enqueue
from cloud.kit.live import announce
from cloud.web.i18n import mark as N_
from protocols.uplink.counts import CountRequest, Counts, RangeCount, split
from protocols.uplink.down import GapRequest
from protocols.uplink.topics import down_topic

ASK = "gateways.ask_counts"
PARTS = 16
"""Into so many a range that differs is cut."""
AT_ONCE = 128
"""Ranges in one request."""
GAPS_AT_ONCE = 20
ROUNDS = 300
"""After so many answers a comparison ends with what it found."""
EQUAL_KEPT = timedelta(days=30)
ENDED = (Comparison.EQUAL, Comparison.REPAIRED, Comparison.DIFFERENT)
MISSING_HERE, MISSING_ON_BOX, ALTERED, DAMAGED = "missing_here", "missing_on_box", "altered", "damaged_on_box"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Asked:
    """What is to be said to the box, in this order."""

    gaps: list[GapRequest] = field(default_factory=list)
    counts: CountRequest | None = None
    became: Comparison | None = None
    """How the comparison ended; None: it goes on, or had ended before."""


def compare(session: Session, said: Counts) -> Asked:
    """One answer of a box, compared with what is committed here."""
    row = _row(session, said)
    if row.state not in (Comparison.ASKED, Comparison.NARROWING, Comparison.REPAIRING):
        return Asked()  # the same answer again
    asked = _compare(session, row, said)
    asked.became = row.state if row.state in ENDED else None
    return asked


def _compare(session: Session, row: Reconciliation, said: Counts) -> Asked:
    own = [count_here(session, said, each.first, each.last) for each in said.ranges]
    row.held_from, row.checked_at, row.rounds = said.held_from, clock.now(), row.rounds + 1
    pairs = list(zip(said.ranges, own, strict=True))
    if row.state == Comparison.REPAIRING:
        return _after_repair(session, row, pairs)
    if row.state == Comparison.ASKED:
        _note_whole(row, pairs)
    _narrow(row, pairs)
    if row.to_narrow and row.rounds < ROUNDS:
        row.state = Comparison.NARROWING
        return Asked(counts=_request(row, [(first, last) for first, last in row.to_narrow[:AT_ONCE]]))
    if not row.findings:
        row.state = Comparison.EQUAL
        return Asked()
    log.error("box_and_cloud_differ", gateway=row.gateway, link=row.link, findings=len(row.findings))
    announce(session, "gateways")
    return _repair(row)


def count_here(session: Session, said: Counts, first: int, last: int) -> RangeCount:
    """Of the bytes that are stored here."""
    found = session.execute(
        text(
            "SELECT count(*) AS number, encode(sha256(coalesce(string_agg("
            "int8send(sequence) || sha256(raw), ''::bytea ORDER BY sequence), ''::bytea)), 'hex') AS digest"
            " FROM gateway_inbox WHERE gateway = :gateway AND epoch = :epoch AND link = :link"
            " AND sequence BETWEEN :first AND :last"
        ),
        {"gateway": said.gateway, "epoch": said.epoch, "link": said.link, "first": first, "last": last},
    ).one()
    return RangeCount(first, last, found.number, found.digest)


def _row(session: Session, said: Counts) -> Reconciliation:
    values = {
        "id": new_id(),
        "gateway": said.gateway,
        "epoch": said.epoch,
        "link": said.link,
        "run": said.run,
        "state": Comparison.ASKED,
        "started_at": clock.now(),
        "to_narrow": [],
        "findings": [],
        "rounds": 0,
    }
    session.execute(insert(Reconciliation).values(values).on_conflict_do_nothing())
    session.execute(
        delete(Reconciliation).where(
            Reconciliation.gateway == said.gateway,
            Reconciliation.link == said.link,
            Reconciliation.state == Comparison.EQUAL,
            Reconciliation.started_at < clock.now() - EQUAL_KEPT,
        )
    )
    return session.scalars(
        select(Reconciliation)
        .where(
            Reconciliation.gateway == said.gateway,
            Reconciliation.link == said.link,
            Reconciliation.run == said.run,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


Pair = tuple[RangeCount, RangeCount]


def _note_whole(row: Reconciliation, pairs: Sequence[Pair]) -> None:
    row.count_box = sum(box.count for box, _ in pairs)
    row.count_cloud = sum(here.count for _, here in pairs)
    row.digest_box = _digest([box for box, _ in pairs])
    row.digest_cloud = _digest([here for _, here in pairs])
    if pairs:
        row.first, row.last = pairs[0][0].first, pairs[-1][0].last


def _digest(ranges: Sequence[RangeCount]) -> str:
    """A single range's own, else over those of all."""
    if len(ranges) == 1:
        return ranges[0].digest
    return hashlib.sha256("".join(each.digest for each in ranges).encode()).hexdigest()


def _same(box: RangeCount, here: RangeCount) -> bool:
    return (box.count, box.digest) == (here.count, here.digest)


def _narrow(row: Reconciliation, pairs: Sequence[Pair]) -> None:
    """Ranges that differ are cut smaller; what cannot be cut is a finding."""
    answered = {(box.first, box.last) for box, _ in pairs}
    left = [each for each in row.to_narrow if tuple(each) not in answered]
    found = list(row.findings)
    for box, here in pairs:
        if _same(box, here):
            continue
        what = _what(box, here)
        if what is None:
            left += [list(each) for each in split(box.first, box.last, PARTS)]
        else:
            found.append({"first": box.first, "last": box.last, "what": what, "repaired_at": None})
    # What the box does not hold any more is not answered, and cannot be compared.
    row.to_narrow = [each for each in left if row.held_from is None or each[1] >= row.held_from]
    row.findings = sorted(found, key=lambda each: int(each["first"]))


def _what(box: RangeCount, here: RangeCount) -> str | None:
    """What is wrong with a range; None: it has to be looked into."""
    if here.count == 0:
        return MISSING_HERE
    if box.count == 0:
        return MISSING_ON_BOX
    if box.first < box.last:
        return None
    return DAMAGED if box.damaged else ALTERED


def _repair(row: Reconciliation) -> Asked:
    """Ask for what is missing here, and for the box's copy of what differs; then for the counts of just that."""
    due = [each for each in row.findings if each["what"] in (MISSING_HERE, ALTERED) and not each["repaired_at"]]
    missing = [each for each in due if each["what"] == MISSING_HERE]
    if not missing or row.rounds >= ROUNDS:
        row.state = Comparison.REPAIRED if _all_repaired(row.findings) else Comparison.DIFFERENT
        first_time = [each for each in due if each["what"] == ALTERED][:GAPS_AT_ONCE]
        return Asked(gaps=[GapRequest(row.epoch, row.link, each["first"], each["last"]) for each in first_time])
    row.state = Comparison.REPAIRING
    now = missing[:GAPS_AT_ONCE]
    return Asked(
        gaps=[GapRequest(row.epoch, row.link, each["first"], each["last"]) for each in now],
        counts=_request(row, [(each["first"], each["last"]) for each in now]),
    )


def _after_repair(session: Session, row: Reconciliation, pairs: Sequence[Pair]) -> Asked:
    """The box has sent again what was asked for, and says once more what it holds of it."""
    findings = [dict(each) for each in row.findings]
    progress = False
    for box, here in pairs:
        for each in findings:
            if (each["first"], each["last"]) != (box.first, box.last):
                continue
            if _same(box, here):
                each["repaired_at"] = clock.now().isoformat()
                progress = True
            elif here.count > int(each.get("stored", 0)):  # a long range comes piece by piece
                each["stored"] = here.count
                progress = True
    row.findings = findings
    if progress:
        asked = _repair(row)
    else:
        row.state, asked = Comparison.DIFFERENT, Asked()
    if row.state in ENDED:
        log.warning("box_and_cloud_compared", gateway=row.gateway, link=row.link, became=str(row.state))
        announce(session, "gateways")
    return asked


def _all_repaired(findings: Sequence[dict[str, Any]]) -> bool:
    return all(each["repaired_at"] for each in findings)


def _request(row: Reconciliation, ranges: Sequence[tuple[int, int]]) -> CountRequest:
    return CountRequest(row.epoch, row.link, row.run, tuple(sorted(ranges)))


# ---------------------------------------------------------------------- for the pages


def reconciliations(
    session: Session, gateway: str | None = None, link: str | None = None, *, limit: int = 50
) -> Sequence[Reconciliation]:
    """The newest comparisons first, of all boxes, of one, or of one link."""
    statement = select(Reconciliation).order_by(Reconciliation.started_at.desc(), Reconciliation.link).limit(limit)
    if gateway is not None:
        statement = statement.where(Reconciliation.gateway == gateway)
    if link is not None:
        statement = statement.where(Reconciliation.link == link)
    return session.scalars(statement).all()


def ask_reconciliation(session: Session, gateway_id: str, link: str, *, by: str) -> Reconciliation:
    """Have the box compare everything that it holds of a link, now; a job tells it.

    Raises NotFound for an unknown box, Conflict for one that never spoke.
    """
    gateway = session.get(Gateway, gateway_id)
    if gateway is None:
        raise NotFound("gateway.unknown", N_("没有登记这个网关。"))
    if gateway.epoch is None:
        raise Conflict("gateway.never_heard", N_("这个网关还没有连接过。"))
    row = Reconciliation(
        gateway=gateway_id,
        epoch=gateway.epoch,
        link=link,
        run=secrets.token_hex(8),
        asked_by=by,
        state=Comparison.ASKED,
        started_at=clock.now(),
    )
    session.add(row)
    session.flush()
    record(session, actor=by, action="gateway.reconcile", aggregate=("gateway", gateway_id), after={"link": link})
    enqueue(session, ASK, gateway=gateway_id, run=row.run)
    return row


def send_request(begin: Begin, gateway_id: str, run: str) -> None:
    """Publish what `ask_reconciliation` asked for; raises Unavailable while the broker is away: the job tries again."""
    with begin() as session:
        row = session.scalars(
            select(Reconciliation).where(Reconciliation.gateway == gateway_id, Reconciliation.run == run)
        ).first()
        gateway = session.get(Gateway, gateway_id)
        if row is None or gateway is None or gateway.state != GatewayStatus.ACTIVE:
            return
        request = CountRequest(row.epoch, row.link, row.run)
        topic = down_topic(gateway.partition, gateway_id, "count")
    with Publisher(settings()) as publisher:
        publisher.publish([(topic, request.to_bytes())])
