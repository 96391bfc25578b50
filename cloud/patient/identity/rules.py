"""Pure rules of binding: limits, times, and the two kinds of code."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

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
CONSENT_SCOPES = ("visit", "order", "report", "inpatient", "checkup")
"""What a person can let a relative see; booking and paying come with the binding."""
CONSENT_TERMS: tuple[int | None, ...] = (1, 30, 365, None)
"""For how many days; None: until it is taken back."""
CONSENT_CODES_PER_ACCOUNT = (5, timedelta(hours=1))
CONSENT_CODES_PER_PERSON = (5, timedelta(days=1))
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What the hospital decided (`policy`)."""

    persons: int = 5
    """Bound to one account, the holder of the phone counted."""
    accounts: int = 2
    """That are one person's own (one WeChat, one Alipay)."""
    cool_down: timedelta = timedelta(days=30)
    """After unbinding, before the same may be bound online again."""


class Limit(StrEnum):
    """Which limit is reached. All but the last speak of the account alone, and may be told to who holds the phone."""

    SELF_BOUND = "self_bound"
    PERSONS = "persons"
    COOL_DOWN = "cool_down"
    ACCOUNTS = "accounts"
    """Of the person: who tries numbers must not learn that somebody is known here."""


@dataclass(frozen=True, slots=True)
class Reached:
    """`until`: when binding online is possible again, for a cool-down."""

    limit: Limit
    until: datetime | None = None


def limit_reached(
    relation: str, past: Iterable[PastBinding], own_accounts: int, now: datetime, limits: Limits
) -> Reached | None:
    """What keeps this account from binding this person by itself; the window may always, with the document in hand.

    `own_accounts`: how many other accounts are this person's own already.
    """
    rows = list(past)
    others = [row for row in rows if not row.same_person and row.ended_at is None]
    if relation == "self" and any(row.relation == "self" for row in others):
        return Reached(Limit.SELF_BOUND)
    again = any(row.same_person and row.ended_at is None for row in rows)
    if not again and len(others) >= limits.persons:
        return Reached(Limit.PERSONS)
    cooling = [row.ended_at + limits.cool_down for row in rows if row.ended_at and _counts(row, relation)]
    if cooling and max(cooling) > now:
        return Reached(Limit.COOL_DOWN, max(cooling))
    if relation == "self" and own_accounts >= limits.accounts:
        return Reached(Limit.ACCOUNTS)
    return None


def _counts(row: PastBinding, relation: str) -> bool:
    """Whether this end makes binding wait: of the same person, or of whoever the holder said to be before."""
    return row.why_ended == "unbound" and (row.same_person or (relation == "self" and row.relation == "self"))
