"""Siemens ADVIA Centaur (Centaur, CP, XP) immunoassay systems, ASTM E1394.

Source: the ADVIA Centaur interface as AlexBulina/MedicalHub implements it (agent, parser and emulator of a hospital:
fields of O, Q, R, C and M, worklist answer, "no information" answer) and a second open simulator (CentaurXP).
Siemens' own document was not at hand; nothing is captured by us.

What it adds to the standard: O.3 is ``specimen^rack^position``, Q.3 ``patient^specimen^rack^position``. R.3 is
``^^^test^dilution protocol^dilution ratio^replicate^aspect``; a test comes once for each aspect. DOSE is the result
and keeps the bare test as its code, any other aspect (RLU ...) is ``test^aspect``. R.9 holds several letters by
repeat; F with Q, R or V behind it is carried as F, anything else as sent. An M record ``CCD^ACS:NG^V1^O`` names the
control and its lot: what follows it under that order is quality control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, build_message, escape, read_message
from protocols.model import Decoded, HostQuery, Observation, Order, QcMark, Undecoded, changed
from protocols.worklist import echoed, joined

_NAME = "ADVCNT_LIS"
_RESULT_ASPECT = "DOSE"
_BESIDE_FINAL = {"Q", "R", "V"}
"""LIS02-A2 9.1.9: answer to a query, sent before, verified by the operator: an F stays final beside them."""


class SiemensCentaur(AstmDriver):
    id: ClassVar[str] = "siemens_centaur"
    vendor: ClassVar[str] = "Siemens"
    models: ClassVar[tuple[str, ...]] = ("ADVIA Centaur", "ADVIA Centaur CP", "ADVIA Centaur XP")
    source: ClassVar[str] = "ADVIA Centaur interface as MedicalHub and an open Centaur XP simulator implement it"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        if header.component(5, 1).upper() == _NAME:
            return Match(1.0, f"H.5 is {_NAME}, the ADVIA Centaur's default name")
        return Match(0.0, f"H.5 is not {_NAME}")

    # ------------------------------------------------------------------ results

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        return order.component(3, 1) or None, order.component(3, 2) or None, order.component(3, 3) or None

    def test(self, parts: Sequence[str]) -> Test:
        if len(parts) < 4 or not parts[3]:
            return super().test(parts)
        dilution = "^".join(filter(None, parts[4:6]))
        aspect = parts[7] if len(parts) > 7 else ""
        code = parts[3] if aspect in ("", _RESULT_ASPECT) else f"{parts[3]}^{aspect}"
        return code, None, dilution or None

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        found = super().observation(record, context)
        if isinstance(found, Undecoded):
            return found
        letters = [part for repeat in record.repeats(9) for part in repeat if part]
        status = "F" if letters[:1] == ["F"] and set(letters[1:]) <= _BESIDE_FINAL else found.status
        replicate = record.component(3, 7)
        return changed(found, status=status, run=int(replicate[:9]) if replicate.isdecimal() else None)

    def manufacturer(self, record: Record, context: Context) -> None:
        """The control of the order above. It is carried as an event, too: it may come without a result."""
        super().manufacturer(record, context)
        if record.component(3, 4) == "O" and (record.text(4) or record.text(5)):
            context.qc = QcMark(material=record.text(4) or None, lot=record.text(5) or None)

    # ------------------------------------------------------------------ orders

    def host_query(self, record: Record) -> HostQuery:
        """Q.5 is ALL or the tests that are asked for."""
        tests = [repeat[3] for repeat in record.repeats(5) if len(repeat) > 3 and repeat[3]]
        context = {"tests": "\\".join(tests)} if tests else {}
        found = super().host_query(record)
        parts = record.components(3) + [""] * 4
        return changed(found, rack=parts[2] or None, position=parts[3] or None, context=context)

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        """Addressed to who asked, from whom it asked."""
        header = self.read(payload).header
        names = (echoed(header.raw(10)), echoed(header.raw(5))) if header is not None else ("", _NAME)
        return [self._reply(query, orders, names) for query in decoded.items if isinstance(query, HostQuery)]

    def _reply(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], names: tuple[str, str]) -> bytes:
        wanted = set(filter(None, query.context.get("tests", "").split("\\")))
        specimens = orders if query.everything else query.specimens
        header = ("H", "\\^&", "", "", names[0], "", "", "", "", names[1], "", "P", "1")
        records: list[Sequence[str]] = []
        for order in joined(order for specimen in specimens for order in orders.get(specimen, ())):
            codes = [code for code in order.codes if not wanted or code in wanted]
            if codes:
                number = len(records) // 2 + 1
                records += [self.patient_record(number, order), self._order(order, codes, query)]
        return build_message([header, *records, ("L", "1", "F" if records else "I")])

    def _order(self, order: Order, codes: Sequence[str], query: HostQuery) -> Sequence[str]:
        where = [escape(order.specimen)]
        if query.rack and query.position:
            where += [escape(query.rack), escape(query.position)]
        tests = "\\".join(f"^^^{escape(code)}" for code in codes)
        return ("O", "1", "^".join(where), "", tests, order.priority, *[""] * 19, "O\\Q")

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """P.3 patient, P.6 name, P.8 birth date, P.9 sex: each only if the order has it."""
        birth = (order.birth_date or "").replace("-", "")
        known = (escape(order.patient_id or ""), "", "", escape(order.patient_name or ""), "", birth, order.sex or "")
        return ("P", str(number), *known) if any(known) else ("P", str(number))
