"""Amounts of money: whole fen (1/100 yuan) as `int`, everywhere; yuan only on a page and from a form."""

from __future__ import annotations

import re

_YUAN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,2}))?")


def fen(yuan: str) -> int:
    """What was typed or sent (``"12.5"``) as fen. Raises `ValueError` for anything else, also three decimals."""
    found = _YUAN.fullmatch(yuan.strip())
    if found is None:
        raise ValueError(f"{yuan!r} is not an amount in yuan with at most two decimals")
    sign, whole, part = found.groups()
    amount = int(whole) * 100 + int((part or "").ljust(2, "0"))
    return -amount if sign else amount


def yuan(amount_fen: int) -> str:
    """``1250`` as ``"12.50"``."""
    sign = "-" if amount_fen < 0 else ""
    whole, part = divmod(abs(amount_fen), 100)
    return f"{sign}{whole}.{part:02d}"


def share(amount_fen: int, weights: list[int]) -> list[int]:
    """`amount_fen` divided by `weights` so that the parts add up to it (largest remainder first, then by order).

    Raises `ValueError` for negative weights or none above zero.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("weights must not be negative, and one must be above zero")
    parts = [amount_fen * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: (-(amount_fen * weights[at] % total), at))
    for at in by_remainder[: amount_fen - sum(parts)]:
        parts[at] += 1
    return parts
