"""Binding an account to a person: the code to the phone on the hospital's file, the binding itself, and its end.

The answer to a lookup is one of two: a code was sent to a masked phone of the file, or "go to the window". The second
is the same for nobody, for several, for a name that does not fit, for a file without a phone and for a limit reached.
"""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.sealed import blind_index
from cloud.notify import service as notify
from cloud.patient.identity.events import AccountBound, AccountUnbound
from cloud.patient.identity.model import Binding, BindingCode, PatientAccount
from cloud.patient.identity.rules import (
    CODE_LIFETIME,
    CODE_TRIES,
    GUARDIAN,
    GivenNumber,
    PastBinding,
    can_receive_sms,
    guardian_until,
    may_bind_online,
    new_sms_code,
)
from cloud.people import access
from cloud.people.access import mask_phone
from cloud.people.match import match
from cloud.people.model import Person
from cloud.people.rules import normal_phone
from cloud.people.service import get, person_ids, surviving_id
from cloud.web.i18n import mark as N_


def send_code(
    session: Session, account_id: uuid.UUID, *, name: str, number: GivenNumber, relation: str
) -> BindingCode | None:
    """Send a code to the phone on the file of the one person this fits; None: only the window can help."""
    account = _locked_account(session, account_id)
    person = match(session, name=name, **{number.kind: number.value})
    if person is None or not can_receive_sms(person.phone) or not notify.available(notify.SMS):
        return None
    if not _may_bind(session, account.id, person.id, relation):
        return None
    return _send_to_file(session, account, person, relation)


def _send_to_file(session: Session, account: PatientAccount, person: Person, relation: str) -> BindingCode:
    code = new_sms_code()
    now = clock.now()
    phone = normal_phone(person.phone or "")
    session.execute(
        update(BindingCode)
        .where(BindingCode.account_id == account.id, BindingCode.used_at.is_(None), BindingCode.expires_at > now)
        .values(expires_at=now)
    )
    issued = BindingCode(
        id=new_id(),
        account_id=account.id,
        person_id=person.id,
        relation=relation,
        code_hash="",
        phone_shown=mask_phone(phone),
        expires_at=now + CODE_LIFETIME,
    )
    issued.code_hash = _hash(issued.id, code)
    session.add(issued)
    session.flush()
    notify.send(
        session,
        recipient=notify.Recipient(notify.SMS, phone, issued.phone_shown),
        template="binding_code",
        parameters={"code": code, "minutes": str(int(CODE_LIFETIME.total_seconds() // 60))},
        dedupe_key=f"binding_code:{issued.id}",
        expires_at=issued.expires_at,
    )
    return issued


def _hash(code_id: uuid.UUID, code: str) -> str:
    return blind_index(f"{code_id}:{code}", "patient.binding_code")


@dataclass(frozen=True, slots=True)
class Tried:
    """One try of a code: it counts whatever comes after. `left`: how many more there are."""

    code: BindingCode
    right: bool
    left: int


def try_code(session: Session, account_id: uuid.UUID, code_id: uuid.UUID, typed: str) -> Tried:
    """Count the try, then compare: commit it whatever it says. Raises `Conflict` when there is no live code."""
    row = session.scalar(
        update(BindingCode)
        .where(
            BindingCode.id == code_id,
            BindingCode.account_id == account_id,
            BindingCode.used_at.is_(None),
            BindingCode.expires_at > clock.now(),
            BindingCode.tries < CODE_TRIES,
        )
        .values(tries=BindingCode.tries + 1)
        .returning(BindingCode)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise Conflict("code_over", N_("验证码已失效，请重新获取。"))
    right = hmac.compare_digest(row.code_hash, _hash(row.id, typed.strip()))
    return Tried(row, right, CODE_TRIES - row.tries)


def bind_by_code(session: Session, tried: Tried) -> Binding:
    """Use the code up and bind. The person must still be who got the code: a merge meanwhile asks for a new one."""
    if not tried.right:
        raise Conflict("code_wrong", N_("验证码不正确。"))
    code = tried.code
    account = _locked_account(session, code.account_id)
    used = session.scalar(
        update(BindingCode)
        .where(BindingCode.id == code.id, BindingCode.used_at.is_(None))
        .values(used_at=clock.now())
        .returning(BindingCode.id)
    )
    if used is None or surviving_id(session, code.person_id) != code.person_id:
        raise Conflict("code_over", N_("验证码已失效，请重新获取。"))
    if not _may_bind(session, account.id, code.person_id, code.relation):
        raise Conflict("binding_limit", N_("已达到绑定数量上限，请到窗口办理。"))
    return bind(session, account, code.person_id, relation=code.relation, method="sms", by=f"account:{account.id}")


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
            raise Conflict("self_bound", N_("这个账号已绑定另一位本人，请先解除绑定。"))
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
    """End one's own binding; binding again online waits for the cool-down."""
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
    publish(session, AccountUnbound(aggregate_id=account_id, person_id=row.person_id, relation=row.relation))
    record(
        session,
        actor=f"account:{account_id}",
        action="patient.unbind",
        aggregate=("person", row.person_id),
        before={"account": account_id, "relation": row.relation},
    )
    return row


def live_code(session: Session, account_id: uuid.UUID, code_id: uuid.UUID) -> BindingCode:
    """The account's own open code, for the page that asks for it; raises `Conflict` when it is over."""
    row = session.get(BindingCode, code_id)
    if row is None or row.account_id != account_id or row.used_at is not None or row.expires_at <= clock.now():
        raise Conflict("code_over", N_("验证码已失效，请重新获取。"))
    return row


def _may_bind(session: Session, account_id: uuid.UUID, person_id: uuid.UUID, relation: str) -> bool:
    same = set(person_ids(session, person_id))
    rows = session.scalars(select(Binding).where(Binding.account_id == account_id))
    past = [PastBinding(row.relation, row.person_id in same, row.ended_at, row.why_ended) for row in rows]
    return may_bind_online(relation, past, _own_accounts(session, same, account_id), clock.now())


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


def _locked_account(session: Session, account_id: uuid.UUID) -> PatientAccount:
    """Binding acts of one account take turns, so that two taps cannot pass a limit together."""
    account = session.get(PatientAccount, account_id, with_for_update=True)
    if account is None:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    return account


def expires_in_s(code: BindingCode, now: datetime) -> int:
    """Whole seconds the code is still good."""
    return max(0, int((code.expires_at - now).total_seconds()))
