"""Pure rules of payments: whether evidence belongs to a payment, and when a channel is asked next."""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from itertools import pairwise

from cloud.payments.contract import Evidence
from cloud.payments.model import ORDER, Payment

ASK_AFTER_S = (5, 15, 30, 60, 180, 300, 600)
"""Seconds from the preparation to each question while the phone may be paying; afterwards the last, repeated. A notice
usually comes first; where it is lost the patient waits a few seconds."""
CLOSING_AFTER = timedelta(seconds=60)
"""Between the moment after which the channel takes no money and the one at which we begin to close."""
PAYING_WAIT = timedelta(seconds=30)
UNKNOWN_WAIT_S = (5, 15, 30, 60, 120, 300)
REFUND_BACK_OFF_S = (15, 60, 120, 300, 900, 1800, 3600)
DROP_AFTER = timedelta(minutes=10)
"""A call of ours whose end nobody knows may still reach the channel so long; only then does "unknown here" mean that no
money will move."""
ABSENT_MARGIN = timedelta(seconds=90)
"""How long after its end a signed page that the channel does not know counts as payable."""
NOTICE_WINDOW = timedelta(minutes=5)
"""How far a signed notice's own time may lie from ours; older ones were recorded by somebody and played again."""


def next_question(asked: int) -> timedelta:
    """From one question to the next, after `asked` of them."""
    steps = (ASK_AFTER_S[0], *(after - before for before, after in pairwise(ASK_AFTER_S)))
    return timedelta(seconds=steps[asked] if asked < len(steps) else ASK_AFTER_S[-1])


def back_off(steps: tuple[int, ...], tries: int) -> timedelta:
    """The wait after the `tries`-th try without an outcome (1 and up); the last repeats."""
    return timedelta(seconds=steps[min(max(tries, 1), len(steps)) - 1])


def forward(before: str, after: str) -> bool:
    """A payment's state only ever moves on."""
    return ORDER.index(after) > ORDER.index(before)


def mismatch(payment: Payment, evidence: Evidence) -> str | None:
    """The first field in which evidence differs from the payment it names; None: it is this payment's."""
    if evidence.fen != payment.fen:
        return "amount"
    if evidence.currency != payment.currency:
        return "currency"
    for name, ours, theirs in (
        ("app", payment.app_id, evidence.app_id),
        ("merchant", payment.merchant_id, evidence.merchant_id),
    ):
        if theirs and not hmac.compare_digest(ours.encode(), theirs.encode()):
            return name
    if payment.payer and evidence.payers and not any(_same_payer(payment.payer, each) for each in evidence.payers):
        return "payer"
    return None


def _same_payer(ours: str, theirs: str) -> bool:
    """Alipay calls one user by an open id or an older number (2088...): what is not of one kind can't be compared."""
    if ours.isdigit() != theirs.isdigit():
        return True
    return hmac.compare_digest(ours.encode(), theirs.encode())


def too_far(said: datetime, now: datetime) -> bool:
    """A notice whose own time is not about now."""
    return abs(said - now) > NOTICE_WINDOW
