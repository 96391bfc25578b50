"""While money for the person's bills is open, the account that pays keeps the person: refunds come to this account."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from cloud.billing.model import BillPayment, BillPaymentLine, Charge
from cloud.patient.identity import hindrances
from cloud.patient.identity.hindrances import Hindrance
from cloud.payments.model import UNSETTLED, Payment, Refund, RefundState
from cloud.web.i18n import mark as N_

ON_ITS_WAY = tuple(each for each in RefundState if each not in (RefundState.DONE, RefundState.DROPPED))


def _payments(account_id: uuid.UUID, persons: Collection[uuid.UUID]) -> Select[uuid.UUID]:
    """This account's payments for bills of these persons."""
    return (
        select(Payment.id)
        .join(BillPayment, BillPayment.id == Payment.subject_id)
        .join(BillPaymentLine, BillPaymentLine.bill_payment_id == BillPayment.id)
        .join(Charge, Charge.id == BillPaymentLine.charge_id)
        .where(Payment.payer_key == str(account_id), Charge.person_id.in_(persons))
    )


def paying(session: Session, account_id: uuid.UUID, persons: Collection[uuid.UUID]) -> bool:
    """A payment whose end is not known."""
    found = _payments(account_id, persons).where(Payment.state.in_(UNSETTLED))
    return bool(session.scalar(select(found.exists())))


def refunding(session: Session, account_id: uuid.UUID, persons: Collection[uuid.UUID]) -> bool:
    found = _payments(account_id, persons).join(Refund, Refund.payment_id == Payment.id)
    return bool(session.scalar(select(found.where(Refund.state.in_(ON_ITS_WAY)).exists())))


hindrances.register(
    Hindrance("bills", N_("这位患者有一笔缴费还没有结果。请先在“缴费”里完成或放弃支付，再解除绑定。"), paying)
)
hindrances.register(
    Hindrance("refunds", N_("这位患者有退款还没有到账。请等退款到账后再解除绑定，进度见“我的交易”。"), refunding)
)
