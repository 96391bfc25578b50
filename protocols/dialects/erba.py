"""The ASTM dialect of Erba / Transasia chemistry analyzers (EM and XL series).

Source: captures of an EM-200 and an XL-640; public LIS integrations of both (Ruby-ASTM; nishishailesh's XL-640
programs), whose orders the analyzers accepted; an integration that quotes Transasia's "EM 200 ASTM Host Interface
Document" 2.0 (2008); Meril's "AutoQuant ASTM LIS Communication Protocol" 1.2, of a sibling with the same records.

The header names nobody, declares a backtick as repeat delimiter (``H|`^&``) and ``E 1394-97``. R.6 is a range and its
name (``^DEFAULT``); a comment repeats the flags (``Instrument Flag A,A``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Details
from protocols.driver import Match
from protocols.links.astm_frames import AstmOptions
from protocols.messages.astm import Delimiters, Record, build_message, escape, read_message
from protocols.model import HostQuery, Order

DELIMITERS = Delimiters(repeat="`")
_SURE, _LIKELY = 0.7, 0.6


class ErbaAstm(AstmDriver):
    link_options: ClassVar[AstmOptions] = AstmOptions(one_record_per_frame=False)
    """A message comes, and goes, as one run of records."""
    answers_host_queries: ClassVar[bool] = True
    parted_specimen: ClassVar[bool]
    """Does O.3 have components behind the specimen? It tells the series apart, their headers do not."""
    action: ClassVar[str]
    """O.12 of an order that this series has accepted."""
    default_type: ClassVar[str]

    def fingerprint(self, payload: bytes) -> Match:
        message = read_message(payload[:2048])
        header = message.header
        if header is None or header.delimiters.repeat != "`" or header.text(5) or header.text(13) != "E 1394-97":
            return Match(0.0, "not the nameless header of an Erba")
        for record in message.records:
            if record.kind == "O":
                parted = len(record.components(3)) > 1
                kind = "with components" if parted else "plain"
                score = _SURE if parted == self.parted_specimen else _LIKELY
                return Match(score, f"nameless header with a backtick as Erba writes it, specimen {kind}")
            if record.kind == "Q":
                many = len(record.repeats(3)) > 1
                score = _LIKELY if many == self.parted_specimen else _SURE
                kind = "of several specimens" if many else "of one specimen"
                return Match(score, f"nameless header with a backtick as Erba writes it, a query {kind}")
        return Match(0.0, "neither an order nor a query")

    def details(self, record: Record) -> Details:
        """``^DEFAULT`` in R.6 is a range that is empty and its name."""
        told = super().details(record)
        return told[0], record.component(6, 1), *told[2:]

    # ------------------------------------------------------------------ host query

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """A P and an O for each order; for a specimen without one an O of report type Y, "no order on record", which
        the EM 200's document is said to know (not proved on an instrument)."""
        records: list[Sequence[str]] = [self.reply_header(now)]
        number = 0
        for specimen in orders if query.everything else query.specimens:
            for order in self._known(specimen, orders):
                number += 1
                records += [self.patient_record(number, order), self._order(order, now)]
        return build_message([*records, ("L", "1", "N")])

    def _known(self, specimen: str, orders: Mapping[str, Sequence[Order]]) -> Sequence[Order]:
        known = [each for each in orders.get(specimen, ()) if not each.cancelled and each.codes]
        return known or [Order(specimen, ())]

    def reply_header(self, now: datetime) -> tuple[str, ...]:
        return ("H", "`^&", *[""] * 9, "P", "E 1394-97", now.strftime("%Y%m%d%H%M%S"))

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        name = escape(order.patient_name or "", DELIMITERS)
        if not name:
            return ("P", str(number))
        return ("P", str(number), "0", "", "", name, "", "", order.sex or "U")

    def _order(self, order: Order, now: datetime) -> Sequence[str]:
        tests = "`".join(f"^^^{escape(code, DELIMITERS)}" for code in order.codes)
        head = ("O", "1", escape(order.specimen, DELIMITERS), "", tests, order.priority, "")
        if not order.codes:
            return (*head, *[""] * 18, "Y")
        kind = escape(order.specimen_type or self.default_type, DELIMITERS)
        return (*head, now.strftime("%Y%m%d%H%M%S"), *[""] * 3, self.action, *[""] * 3, kind)
