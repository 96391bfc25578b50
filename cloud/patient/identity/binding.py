"""Binding an account to a person: by a code to the phone on the hospital's file, its limits, and its end.

The answer to a lookup is one of two: a code was sent to a masked phone of the file, or "go to the window". The second
is the same for nobody, for several, for a name that does not fit, for a file without a phone, for a real-name service
that said no and for a person who has enough accounts. Limits of the account's own are told, whoever was looked for.
"""

from __future__ import annotations

import uuid

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.notify import service as notify
from cloud.patient.identity import codes, hindrances, policy, real_names
from cloud.patient.identity.events import AccountBound, AccountUnbound
from cloud.patient.identity.model import Binding, BindingCode, PatientAccount
from cloud.patient.identity.rules import (
    GUARDIAN,
    GivenNumber,
    Limit,
    PastBinding,
    Reached,
    can_receive_sms,
    guardian_until,
    limit_reached,
)
from cloud.people import access
from cloud.people.match import match
from cloud.people.model import Person
from cloud.people.service import get, person_ids, surviving_id
from cloud.web.i18n import mark as N_


def who_fits(session: Session, *, name: str, number: GivenNumber) -> Person | None:
    """The one person of the index this fits, whose phone on file can get a code."""
    person = match(session, name=name, **{number.kind: number.value})
    if person is None or not can_receive_sms(person.phone) or not notify.available(notify.SMS):
        return None
    return person


def send_code(
    session: Session,
    account_id: uuid.UUID,
    *,
    name: str,
    number: GivenNumber,
    relation: str,
    real_name: str | None = None,
) -> BindingCode | None:
    """Send a code to the phone on the file of the one person this fits; None: only the window can help.

    Raises `Conflict`, whether or not anybody fits, for a limit of the account's own.
    """
    account = codes.held_account(session, account_id)
    person = who_fits(session, name=name, number=number)
    reached = _limit_reached(session, account.id, person, relation)
    if reached is not None and reached.limit != Limit.ACCOUNTS:
        raise refusal(session, reached)
    if person is None or reached is not None or real_name == real_names.DIFFERENT:
        return None
    return codes.issue(session, account, person, relation, real_name=real_name)


def refusal(session: Session, reached: Reached) -> Conflict:
    """What a limit means for who holds the phone, and what to do about it."""
    if reached.limit == Limit.PERSONS:
        return Conflict(
            "binding_limit",
            N_("一个账号最多绑定 {count} 位患者。请先在“我的”里解除一位，或带证件到窗口办理。"),
            count=policy.limits(session).persons,
        )
    if reached.limit == Limit.COOL_DOWN and reached.until is not None:
        return Conflict(
            "binding_cool_down",
            N_("您不久前解除过绑定，{day} 起才能在线再次绑定。急用请带证件到窗口办理。"),
            day=clock.local(reached.until).date().isoformat(),
        )
    if reached.limit == Limit.ACCOUNTS:
        return Conflict("binding_accounts", N_("这位患者已绑定了足够多的手机账号，请本人带证件到窗口办理。"))
    return _self_bound()


def _self_bound() -> Conflict:
    return Conflict("self_bound", N_("这个账号已绑定另一位本人，请先解除绑定。"))


def bind_by_code(session: Session, tried: codes.Tried) -> Binding:
    """Use the code up and bind."""
    account, code = codes.use_up(session, tried, consents=False)
    person = get(session, code.person_id)
    reached = _limit_reached(session, account.id, person, code.relation)
    if reached is not None:
        raise refusal(session, reached)
    row = bind(session, account, person.id, relation=code.relation, method="sms", by=f"account:{account.id}")
    row.real_name = code.real_name
    return row


