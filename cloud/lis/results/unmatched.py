"""What matched nothing: a person gives it to its specimen, tries again once a channel is mapped, or sets it aside."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.live import announce
from cloud.lis.instruments import service as instruments
from cloud.lis.instruments.model import Instrument
from cloud.lis.instruments.service import Channel
from cloud.lis.results.matching import Lookup, Match, look_up
from cloud.lis.results.model import Result, ResultResend, UnmatchedReason, UnmatchedResult
from cloud.lis.results.notices import attach, claim_messages, keep_messages
from cloud.lis.results.signatory import Signatory, actor, authorise
from cloud.lis.results.source import MessageSource
from cloud.lis.results.storing import Stored, store_results
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_
from protocols.model import Observation, changed
from protocols.uplink.items import item_from_json

QUIET = (UnmatchedReason.NOT_ORDERED,)
"""Not listed by default: an analyzer that measures its whole profile is no error; the review page shows them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows handled together: values of one message with one barcode, or all values of a code that nobody mapped."""

    specimen: str | None
    code: str | None
    """Set where the instrument's code is what is unknown: one group however many specimens carried it."""
    instrument: str
    received_at: datetime
    rows: tuple[UnmatchedResult, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(each.reason) for each in self.rows))


def waiting(session: Session, visible: Select[uuid.UUID], *, reason: str = "", limit: int = 300) -> list[Group]:
    """The list, newest first, by message and barcode; of one reason, or of all but the quiet ones.

    What belongs to a known specimen is listed only where its person is among `visible` (`people.access.visible_to`).
    """
    hidden = select(Specimen.id).where(Specimen.person_id.not_in(visible))
    query = (
        select(UnmatchedResult, Instrument.name)
        .outerjoin(Instrument, Instrument.id == UnmatchedResult.instrument_id)
        .where(
            UnmatchedResult.state == "waiting",
            or_(UnmatchedResult.specimen_id.is_(None), UnmatchedResult.specimen_id.not_in(hidden)),
        )
        .order_by(UnmatchedResult.received_at.desc(), UnmatchedResult.inbox_id, UnmatchedResult.ordinal)
        .limit(limit)
    )
    if reason:
        query = query.where(UnmatchedResult.reason == reason)
    else:
        query = query.where(UnmatchedResult.reason.not_in(QUIET))
    groups: dict[tuple[object, ...], list[tuple[UnmatchedResult, str]]] = {}
    for row, name in session.execute(query):
        by_code = row.reason == UnmatchedReason.UNKNOWN_CODE
        key = (row.instrument_id, row.code) if by_code else (row.inbox_id, row.specimen, "")
        groups.setdefault(key, []).append((row, name or f"{row.gateway}/{row.link}"))
    return [_group(rows) for rows in groups.values()]


def _group(rows: Sequence[tuple[UnmatchedResult, str]]) -> Group:
    first, instrument = rows[0]
    by_code = first.reason == UnmatchedReason.UNKNOWN_CODE
    return Group(
        specimen=None if by_code else first.specimen,
        code=first.code if by_code else None,
        instrument=instrument,
        received_at=first.received_at,
        rows=tuple(row for row, _ in rows),
    )


def counts(session: Session) -> dict[str, int]:
    """How many wait, by reason."""
    rows = session.execute(
        select(UnmatchedResult.reason, func.count())
        .where(UnmatchedResult.state == "waiting")
        .group_by(UnmatchedResult.reason)
    )
    return {str(reason): number for reason, number in rows}


def waiting_count(session: Session) -> int:
    """How many values wait for a person, for the home page."""
    return sum(number for reason, number in counts(session).items() if reason not in QUIET)


def match(
    session: Session, ids: Sequence[uuid.UUID], *, by: Signatory, reason: str, barcode: str | None = None
) -> tuple[int, int]:
    """Give these values to the specimen with `barcode`, or (none) try their own barcodes again. Gives (matched, left).

    What still belongs nowhere stays in the list with its present reason. Refuses without a reason, for an unknown
    barcode, and for rows somebody handled meanwhile.
    """
    authorise(by, "unmatched.match")
    if not reason.strip():
        raise Invalid("match.reason", N_("请填写匹配依据（例如：核对了原始标本和检验单）。"))
    rows = _claimed(session, ids)
    matched = sum(_match_one(session, row, barcode, by, reason.strip()) for row in rows)
    if barcode is not None and matched == 0:
        raise Conflict("match.none", N_("没有一项能匹配：请核对条码，以及该标本是否申请了这些项目。"))
    announce(session, "unmatched", {})
    return matched, len(rows) - matched


def dismiss(session: Session, ids: Sequence[uuid.UUID], *, by: Signatory, reason: str) -> int:
    """Set values aside that are nobody's (a rinse, a repeated sample); they stay stored. How many that were."""
    authorise(by, "unmatched.match")
    if not reason.strip():
        raise Invalid("dismiss.reason", N_("请填写不匹配的原因。"))
    rows = _claimed(session, ids)
    for row in rows:
        _handled(session, row, "dismissed", by, reason.strip())
    announce(session, "unmatched", {})
    return len(rows)


