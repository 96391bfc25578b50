"""Verbs: grant, revoke, decide whether grants are enforced; and `require_authority`, which every act asks.

A refusal stands in the audit trail of the person (kind ``authority``), written in a unit of work of its own because the
act's own is taken back.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date

import structlog
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.authority.model import AuthorityGrant, AuthorityPolicy
from cloud.lis.authority.reading import enforced, grants_of, keys_of, now
from cloud.lis.authority.rules import Answer, Standing, answer
from cloud.lis.authority.words import ACTS, SCOPES
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.catalog.words import SECTIONS
from cloud.staff.authorised import Person, answered_by
from cloud.staff.model import StaffAccount
from cloud.staff.roles import permissions_of
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

log = structlog.get_logger(__name__)
REFUSALS = {
    Standing.NONE: N_("您没有“{act}”{tests}的授权，请找科主任登记授权后再操作。"),
    Standing.NOT_YET: N_("您“{act}”{tests}的授权自 {day} 起才生效，现在不能操作。"),
    Standing.EXPIRED: N_("您“{act}”{tests}的授权已于 {day} 到期，请找科主任续期后再操作。"),
    Standing.REVOKED: N_("您“{act}”{tests}的授权已于 {day} 撤销，请找科主任。"),
}
LOG_WAITS_MS = 2000
NAMED = 5
"""So many tests are named in a refusal; the audit entry names all."""


@answered_by
def require_authority(session: Session, by: Person, act: str, tests: Iterable[str] = ()) -> None:
    """Refuse (`Forbidden`, logged) unless `by` may do `act` to every one of `tests` (codes of the catalogue) today.

    Without tests: an act on no test, for which any grant of it in force is enough. The role's permission is checked
    apart, by the route and the verb. Nothing is refused while the act is not enforced (`AuthorityPolicy`).
    """
    lacking = missing_authority(session, by.id, act, tests)
    if not lacking:
        return
    codes = sorted(lacking)
    worst = lacking[codes[0]]
    names = {row[0]: row[1] for row in session.execute(select(Test.code, Test.name).where(Test.code.in_(codes)))}
    shown = "、".join(names.get(each, each) for each in codes[:NAMED] if each)
    _log_refusal(by, act, lacking)
    raise Forbidden(
        f"authority.{worst.standing}",
        REFUSALS[worst.standing],
        act=_(ACTS[act][0]),
        tests=f"（{shown}{'…' if len(codes) > NAMED else ''}）" if shown else "",
        day=_day_of(worst),
    )


def missing_authority(
    session: Session, staff_id: uuid.UUID, act: str, tests: Iterable[str] = ()
) -> Mapping[str, Answer]:
    """The tests (by code; "" for an act on no test) that this person may not do `act` to now, with the answer.

    For pages that say beforehand what will be refused. Raises `LookupError` for an act that does not exist.
    """
    if act not in ACTS:
        raise LookupError(f"there is no act called {act}; they stand in cloud.lis.authority.words")
    if not enforced(session, act):
        return {}
    held, moment = grants_of(session, staff_id, act), now()
    codes = list(dict.fromkeys(tests))
    if not codes:
        found = answer(held, None, moment)
        return {} if found.allowed else {"": found}
    answers = {code: answer(held, key, moment) for code, key in keys_of(session, codes).items()}
    return {code: each for code, each in answers.items() if not each.allowed}


def _day_of(found: Answer) -> str:
    if not isinstance(found.grant, AuthorityGrant):
        return ""
    if found.standing is Standing.REVOKED and found.grant.revoked_at is not None:
        return clock.local(found.grant.revoked_at).date().isoformat()
    day = found.grant.valid_from if found.standing is Standing.NOT_YET else found.grant.valid_to
    return "" if day is None else day.isoformat()


def _log_refusal(by: Person, act: str, lacking: Mapping[str, Answer]) -> None:
    """Never makes the refused person wait: where the chain is held (a grant being entered just now), the program's log
    has the refusal alone.
    """
    tests = {code: str(each.standing) for code, each in lacking.items()}
    log.warning("authority_refused", staff=str(by.id), act=act, tests=tests)
    with suppress(OperationalError), begin() as apart:
        apart.execute(text(f"SET LOCAL lock_timeout = {LOG_WAITS_MS}"))
        audit.record(
            apart,
            actor=f"staff:{by.id}",
            action="authority.refused",
            aggregate=("authority", by.id),
            after={"act": act, "tests": tests},
        )


def give(
    session: Session,
    *,
    staff_id: uuid.UUID,
    acts: Collection[str],
    scope: str,
    targets: Sequence[str] = (),
    valid_from: date,
    valid_to: date | None,
    reason: str,
    by: Person | None,
) -> list[AuthorityGrant]:
    """Grant every one of `acts` on every one of `targets`. `by` None: the program itself (the demo's start).

    Nobody grants to himself. Raises `Invalid`, `Forbidden`, `NotFound`.
    """
    person = session.get(StaffAccount, staff_id)
    if person is None:
        raise NotFound("authority.person", N_("没有这个人员。"))
    if by is not None and by.id == staff_id:
        raise Forbidden("authority.oneself", N_("不能给自己授权，请由另一位有授权权限的人员登记。"))
    if not reason.strip():
        raise Invalid("authority.reason", N_("请填写授权依据（培训、考核或任命）。"))
    if not acts or set(acts) - set(ACTS):
        raise Invalid("authority.act", N_("请至少选择一种操作。"))
    if valid_to is not None and valid_to < valid_from:
        raise Invalid("authority.days", N_("截止日期不能早于起始日期。"))
    wanted = _targets(session, scope, targets)
    made = [
        AuthorityGrant(
            staff_id=staff_id,
            act=act,
            scope=scope,
            target=target,
            valid_from=valid_from,
            valid_to=valid_to,
            reason=reason.strip(),
            granted_by=None if by is None else by.id,
            granted_by_name="" if by is None else by.name,
        )
        for act in ACTS
        if act in acts
        for target in wanted
    ]
    session.add_all(made)
    session.flush()
    audit.record(
        session,
        actor="system" if by is None else f"staff:{by.id}",
        action="authority.grant",
        aggregate=("authority", staff_id),
        after={
            "acts": [act for act in ACTS if act in acts],
            "scope": scope,
            "targets": wanted,
            "valid_from": valid_from,
            "valid_to": valid_to,
            "grants": [str(each.id) for each in made],
        },
        reason=reason.strip(),
    )
    return made


def _targets(session: Session, scope: str, targets: Sequence[str]) -> list[str]:
    """The codes as given, each once; refuses what the catalogue does not know."""
    if scope not in SCOPES:
        raise Invalid("authority.scope", N_("请选择授权范围。"))
    if scope == "all":
        return [""]
    wanted = list(dict.fromkeys(each.strip() for each in targets if each.strip()))
    if not wanted:
        raise Invalid("authority.targets", N_("请选择授权的专业组、组合或项目。"))
    if scope == "section":
        known: set[str] = set(SECTIONS)
    else:
        table = Panel if scope == "panel" else Test
        known = set(session.scalars(select(table.code).where(table.code.in_(wanted))))
    unknown = [each for each in wanted if each not in known]
    if unknown:
        raise Invalid("authority.unknown_target", N_("项目字典里没有“{target}”。"), target=unknown[0])
    return wanted


def revoke(session: Session, grant_id: uuid.UUID, *, by: Person, reason: str) -> AuthorityGrant:
    """End a grant now. One conditional statement: of two who revoke it the second is told."""
    if not reason.strip():
        raise Invalid("authority.reason_revoked", N_("请填写撤销原因。"))
    moved = session.execute(
        update(AuthorityGrant)
        .where(AuthorityGrant.id == grant_id, AuthorityGrant.revoked_at.is_(None))
        .values(revoked_at=clock.now(), revoked_by=by.id, revoked_by_name=by.name, revoked_reason=reason.strip())
        .returning(AuthorityGrant.id)
    ).first()
    grant = session.get(AuthorityGrant, grant_id, populate_existing=True)
    if grant is None:
        raise NotFound("authority.unknown", N_("没有这条授权。"))
    if moved is None:
        raise Conflict("authority.revoked_already", N_("这条授权已经撤销。"))
    audit.record(
        session,
        actor=f"staff:{by.id}",
        action="authority.revoke",
        aggregate=("authority", grant.staff_id),
        before={"grant": str(grant.id), "act": grant.act, "scope": grant.scope, "target": grant.target},
        reason=reason.strip(),
    )
    return grant


def set_enforced(session: Session, *, act: str, value: bool, by: Person | None, reason: str) -> AuthorityPolicy:
    """From now on `act` ("": every act) needs a grant, or its role alone decides. Earlier decisions stay.

    Refuses to enforce an act that nobody could do then: the laboratory would stand still.
    """
    if act and act not in ACTS:
        raise Invalid("authority.act", N_("请至少选择一种操作。"))
    if not reason.strip():
        raise Invalid("authority.policy_reason", N_("请填写更改的原因。"))
    if value:
        empty = [each for each in ([act] if act else ACTS) if not _anybody(session, each)]
        if empty:
            raise Conflict(
                "authority.nobody",
                N_("还没有人得到“{act}”的有效授权，启用后谁也不能操作；请先登记授权。"),
                act=_(ACTS[empty[0]][0]),
            )
    row = AuthorityPolicy(
        act=act,
        enforced=value,
        set_by="system" if by is None else f"staff:{by.id}",
        set_by_name="" if by is None else by.name,
        reason=reason.strip(),
        valid_from=clock.now(),
    )
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=row.set_by,
        action="authority.policy",
        aggregate=("authority_policy", act or "all"),
        after={"enforced": value},
        reason=row.reason,
    )
    return row


def _anybody(session: Session, act: str) -> bool:
    """Whether one active person has both a grant of `act` in force and a role that allows it."""
    rows = session.execute(
        select(AuthorityGrant, StaffAccount.roles)
        .join(StaffAccount, StaffAccount.id == AuthorityGrant.staff_id)
        .where(AuthorityGrant.act == act, AuthorityGrant.revoked_at.is_(None), StaffAccount.active)
    )
    moment, permission = now(), ACTS[act][1]
    return any(permission in permissions_of(roles) and answer([grant], None, moment).allowed for grant, roles in rows)
