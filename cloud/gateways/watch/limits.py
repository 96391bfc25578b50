"""Which silence is expected of which instrument: its own limit, its section's, or the default; set with a reason."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cloud.gateways.watch import rules
from cloud.gateways.watch.model import SilenceLimit
from cloud.gateways.watch.rules import Limit
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.instruments.model import Instrument, InstrumentState
from cloud.lis.results.signatory import Signatory, actor
from cloud.web.i18n import mark as N_

LONGEST_MINUTES = 60 * 24 * 31


@dataclass(frozen=True, slots=True)
class InForce:
    """The newest rows."""

    of_instrument: Mapping[uuid.UUID, SilenceLimit] = field(default_factory=dict)
    of_section: Mapping[str, SilenceLimit] = field(default_factory=dict)

    def section(self, name: str) -> Limit:
        row = self.of_section.get(name)
        if row is not None and not row.inherits:
            return _limit(row)
        if name in rules.DEFAULTS and name:
            return rules.DEFAULTS[name]
        general = self.of_section.get("")
        return _limit(general) if general is not None and not general.inherits else rules.DEFAULTS[""]

    def instrument(self, instrument: Instrument) -> Limit:
        row = self.of_instrument.get(instrument.id)
        return self.section(instrument.section) if row is None or row.inherits else _limit(row)


def in_force(session: Session) -> InForce:
    newest = (
        select(SilenceLimit)
        .ext(distinct_on(SilenceLimit.instrument_id, SilenceLimit.section))
        .order_by(SilenceLimit.instrument_id, SilenceLimit.section, SilenceLimit.set_at.desc(), SilenceLimit.id.desc())
    )
    rows = session.scalars(newest).all()
    return InForce(
        {each.instrument_id: each for each in rows if each.instrument_id is not None},
        {each.section: each for each in rows if each.section is not None},
    )


def of_instruments(session: Session) -> list[tuple[Instrument, Limit]]:
    """Every instrument in service with the silence that is expected of it."""
    known = in_force(session)
    found = session.scalars(
        select(Instrument)
        .where(Instrument.state == InstrumentState.ACTIVE)
        .order_by(Instrument.gateway, Instrument.link)
    )
    return [(each, known.instrument(each)) for each in found]


def _limit(row: SilenceLimit) -> Limit:
    return Limit(row.minutes, row.opens, row.closes, tuple(int(each) for each in row.days))


def set_limit(
    session: Session,
    *,
    by: Signatory,
    reason: str,
    limit: Limit | None,
    instrument_id: uuid.UUID | None = None,
    section: str | None = None,
) -> SilenceLimit:
    """From now on; `limit` None gives an instrument back to its section, a section back to the default.

    Raises Invalid without a reason or for hours that are none, NotFound for an unknown instrument.
    """
    if not reason.strip():
        raise Invalid("silence.limit_reason", N_("请填写更改的原因。"))
    if limit is not None:
        _check(limit)
    before = _before(session, instrument_id, section)
    wanted = limit or Limit(None)
    row = SilenceLimit(
        instrument_id=instrument_id,
        section=section,
        inherits=limit is None,
        minutes=wanted.minutes,
        opens=wanted.opens,
        closes=wanted.closes,
        days=list(wanted.days),
        set_at=clock.now(),
        set_by=actor(by),
        set_by_name=by.name,
        reason=reason.strip(),
    )
    session.add(row)
    session.flush()
    announce(session, "gateways")
    record(
        session,
        actor=actor(by),
        action="gateway.silence_limit",
        aggregate=("instrument", instrument_id) if instrument_id else ("silence_limit", section or "all"),
        before=before,
        after=None if limit is None else _words(limit),
        reason=row.reason,
    )
    return row


def _before(session: Session, instrument_id: uuid.UUID | None, section: str | None) -> dict[str, object]:
    known = in_force(session)
    if instrument_id is None:
        return _words(known.section(section or ""))
    instrument = session.get(Instrument, instrument_id)
    if instrument is None:
        raise NotFound("instrument_unknown", N_("没有这台仪器。"))
    return _words(known.instrument(instrument))


def _check(limit: Limit) -> None:
    if limit.minutes is not None and not 1 <= limit.minutes <= LONGEST_MINUTES:
        raise Invalid("silence.minutes", N_("静默时限应在 1 分钟和 31 天之间。"))
    if not all(0 <= each < 24 * 60 for each in (limit.opens, limit.closes)):
        raise Invalid("silence.hours", N_("工作时间请写成 07:30 的样子。"))
    if not limit.days or not set(limit.days) <= set(rules.WEEK):
        raise Invalid("silence.days", N_("请至少选择一个工作日。"))


def _words(limit: Limit) -> dict[str, object]:
    return {
        "minutes": limit.minutes,
        "opens": hours(limit.opens),
        "closes": hours(limit.closes),
        "days": list(limit.days),
    }


def hours(minutes: int) -> str:
    """``07:30``."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def minutes_of(text: str) -> int:
    """The other way; -1 for what is no time of day."""
    head, _, tail = text.strip().partition(":")
    if not (head.isdecimal() and tail.isdecimal() and len(head) <= 2 and len(tail) == 2):
        return -1
    found = int(head) * 60 + int(tail)
    return found if int(tail) < 60 and found < 24 * 60 else -1


def history(session: Session, instrument_id: uuid.UUID | None, section: str, most: int = 20) -> Sequence[SilenceLimit]:
    """What was set for an instrument, or else for a section; the newest first."""
    mine = SilenceLimit.section == section if instrument_id is None else SilenceLimit.instrument_id == instrument_id
    return session.scalars(select(SilenceLimit).where(mine).order_by(SilenceLimit.set_at.desc()).limit(most)).all()