def declare_message(session: Session, row_id: uuid.UUID, *, by: Signatory) -> int:
    """The code of this row is no test but a message of its instrument, from now on; gives how many waiting values of
    that code left the list (for their specimens) with it. One entry of the audit names the code and the number.
    """
    authorise(by, "unmatched.match")
    authorise(by, "catalog.edit")
    [first] = _claimed(session, [row_id])
    if first.reason != UnmatchedReason.UNKNOWN_CODE or first.instrument_id is None or not first.code:
        raise Invalid("message.known_code", N_("只有未对照的仪器代码才能登记为仪器提示。"))
    instruments.map_channel(session, first.instrument_id, Channel.message(first.code), by=actor(by))
    rows = session.scalars(
        select(UnmatchedResult)
        .where(
            UnmatchedResult.instrument_id == first.instrument_id,
            UnmatchedResult.code == first.code,
            UnmatchedResult.state == "waiting",
        )
        .order_by(UnmatchedResult.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for row in rows:
        observation = item_from_json(row.item)
        if isinstance(observation, Observation):
            found = look_up(session, row.gateway, row.link, [observation])
            source = MessageSource(row.inbox_id, row.gateway, row.link, "", 0, row.received_at, "", "", late=True)
            _keep_as_message(session, row, source, found, observation)
        _mark(row, "matched", by, "message")
    record(
        session,
        actor=actor(by),
        action="unmatched.message",
        aggregate=("instrument", str(first.instrument_id)),
        after={"code": first.code, "values": len(rows)},
    )
    announce(session, "unmatched", {})
    return len(rows)


def _claimed(session: Session, ids: Sequence[uuid.UUID]) -> list[UnmatchedResult]:
    wanted = set(ids)
    rows = session.scalars(
        select(UnmatchedResult)
        .where(UnmatchedResult.id.in_(wanted), UnmatchedResult.state == "waiting")
        .order_by(UnmatchedResult.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if not rows or len(rows) != len(wanted):
        raise Conflict("unmatched.handled", N_("其中有结果已被他人处理，请刷新列表。"))
    return list(rows)


def _match_one(session: Session, row: UnmatchedResult, barcode: str | None, by: Signatory, reason: str) -> bool:
    observation = item_from_json(row.item)
    if not isinstance(observation, Observation):
        return False
    if barcode is not None:
        observation = changed(observation, specimen=barcode)
    found = look_up(session, row.gateway, row.link, [observation])
    source = MessageSource(row.inbox_id, row.gateway, row.link, "", 0, row.received_at, "", "", late=True)
    if observation.code in found.messages:
        _keep_as_message(session, row, source, found, observation)
        _handled(session, row, "matched", by, reason)
        return True
    place = found.match(observation)
    if not isinstance(place, Match):
        row.reason = place
        row.specimen_id = _specimen_id(found, observation)
        return False
    session.flush()
    claim_messages(session, source, row.specimen, place.specimen.id)
    store_results(session, source, found.instrument_id, place.specimen, [(row.ordinal, observation, place)], Stored())
    row.result_id = _result_id(session, row)
    row.specimen_id = place.specimen.id
    _handled(session, row, "matched", by, reason)
    return True


def _keep_as_message(
    session: Session, row: UnmatchedResult, source: MessageSource, found: Lookup, observation: Observation
) -> None:
    """Its pictures go to the specimen, if that is known; the message stays beside it, or waits with its barcode."""
    row.specimen_id = _specimen_id(found, observation)
    if row.specimen_id is not None:
        attach(session, source, row.specimen_id, row.ordinal, observation)
    keep_messages(session, source, found, [(row.ordinal, observation)])


def _specimen_id(found: Lookup, observation: Observation) -> uuid.UUID | None:
    specimen = found.specimen_of(observation)
    return specimen.id if specimen else None


def _result_id(session: Session, row: UnmatchedResult) -> uuid.UUID | None:
    """The result it became, or the one it repeats."""
    session.flush()
    mine = select(Result.id).where(Result.inbox_id == row.inbox_id, Result.ordinal == row.ordinal)
    repeated = select(ResultResend.result_id).where(
        ResultResend.inbox_id == row.inbox_id, ResultResend.ordinal == row.ordinal
    )
    return session.scalar(mine) or session.scalar(repeated)


def _mark(row: UnmatchedResult, state: str, by: Signatory, reason: str) -> None:
    row.state, row.handled_by, row.handled_by_name = state, by.id, by.name
    row.handled_at, row.handled_reason = clock.now(), reason


def _handled(session: Session, row: UnmatchedResult, state: str, by: Signatory, reason: str) -> None:
    _mark(row, state, by, reason)
    session.flush()
    record(
        session,
        actor=actor(by),
        action=f"unmatched.{state}",
        aggregate=("unmatched", row.id),
        before={"reason": str(row.reason), "specimen": row.specimen, "code": row.code},
        after={"specimen": str(row.specimen_id), "result": str(row.result_id)},
        reason=reason,
    )
