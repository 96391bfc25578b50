"""What assembly lines (TLA) share whatever they speak: a line's own words for what it did, as data of one link.

Standards name few of the steps that a laboratory asks about ("stored", "retrieved"); each line has words of its own
for them. They stand in the link's options, taken from that line's document::

    actions = { "ARCHIVED" = "stored", "RETRIEVED" = "retrieved", "TRASH" = "disposed" }

A word that nobody mapped is kept as the line said it, with the action "other".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from protocols.errors import DriverOptionError
from protocols.model import SpecimenAction, read_quantity

Words = Mapping[str, SpecimenAction]
_MICROLITRES = {"UL": 1, "µL": 1, "ΜL": 1, "MICROLITERS": 1, "ML": 1000}


def action_words(options: Mapping[str, object], key: str = "actions") -> Words:
    """Upper-case word to action. Raises `DriverOptionError`."""
    told = options.get(key, {})
    known = ", ".join(SpecimenAction)
    if not isinstance(told, dict):
        raise DriverOptionError(key, "is no table", f'write {key} = {{ "ARCHIVED" = "stored" }}')
    for word, action in told.items():
        if action not in set(SpecimenAction):
            raise DriverOptionError(f"{key}.{word}", f"unknown action {action!r}", f"take one of {known}")
    return {str(word).strip().upper(): SpecimenAction(action) for word, action in told.items()}


def microlitres(volume: str | None, unit: str | None) -> tuple[str | None, str | None]:
    """(microlitres, None), or (None, the volume as sent) where the unit is none that is known."""
    if not volume:
        return None, None
    factor = _MICROLITRES.get((unit or "").strip().upper())
    quantity = read_quantity(volume)
    if factor is None or quantity is None or quantity.comparator:
        return None, " ".join(filter(None, (volume, unit)))
    number = quantity.number * factor
    return (volume if factor == 1 else f"{number.normalize() if number else Decimal(0):f}"), None
