"""What every POCT1-A device shares: the walk over SVC, PT, CTC and OBS, events, status, and the answers we owe.

A value keeps what the device said of it; what has no field of its own goes along as a comment of the value, or of its
service as an event beside it, so that nothing of a document is dropped. Knowingly left out: name, birth date and sex of
the patient, and a password.

A document that could not be read is acknowledged all the same once it is stored (its raw bytes stay, a person sees it):
a device that hears AE sends it for ever. Only one that declares or names an entity is refused with AE.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from protocols.driver import Driver
from protocols.errors import DriverOptionError
from protocols.links.contract import Link
from protocols.links.poct1a import Poct1aLink, Poct1aOptions
from protocols.links.poct1a_files import split_documents
from protocols.messages.poct1a import (
    ENTITY,
    Element,
    NotReadable,
    Poct1aMessage,
    build,
    control_id_of,
    kind_of,
    leaf,
    read,
    text_of,
    timestamp,
)
from protocols.messages.poct1a_fields import notes, picture, reference_range, said, short
from protocols.model import (
    Attachment,
    Decoded,
    InstrumentEvent,
    Item,
    Observation,
    Order,
    QcMark,
    Undecoded,
)

_SHOWN = 2000
_READ_OF_OBSERVATION = (
    "OBS.observation_id",
    "OBS.value",
    "OBS.qualitative_value",
    "OBS.status_cd",
    "OBS.interpretation_cd",
    "OBS.normal_lo-hi_limit",
)


_METHODS = {"C": "calculated", "I": "entered by hand"}
"""OBS.method_cd; M (measured) is what everybody expects of a result and not repeated beside it."""
_CONVERSATION = {
    "HEL.R01": "hello",
    "DST.R01": "status",
    "EOT.R01": "end of topic",
    "END.R01": "termination",
    "ACK.R01": "acknowledgement",
    "ESC.R01": "escape",
    "KPA.R01": "keep-alive",
    "REQ.R01": "request",
    "DTV": "directive",
    "OPL": "operator list",
    "PTL": "patient list",
}
"""What a document is called; the last three are a host's, heard where both sides of a line were captured."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around the observations of one SVC object."""

    root: Element
    holder: Element
    is_control: bool
    specimen: str | None
    observed_at: str | None
    comments: tuple[str, ...]


