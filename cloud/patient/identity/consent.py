"""What a person lets a relative see, for how long: given on the person's own phone, or by a code to the phone that the
hospital's file has for the person; seen, with its history, and taken back on the page "my".

Only an account that bound the person as family can be given it. Nobody types in where the code goes.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.notify import service as notify
from cloud.patient.identity import codes, policy
from cloud.patient.identity.account import masked_owner, own_person
from cloud.patient.identity.model import Binding, BindingCode
from cloud.patient.identity.rules import CONSENT_SCOPES, can_receive_sms
from cloud.people import access
from cloud.people.model import PersonGrant
from cloud.people.service import get, person_ids
from cloud.web.i18n import mark as N_

SCOPES = {
    "visit": N_("就诊安排"),
    "order": N_("检查检验申请和费用明细"),
    "report": N_("检验检查报告"),
    "inpatient": N_("住院信息"),
    "checkup": N_("体检报告"),
}
"""What each right shows, in the patient's words; the order of the form."""
ASKED_FOR = N_("就诊信息（{count} 项，{term}）")
"""On the locked screen of who is asked: no more than that."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be seen and for how long; `days` None: until it is taken back."""

    scopes: tuple[str, ...]
    days: int | None


def wish(session: Session, scopes: Sequence[str], term: str) -> Wish:
    """What a form said. Raises `Invalid`: nothing chosen, or a term that the hospital does not offer."""
    wanted = tuple(scope for scope in SCOPES if scope in scopes)
    if not wanted or set(scopes) - set(SCOPES):
        raise Invalid("consent.scopes", N_("请至少选择一项允许查看的内容。"))
    offered = {str(days or 0): days for days in policy.terms(session)}
    if term not in offered:
        raise Invalid("consent.term", N_("请选择授权期限。"))
    return Wish(wanted, offered[term])


def ends(days: int | None) -> datetime | None:
    return None if days is None else clock.now() + timedelta(days=days)


@dataclass(frozen=True, slots=True)
class Allowed:
    """One right that another account has on me now. `mine_to_end`: a consent, which I can take back."""

    scope: str
    since: datetime
    until: datetime | None
    mine_to_end: bool


@dataclass(frozen=True, slots=True)
class Relative:
    """An account that is bound to me, and what of mine it may see."""

    binding_id: uuid.UUID
    name: str
    """Masked, as that account's own person is called; "" when it has none."""
    relation: str
    bound_at: datetime
    allowed: tuple[Allowed, ...]


def relatives(session: Session, account_id: uuid.UUID) -> list[Relative]:
    """The other accounts that are bound to this account's own person, as family or guardian."""
    me = own_person(session, account_id)
    if me is None:
        return []
    files = person_ids(session, me)
    live: dict[uuid.UUID, list[PersonGrant]] = {}
    now = clock.now()
    for each in access.grants_on(session, files):
        if each.scope in SCOPES and _stands(each, now):
            live.setdefault(each.account_id, []).append(each)
    found = session.scalars(
        select(Binding)
        .where(Binding.person_id.in_(files), Binding.relation != "self", Binding.ended_at.is_(None))
        .order_by(Binding.bound_at)
    )
    return [
        Relative(
            row.id,
            masked_owner(session, row.account_id),
            row.relation,
            row.bound_at,
            tuple(
                Allowed(each.scope, each.granted_at, each.expires_at, each.origin == "consent")
                for each in sorted(live.get(row.account_id, ()), key=lambda each: CONSENT_SCOPES.index(each.scope))
            ),
        )
        for row in found
    ]


def relative(session: Session, account_id: uuid.UUID, binding_id: uuid.UUID) -> Relative:
    """One of them, to whom consent can be given; raises `NotFound` for anybody else's."""
    for each in relatives(session, account_id):
        if each.binding_id == binding_id and each.relation == "family":
            return each
    raise _not_found()


def give(session: Session, account_id: uuid.UUID, binding_id: uuid.UUID, wanted: Wish) -> None:
    """From now on the relative may see exactly `wanted.scopes` of oneself; what was allowed before and is not chosen
    now is taken back."""
    relative(session, account_id, binding_id)
    binding = session.get_one(Binding, binding_id)
    _give(session, binding, wanted, by=f"account:{account_id}")
    rest = [scope for scope in SCOPES if scope not in wanted.scopes]
    access.end(session, account_id=binding.account_id, person_id=binding.person_id, why="revoked", scopes=rest)


def revoke(session: Session, account_id: uuid.UUID, binding_id: uuid.UUID) -> None:
    """The relative sees nothing of oneself any more, at once; booking and paying stay with the binding."""
    relative(session, account_id, binding_id)
    binding = session.get_one(Binding, binding_id)
    codes.held_account(session, binding.account_id)
    access.end(
        session, account_id=binding.account_id, person_id=binding.person_id, why="revoked", scopes=CONSENT_SCOPES
    )
    record(
        session,
        actor=f"account:{account_id}",
        action="patient.consent_revoked",
        aggregate=("person", binding.person_id),
        before={"account": binding.account_id},
    )


