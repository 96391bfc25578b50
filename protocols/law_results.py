"""OUL^R22 of IHE LAW as items: SPM, SAC, INV, OBR, ORC, OBX and what stands behind each (TCD, INV, SID, NTE).

A segment behind OBX speaks of the results of its test above it: TCD of the dilution, INV and SID of the reagent, NTE
what a person should read. SPM-11 Q makes the specimen a control, whose material the INV behind SAC names. An order
group without a result tells a change of its status.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.hl7_driver import Context
from protocols.messages.hl7 import Hl7Message, Segment
from protocols.messages.times import iso_time
from protocols.model import InstrumentEvent, Item, Observation, QcMark, changed

if TYPE_CHECKING:
    from protocols.law_driver import LawDriver

_RUN = re.compile(r"\d{1,9}")
_CONTROL = "CO"
_CALIBRATORS = ("RC", "CA")
_NO_REAGENT = ("DI", "LI", "LW", "OT", "PT", "PW", "SC", "SW", _CONTROL)
"""INV-3 of HL7 table 0384 that are neither reagent nor calibrator: diluent, liquids, waste, water, countable items."""


@dataclass(slots=True)
class _Place:
    rack: str | None = None
    position: str | None = None
    dilution: str | None = None


class Reading:
    """One walk over one message."""

    def __init__(self, driver: LawDriver, message: Hl7Message) -> None:
        self.driver = driver
        self.context = Context(header=message.header)
        self.place = _Place()
        self.order: Segment | None = None
        self.order_status = ""
        self.first_of_order = 0
        self.in_container = False
        self.takers: dict[str, Callable[[Segment], None]] = {
            "SPM": self.specimen,
            "SAC": self.container,
            "INV": self.inventory,
            "OBR": self.request,
            "ORC": self.control,
            "OBX": self.result,
            "TCD": self.test_detail,
            "SID": self.substance,
            "NTE": self.note,
        }

    @property
    def items(self) -> list[Item]:
        return self.context.items

    # ------------------------------------------------------------------ specimen

    def specimen(self, segment: Segment) -> None:
        self.end_order()
        self.place = _Place()
        self.context.specimen = self.driver.container(segment)
        is_control = segment.component(11, 1) == "Q" or self.context.header.component(11, 1) == "Q"
        self.context.qc = QcMark(material=self.context.specimen) if is_control else None

    def container(self, segment: Segment) -> None:
        """SAC-3 the tube, SAC-10/11 where it stands, SAC-29 a dilution made before."""
        self.in_container = True
        specimen = self.driver.container(segment)
        if specimen:
            self.context.specimen = specimen
            if self.context.qc is not None and self.context.qc.material is None:
                self.context.qc = QcMark(material=specimen)
        self.place = _Place(
            rack=_filled(segment.component(10, 1)),
            position=_filled(segment.component(11, 1)),
            dilution=_structured(segment, 29),
        )

    # ------------------------------------------------------------------ order

    def request(self, segment: Segment) -> None:
        self.end_order()
        self.order, self.order_status = segment, ""
        self.first_of_order = len(self.items)
        self.in_container = False
        self.context.request = segment
        self.context.observed_at = iso_time(segment.component(7, 1)) or iso_time(segment.component(22, 1))

    def control(self, segment: Segment) -> None:
        """ORC-5 what became of the order."""
        self.order_status = segment.component(5, 1)

    def end_order(self) -> None:
        """An order without a result: its status is what the message is about."""
        order, self.order = self.order, None
        if order is None or len(self.items) > self.first_of_order:
            return
        code = order.component(4, 1)
        number = _filled(order.component(2, 1))
        detail = " ".join(filter(None, (code, self.order_status, number))) or None
        event = InstrumentEvent(name="order status", specimen=self.context.specimen, detail=detail, record=order.index)
        self.items.append(event)

    # ------------------------------------------------------------------ result

    def result(self, segment: Segment) -> None:
        found = self.driver.observation(segment, self.context)
        if not isinstance(found, Observation):
            self.items.append(found)
            return
        supplement = _is_supplement(segment)
        last = self.items[-1] if len(self.items) > self.first_of_order else None
        if supplement and self.driver.supplements_are_comments and isinstance(last, Observation):
            said = " ".join(filter(None, (found.name or found.code, found.value, found.unit)))
            self.items[-1] = changed(last, comments=(*last.comments, said))
            return
        sub = segment.text(4)
        run = _RUN.match(sub)
        code = self.code(found.code, sub if run is None else "", supplement)
        self.items.append(
            changed(
                found,
                code=code,
                run=int(run[0]) if run else None,
                unit=self.driver.unit(segment),
                value=None if found.value == '""' else found.value,
                rack=self.place.rack,
                position=self.place.position,
                dilution=self.place.dilution,
            )
        )
        self.context.last_was_result = True

    def code(self, code: str, sub: str, supplement: bool) -> str:
        """A supplement's code is that of its order and its own, lest PT (pipetting time) be read as PT (prothrombin);
        a sub-identifier that is no run number belongs to the code."""
        test = self.order.component(4, 1) if self.order is not None else ""
        parts = [test if supplement and test != code else "", code, sub]
        return "/".join(filter(_filled, parts))

    # ------------------------------------------------------------------ behind a result

    def inventory(self, segment: Segment) -> None:
        kind = segment.component(3, 1)
        if self.in_container:
            if self.context.qc is not None and kind == _CONTROL:
                self.context.qc = self.driver.control(self.context.qc, segment)
            return
        if kind in _NO_REAGENT:
            return
        lot = _filled(segment.text(16))
        if kind in _CALIBRATORS:
            self.change(lambda each: changed(each, calibrator_lot=_joined(each.calibrator_lot, lot)))
        else:
            self.change(lambda each: changed(each, reagent_lot=_joined(each.reagent_lot, lot)))

    def substance(self, segment: Segment) -> None:
        """SID-2: the reagent's lot."""
        lot = _filled(segment.text(2))
        self.change(lambda each: changed(each, reagent_lot=_joined(each.reagent_lot, lot)))

    def test_detail(self, segment: Segment) -> None:
        """TCD-2 the dilution that the analyzer made."""
        dilution = _structured(segment, 2)
        if dilution:
            self.change(lambda each: changed(each, dilution=dilution))

    def note(self, segment: Segment) -> None:
        text = "^".join(filter(None, segment.components(3)))
        if not text:
            return
        last = self.items[-1] if len(self.items) > self.first_of_order else None
        if isinstance(last, Observation):
            self.items[-1] = self.driver.note(segment, last) or changed(last, comments=(*last.comments, text))
        else:
            specimen = self.context.specimen
            self.items.append(InstrumentEvent(name="comment", specimen=specimen, detail=text, record=segment.index))

    def change(self, how: Callable[[Observation], Observation]) -> None:
        """The results of this order that have the code of the last one."""
        last = self.items[-1] if len(self.items) > self.first_of_order else None
        if not isinstance(last, Observation):
            return
        for place in range(self.first_of_order, len(self.items)):
            item = self.items[place]
            if isinstance(item, Observation) and item.code == last.code:
                self.items[place] = how(item)


def read_results(driver: LawDriver, message: Hl7Message) -> list[Item]:
    reading = Reading(driver, message)
    for segment in message.segments[1:]:
        take = reading.takers.get(segment.name)
        if take is not None:
            take(segment)
    reading.end_order()
    return reading.items


def _is_supplement(segment: Segment) -> bool:
    """OBX-3.4 S_... (LAW's kinds of supplement) or OBX-29 other than RSLT."""
    return segment.component(3, 4).startswith("S_") or segment.text(29) not in ("", "RSLT")


def _structured(segment: Segment, number: int) -> str | None:
    """An SN such as ^1^:^10 as 1:10; one that says nothing (^1^:^1 is no dilution) stays as sent."""
    return _filled("".join(segment.components(number)))


def _filled(text: str) -> str | None:
    return text if text not in ("", '""') else None


def _joined(before: str | None, lot: str | None) -> str | None:
    """Several lots of one test, each once."""
    known = before.split(", ") if before else []
    return ", ".join(known if lot is None or lot in known else [*known, lot]) or None