def bind(
    session: Session, account: PatientAccount, person_id: uuid.UUID, *, relation: str, method: str, by: str
) -> Binding:
    """Write the binding and its grants; an older binding to the same person (merged files too) gives way to it."""
    now = clock.now()
    survivor = surviving_id(session, person_id)
    same = person_ids(session, survivor)
    session.execute(
        update(Binding)
        .where(Binding.account_id == account.id, Binding.person_id.in_(same), Binding.ended_at.is_(None))
        .values(ended_at=now, why_ended="verified_again")
    )
    if relation == "self":
        other = select(Binding.id).where(
            Binding.account_id == account.id, Binding.relation == "self", Binding.ended_at.is_(None)
        )
        if session.scalar(other) is not None:
            raise _self_bound()
    row = Binding(account_id=account.id, person_id=survivor, relation=relation, method=method, by=by, bound_at=now)
    session.add(row)
    session.flush()
    access.end(session, account_id=account.id, person_id=survivor, why="verified_again")
    _grant(session, account.id, survivor, relation, by)
    publish(session, AccountBound(aggregate_id=account.id, person_id=survivor, relation=relation, method=method))
    record(
        session,
        actor=by,
        action="patient.bind",
        aggregate=("person", survivor),
        after={"account": account.id, "relation": relation, "method": method},
    )
    return row


def _grant(session: Session, account_id: uuid.UUID, person_id: uuid.UUID, relation: str, by: str) -> None:
    """What a binding gives: oneself everything, family booking and paying, a minor's guardian everything for a time."""
    if relation != GUARDIAN:
        scopes = access.ALL_SCOPES if relation == "self" else access.FAMILY_SCOPES
        access.grant(session, account_id=account_id, person_id=person_id, scopes=scopes, origin=relation, by=by)
        return
    until = guardian_until(get(session, person_id).birth_date, clock.today())
    if until is None:
        raise Invalid("guardian_of_adult", N_("监护人只能绑定 18 岁以下、档案里有出生日期的患者。"))
    clinical = tuple(each for each in access.ALL_SCOPES if each not in access.FAMILY_SCOPES)
    for scopes, day in zip((access.FAMILY_SCOPES, clinical), until, strict=True):
        access.grant(
            session,
            account_id=account_id,
            person_id=person_id,
            scopes=scopes,
            origin=relation,
            by=by,
            expires_at=clock.day_begins(day),
        )


def unbind(session: Session, account_id: uuid.UUID, binding_id: uuid.UUID) -> Binding:
    """End one's own binding; binding again online waits for the cool-down.

    The right ends first and what stands in the way is looked for after that: whoever is using the right at this moment
    holds its row (`access.person_for`), so nothing can begin in between. Raises `Conflict` with what to finish first.
    """
    row = session.scalar(
        update(Binding)
        .where(Binding.id == binding_id, Binding.account_id == account_id, Binding.ended_at.is_(None))
        .values(ended_at=clock.now(), why_ended="unbound")
        .returning(Binding)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    access.end(session, account_id=account_id, person_id=row.person_id, why="unbound")
    hindrances.check(session, account_id, person_ids(session, row.person_id))
    publish(session, AccountUnbound(aggregate_id=account_id, person_id=row.person_id, relation=row.relation))
    record(
        session,
        actor=f"account:{account_id}",
        action="patient.unbind",
        aggregate=("person", row.person_id),
        before={"account": account_id, "relation": row.relation},
    )
    return row


def _limit_reached(session: Session, account_id: uuid.UUID, person: Person | None, relation: str) -> Reached | None:
    same = set(person_ids(session, person.id)) if person is not None else set()
    rows = session.scalars(select(Binding).where(Binding.account_id == account_id))
    past = [PastBinding(row.relation, row.person_id in same, row.ended_at, row.why_ended) for row in rows]
    own = _own_accounts(session, same, account_id)
    return limit_reached(relation, past, own, clock.now(), policy.limits(session))


def _own_accounts(session: Session, same: set[uuid.UUID], but: uuid.UUID) -> int:
    return int(
        session.scalar(
            select(func.count(func.distinct(Binding.account_id))).where(
                Binding.person_id.in_(same),
                Binding.relation == "self",
                Binding.ended_at.is_(None),
                Binding.account_id != but,
            )
        )
        or 0
    )
