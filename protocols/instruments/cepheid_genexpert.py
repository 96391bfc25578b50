"""Cepheid GeneXpert (Dx, Infinity, Xpress) in its ASTM mode: H declares ``@^\\`` and names the system.

Source: a capture of a GeneXpert Dx 4.8; Cepheid "GeneXpert LIS Interface Protocol Specification" (301-2002 rev. E/F,
302-2261) as public integrations quote its sections (senaite.astm, OpenELIS analyzer bridge and work notes, LabBook
Connect, BLIS). Orders are only taken as an answer: unasked ones are "not supported".

R.3 is ``^panel^^test^assay^version^analyte^complementary``. With an assay it is a main result (its LOG a second one);
without one an analyte, or with component 8 a complementary result (Ct, EndPt, Delta Ct): these belong to the main
result of the same test before them. R.4 is ``words^number``. R.14 of a main result is ``system^instrument^module^
cartridge^reagent lot^expiry``. Comments are ``Notes^^text`` or ``Error^number^text^details^time``. It waits 60 s for an
answer, then takes the query back (Q.13 A).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Details, Test, Value
from protocols.driver import Match, Status
from protocols.links.astm_frames import AstmOptions
from protocols.messages.astm import Delimiters, Record, build_message, escape, read_message
from protocols.messages.times import iso_time
from protocols.model import HostQuery, InstrumentEvent, Item, Order, QcMark, changed

DELIMITERS = Delimiters("|", "@", "^", "\\")
_CANCELLED, _PENDING = "A", "P"


class CepheidGenexpert(AstmDriver):
    id: ClassVar[str] = "cepheid_genexpert"
    vendor: ClassVar[str] = "Cepheid"
    models: ClassVar[tuple[str, ...]] = ("GeneXpert Dx", "GeneXpert Infinity", "GeneXpert Xpress")
    source: ClassVar[str] = "capture of a GeneXpert Dx 4.8; LIS Interface Protocol Specification as public LIS quote it"
    status: ClassVar[Status] = Status.CAPTURED
    answers_host_queries: ClassVar[bool] = True
    link_options: ClassVar[AstmOptions] = AstmOptions(one_record_per_frame=False)
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "normal",
        "A": "abnormal",
        "L": "below low normal",
        "H": "above high normal",
        "LL": "below panic normal",
        "HH": "above panic high",
        "<": "below absolute low: off the low scale of the assay",
        ">": "above absolute high: off the high scale of the assay",
        "U": "significant change up",
        "D": "significant change down",
        "B": "better",
        "W": "worse",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is not None and header.component(5, 2).lower() == "genexpert":
            return Match(1.0, f"H.5 names a GeneXpert, software {header.component(5, 3)}")
        return Match(0.0, "H.5 names no GeneXpert")

    def sender(self, header: Record) -> str:
        return header.component(5, 1) or header.component(5, 2)

    # ------------------------------------------------------------------ results

    def begin_order(self, record: Record, context: Context) -> None:
        """O.12 P without results tells which number the instrument gave a specimen (O.4)."""
        super().begin_order(record, context)
        if record.text(12) == _PENDING and record.text(4):
            event = InstrumentEvent("instrument specimen", context.specimen, record.text(4), record=record.index)
            context.items.append(event)

    def qc_mark(self, order: Record, context: Context) -> QcMark | None:
        """O.12 Q. O.16 says ORH, "other", of every specimen, and names no level."""
        return QcMark(material=context.specimen) if order.text(12) == "Q" else None

    def test(self, parts: Sequence[str]) -> Test:
        """Main: the test, each result of a panel its own (``MTB``), LOG behind it; below it ``test^analyte^Ct``."""
        if len(parts) < 8:
            parts = [*parts, *[""] * 8]
        test, assay, analyte, complementary = parts[3], parts[4], parts[6], parts[7]
        if not test:
            return "^".join(filter(None, parts)), None, None
        if assay:
            code = f"{test}^{complementary}" if complementary else test
            return code, "^".join(filter(None, parts[4:7])), None
        return "^".join((test, analyte, complementary) if complementary else (test, analyte)), None, None

    def value(self, result: Record) -> Value:
        """The number where there is one, the words beside it; else the words."""
        separator, raw = result.delimiters.component, result.fields[3]
        if result.as_sent and raw.endswith(separator):
            return raw.partition(separator)[0], ()
        words, number = [*result.components(4), ""][:2]
        return (number, (words,) if words else ()) if number else (words, ())

    def details(self, record: Record) -> Details:
        told = super().details(record)
        if not record.fields[13]:  # an analyte
            return told
        _, instrument, module, cartridge, lot, expiry = [*record.components(14), "", "", "", "", "", ""][:6]
        comments: tuple[str, ...] = (f"cartridge {cartridge}",) if cartridge else ()
        if expiry:
            comments += (f"reagent expires {iso_time(expiry)}",)
        return (*told[:5], module or instrument, lot or None, comments)

    def remark(self, text: str) -> str:
        return _plain(text)[1]

    def lone_comment(self, text: str, record: Record, context: Context) -> InstrumentEvent:
        name, detail = _plain(text)
        return InstrumentEvent(name, context.specimen, detail, record=record.index)

    # ------------------------------------------------------------------ host query

    def asked(self, record: Record, context: Context) -> Sequence[Item]:
        """The query with the two names of its header, and the event that takes it back."""
        query, header = self.host_query(record), context.header
        names = {"sender": header.raw(5), "receiver": header.raw(10)} if header else {}
        found: list[Item] = [changed(query, context={**query.context, **names})]
        if query.context.get("status") == _CANCELLED:
            found.append(InstrumentEvent("query cancelled", record=query.record))
        return found

    def host_query(self, record: Record) -> HostQuery:
        """``patient^specimen^instrument's specimen``, repeated; ALL or nothing asks for every order."""
        repeats = record.repeats(3)
        status = next((part for repeat in record.repeats(13) for part in repeat), "")
        specimens = tuple(repeat[1] for repeat in repeats if len(repeat) > 1 and repeat[1])
        given = {repeat[1]: repeat[2] for repeat in repeats if len(repeat) > 2 and repeat[1] and repeat[2]}
        context = {"status": status, **{f"given {specimen}": number for specimen, number in given.items()}}
        everything = not specimens and status != _CANCELLED
        return HostQuery(specimens=specimens, everything=everything, context=context, record=record.index)

    def stands(self, query: HostQuery) -> bool:
        return query.context.get("status") != _CANCELLED

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """A P for each specimen, an O for each of its tests, L.3 F; or no order: header and L.3 I alone."""
        context = query.context
        stamp = now.strftime("%Y%m%d%H%M%S")
        host, system = context.get("receiver", ""), context.get("sender", "")
        header = ("H", "@^\\", f"XL-{stamp}", "", host, "", "", "", "", system, "", "P", "1394-97", stamp)
        records: list[Sequence[str]] = [header]
        asked = list(orders) if query.everything else list(query.specimens)
        number = 0
        for specimen in asked:
            known = [each for each in orders.get(specimen, ()) if not each.cancelled and each.codes]
            if known:
                number += 1
                records.append(self.patient_record(number, known[0]))
                records += self._orders(known, context.get(f"given {specimen}", ""), stamp)
        return build_message([*records, ("L", "1", "F" if number else "I")])

    def _orders(self, orders: Sequence[Order], given: str, stamp: str) -> list[Sequence[str]]:
        tests = [(order, code) for order in orders for code in order.codes]
        return [
            (
                "O", str(number), escape(order.specimen, DELIMITERS), escape(given, DELIMITERS),
                f"^^^{escape(code, DELIMITERS)}", order.priority, stamp, *[""] * 4,
                "A", *[""] * 3, "ORH", *[""] * 9, "Q",
            )
            for number, (order, code) in enumerate(tests, start=1)
        ]  # fmt: skip

    def patient_record(self, number: int, order: Order) -> Sequence[str]:
        """P.5 the patient's number, P.6 name, P.8 birth date, P.9 sex: each only if the order has it."""
        birth = (order.birth_date or "").replace("-", "")
        known = (escape(order.patient_id or "", DELIMITERS), escape(order.patient_name or "", DELIMITERS), "", birth)
        if not any((*known, order.sex)):
            return ("P", str(number))
        return ("P", str(number), "", "", *known, order.sex or "")


def _plain(comment: str) -> tuple[str, str]:
    """Name of the event and readable text of ``Notes^text`` and ``Error^number^text^details^time``."""
    kind, _, rest = comment.partition("^")
    if kind == "Notes":
        return "note", rest
    if kind == "Error":
        parts = rest.split("^")
        if parts and parts[-1] and iso_time(parts[-1]) != parts[-1]:
            parts[-1] = f"at {iso_time(parts[-1])}"
        return "error", " ".join(("error", *filter(None, parts)))
    return "comment", comment
