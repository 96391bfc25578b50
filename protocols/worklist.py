"""Orders as an instrument takes them: one for each specimen, in its channels, with its times.

An instrument that sends several aspects of one test (value, interpretation, signal) gives each a code of its own here,
``channel^aspect``; it is ordered by its channel alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from protocols.model import Order


def joined(orders: Iterable[Order]) -> list[Order]:
    """One order for each specimen, with every channel once; stat where any of them is. Cancelled ones are left out."""
    found: dict[str, Order] = {}
    for order in orders:
        if order.cancelled:
            continue
        known = found.get(order.specimen, order)
        codes = dict.fromkeys(channel(code) for code in (*known.codes, *order.codes))
        priority = "S" if "S" in (known.priority, order.priority) else known.priority
        found[order.specimen] = msgspec.structs.replace(
            known, codes=tuple(codes), priority=priority, dilutions=_dilutions(known, order)
        )
    return list(found.values())


def _dilutions(*orders: Order) -> tuple[tuple[str, str], ...]:
    return tuple({channel(code): factor for order in orders for code, factor in order.dilutions}.items())


def channel(code: str) -> str:
    """The channel of ``channel^aspect``."""
    return code.partition("^")[0]


def digits_of_time(text: str | None) -> str:
    """``YYYYMMDD[HHMMSS]`` of an ISO 8601 time or date, "" where there is none."""
    written = (text or "").partition("+")[0].partition(".")[0].rstrip("Z")
    return "".join(each for each in written if each.isdigit())[:14]


def echoed(field: str) -> str:
    """A field of the instrument's message as it may stand in our answer: without control characters."""
    return "".join(each for each in field if each >= " ")
