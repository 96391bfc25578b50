"""What the hospital's own system can do for us, in our words: the numbers it owns, and what it holds of the money.

The calls go over the network and are made with no transaction open. Each that changes something takes our own key, the
same at every repetition, has a question that tells what came of it, and an inverse. Three outcomes, never two: it
happened, it did not happen (`Refused`), or nobody knows (`Unknown`); what nobody knows is asked again with
`number_stand` before anything else is done. Money is not told here: a report of it is frozen in the caller's
transaction and sent until the HIS has acknowledged it (`reporting`), and compared day by day with `money_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from cloud.config import settings


class Unknown(Exception):
    """The call was made and nobody knows what came of it: no answer in time, or one that cannot be read.

    Ask `number_stand`, or repeat the same call with the same key. `code` says what was missing.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Refused(Exception):
    """The HIS said no, and nothing came of this call (an earlier one with the same key may have happened).

    `code`: one of `CODES`, else the HIS's own word. `permanent`: asking again can't help. `text`: its sentence, for
    staff.
    """

    def __init__(self, code: str, *, permanent: bool = True, text: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent
        self.text = text


class Away(Refused):
    """No connection: nothing was sent. Later it may be there again."""

    def __init__(self) -> None:
        super().__init__("away", permanent=False)


CODES = {
    "taken": "somebody else has this number (a window sold it); another may be free",
    "full": "the session has no number left",
    "stopped": "the session does not take place",
    "unknown_session": "the HIS has no such session",
    "limit": "the HIS does not give this patient another number",
    "not_held": "the HIS does not hold this number for us any more (its own time limit)",
    "used": "the patient was seen already; the number cannot be given back",
    "away": "no connection",
    "no_his": "this hospital runs on the built-in tables",
}
"""Refusals that an adapter maps to and callers may count on."""


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """Who the number or the money is for, as the HIS is told; `patients.facts_of` gives them in a transaction."""

    mrn: str
    """The HIS's own number; empty where it has given none yet."""
    card: str
    name: str
    sex: str
    birth_date: date | None
    id_number: str
    phone: str


@dataclass(frozen=True, slots=True)
class NumberLock:
    """A number to be held for a patient until it is paid."""

    key: str
    """Ours, for this booking alone, at most 36 characters."""
    session_code: str
    """The HIS's code of the session (`ClinicSession.code`)."""
    seq: int | None
    """Which number of the session; None: the HIS picks the next."""
    from_at: datetime
    to_at: datetime
    patient: PatientFacts
    fee_fen: int
    hold_until: datetime
    """It is given back by us at the latest then; the HIS may drop it by itself a while later."""


class NumberStanding(StrEnum):
    ABSENT = "absent"
    """The HIS knows nothing of our key: the lock never reached it."""
    LOCKED = "locked"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    """Given back by us, or dropped by the HIS."""
    USED = "used"
    NO_SHOW = "no_show"
    STOPPED = "stopped"
    """The HIS stopped the session, or took the number away."""


@dataclass(frozen=True, slots=True)
class NumberStand:
    """How our number stands at the HIS."""

    standing: NumberStanding
    key: str
    his_number: str = ""
    """The HIS's own name of the appointment; what its staff asks for."""
    seq: int | None = None
    """The number the patient got; may differ from the wish where the wish left it open."""
    at: datetime | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class OpenNumber:
    """A number that the HIS still sells."""

    seq: int
    from_at: datetime | None


@dataclass(frozen=True, slots=True)
class PaidWith:
    """What paid for a number that is being confirmed."""

    payment_number: str
    channel: str
    fen: int
    at: datetime


class MoneyKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class MoneyLine:
    """One movement of money as the HIS has booked it; a refund's `fen` is negative."""

    kind: MoneyKind
    number: str
    """Ours: of the payment, or of the refund."""
    fen: int
    at: datetime | None
    channel: str


class HisPort(Protocol):
    """The hospital's own system. `connected` is false where there is none: then every call is refused (``no_his``)."""

    connected: bool
    name: str

    def lock_number(self, lock: NumberLock) -> NumberStand:
        """Hold it for us; LOCKED (or CONFIRMED, where this key was confirmed before). Raises `Refused`, `Unknown`."""

    def number_stand(self, key: str) -> NumberStand:
        """What the HIS has under our key. Raises `Unknown` (also when it is away), `Refused` (``no_his``)."""

    def confirm_number(self, key: str, paid: PaidWith | None) -> NumberStand:
        """It is paid (None: it costs nothing): the patient may come. Raises `Refused` (``not_held``), `Unknown`."""

    def release_number(self, key: str, *, reason: str) -> NumberStand:
        """Give it back, locked or confirmed: RELEASED. ABSENT where the HIS never heard of the key: a lock whose answer
        was lost may still be under way then, so ask `number_stand` once more after a minute. Raises `Refused`
        (``used``), `Unknown`."""

    def open_numbers(self, session_code: str) -> tuple[OpenNumber, ...]:
        """What the HIS's windows and we can still sell of a session. Raises `Refused`, `Unknown`."""

    def money_of(self, day: date) -> tuple[MoneyLine, ...]:
        """Every movement that we reported and that the HIS booked on this day. Raises `Refused`, `Unknown`."""


class BuiltInTables:
    """A hospital without a HIS: numbers, charges and money are the tables here, and there is nobody to tell."""

    connected = False
    name = "built-in"

    def lock_number(self, lock: NumberLock) -> NumberStand:
        raise Refused("no_his")

    def number_stand(self, key: str) -> NumberStand:
        raise Refused("no_his")

    def confirm_number(self, key: str, paid: PaidWith | None) -> NumberStand:
        raise Refused("no_his")

    def release_number(self, key: str, *, reason: str) -> NumberStand:
        raise Refused("no_his")

    def open_numbers(self, session_code: str) -> tuple[OpenNumber, ...]:
        raise Refused("no_his")

    def money_of(self, day: date) -> tuple[MoneyLine, ...]:
        raise Refused("no_his")


def port() -> HisPort:
    """The one this hospital has, by its settings."""
    config = settings()
    if not config.his_host:
        return BuiltInTables()
    from cloud.his import hl7_port  # an adapter is written in the words of this module

    return hl7_port.at(config.his_host, config.his_port)
