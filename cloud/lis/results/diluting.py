"""What a declared dilution does to a value. Pure.

The factor is applied once, by whoever diluted. An analyzer that diluted itself sends the multiplied value: nothing is
done to it. A tube diluted by hand is measured as if it were whole: its next value is multiplied by the factor that was
declared, and keeps both. Where it may be either (the analyzer diluted too, or measured before the declaration), nothing
is multiplied and a person looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from cloud.kit.errors import Invalid
from cloud.lis.results.model import Result
from cloud.lis.results.typed import plain
from cloud.web.i18n import mark as N_

LARGEST = 100_000
UNDILUTED = frozenset({"", "1", "1.0", "0", "1:1"})
"""What instruments write where they did not dilute."""
ASKED, BY_HAND, SINCE = "dilution", "by_hand", "by_hand_at"


@dataclass(frozen=True, slots=True)
class Declared:
    """A tube that a person diluted, and since when."""

    factor: Decimal
    since: datetime


@dataclass(frozen=True, slots=True)
class Applied:
    """What is done to a value: multiplied by `factor` (1: nothing); `doubt`: the declared factor that was not used."""

    factor: Decimal = Decimal(1)
    doubt: str = ""


def factor_of(text: str) -> str:
    """``10``, ``x10`` and ``1:10`` as "10". Raises `Invalid` for what is no factor from 2 up."""
    bare = plain(text).lower().removeprefix("x").removeprefix("*").removeprefix("1:").strip()
    if not bare.isdecimal() or not 2 <= int(bare) <= LARGEST:
        raise Invalid("rerun.dilution", N_("稀释倍数“{typed}”不正确，请输入 2 到 100000 的整数，如 10。"), typed=text)
    return str(int(bare))


def declared(earlier: Sequence[Result]) -> Declared | None:
    """What was declared for the run that is awaited; `earlier`: all runs of the order item."""
    waits = next((each for each in earlier if each.chosen and each.rerun_requested_at is not None), None)
    asked = (waits.details.get("rerun") or {}) if waits is not None else {}
    if not asked.get(BY_HAND):
        return None
    return Declared(Decimal(asked[BY_HAND]), datetime.fromisoformat(asked[SINCE]))


def applied(hand: Declared | None, *, own: str | None, taken_at: datetime | None) -> Applied:
    """`own`: the dilution that the analyzer says it made. `taken_at`: when it measured."""
    if hand is None:
        return Applied()
    if (own or "").strip() not in UNDILUTED or (taken_at is not None and taken_at < hand.since):
        return Applied(doubt=f"{hand.factor:f}")
    return Applied(hand.factor)
