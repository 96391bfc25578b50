"""One thing of a patient's day, as the home page and the day's page show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of a day. Texts are in the request's language."""

    kind: str
    """``visit``, ``bill``, ``payment``, ``refund``, ``test``, ``report``."""
    at: datetime
    title: str
    note: str
    href: str
    tag: str = ""
    tone: str = ""
    act: str = ""
    """What is to be done about it, as a button; "" where nothing is."""
    over: bool = False
    count: int = 1
    """How many things it stands for."""
