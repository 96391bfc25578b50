"""Who looked at my data: every act of every account, those that were refused too, in the patient's words.

A refusal is stored without whose data it would have been. The person's own page finds it by the thing that was asked
for: slices above say at import which things are whose.

looked.things("report", lambda persons: select(Report.id).where(Report.person_id.in_(persons)))
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, String, and_, cast, or_, select
from sqlalchemy.orm import Session

from cloud.patient.identity.account import masked_owner, own_person
from cloud.patient.identity.model import AccessRecord
from cloud.people.service import person_ids
from cloud.web.i18n import mark as N_

WORDS: dict[str, tuple[str, str]] = {
    "report.open": (N_("查看了报告"), N_("想查看报告，被拒绝")),
    "report.pdf": (N_("下载了报告"), N_("想下载报告，被拒绝")),
    "bill.open": (N_("查看了账单"), N_("想查看账单，被拒绝")),
    "bill.refund": (N_("申请了退费"), N_("想申请退费，被拒绝")),
    "booking.hold": (N_("代为挂号"), N_("想代为挂号，被拒绝")),
    "booking.open": (N_("查看了挂号"), N_("想查看挂号，被拒绝")),
    "booking.pay": (N_("支付挂号费"), N_("想支付挂号费，被拒绝")),
    "booking.cancel": (N_("退了号"), N_("想退号，被拒绝")),
    "booking.change": (N_("查看了可改约的时间"), N_("想改约，被拒绝")),
    "booking.calendar": (N_("把就诊加入了日历"), N_("想把就诊加入日历，被拒绝")),
    "booking.rebook": (N_("改了约"), N_("想改约，被拒绝")),
}
"""What each act of `account.log_access` is called, done and refused."""
OTHERWISE = (N_("使用了您的资料"), N_("想使用您的资料，被拒绝"))

Things = Callable[[Collection[uuid.UUID]], Select[uuid.UUID]]
_things: dict[str, Things] = {}


def things(kind: str, of: Things) -> None:
    """The ids of the things of `kind` (what stands before the dot of an act) that are of these persons."""
    _things[kind] = of


@dataclass(frozen=True, slots=True)
class Looked:
    """One line. `words`: of `WORDS`; `name`: masked, "" for an account without a person of its own."""

    at: datetime
    act: str
    words: str
    name: str
    mine: bool
    allowed: bool


def who_looked(session: Session, account_id: uuid.UUID, limit: int = 20) -> list[Looked]:
    """The newest acts on this account's own person, by any account."""
    me = own_person(session, account_id)
    if me is None:
        return []
    persons = person_ids(session, me)
    rows = session.scalars(
        select(AccessRecord)
        .where(or_(AccessRecord.person_id.in_(persons), *_refused(persons)))
        .order_by(AccessRecord.at.desc())
        .limit(limit)
    ).all()
    names = {each: masked_owner(session, each) for each in {row.account_id for row in rows}}
    return [
        Looked(
            at=row.at,
            act=row.act,
            words=WORDS.get(row.act, OTHERWISE)[0 if row.allowed else 1],
            name=names[row.account_id],
            mine=row.account_id == account_id,
            allowed=row.allowed,
        )
        for row in rows
    ]


def _refused(persons: Collection[uuid.UUID]) -> list[ColumnElement[bool]]:
    return [
        and_(
            AccessRecord.allowed.is_(False),
            AccessRecord.act.startswith(f"{kind}.", autoescape=True),
            AccessRecord.target.in_(select(cast(of(persons).subquery().c[0], String))),
        )
        for kind, of in _things.items()
    ]
