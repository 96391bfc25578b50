"""Statements for the hospital: what came and went back by civil day, channel and purpose, from the ledger alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Date, cast, func, select
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock, money
from cloud.payments.model import LedgerEntry, Payment
from cloud.payments.wording import CHANNEL_NAMES, PURPOSE_NAMES
from cloud.web.i18n import gettext as _

LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Line:
    """One day, channel and purpose; amounts in fen, refunds as positive amounts."""

    day: date
    channel: str
    purpose: str
    paid: int
    paid_fen: int
    refunds: int
    refunded_fen: int

    @property
    def net_fen(self) -> int:
        return self.paid_fen - self.refunded_fen


@dataclass(frozen=True, slots=True)
class Sum:
    paid: int
    paid_fen: int
    refunds: int
    refunded_fen: int

    @property
    def net_fen(self) -> int:
        return self.paid_fen - self.refunded_fen


def lines(session: Session, *, first: date, last: date) -> list[Line]:
    """Of the civil days `first` to `last`. Cash that was paid out for a phone payment is cash; days are the channel's
    (the drawer's) own clock."""
    took = LedgerEntry.fen > 0
    day = cast(func.timezone(settings().hospital_timezone, LedgerEntry.at), Date)
    rows = session.execute(
        select(
            day,
            LedgerEntry.channel,
            Payment.purpose,
            func.count().filter(took),
            func.coalesce(func.sum(LedgerEntry.fen).filter(took), 0),
            func.count().filter(~took),
            func.coalesce(func.sum(-LedgerEntry.fen).filter(~took), 0),
        )
        .join(Payment, Payment.id == LedgerEntry.payment_id)
        .where(LedgerEntry.at >= clock.day_begins(first), LedgerEntry.at < clock.day_begins(last + timedelta(days=1)))
        .group_by(day, LedgerEntry.channel, Payment.purpose)
        .order_by(day.desc(), LedgerEntry.channel, Payment.purpose)
    )
    return [Line(on, channel, purpose, *(int(each) for each in rest)) for on, channel, purpose, *rest in rows]


def summed(found: Iterable[Line]) -> Sum:
    rows = list(found)
    return Sum(
        sum(each.paid for each in rows),
        sum(each.paid_fen for each in rows),
        sum(each.refunds for each in rows),
        sum(each.refunded_fen for each in rows),
    )


def by_channel(found: Iterable[Line]) -> dict[str, Sum]:
    rows = list(found)
    return {name: summed(each for each in rows if each.channel == name) for name in sorted({r.channel for r in rows})}


def as_csv(found: Iterable[Line]) -> bytes:
    """For a spreadsheet: UTF-8 with its mark, amounts in yuan. Every word is ours, so no cell can be a formula."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(
        [_("日期"), _("渠道"), _("用途"), _("收款笔数"), _("收款金额"), _("退款笔数"), _("退款金额"), _("净额")]
    )
    for each in found:
        writer.writerow(
            [
                each.day.isoformat(),
                _(CHANNEL_NAMES[each.channel]) if each.channel in CHANNEL_NAMES else each.channel,
                _(PURPOSE_NAMES[each.purpose]) if each.purpose in PURPOSE_NAMES else each.purpose,
                each.paid,
                money.yuan(each.paid_fen),
                each.refunds,
                money.yuan(each.refunded_fen),
                money.yuan(each.net_fen),
            ]
        )
    return b"\xef\xbb\xbf" + out.getvalue().encode()