def _give(session: Session, binding: Binding, wanted: Wish, *, by: str) -> None:
    codes.held_account(session, binding.account_id)
    live = session.get(Binding, binding.id, populate_existing=True, with_for_update=True)
    if live is None or live.ended_at is not None:  # let go of in the meantime
        raise _not_found()
    until = ends(wanted.days)
    access.grant(
        session,
        account_id=binding.account_id,
        person_id=binding.person_id,
        scopes=wanted.scopes,
        origin="consent",
        by=by,
        expires_at=until,
    )
    record(
        session,
        actor=by,
        action="patient.consent",
        aggregate=("person", binding.person_id),
        after={"account": binding.account_id, "scopes": list(wanted.scopes), "days": wanted.days},
    )


def family(session: Session, account_id: uuid.UUID, binding_id: uuid.UUID) -> Binding:
    """The account's own live binding of a relative; raises `NotFound`."""
    row = session.get(Binding, binding_id)
    if row is None or row.account_id != account_id or row.relation != "family" or row.ended_at is not None:
        raise _not_found()
    return row


def ask_by_sms(
    session: Session, account_id: uuid.UUID, binding_id: uuid.UUID, wanted: Wish, *, what: str
) -> BindingCode:
    """Ask the relative's own phone, the one on the hospital's file: who tells the code consents. `what`: the words in
    the message (no finding, no department).

    Raises `Conflict` where no such code can prove anything: no mobile phone on the file, or the asker's own.
    """
    account = codes.held_account(session, account_id)
    binding = family(session, account_id, binding_id)
    person = get(session, binding.person_id)
    if not set(person_ids(session, person.id)) & set(session.scalars(access.visible_to(_subject(account_id), "book"))):
        raise Conflict("consent.suspended", N_("这位患者的访问已暂停，请先重新验证绑定。"))
    if not can_receive_sms(person.phone) or not notify.available(notify.SMS):
        raise Conflict(
            "consent.no_phone",
            N_("医院没有这位患者可收短信的手机。请患者用自己的手机登录后授权，或带证件到窗口登记手机。"),
        )
    me = own_person(session, account_id)
    if me is not None and get(session, me).phone_index == person.phone_index:
        raise Conflict(
            "consent.same_phone",
            N_(
                "这位患者在医院登记的是您的手机，短信不能证明本人同意。请患者到窗口登记自己的手机，或用自己的手机授权。"
            ),
        )
    words = {"who": masked_owner(session, account_id) or "*", "what": what}
    return codes.issue(
        session,
        account,
        person,
        "family",
        template="consent_code",
        words=words,
        scopes=wanted.scopes,
        lasts_days=wanted.days,
    )


def give_by_code(session: Session, tried: codes.Tried) -> None:
    """The code from the relative's phone was right: what it was asked for is allowed from now on."""
    account, code = codes.use_up(session, tried, consents=True)
    binding = session.scalar(
        select(Binding).where(
            Binding.account_id == account.id,
            Binding.person_id.in_(person_ids(session, code.person_id)),
            Binding.relation == "family",
            Binding.ended_at.is_(None),
        )
    )
    if binding is None:
        raise _not_found()
    scopes = tuple((code.scopes or "").split())
    _give(session, binding, Wish(scopes, code.lasts_days), by=f"sms:{code.id}")


@dataclass(frozen=True, slots=True)
class PastConsent:
    """One act of consent, for the history. `state`: live, ended (by whom: `why`), over, suspended."""

    name: str
    scopes: tuple[str, ...]
    by_sms: bool
    given_at: datetime
    until: datetime | None
    state: str
    ended_at: datetime | None
    why: str | None


def history(session: Session, account_id: uuid.UUID, limit: int = 50) -> list[PastConsent]:
    """Every consent about oneself, newest first, those that ended too."""
    me = own_person(session, account_id)
    if me is None:
        return []
    now = clock.now()
    found = access.grants_on(session, person_ids(session, me))
    given = [each for each in found if each.origin == "consent" and each.scope in SCOPES]
    return [_past(session, list(rows), now) for _, rows in groupby(given, key=_together)][:limit]


def _together(each: PersonGrant) -> tuple[object, ...]:
    """What was given in one act and ended in one act is one line."""
    return each.granted_at, each.account_id, each.state, each.ended_at


def _past(session: Session, rows: Collection[PersonGrant], now: datetime) -> PastConsent:
    first = next(iter(rows))
    over = first.expires_at is not None and first.expires_at <= (first.ended_at or now)
    state = "over" if over else {"active": "live"}.get(first.state, first.state)
    return PastConsent(
        name=masked_owner(session, first.account_id),
        scopes=tuple(sorted((each.scope for each in rows), key=access.ALL_SCOPES.index)),
        by_sms=first.by.startswith("sms:"),
        given_at=first.granted_at,
        until=first.expires_at,
        state=state,
        ended_at=first.ended_at,
        why=first.why,
    )


def _stands(each: PersonGrant, now: datetime) -> bool:
    return each.state == "active" and (each.expires_at is None or each.expires_at > now)


def _subject(account_id: uuid.UUID) -> access.Subject:
    return access.Subject.account(account_id)


def _not_found() -> NotFound:
    return NotFound("not_found", N_("没有找到，或者您无权查看。"))
