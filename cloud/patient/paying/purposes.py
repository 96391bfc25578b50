"""What can be paid for on the phone: each slice that opens payments says once what they are called and where they lead.

purposes.register(Purpose("bills", TITLE, path_of))
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Purpose:
    """`name` is `Payment.purpose`. `title` (Chinese, marked with ``N_``) heads the transaction, and stands beside the
    hospital's name in the bank statement: a word like 门诊缴费, no drug, department or finding."""

    name: str
    title: str
    path_of: Callable[[Session, uuid.UUID], str]
    """The page of what was paid for, under ``/p``; it asks by itself who may see it."""
    about: Callable[[Session, uuid.UUID], str] | None = None
    """One line for the payer's own list of transactions ("心内科 3 月 1 日 上午")."""


UNNAMED = Purpose("", N_("医疗费用"), lambda _session, _subject_id: "/p/transactions")
_registered: dict[str, Purpose] = {}


def register(purpose: Purpose) -> None:
    """Called at import of the slice's routes."""
    _registered[purpose.name] = purpose


def of(name: str) -> Purpose:
    """A purpose nobody registered still has a name and a page: its money is shown like any other."""
    return _registered.get(name, UNNAMED)
