"""The stop switch: of everything, one test or one instrument. In force with its commit, for decisions under way too.

Decisions take a shared lock for their transaction, a stop takes it alone: it waits for decisions under way (they are a
few milliseconds), and every later one sees it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.kit.live import announce
from cloud.lis.autoverify.model import AutoStop
from cloud.lis.catalog.service import test_by_code
from cloud.lis.instruments.model import Instrument
from cloud.lis.results.signatory import Signatory, actor
from cloud.web.i18n import mark as N_

TOPIC = "autoverify"
_LOCK = 7_310_042
"""Advisory lock; any number, the same everywhere."""


def decisions_wait(session: Session) -> None:
    """From here to the commit no decision is taken; those under way are waited for."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def deciding(session: Session) -> tuple[str, ...]:
    """Called before a live decision: what is stopped, and no stop comes between this and the commit."""
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": _LOCK})
    return tuple(session.scalars(select(AutoStop.scope).where(AutoStop.resumed_at.is_(None))))


def in_force(session: Session) -> Sequence[AutoStop]:
    return session.scalars(select(AutoStop).where(AutoStop.resumed_at.is_(None)).order_by(AutoStop.stopped_at)).all()


def past(session: Session, *, limit: int = 50) -> Sequence[AutoStop]:
    """Those that ended, the newest first."""
    ended = select(AutoStop).where(AutoStop.resumed_at.is_not(None))
    return session.scalars(ended.order_by(AutoStop.stopped_at.desc()).limit(limit)).all()


def stop(session: Session, *, by: Signatory, scope: str, reason: str) -> uuid.UUID:
    """Stop. Whoever may release may stop; it needs no second person."""
    if "result.release" not in by.permissions:
        raise Forbidden("stop.forbidden", N_("您没有停用自动审核的权限。"))
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    _check(session, scope)
    decisions_wait(session)
    made: uuid.UUID | None = session.scalar(
        insert(AutoStop)
        .values(
            id=new_id(),
            scope=scope,
            stopped_at=clock.now(),
            stopped_by=by.id,
            stopped_by_name=by.name,
            reason=reason.strip(),
        )
        .on_conflict_do_nothing(index_elements=["scope"], index_where=AutoStop.resumed_at.is_(None))
        .returning(AutoStop.id)
    )
    if made is None:
        raise Conflict("stop.already", N_("已经停用。"))
    record(
        session,
        actor=actor(by),
        action="autoverify.stop",
        aggregate=("auto_stop", scope),
        after={"scope": scope},
        reason=reason.strip(),
    )
    announce(session, TOPIC)
    return made


def resume(session: Session, stop_id: uuid.UUID, *, by: Signatory, reason: str) -> None:
    """Let it decide again: the head's authority, with a reason."""
    if "catalog.approve" not in by.permissions:
        raise Forbidden("resume.forbidden", N_("恢复自动审核需要主任的权限。"))
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    scope = session.scalar(
        update(AutoStop)
        .where(AutoStop.id == stop_id, AutoStop.resumed_at.is_(None))
        .values(resumed_at=clock.now(), resumed_by=by.id, resumed_by_name=by.name, resumed_reason=reason.strip())
        .returning(AutoStop.scope)
    )
    if scope is None:
        raise Conflict("resume.already", N_("已由他人恢复，请刷新页面。"))
    record(
        session,
        actor=actor(by),
        action="autoverify.resume",
        aggregate=("auto_stop", scope),
        after={"scope": scope},
        reason=reason.strip(),
    )
    announce(session, TOPIC)


def _check(session: Session, scope: str) -> None:
    kind, _colon, key = scope.partition(":")
    known = (
        scope == "all"
        or (kind == "test" and test_by_code(session, key) is not None)
        or (kind == "instrument" and session.scalar(select(Instrument.id).where(Instrument.code == key)) is not None)
    )
    if not known:
        raise NotFound("stop.unknown", N_("没有这个项目或仪器：{key}"), key=key)
