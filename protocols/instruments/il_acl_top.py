r"""Instrumentation Laboratory (Werfen) ACL TOP family of coagulation analyzers, ASTM E1394-97.

Source: messages of an ACL TOP line and the answer to its query in the source of an open Korean laboratory interface
(H, Q, P, O, R as received, with the order as sent). IL's own document was not at hand; nothing is captured by us.

What it shows: the delimiters are ``|@^\`` (repeat @, component ^, escape \); H.3 is a message number that the answer
repeats; several specimens are asked for in one Q, by repeat; O.26 and R.9 hold two letters by repeat (``F@V``: final
and verified, carried as F); R.14 is ``analyzer^rack^position``. One test comes in several units (s, %, INR, Ratio)
under one number: its code here is ``number^unit``, as that interface keys it. The answer is one stream of records cut
at 240 bytes, with nothing but H and L where there is no order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Test
from protocols.driver import Match, Status
from protocols.links.astm_frames import AstmOptions
from protocols.messages.astm import Delimiters, Record, build_message, escape, read_message
from protocols.model import Decoded, HostQuery, Observation, Order, QcMark, Undecoded, changed
from protocols.worklist import echoed, joined

_DELIMITERS = Delimiters("|", "@", "^", "\\")
_ACCEPTED = (["F", "V"], ["F"])


class IlAclTop(AstmDriver):
    id: ClassVar[str] = "il_acl_top"
    vendor: ClassVar[str] = "Instrumentation Laboratory"
    models: ClassVar[tuple[str, ...]] = ("ACL TOP", "ACL TOP 500 CTS", "ACL TOP 700")
    source: ClassVar[str] = "ACL TOP messages in an open laboratory interface (ACK, Korea)"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    link_options: ClassVar[AstmOptions] = AstmOptions(one_record_per_frame=False)

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.component(5, 1).upper().replace(" ", "").replace("_", "")
        if name.startswith("ACLTOP"):
            return Match(1.0, f"H.5 names an {header.component(5, 1)}")
        return Match(0.0, "H.5 is not an ACL TOP")

    # ------------------------------------------------------------------ results

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q of the standard. O.16 is the specimen type and no level."""
        mark = super().qc_mark(order, context)
        return QcMark(material=mark.material) if mark is not None else None

    def test(self, parts: Sequence[str]) -> Test:
        number = parts[3] if len(parts) > 3 else ""
        return (number, None, None) if number else super().test(parts)

    def observation(self, record: Record, context: Context) -> Observation | Undecoded:
        found = super().observation(record, context)
        if isinstance(found, Undecoded):
            return found
        letters = [part for repeat in record.repeats(9) for part in repeat if part]
        where = [*record.components(14), "", "", ""]
        return changed(
            found,
            code=f"{found.code}^{found.unit}" if found.unit and record.component(3, 4) else found.code,
            status="F" if letters in _ACCEPTED else found.status,
            module=where[0] or None,
            rack=where[1] or None,
            position=where[2] or None,
        )

    # ------------------------------------------------------------------ orders

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        header = self.read(payload).header
        queries = [item for item in decoded.items if isinstance(item, HostQuery)]
        return [self._reply(query, orders, header, now) for query in queries]

    def _reply(
        self, query: HostQuery, orders: Mapping[str, Sequence[Order]], asker: Record | None, now: datetime
    ) -> bytes:
        """From whom it asked, to who asked, with its message number."""
        number, us, them = (echoed(asker.raw(n)) if asker is not None else "" for n in (3, 10, 5))
        sent_at = now.strftime("%Y%m%d%H%M%S")
        records: list[Sequence[str]] = [
            ("H", _DELIMITERS.definition(), number, "", us, "", "", "", "", them, "", "P", "1394-97", sent_at)
        ]
        specimens = orders if query.everything else query.specimens
        known = joined(order for specimen in specimens for order in orders.get(specimen, ()))
        for n, order in enumerate(known, start=1):
            records += [self.patient_record(n, order), self.order_record(order)]
        return build_message([*records, ("L", "1", "N")])

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """P.4 patient, P.6 name ("^" where none), P.8 birth date, P.9 sex: only what the order carries."""
        patient = escape(order.patient_id or "", _DELIMITERS)
        name = escape(order.patient_name or "", _DELIMITERS) or "^"
        birth = (order.birth_date or "").replace("-", "")
        return ("P", str(number), "", patient, "", name, "", birth, order.sex or "", "", "", "", "", "")

    def order_record(self, order: Order) -> Sequence[str]:
        tests = "@".join(f"^^^{escape(code, _DELIMITERS)}" for code in order.codes)
        specimen, kind = (escape(text, _DELIMITERS) for text in (order.specimen, order.specimen_type or "P"))
        head = ("O", "1", specimen, "", tests, order.priority, *[""] * 5, "A", "", "", "", kind)
        return (*head, *[""] * 9, "Q")
