"""Where a person's news go: the phones of the accounts that hold a scope, each by its channel, by SMS where that fails.

An account's SMS goes to the phone that the hospital's file has for the account's own person, never to one typed in.
News of a booking made at the window, where no account holds anything, go to the person's own phone on file.
"""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.notify import service as notify
from cloud.notify.service import Recipient
from cloud.patient.identity.account import account, own_person
from cloud.patient.identity.model import PatientAccount
from cloud.patient.identity.rules import can_receive_sms
from cloud.people import access
from cloud.people import service as people
from cloud.people.access import mask_phone
from cloud.people.rules import normal_phone

TRANSPORTS = {"wechat": notify.WECHAT, "alipay": notify.ALIPAY}


def account_recipient(session: Session, account_id: uuid.UUID) -> Recipient | None:
    """Where one account is reached: its channel, and behind it the phone on its own person's file; None: nowhere."""
    mine = account(session, account_id)
    if mine is None:
        return None
    me = own_person(session, account_id)
    phone = None if me is None else on_file(session, me)
    return _of_channel(mine, phone) or phone


def _of_channel(mine: PatientAccount, fallback: Recipient | None) -> Recipient | None:
    address = mine.open_id or mine.user_id
    transport = TRANSPORTS.get(mine.channel)
    if not address or transport is None or not notify.available(transport):
        return None
    return Recipient(transport, address, f"{address[:6]}…", fallback)


def on_file(session: Session, person_id: uuid.UUID) -> Recipient | None:
    """The mobile phone on a person's file; None where there is none or no SMS can be sent."""
    phone = people.get(session, person_id).phone
    if not can_receive_sms(phone) or not notify.available(notify.SMS):
        return None
    return Recipient(notify.SMS, normal_phone(phone or ""), mask_phone(phone))


def recipients(session: Session, person_id: uuid.UUID, scope: str) -> list[Recipient]:
    """Everybody to be told of this person's matters of `scope`, no address twice."""
    found = [account_recipient(session, each) for each in access.holders(session, person_id, scope)]
    if scope == "book" and not any(found):
        found = [on_file(session, person_id)]
    return list({(each.transport, each.address): each for each in found if each is not None}.values())


def tell(
    session: Session, person_id: uuid.UUID, scope: str, *, template: str, key: str, parameters: dict[str, str]
) -> int:
    """One message to each recipient; `key` names the fact, so that telling it again tells nobody twice."""
    told = 0
    for account_id in access.holders(session, person_id, scope):
        told += tell_account(session, account_id, template=template, key=f"{key}:{account_id}", parameters=parameters)
    phone = on_file(session, person_id) if scope == "book" and not told else None
    if phone is not None:
        notify.send(session, recipient=phone, template=template, parameters=parameters, dedupe_key=f"{key}:file")
        told = 1
    return told


def tell_account(
    session: Session, account_id: uuid.UUID, *, template: str, key: str, parameters: dict[str, str]
) -> bool:
    """One message to one account; False where it is reached nowhere."""
    recipient = account_recipient(session, account_id)
    if recipient is None:
        return False
    notify.send(session, recipient=recipient, template=template, parameters=parameters, dedupe_key=key)
    return True
