"""Patients with bills for a trial of the money (`xinglin cloud seed-payers`). Refuses in production.

Each has a phone that is signed in: what is printed are the keys to made-up accounts of a throw-away database.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from cloud.billing.intake import ChargeIn, ItemIn, take_in
from cloud.config import settings
from cloud.demo import PASSWORD, NotInProduction
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.patient.identity.access import REALM
from cloud.patient.identity.binding import bind
from cloud.patient.identity.model import PatientAccount
from cloud.payments import channels
from cloud.people import service as people
from cloud.people.rules import PersonDetails
from cloud.staff import service as staff
from cloud.web.cookies import full_name
from cloud.web.sessions import WebSession

ACCOUNTANT = "trial-accountant"
FAMILY, GIVEN = "赵钱孙李周吴郑王冯陈", "一二三四五六七八九十"
LASTS = timedelta(hours=12)


def run(payments: int, *, accounts: int, seed: int) -> dict[str, Any]:
    """`payments` bills of `accounts` patients, half of them with each channel: their phones' cookies and bills."""
    if settings().environment == "production":
        raise NotInProduction("seed-payers signs made-up patients in; XINGLIN_ENVIRONMENT=production refuses it")
    drawn = random.Random(seed)  # noqa: S311  a seeded trial
    with begin() as session:
        if staff.account_by_login(session, ACCOUNTANT) is None:
            staff.create_account(session, login=ACCOUNTANT, name="试算财务", password=PASSWORD, roles=("finance",))
    offered = channels.offered()
    made = []
    for at in range(accounts):
        with begin() as session:
            count = payments // accounts + (at < payments % accounts)
            made.append(_payer(session, at, offered[at % len(offered)], count, drawn))
    return {"accountant": ACCOUNTANT, "password": PASSWORD, "payers": made}


def _payer(session: Session, at: int, channel: str, bills: int, drawn: random.Random) -> dict[str, Any]:
    name = FAMILY[at % 10] + GIVEN[at // 10 % 10] + GIVEN[at // 100 % 10]
    person = people.register(session, PersonDetails(name=name, sex="F"), by="seed-payers")
    open_id = f"oTrial{channel.title()}{at:06d}"
    account = PatientAccount(channel=channel, app_id=channels.of(channel).app_id, open_id=open_id)
    session.add(account)
    session.flush()
    bind(session, account, person.id, relation="self", method="window", by="seed-payers")
    token = secrets.token_urlsafe(32)
    session.add(
        WebSession(
            realm=REALM,
            subject_id=account.id,
            token_hash=hashlib.sha256(token.encode()).digest(),
            data={},
            seen_at=clock.now(),
            expires_at=clock.now() + LASTS,
            address="",
            browser="seed-payers",
        )
    )
    charges = []
    for number in range(bills):
        fen = drawn.randint(1, 60_000)
        said = ChargeIn(
            source="his",
            number=f"TRIAL{at:05d}{number:05d}",
            person_id=person.id,
            kind=drawn.choice(("exam", "lab", "treatment")),
            made_at=clock.now(),
            items=(ItemIn("A", "试算项目一", fen - fen // 3), ItemIn("B", "试算项目二", fen // 3)),
        )
        charges.append({"id": str(take_in(session, said).id), "fen": fen})
    return {"channel": channel, "cookies": {full_name(f"xl_{REALM}"): token}, "charges": charges}
