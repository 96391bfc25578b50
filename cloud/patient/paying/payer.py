"""Who pays, at their channel: the account behind the phone, with the hospital's own merchant there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from cloud.kit.errors import Unavailable
from cloud.patient.identity.account import account
from cloud.payments import channels
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Payer:
    """`payer` as the channel names them; `payer_key` lists the payment among the account's."""

    channel: str
    app_id: str
    merchant_id: str
    payer: str
    payer_key: str


def payer_of(session: Session, account_id: uuid.UUID) -> Payer:
    """Raises `Unavailable` where the hospital takes no money over this account's channel."""
    mine = account(session, account_id)
    who = None if mine is None else mine.open_id or mine.user_id
    if mine is None or who is None:
        raise Unavailable("payment.no_channel", N_("本院尚未开通这种支付方式，请到窗口缴费。"))
    channel = channels.of(mine.channel)
    return Payer(mine.channel, channel.app_id, channel.merchant_id, who, str(account_id))
