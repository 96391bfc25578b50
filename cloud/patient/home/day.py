"""A patient's day as one timeline: visits, bills to pay, money on its way back, tests and reports.

Each part asks its own slice, by the account's own rights; a part that has nothing adds nothing. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from sqlalchemy.orm import Session

from cloud.billing.rules import Standing
from cloud.kit import clock
from cloud.kit.money import yuan
from cloud.patient.bills import service as bills
from cloud.patient.home import visits
from cloud.patient.home.entry import Entry
from cloud.patient.identity.access import CurrentPatient
from cloud.patient.paying import purposes, transactions
from cloud.patient.paying.rules import stage_of
from cloud.patient.reports import service as reports
from cloud.patient.reports.service import ReportLine, WaitingLine
from cloud.payments.model import RefundState
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.i18n import ngettext


@dataclass(frozen=True, slots=True)
class Reports:
    """The newest reports and the tests under way, asked for once."""

    readable: Sequence[ReportLine]
    waiting: Sequence[WaitingLine]


def newest(session: Session, patient: CurrentPatient) -> Reports:
    return Reports(reports.readable(session, patient.subject, limit=10), reports.waiting(session, patient.subject))


def entries(session: Session, patient: CurrentPatient, found: Reports, day: date) -> list[Entry]:
    """What belongs to `day`, earliest first; what waits for the patient stands there however old it is."""
    lines = [
        *visits.entries(session, patient, day),
        *_bills(session, patient),
        *_payments(session, patient),
        *_refunds(session, patient),
        *(_report(each) for each in found.readable if clock.local(each.released_at).date() == day),
        *(_test(each) for each in found.waiting if clock.local(each.at).date() == day),
    ]
    return sorted(lines, key=lambda each: (each.at, each.kind, each.href))


def next_of(found: list[Entry]) -> Entry | None:
    """What comes next for the patient: the first with something to do, else the first that is not over."""
    open_ones = [each for each in found if not each.over]
    return next((each for each in open_ones if each.act), open_ones[0] if open_ones else None)


def count_of(found: list[Entry], kind: str, today: date) -> int:
    """How many there are; of visits only today's."""
    return sum(each.count for each in found if each.kind == kind and (kind != "visit" or _day(each) == today))


def by_days(found: list[Entry], today: date) -> list[tuple[date | None, list[Entry]]]:
    """The entries under their days, earliest first; today under None."""
    days: list[tuple[date | None, list[Entry]]] = []
    starts = [0, *(at + 1 for at, (one, two) in enumerate(pairwise(found)) if _day(one) != _day(two)), len(found)]
    for begin, end in pairwise(starts):
        part = found[begin:end]
        if part:
            days.append((None if _day(part[0]) == today else _day(part[0]), part))
    return days


def _day(entry: Entry) -> date:
    return clock.local(entry.at).date()


def _bills(session: Session, patient: CurrentPatient) -> list[Entry]:
    """All bills to pay as one thing to do: they can be paid together."""
    waiting = [each for each in bills.payable(session, patient.subject) if each.standing == Standing.PAYABLE]
    if not waiting:
        return []
    total = yuan(sum(each.charge.total_fen for each in waiting))
    return [
        Entry(
            kind="bill",
            at=max(each.charge.made_at for each in waiting),
            title=ngettext("%(num)s 张账单待缴费", "%(num)s 张账单待缴费", len(waiting)) % {"num": len(waiting)},
            note=_(N_("合计 ¥ {yuan}")).format(yuan=total),
            href="/p/bills",
            tag=_(N_("待支付")),
            tone="warn",
            act=_(N_("去缴费")),
            count=len(waiting),
        )
    ]


def _payments(session: Session, patient: CurrentPatient) -> list[Entry]:
    """Begun and not yet paid or closed."""
    return [
        Entry(
            kind="payment",
            at=each.payment.created_at,
            title=f"{_(each.title)} ¥ {yuan(each.payment.fen)}",
            note=each.about,
            href=f"/p/pay/{each.payment.id}",
            tag=_(each.word.text),
            tone=each.word.tone,
            act=_(N_("继续支付")) if stage_of(each.payment, clock.now()) == "open" else "",
        )
        for each in transactions.unfinished(session, patient.account_id)
    ]


def _refunds(session: Session, patient: CurrentPatient) -> list[Entry]:
    return [
        Entry(
            kind="refund",
            at=refund.created_at,
            title=_(N_("退款 ¥ {yuan}")).format(yuan=yuan(refund.fen)),
            note=_(purposes.of(payment.purpose).title),
            href=f"/p/transactions/{payment.id}",
            tag=_(N_("退款需到窗口办理")) if refund.state == RefundState.STUCK else _(N_("退款中")),
            tone="bad" if refund.state == RefundState.STUCK else "info",
        )
        for payment, refund in transactions.refunds_under_way(session, patient.account_id)
    ]


def _report(each: ReportLine) -> Entry:
    return Entry(
        kind="report",
        at=each.released_at,
        title=each.title or _(N_("检验报告单")),
        note=f"{each.patient} · {each.department}",
        href=f"/p/reports/{each.report_id}",
        tag=_(N_("已撤回")) if each.state == "recalled" else _(N_("报告已出")),
        tone="bad" if each.state == "recalled" else "good",
        over=True,
    )


def _test(each: WaitingLine) -> Entry:
    return Entry(
        kind="test",
        at=each.at,
        title=_(N_("检验")),
        note=each.department,
        href="/p/reports",
        tag=_(each.word),
        tone="info",
    )
