"""Pure rules about persons: numbers normalised, checked and masked. Nothing is read or stored here.

The 18-digit citizen number and its check character follow GB 11643-1999 (ISO 7064 MOD 11-2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_CHARACTERS = "10X98765432"
_ID_NUMBER = re.compile(r"^\d{17}[\dX]$")


@dataclass(frozen=True, kw_only=True)
class PersonDetails:
    """What the hospital's file says of a person. None is "not told": an update leaves that field as it was.

    `identifiers` are (system, value) pairs such as ``("mrn", "P0001")``; an update adds those that are new.
    """

    name: str = ""
    sex: str = "U"
    birth_date: date | None = None
    phone: str | None = field(default=None, repr=False)
    id_number: str | None = field(default=None, repr=False)
    identifiers: tuple[tuple[str, str], ...] = field(default=())


def normal_phone(phone: str) -> str:
    """Digits only, without the country's prefix (+86, 0086): the form that is compared and indexed."""
    digits = re.sub(r"\D", "", phone)
    for prefix in ("0086", "86"):
        if digits.startswith(prefix) and len(digits) == len(prefix) + 11:
            return digits[len(prefix) :]
    return digits


def normal_id_number(id_number: str) -> str:
    """Without spaces, upper case (the check character may be typed x)."""
    return re.sub(r"\s", "", id_number).upper()


def normal_name(name: str) -> str:
    """Without spaces of any width, upper case, the middle dots of transcribed names made one: compared, never shown."""
    return re.sub(r"[·•・．.‧]", "·", re.sub(r"\s", "", name)).upper()


def is_citizen_number(id_number: str) -> bool:
    """Whether it is a well-formed 18-character citizen number: check character right and the birth date exists."""
    number = normal_id_number(id_number)
    if not _ID_NUMBER.match(number) or birth_date_of(number) is None:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=False))
    return number[17] == _CHECK_CHARACTERS[total % 11]


def birth_date_of(id_number: str) -> date | None:
    """The birth date inside a citizen number; None where there is none."""
    number = normal_id_number(id_number)
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None


def display_name(name: str) -> str:
    """The name for eyes that may not read it: the first character stays (``张*``, ``欧**``)."""
    shown = name.strip()
    if not shown:
        return "*"
    return shown[0] + "*" * max(1, len(shown) - 1)


def mask_phone(phone: str | None) -> str:
    """``138****1234``; a short number shows only its last two digits."""
    digits = normal_phone(phone or "")
    if len(digits) < 8:
        return "*" * max(0, len(digits) - 2) + digits[-2:] if digits else ""
    return digits[:3] + "*" * (len(digits) - 7) + digits[-4:]


def mask_id(id_number: str | None) -> str:
    """``110101********1234``; a shorter number (passport) shows its last two characters."""
    number = normal_id_number(id_number or "")
    if len(number) == 18:
        return number[:6] + "********" + number[14:]
    return "*" * max(0, len(number) - 2) + number[-2:] if number else ""
