"""Pure rules of binding: limits, times, and the two kinds of code."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from cloud.people.rules import is_citizen_number, normal_id_number, normal_phone

STATE_LIFETIME = timedelta(minutes=10)
CODE_LIFETIME = timedelta(minutes=5)
CODE_TRIES = 5
RELATIONS = ("self", "family")
"""What can be asked for on the phone."""
GUARDIAN = "guardian"
"""Of a minor: bound at the window only, where the household register or the birth certificate is seen."""
WINDOW_CODE_LIFETIME = timedelta(minutes=10)
OLDER_CHILD, ADULT = 14, 18
"""At 14 the window looks again before a guardian reads on (the young person is asked); at 18 guardianship ends."""
MAX_FAMILY = 5
MAX_ACCOUNTS_OF_A_PERSON = 2
"""Accounts that are this person's own (one WeChat, one Alipay); more only at the window."""
COOL_DOWN = timedelta(days=30)
"""After unbinding, before the same may be bound online again."""
CONSENT_LIFETIME = timedelta(days=365)
LOOKUPS_PER_ACCOUNT = (5, timedelta(hours=1))
LOOKUPS_PER_NUMBER = (5, timedelta(days=1))

_WINDOW_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Without 0 O 1 I L: read aloud and typed at the window."""
_CARD = re.compile(r"^[0-9A-Za-z-]{4,32}$")


def new_sms_code() -> str:
    """Six random digits."""
    return f"{secrets.randbelow(1_000_000):06d}"


def new_window_code() -> str:
    """Eight characters, 39 bits: good for ten minutes and for staff only."""
    return "".join(secrets.choice(_WINDOW_ALPHABET) for _ in range(8))


def normal_window_code(typed: str) -> str:
    return re.sub(r"[\s-]", "", typed).upper()


@dataclass(frozen=True, slots=True)
class GivenNumber:
    """What somebody typed to be found by: kind ``id_number`` or ``card``."""

    kind: str
    value: str


def read_number(typed: str) -> GivenNumber | None:
    """A citizen number with a right check character, else a visit card's number; None when it can be neither."""
    number = normal_id_number(typed)
    if is_citizen_number(number):
        return GivenNumber("id_number", number)
    if len(number) == 18 and number[:17].isdigit():
        return None  # a mistyped citizen number
    card = typed.strip()
    return GivenNumber("card", card) if _CARD.match(card) else None


def can_receive_sms(phone: str | None) -> bool:
    """A mobile number of eleven digits (or one of the 000 test block); a landline on the file cannot get a code."""
    digits = normal_phone(phone or "")
    return len(digits) == 11 and (digits[0] == "1" or digits.startswith("000"))


def birthday(born: date, age: int) -> date:
    """The day somebody becomes `age`; born on 29 February: the first of March where there is none."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 3, 1)


def guardian_until(born: date | None, today: date) -> tuple[date, date] | None:
    """Until when a guardian books and pays, and until when they read; None: no minor, or no birth date on the file."""
    if born is None or birthday(born, ADULT) <= today:
        return None
    grown = birthday(born, ADULT)
    older = birthday(born, OLDER_CHILD)
    return grown, older if today < older else grown


@dataclass(frozen=True, slots=True)
class PastBinding:
    """One binding as the limits see it. `same_person` counts merged files as one."""

    relation: str
    same_person: bool
    ended_at: datetime | None
    why_ended: str | None


def may_bind_online(relation: str, past: Iterable[PastBinding], own_accounts: int, now: datetime) -> bool:
    """Whether this account may bind this person by itself; the window may always, with the document in hand.

    `own_accounts`: how many other accounts are this person's own already.
    """
    rows = list(past)
    others = [row for row in rows if not row.same_person]
    if relation == "self":
        if any(row.relation == "self" and row.ended_at is None for row in others):
            return False
        if own_accounts >= MAX_ACCOUNTS_OF_A_PERSON:
            return False
    elif sum(row.relation == "family" and row.ended_at is None for row in others) >= MAX_FAMILY:
        return False
    return not any(_cools_down(row, relation, now) for row in rows)


def _cools_down(row: PastBinding, relation: str, now: datetime) -> bool:
    if row.ended_at is None or row.why_ended != "unbound" or row.ended_at + COOL_DOWN <= now:
        return False
    return row.same_person or (relation == "self" and row.relation == "self")
