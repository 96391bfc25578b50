"""Numbers with a check digit, for orders and specimens.

Damm's check digit (H. M. Damm, Total anti-symmetrische Quasigruppen, Marburg 2004): every wrong digit and every swap of
neighbours is found, with digits only, which a barcode label and an analyzer's screen need.
"""

from __future__ import annotations

_TABLE = (
    (0, 3, 1, 7, 5, 9, 8, 6, 4, 2),
    (7, 0, 9, 2, 1, 5, 4, 8, 6, 3),
    (4, 2, 0, 6, 8, 7, 1, 3, 5, 9),
    (1, 7, 5, 0, 9, 8, 3, 4, 2, 6),
    (6, 1, 2, 3, 0, 4, 5, 9, 7, 8),
    (3, 6, 7, 4, 2, 0, 9, 5, 8, 1),
    (5, 8, 6, 9, 7, 2, 0, 1, 3, 4),
    (8, 9, 4, 5, 3, 6, 2, 0, 1, 7),
    (9, 4, 3, 8, 6, 1, 7, 2, 0, 5),
    (2, 5, 8, 1, 4, 3, 6, 7, 9, 0),
)
"""A totally anti-symmetric quasigroup of order 10 whose diagonal is zero."""


def _fold(digits: str) -> int:
    interim = 0
    for digit in digits:
        interim = _TABLE[interim][int(digit)]
    return interim


def with_check_digit(number: int) -> str:
    """`number` in digits and its check digit behind (572 gives "5724")."""
    digits = str(number)
    return f"{digits}{_fold(digits)}"


def check_digit_holds(text: str) -> bool:
    """Whether `text` is digits whose last one is right."""
    return len(text) > 1 and text.isascii() and text.isdigit() and _fold(text) == 0