class Poct1aDriver(Driver):
    protocol: ClassVar[str] = "poct1a"
    link_options: ClassVar[Poct1aOptions] = Poct1aOptions()

    def __init__(self) -> None:
        self._options = self.link_options

    def configured(self, options: Mapping[str, object]) -> Driver:
        """`continuous` (true or false): ask for continuous mode, or end the conversation when all is fetched."""
        unknown = sorted(set(options) - {"continuous"})
        if unknown:
            raise DriverOptionError(unknown[0], f"the driver {self.id} has no such option", "it takes continuous")
        if not options:
            return self
        wanted = options["continuous"]
        if not isinstance(wanted, bool):
            raise DriverOptionError("continuous", f"{wanted!r} is neither true nor false", "write true or false")
        made = copy.copy(self)
        made._options = replace(self._options, continuous=wanted)
        return made

    def new_link(self) -> Link:
        return Poct1aLink(self._options)

    def split(self, data: bytes) -> Sequence[bytes] | None:
        return split_documents(data)

    # ------------------------------------------------------------------ decoding

    def decode(self, payload: bytes) -> Decoded:
        try:
            message = read(payload)
        except NotReadable as fault:
            shown = text_of(payload[:_SHOWN])[0]
            return Decoded(
                items=(Undecoded(f"a POCT1-A document that is not read: {fault}", shown, 0),),
                message_id=control_id_of(payload) or None,
            )
        return Decoded(
            items=tuple(self.items(message)),
            sender=self.sender(message) or None,
            message_id=message.control_id or None,
            charset=message.charset,
        )

    def sender(self, message: Poct1aMessage) -> str:
        """How the device names itself; only HEL.R01 (and what carries DEV) says it."""
        device = message.root.first("DEV")
        if device is None:
            return ""
        names = (device.field("DEV.vendor_id"), device.field("DEV.model_id") or device.field("DEV.device_name"))
        return " ".join(filter(None, names)) or device.field("DEV.device_id")

    def items(self, message: Poct1aMessage) -> list[Item]:
        """Everything one document holds, by its type."""
        kind = message.kind
        if kind.startswith("OBS."):
            return self.results(message)
        if kind.startswith("EVS."):
            return self.events(message)
        name = _CONVERSATION.get(kind) or _CONVERSATION.get(kind.partition(".")[0])
        if name is not None:
            return [self.simple(name, message)]
        reason = f"message type {kind} is not read"
        return [Undecoded(reason, "; ".join(said(message.root.children))[:_SHOWN], message.root.index)]

    def simple(self, name: str, message: Poct1aMessage) -> Item:
        """A document of the conversation: a fact with what it says, no result."""
        body = [each for each in message.root.children if each.name != "HDR"]
        status = message.root.first("DST")
        at = (status.field("DST.status_dttm") if status is not None else "") or self.created(message)
        detail = "; ".join(said(body)) or None
        return InstrumentEvent(name=name, detail=detail, occurred_at=at or None, record=message.root.index)

    def created(self, message: Poct1aMessage) -> str:
        return message.header.field("HDR.creation_dttm")

    def events(self, message: Poct1aMessage) -> list[Item]:
        """EVS.R01: one item for each EVT, with all it says (severity N, W or C among it)."""
        found: list[Item] = []
        for element in message.root.children:
            if element.name == "HDR":
                continue
            at = element.field("EVT.event_dttm") or self.created(message) or None
            detail = "; ".join(said([element])) or None
            specimen = element.field("EVT.sample_id") or None
            found.append(InstrumentEvent("device event", specimen, detail, at, element.index))
        return found or [Undecoded("a document of events without an event", message.kind, message.root.index)]

    # ------------------------------------------------------------------ results

    def results(self, message: Poct1aMessage) -> list[Item]:
        found: list[Item] = []
        for element in message.root.children:
            if element.name == "SVC":
                found += self.service(element, message)
            elif element.name != "HDR":
                found.append(_unplaced(element))
        return found or [Undecoded("a document of observations without a service", message.kind, message.root.index)]

    def service(self, root: Element, message: Poct1aMessage) -> list[Item]:
        """One SVC: its observations on a patient's specimen (PT) or a control (CTC), then what is said around them."""
        found: list[Item] = []
        holders = [each for each in root.children if each.name in ("PT", "CTC")]
        if root.first("OBS") is not None or not holders:
            holders.append(root)
        for holder in holders:
            about = self.about(root, holder, message)
            found += [self.observation(each, about) for each in holder.all("OBS")]
        if not found:
            found.append(Undecoded("a service without an observation", "; ".join(said([root]))[:_SHOWN], root.index))
            return found
        around = said(each for each in root.children if each.name != "OBS")
        specimen = next((each.specimen for each in found if isinstance(each, Observation)), None)
        if around:
            found.append(
                InstrumentEvent("service", specimen, "; ".join(around), self.created(message) or None, root.index)
            )
        return found

    def about(self, root: Element, holder: Element, message: Poct1aMessage) -> Surroundings:
        role = root.field("SVC.role_cd")
        is_control = holder.name == "CTC" or message.kind == "OBS.R02" or role not in ("OBS", "")
        return Surroundings(
            root=root,
            holder=holder,
            is_control=is_control,
            specimen=self.specimen(root, holder, is_control),
            observed_at=root.field("SVC.observation_dttm") or self.created(message) or None,
            comments=tuple(self.service_comments(root)),
        )

    def specimen(self, root: Element, holder: Element, is_control: bool) -> str | None:
        """The order's number where the operator gave one, else the identifier typed in or scanned (PT.patient_id)."""
        order = root.first("ORD")
        number = order.field("ORD.order_id") if order is not None else ""
        return number or (None if is_control else holder.field("PT.patient_id") or None)

    def service_comments(self, root: Element) -> Iterable[str]:
        """Notes on the whole service, and a test done under an override (SVC.status_cd other than NRM)."""
        status = root.field("SVC.status_cd")
        if status not in ("", "NRM"):
            yield f"status_cd={status}"
        yield from notes(root)

    def observation(self, element: Element, about: Surroundings) -> Item:
        code = self.code(element)
        if not code:
            return Undecoded(
                "an observation without observation_id", "; ".join(said([element]))[:_SHOWN], element.index
            )
        measured = element.first("OBS.value")
        value, remarks = self.value(element)
        attachments, rest = self.unplaced(element)
        return Observation(
            specimen=about.specimen,
            code=code,
            value=value,
            unit=(measured.attributes.get("U", "").strip() or None) if measured is not None else None,
            flags=self.flags(element),
            observed_at=about.observed_at,
            reference_range=reference_range(element.field("OBS.normal_lo-hi_limit")),
            status=self.status_of(element.field("OBS.status_cd")),
            name=self.name(element),
            operator=self.operator(about.root),
            reagent_lot=self.reagent_lot(about.root),
            comments=(*remarks, *rest, *notes(element), *about.comments),
            attachments=attachments,
            qc=self.qc_mark(about) if about.is_control else None,
            record=element.index,
        )

    def code(self, element: Element) -> str:
        return element.field("OBS.observation_id")

    def name(self, element: Element) -> str | None:
        """The display name (DN), or the translation that goes with the code."""
        identifier = element.first("OBS.observation_id")
        if identifier is None:
            return None
        return identifier.attributes.get("DN", "").strip() or identifier.field("TRANSLTN") or None

    def value(self, element: Element) -> tuple[str | None, list[str]]:
        """The number, else the qualitative value; both where both were sent. NULL (why there is none) is a remark."""
        remarks = []
        found = [element.first(name) for name in ("OBS.value", "OBS.qualitative_value")]
        for each in found:
            if each is not None and "NULL" in each.attributes:
                remarks.append(f"{short(each.name)} NULL={each.attributes['NULL']}")
        given = [each.value or each.text.strip() for each in found if each is not None]
        values = [each for each in given if each]
        remarks += [f"qualitative_value={each}" for each in values[1:]]
        return (values[0] if values else None), remarks

    def flags(self, element: Element) -> tuple[str, ...]:
        return tuple(each.value for each in element.all("OBS.interpretation_cd") if each.value)

    def status_of(self, code: str) -> str | None:
        """A (accepted by the operator) is a final result; D (discarded), R (rejected) and others stay as sent."""
        return "F" if code == "A" else code or None

    def operator(self, root: Element) -> str | None:
        operator = root.first("OPR")
        return (operator.field("OPR.operator_id") or None) if operator is not None else None

    def reagent_lot(self, root: Element) -> str | None:
        """The first reagent with a lot; all of them stand in the event of the service."""
        return next(filter(None, (each.field("RGT.lot_number") for each in root.all("RGT"))), None)

    def qc_mark(self, about: Surroundings) -> QcMark:
        control = about.holder
        level = control.first("CTC.level_cd")
        shown = (level.attributes.get("DN", "").strip() or level.value) if level is not None else ""
        return QcMark(
            material=control.field("CTC.name") or None,
            level=shown or None,
            lot=control.field("CTC.lot_number") or None,
        )

    def unplaced(self, element: Element) -> tuple[tuple[Attachment, ...], list[str]]:
        """What has no field of its own: pictures (base64) decoded, everything else as text."""
        attachments: list[Attachment] = []
        rest: list[str] = []
        for each in element.children:
            if each.name in _READ_OF_OBSERVATION or each.name == "NTE":
                continue
            shown = picture(each)
            if shown is not None:
                attachments.append(shown)
            elif each.name == "OBS.method_cd":
                if each.value != "M":
                    meaning = _METHODS.get(each.value)
                    rest.append(f"method_cd={each.value}" + (f" ({meaning})" if meaning else ""))
            else:
                rest += said([each])
        return tuple(attachments), rest

    # ------------------------------------------------------------------ answers

    def respond(
        self, payload: bytes, decoded: Decoded, orders: Mapping[str, Sequence[Order]], now: datetime
    ) -> Sequence[bytes]:
        kind, control_id = kind_of(payload), control_id_of(payload)
        if not control_id:
            return ()
        if kind != "REQ.R01" and not self._options.owes_acknowledgement(kind):
            return ()
        first = decoded.items[0] if decoded.items else None
        if isinstance(first, Undecoded) and ENTITY in first.reason:
            return (self.acknowledgement(control_id, "AE", now, first.reason),)
        if kind != "REQ.R01":
            return (self.acknowledgement(control_id, "AA", now),)
        try:
            return self.answer(read(payload), orders, now)
        except NotReadable:
            return (self.acknowledgement(control_id, "AA", now),)

    def answer(self, message: Poct1aMessage, orders: Mapping[str, Sequence[Order]], now: datetime) -> Sequence[bytes]:
        """A device that asks us for something hears that we have it not."""
        escape = ("ESC", None, (leaf("ESC.esc_control_id", message.control_id), leaf("ESC.detail_cd", "OTH")))
        return (build("ESC.R01", timestamp(now), escape),)

    def acknowledgement(self, control_id: str, verdict: str, now: datetime, note: str = "") -> bytes:
        fields = [leaf("ACK.type_cd", verdict), leaf(self._options.acknowledged_id, control_id)]
        if note:
            fields.append(leaf("ACK.note_txt", note))
        return build("ACK.R01", timestamp(now), ("ACK", None, tuple(fields)))

    def refuse(self, payload: bytes, reason: str, now: datetime) -> Sequence[bytes]:
        """AE: the device keeps the document and sends it again."""
        control_id = control_id_of(payload)
        if not control_id or not self._options.owes_acknowledgement(kind_of(payload)):
            return ()
        return (self.acknowledgement(control_id, "AE", now, reason),)


def _unplaced(element: Element) -> Item:
    return Undecoded(f"element {element.name} is not read", "; ".join(said([element]))[:_SHOWN], element.index)
