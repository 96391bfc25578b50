"""Roche cobas pro and cobas pure by their host interface, IHE LAW with Roche's profiles.

Source: messages of cobas pro and cobas pure (QBP^Q11, RSP^K11, OML^O33, ORL^O34, OUL^R22) in public laboratory
interfaces and in the tests of a public HL7 library. No capture was at hand.

A query is named INIBAR (by barcode) or INISEQ (by sequence number), system 99ROC, its profile LAB-27R^ROCHE; QPD-10 and
QPD-11 are specimen and container type, which the order must repeat. The answer's AWOS comes back in the ORC of an
ORL^O34 without a number. A result is an OBX of type NM and one of type CE with the interpretation; what the analyzer
adds (pipetting time, calibration, QC state and limits) are supplements of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.law_driver import LawDriver, is_named
from protocols.messages.hl7 import Hl7Message, escape
from protocols.model import HostQuery, Item, Observation, Order, changed

_MODELS = ("pro", "pure")


class RocheCobasPro(LawDriver):
    id: ClassVar[str] = "roche_cobas_pro"
    vendor: ClassVar[str] = "Roche"
    models: ClassVar[tuple[str, ...]] = ("cobas pro", "cobas pure")
    source: ClassVar[str] = "Messages of cobas pro and cobas pure in public laboratory interfaces"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    code_system: ClassVar[str] = "99ROC"
    application: ClassVar[str] = "cobas pro"
    order_profile: ClassVar[str] = "LAB-28R^ROCHE"
    query_all: ClassVar[frozenset[str]] = frozenset()
    supplements_are_comments: ClassVar[bool] = True
    notices: ClassVar[Mapping[str, str]] = {
        "ESU^U01": "equipment status",
        "INU^U05": "inventory",
        "EAC^U07": "tests masked",
    }

    def fingerprint(self, payload: bytes) -> Match:
        return is_named(
            payload, ("cobas pro", "cobas pure", "cobas\N{REGISTERED SIGN} pro", "cobas\N{REGISTERED SIGN} pure"), ""
        )

    def results(self, message: Hl7Message) -> list[Item]:
        """The interpretation (OBX of type CE) is part of the result above it."""
        found: list[Item] = []
        kinds = {segment.index: segment.raw(2) for segment in message.segments if segment.name == "OBX"}
        for item in super().results(message):
            last = found[-1] if found else None
            if isinstance(item, Observation) and kinds.get(item.record or 0) == "CE" and _same(item, last):
                assert isinstance(last, Observation)
                said = (f"interpretation {item.value}",) if item.value else ()
                lot = item.reagent_lot or last.reagent_lot
                comments = (*last.comments, *said, *item.comments)
                found[-1] = changed(last, comments=comments, reagent_lot=lot, flags=last.flags or item.flags)
            else:
                found.append(item)
        return found

    def host_query(self, message: Hl7Message) -> Item:
        """QPD-10 specimen type and QPD-11 container type come back in the order."""
        query = super().host_query(message)
        definition = message.first("QPD")
        if not isinstance(query, HostQuery) or definition is None:
            return query
        kinds = {"specimen_type": definition.raw(10), "container_type": definition.raw(11)}
        return changed(query, context={name: kind for name, kind in kinds.items() if kind})

    def specimen_segment(self, specimen: str, order: Order, query: HostQuery | None) -> list[str]:
        """SPM-2 the tube as BARCODE, SPM-4 and SPM-27 as the query had them."""
        asked = query.context if query is not None else {}
        fields = super().specimen_segment(specimen, order, query)
        fields[2] = f"{escape(specimen)}&BARCODE"
        fields[4] = asked.get("specimen_type", fields[4])
        container = asked.get("container_type")
        return [*fields, *[""] * (27 - len(fields)), container] if container else fields

    def container_segment(self, specimen: str, query: HostQuery | None) -> list[str]:
        fields = super().container_segment(specimen, query)
        if specimen:
            fields += [""] * (4 - len(fields))
            fields[3] = f"{escape(specimen)}^BARCODE"
        return fields


def _same(item: Observation, last: Item | None) -> bool:
    """The interpretation stands behind its result: same test, same run."""
    return isinstance(last, Observation) and (last.code, last.run) == (item.code, item.run)
