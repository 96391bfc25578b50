"""What a result's text says: number with comparator, titre, qualitative word. Pure; unknown words stay unknown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from protocols.model import Quantity, read_quantity

_TITRE = re.compile(r"^\s*(<=|>=|<|>|≤|≥)?\s*1\s*[::]\s*(\d{1,7})\s*$")
_SAME_SIGN = {"≤": "<=", "≥": ">="}
_GRADE = re.compile(r"^([1-4])\+$|^(\+{1,4})$")
_NEGATIVE = frozenset({"-", "neg", "negative", "nonreactive", "nr", "阴性", "未检出", "正常", "normal", "norm"})
_WEAK = frozenset({"±", "+-", "+/-", "trace", "tr", "弱阳性", "可疑"})
_POSITIVE = frozenset({"pos", "positive", "reactive", "阳性", "检出"})


class Polarity(StrEnum):
    NEGATIVE = "negative"
    WEAK = "weak"
    POSITIVE = "positive"


@dataclass(frozen=True, slots=True)
class Titre:
    """A dilution ``1:n``; a higher `reciprocal` is a stronger reaction."""

    reciprocal: int
    comparator: str | None = None


def read_titre(text: str | None) -> Titre | None:
    """``1:160``, ``<1:20``; None for anything else."""
    match = _TITRE.match(text or "")
    if match is None:
        return None
    return Titre(int(match[2]), _SAME_SIGN.get(match[1], match[1]))


def read_polarity(text: str | None) -> Polarity | None:
    """Negative, weak or positive where the word or the grade (1+ to 4+) is one that laboratories use; else None."""
    word = (text or "").strip().lower()
    bare = re.sub(r"[()()\[\]\s_]|-(?=reactive)", "", word) or word
    for candidate in (bare, re.sub(r"[-+±]+$", "", bare)):
        if candidate in _NEGATIVE:
            return Polarity.NEGATIVE
        if candidate in _WEAK:
            return Polarity.WEAK
        if candidate in _POSITIVE or _GRADE.match(candidate):
            return Polarity.POSITIVE
    return None


_RATIO = re.compile(r"^\s*(<=|>=|<|>|≤|≥)?\s*(\d+(?:\.\d+)?)\s*[:：∶/]\s*1(?:\.0+)?\s*$")


def read_ratio(text: str | None) -> str | None:
    """``1.5:1`` and ``1.5/1`` as ``1.5``, its sign kept; None for anything else (``1:80`` is a titre, no ratio)."""
    match = _RATIO.match(text or "")
    return None if match is None else f"{_SAME_SIGN.get(match[1], match[1]) or ''}{match[2]}"


def convert(text: str, factor: Decimal, decimals: int | None) -> tuple[str, Quantity | None]:
    """The value in the catalogue's unit: printed text and number.

    Factor 1 keeps the instrument's own text, so that nothing is rounded on the way. Otherwise the product is rounded
    half to even to `decimals`, and the number is the printed one: flags judge what the reader sees. A comparator stays,
    and its bound is never rounded: "<0.044" does not say "<0.04".
    """
    quantity = read_quantity(text)
    if quantity is None or factor == 1:
        return text.strip(), quantity
    product = quantity.number * factor
    if decimals is not None:
        rounded = product.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
        product = rounded if quantity.comparator is None or rounded == product else product.normalize()
    return f"{quantity.comparator or ''}{product:f}", Quantity(product, quantity.comparator)
