"""Orders of IHE LAW as OML^O33^OML_O33: new work, work taken back, and the answer that there is none.

Segment order MSH, PID (where the laboratory lets the patient's number or name leave), SPM, SAC, then ORC, TQ1, OBR and
TCD for each analytical work order step (AWOS). OBR-2 is the AWOS id.

Source: as `protocols.law_driver` says.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.messages.hl7 import Hl7Message, build, escape
from protocols.model import HostQuery, Order

_HOST = "LIS"


class LawOrderWriter:
    code_system: ClassVar[str] = ""
    """OBR-4.3 and TCD-1.3: the vendor's name for its test codes (`99ROC`)."""
    specimen_types: ClassVar[Mapping[str, str]] = {}
    """SPM-4 for an order's specimen type; what is not in it is left open (\"\")."""
    application: ClassVar[str] = ""
    """MSH-5 of orders that nobody asked for."""
    order_profile: ClassVar[str] = "LAB-28^IHE"

    def can_dilute(self, factor: str) -> bool:
        """TCD-2, the auto-dilution factor of the work step; an analyzer that cannot refuses the step."""
        return factor.isdecimal()

    def order_header(self, message: Hl7Message, number: int, now: datetime) -> list[str]:
        header = message.header
        control_id = new_control_id(f"{message.control_id} {number}", now)
        return self._order_header([header.raw(each) for each in (5, 6, 3, 4)], control_id, now)

    def _order_header(self, between: list[str], control_id: str, now: datetime) -> list[str]:
        time = now.strftime("%Y%m%d%H%M%S")
        rest = ["P", "2.5.1", "", "", "NE", "AL", "", "UNICODE UTF-8", "", "", self.order_profile]
        return ["MSH", "^~\\&", *between, time, "", "OML^O33^OML_O33", control_id, *rest]

    def work(
        self, header: list[str], specimen: str, orders: Sequence[Order], query: HostQuery | None, now: datetime
    ) -> bytes:
        """The AWOSs of one specimen (LAB28-007), new or, where the order is cancelled, taken back."""
        first = orders[0]
        segments = [header]
        if first.patient_id or first.patient_name:
            segments.append(_patient(first))
        segments.append(self.specimen_segment(specimen, first, query))
        segments.append(self.container_segment(specimen, query))
        done: set[tuple[str, str]] = set()
        for order in orders:
            control = "CA" if order.cancelled else "NW"
            for code, number in self.step_numbers(order, now):
                if (control, code) not in done:
                    done.add((control, code))
                    segments += self.step(control, order, code, number, now)
        return build(segments, "utf-8")

    def no_work(self, header: list[str], query: HostQuery, now: datetime) -> bytes:
        """The negative query response (LAB28-001): only MSH, SPM, SAC and ORC with DC."""
        specimen = query.specimens[0] if query.specimens else ""
        segments = [
            header,
            ["SPM", "1", "", "", '""', "", "", "", "", "", "", "U^^HL70369"],
            self.container_segment(specimen, query),
            ["ORC", "DC", "", "", "", "", "", "", "", now.strftime("%Y%m%d%H%M%S")],
        ]
        return build(segments, "utf-8")

    def specimen_segment(self, specimen: str, order: Order, query: HostQuery | None) -> list[str]:
        """The tube's number stands in SAC-3; SPM says what is in it."""
        kind = self.specimen_types.get(order.specimen_type or "", '""')
        fields = ["SPM", "1", "", "", kind, "", "", "", "", "", "", "P^^HL70369"]
        collected = digits(order.collected_at)
        return [*fields, *[""] * 5, collected] if collected else fields

    def container_segment(self, specimen: str, query: HostQuery | None) -> list[str]:
        place = [query.rack or "", query.position or ""] if query is not None else ["", ""]
        fields = ["SAC", "", "", escape(specimen), "", "", "", "", "", "", *map(escape, place)]
        while not fields[-1] and len(fields) > 1:
            fields.pop()
        return fields

    def step(self, control: str, order: Order, code: str, number: str, now: datetime) -> list[list[str]]:
        """One AWOS: ORC, its priority, OBR with its number and test, TCD."""
        test = f"{escape(code)}^^{self.code_system}".rstrip("^")
        return [
            ["ORC", control, "", "", "", "", "", "", "", now.strftime("%Y%m%d%H%M%S")],
            ["TQ1", *[""] * 8, f"{'S' if order.priority == 'S' else 'R'}^^HL70485"],
            ["OBR", "", escape(number), "", test],
            ["TCD", test, *([f"^1^:^{escape(factor)}"] if (factor := order.dilution_of(code)) else [])],
        ]

    def step_numbers(self, order: Order, now: datetime) -> list[tuple[str, str]]:
        """Each code with its AWOS id: the order's own, else one that is new each time.

        An analyzer refuses an id that it has seen (LAB28-006), and a tube that is loaded again must be served; so the
        id we make holds the time, beside tube and test for a person who reads it. What is taken back must be called by
        the id it was sent with, as the analyzer's acceptance told it ("order accepted").
        """
        made = now.strftime("%y%m%d%H%M%S")
        numbers = order.numbers if len(order.numbers) == len(order.codes) else ()
        if not numbers and order.cancelled:
            return []
        return list(
            zip(order.codes, numbers or [f"{order.specimen}.{code}.{made}" for code in order.codes], strict=True)
        )

    def download(self, orders: Sequence[Order], now: datetime) -> Sequence[bytes]:
        """OML^O33 for each specimen, without being asked (AWOS broadcast); nothing for what cannot be named."""
        of_specimen: dict[str, list[Order]] = {}
        for order in orders:
            if self.step_numbers(order, now):
                of_specimen.setdefault(order.specimen, []).append(order)
        messages: list[bytes] = []
        for specimen, known in of_specimen.items():
            control_id = new_control_id(f"{specimen} {[each.codes for each in known]}", now)
            header = self._order_header([_HOST, "", self.application, ""], control_id, now)
            messages.append(self.work(header, specimen, known, None, now))
        return messages


def not_null(text: str) -> str | None:
    """None for an empty text and for HL7's null, two quotation marks."""
    return text if text not in ("", '""') else None


def is_open(order: Order) -> bool:
    return bool(order.codes) and not order.cancelled


def digits(time: str | None) -> str:
    """An ISO time as ``YYYYMMDDHHMMSS``, "" for none."""
    found = "".join(each for each in time or "" if each.isdigit())[:14]
    return found.ljust(14, "0") if found else ""


def new_control_id(subject: str, now: datetime) -> str:
    """MSH-10 of a message that we begin, at most 20 characters: the time and a mark of what it is about."""
    return f"{now.strftime('%y%m%d%H%M%S')}{zlib.crc32(subject.encode()):08X}"


def _patient(order: Order) -> list[str]:
    name = "^".join(escape(part) for part in (order.patient_name or "").split("^"))
    return ["PID", "1", "", escape(order.patient_id or ""), "", name, "", digits(order.birth_date)[:8], order.sex or ""]
