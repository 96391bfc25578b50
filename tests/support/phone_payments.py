"""A payment on a patient's phone in tests: opened for her account, walked to the simulator's cashier and back."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.patient.identity.model import PatientAccount
from cloud.patient.paying import purposes
from cloud.patient.paying.purposes import Purpose
from cloud.payments import channels, service
from cloud.payments.service import Wish
from tests.support.cashiers import Cashiers, running
from tests.support.phones import Phone, Town, town

PURPOSE = "probe"
"""Something to pay for that no slice knows; its page is the list of reports."""


@dataclass(frozen=True, slots=True)
class PayTown:
    town: Town
    cashiers: Cashiers


@contextmanager
def pay_town(patched: pytest.MonkeyPatch) -> Iterator[PayTown]:
    """The hospital's cloud with WeChat, the SMS gateway and both channels' cashiers beside it; needs a database."""
    purposes.register(Purpose(PURPOSE, "门诊缴费", lambda _session, _subject: "/p/reports", lambda *_: "内科 张*"))
    with town(patched) as made, running(patched, app_id="wx-hospital") as cashiers:
        yield PayTown(made, cashiers)


def account_of(openid: str) -> uuid.UUID:
    with begin() as session:
        return session.scalars(select(PatientAccount.id).where(PatientAccount.open_id == openid)).one()


def asked_of(openid: str, fen: int = 1500, *, subject_id: uuid.UUID | None = None, minutes: int = 10) -> uuid.UUID:
    """A payment of this WeChat user's account, as a booking or a bill would open it."""
    offered = channels.of("wechat")
    with begin() as session:
        return service.open_payment(
            session,
            Wish(
                purpose=PURPOSE,
                subject_id=subject_id or new_id(),
                fen=fen,
                channel="wechat",
                app_id=offered.app_id,
                merchant_id=offered.merchant_id,
                payer=openid,
                payer_key=str(account_of(openid)),
                key=str(new_id()),
                hold_until=clock.now() + timedelta(minutes=minutes),
            ),
        ).id


def attribute(page: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', page)
    assert found is not None, f"the page has no {name}"
    return html.unescape(found[1])


def pays(phone: Phone, payment_id: uuid.UUID) -> httpx.Response:
    """Without any script: the pay page, the cashier's page, "pay", and the way back; the answer that ends it."""
    page = phone.get(f"/p/pay/{payment_id}")
    assert page.status_code == 200, page.text
    cashier = httpx.get(attribute(page.text, "data-stand-in"), trust_env=False)
    number = re.search(r"name=number value='([^']+)'", cashier.text)
    back = re.search(r"name=back value='([^']*)'", cashier.text)
    assert number, cashier.text
    assert back, cashier.text
    address = str(cashier.url.copy_with(query=None))
    done = httpx.post(address, data={"number": number[1], "back": html.unescape(back[1])}, trust_env=False)
    assert "支付成功" in done.text
    return phone.get(html.unescape(back[1]).removeprefix(phone.town.url))
