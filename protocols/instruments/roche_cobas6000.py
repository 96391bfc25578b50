"""Roche cobas 6000 (c 501, e 601) and cobas 8000, and Hitachi H7600 messages of Modular analyzers.

Source: public LIS integrations that quote these analyzers' messages (cobas 6000 results; cobas 8000 results and
orders; H7600 results, quality control, inquiry and orders), and the e 411 manual, which calls its protocol that of the
6000 "with minor differences". Roche "cobas 6000 analyzer series Host Interface Manual" 1.3 is the vendor's document;
only its revision history was at hand. No capture: not proved on an instrument.

A cobas 8000 writes its version, a message number and the time into the header and wants them back (``TSDWN`` without a
cause where it asked without one); O.4 has one component more (``not``).
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from protocols.dialects.cobas import CobasHost
from protocols.driver import Status

_BIG = "cobas 8000"


class RocheCobas6000(CobasHost):
    id: ClassVar[str] = "roche_cobas6000"
    vendor: ClassVar[str] = "Roche"
    models: ClassVar[tuple[str, ...]] = ("cobas 6000", "cobas c 501", "cobas e 601", "cobas 8000", "Hitachi 7600")
    source: ClassVar[str] = "public LIS integrations of cobas 6000, cobas 8000 and H7600; e 411 manual, p. 28"
    status: ClassVar[Status] = Status.MANUAL
    names: ClassVar[tuple[str, ...]] = ("cobas6000", "cobas8000", "h7600")
    answers_host_queries: ClassVar[bool] = True
    batch_receiver: ClassVar[str] = "cobas 6000"

    def receiver(self, sender: str) -> str:
        return sender if sender.startswith(_BIG) else super().receiver(sender)

    def order_header(self, receiver: str, purpose: str, now: datetime) -> tuple[str, ...]:
        fields = super().order_header(receiver, purpose, now)
        return (*fields, now.strftime("%Y%m%d%H%M%S")) if receiver.startswith(_BIG) else fields
