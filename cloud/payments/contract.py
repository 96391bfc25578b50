"""What a payment channel can do, in our words. One module a channel in `cloud.payments.channels`.

The calls go over the network and are made with no transaction open; `parse_notice` is pure. No answer of a library is
believed as it stands: a channel hands out `Evidence` only after its signature was checked with our own keys, and
`service.settle` compares every field of it with the payment before anything is paid.

Three outcomes, never two: it happened, it did not happen, or nobody knows (`Unknown`). What nobody knows is asked
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol


class Unknown(Exception):
    """The call was made and nobody knows what came of it: no answer, one that can't be read or that nobody signed.

    Ask (`query`, `refund_query`) before anything else is done, and repeat a refund with the same number only.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Refused(Exception):
    """The channel said no, and nothing happened. `code` is its own word; `permanent`: asking again can't help."""

    def __init__(self, code: str, *, permanent: bool = True) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent


class BadNotice(Exception):
    """A notice that settles nothing: forged, for somebody else, too old, unreadable. `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Ask:
    """A payment to be prepared. `payer`: the channel's id of the user; `until`: the channel takes no money after it."""

    number: str
    fen: int
    payer: str
    subject: str
    """What the bank statement says: the hospital and a word like 门诊缴费; no name, drug, department or finding."""
    until: datetime
    client_ip: str
    notice_url: str
    return_url: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the phone needs to pay (`phone`), and the channel's number for it, if it gave one."""

    phone: Mapping[str, Any]
    channel_number: str | None = None


class Standing(StrEnum):
    """How a payment stands at the channel."""

    PAID = "paid"
    PAYING = "paying"
    """The payer is in the middle of it: wait and ask again."""
    UNPAID = "unpaid"
    CLOSED = "closed"
    ABSENT = "absent"
    """The channel knows no such number (an Alipay page that nobody opened yet can still be paid)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Proof by the channel that money came. All of it is compared with the payment it names."""

    number: str
    fen: int
    currency: str
    app_id: str
    merchant_id: str
    """Empty where the channel's answer does not say it (the key that signed it does)."""
    payers: tuple[str, ...]
    """Every name by which the channel calls who paid; empty where it does not say."""
    transaction_id: str
    paid_at: datetime
    refunded_fen: int = 0
    """What the channel says has gone back already."""


@dataclass(frozen=True, slots=True)
class Stand:
    """The answer to `query`; `evidence` is there when, and only when, it is PAID."""

    standing: Standing
    evidence: Evidence | None = None


class Closing(StrEnum):
    CLOSED = "closed"
    ALREADY_PAID = "already_paid"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class RefundAsk:
    """One refund. The number and the amount are the same at every repetition."""

    number: str
    refund_number: str
    fen: int
    total_fen: int
    reason: str
    notice_url: str


class RefundStanding(StrEnum):
    DONE = "done"
    PROCESSING = "processing"
    ABSENT = "absent"
    FAILED = "failed"
    """The channel can't bring it to the payer's account (closed card): a person pays it out in another way."""


@dataclass(frozen=True, slots=True)
class RefundStand:
    """How a refund stands; `fen` is what the channel says it was for, None where it doesn't say."""

    standing: RefundStanding
    fen: int | None = None
    channel_number: str = ""
    done_at: datetime | None = None
    code: str = ""


class NoticeKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Notice:
    """What a channel told us by itself. Without `evidence` (or `refund`) it is a hint to ask, and proves nothing."""

    kind: NoticeKind
    key: str
    """Unique in the channel for this fact: the same notice again has the same key."""
    number: str
    refund_number: str = ""
    evidence: Evidence | None = None
    refund: RefundStand | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the channel wants to hear."""

    status: int
    body: bytes = b""
    media_type: str = "text/plain"


class LineKind(StrEnum):
    PAID = "paid"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of the channel's daily bill."""

    kind: LineKind
    number: str
    refund_number: str
    fen: int
    transaction_id: str
    at: datetime
    done: bool = True
    """False: a refund that the bill lists as not yet with the payer."""


@dataclass(frozen=True, slots=True)
class BillFile:
    """A day's bill as the channel wrote it, read. Its own totals were compared with the lines' sums: a file that is cut
    is refused by `bill`."""

    day: date
    raw: bytes
    lines: tuple[BillLine, ...] = field(default=())


class Channel(Protocol):
    """One way to pay. `name` is stored on every payment; a driver may change under a name, the name never does."""

    name: str
    app_id: str
    merchant_id: str
    refund_gap: timedelta
    """At least so long between two refunds of one payment."""
    shortest: timedelta
    """A payment is not closed earlier than this after it was made."""
    payable_when_absent: bool
    """True: a number that the channel doesn't know can still be paid until `Ask.until` (a signed page)."""

    def prepay(self, ask: Ask) -> Prepared:
        """Raises `Refused`, `Unknown`."""

    def query(self, number: str) -> Stand:
        """Raises `Unknown`."""

    def close(self, number: str) -> Closing:
        """No money is taken for the number any more. Raises `Unknown`."""

    def refund(self, ask: RefundAsk) -> RefundStand:
        """Idempotent by the refund's number. Raises `Refused`, `Unknown`."""

    def refund_query(self, number: str, refund_number: str) -> RefundStand:
        """Raises `Unknown`."""

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Pure. `headers` by lower-case names. Raises `BadNotice`."""

    def reply(self, taken: bool) -> Reply:
        """Taken (also: taken before), or refused and to be told again."""

    def bill(self, day: date) -> BillFile | None:
        """A day's bill; None where the channel has it not ready yet. Raises `Unknown`, `Refused` (also a cut file)."""
