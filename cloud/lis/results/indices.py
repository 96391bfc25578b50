"""Serum indices (HIL) of a tube: haemolysis H, icterus I, lipaemia L, as its analyzers sent them.

They come on channels of kind ``index_h``, ``index_i``, ``index_l``, live with the instrument's messages
(`InstrumentNotice.serum_index`), stand beside the values on the review page and are never results. What the analyzer
itself raised or graded is a remark on the report (`reports.beside`).
"""

from __future__ import annotations

import uuid
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.lis.results.model import InstrumentNotice
from protocols.model import read_quantity

_WORDS = {"-": 0, "N": 0, "NEG": 0, "±": 0, "+": 1, "++": 2, "+++": 3, "++++": 4, "1+": 1, "2+": 2, "3+": 3, "4+": 4}
"""Grades where the analyzer sends no number."""


def indices_of(session: Session, specimen_id: uuid.UUID) -> dict[str, Decimal]:
    """The newest readable value of each index by its letter; a letter that nobody measured is not there.

    Numbers as sent (a bound such as ">500" is the bound), grades as their number of plus signs.
    """
    rows = session.execute(
        select(InstrumentNotice.serum_index, InstrumentNotice.value)
        .where(InstrumentNotice.specimen_id == specimen_id, InstrumentNotice.serum_index.is_not(None))
        .order_by(InstrumentNotice.received_at, InstrumentNotice.ordinal)
    )
    found: dict[str, Decimal] = {}
    for letter, value in rows:
        number = _number(value)
        if letter is not None and number is not None:
            found[letter] = number
    return found


def _number(value: str | None) -> Decimal | None:
    word = (value or "").strip().upper()
    if word in _WORDS:
        return Decimal(_WORDS[word])
    quantity = read_quantity(value)
    return None if quantity is None else quantity.number
