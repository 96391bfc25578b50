"""The words every driver speaks, on the box and in the cloud.

Values are kept as the instrument sent them (text, trimmed of padding); numbers are read from that text on demand, so
that nothing is rounded on the way. Times are the instrument's own wall clock without a zone (ISO 8601, local): who
knows the zone adds it. Sex and age are deliberately absent: they never come from an instrument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

_COMPARATOR = re.compile(r"^\s*(<=|>=|<|>|≤|≥)?\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$")
_SAME_SIGN = {"≤": "<=", "≥": ">="}
_LARGEST = 18
"""Powers of ten: no laboratory counts beyond, and exact arithmetic (28 digits) and the database follow so far."""


class Kind(StrEnum):
    """What a decoded item is; the `kind` of one line of `edge decode`."""

    OBSERVATION = "observation"
    QC = "qc"
    HOST_QUERY = "host_query"
    EVENT = "event"
    SPECIMEN_EVENT = "specimen_event"
    READING = "reading"
    UNANSWERED = "unanswered"
    UNDECODED = "undecoded"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with the comparator it was sent with ("<3.00" is comparator "<", number 3.00)."""

    number: Decimal
    comparator: str | None = None


def read_quantity(text: str | None) -> Quantity | None:
    """The number in `text`, or None where it is no number ("POS", "----", "1:160", "") or none that can be measured."""
    match = _COMPARATOR.match(text or "")
    if match is None:
        return None
    try:
        number = Decimal(match[2])
    except InvalidOperation:  # pragma: no cover - the pattern admits only numbers
        return None
    if number.adjusted() > _LARGEST or int(number.as_tuple().exponent) < -_LARGEST:
        return None
    return Quantity(number, _SAME_SIGN.get(match[1], match[1]))


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A histogram, scattergram or picture that came with a result; `data` is decoded (no base64 left)."""

    name: str
    media_type: str
    data: bytes = b""
    reference: str | None = None
    """Where the instrument keeps the picture when it sent only its name (XN: a file name)."""


class QcMark(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why an observation is quality control and not a patient's: material, level and lot as the instrument says."""

    material: str | None = None
    level: str | None = None
    lot: str | None = None


class Observation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One measured value of one test on one specimen (or, with `qc` set, on a control material)."""

    specimen: str | None
    code: str
    value: str | None
    unit: str | None = None
    flags: tuple[str, ...] = ()
    observed_at: str | None = None
    reference_range: str | None = None
    status: str | None = None
    """The instrument's own result status letter (F final, P preliminary, C correction, X cannot be done)."""
    name: str | None = None
    run: int | None = None
    """The instrument's rerun or replicate number, where it sends one."""
    dilution: str | None = None
    operator: str | None = None
    module: str | None = None
    reagent_lot: str | None = None
    calibrator_lot: str | None = None
    rack: str | None = None
    position: str | None = None
    comments: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    qc: QcMark | None = None
    record: int | None = None
    """Index (from 0) of the record or segment in the message that the value was read from."""

    @property
    def kind(self) -> Kind:
        return Kind.OBSERVATION if self.qc is None else Kind.QC

    @property
    def quantity(self) -> Quantity | None:
        return read_quantity(self.value)


class HostQuery(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The instrument asks which tests to run. No specimen and `everything` false: the barcode was not read."""

    specimens: tuple[str, ...]
    everything: bool = False
    rack: str | None = None
    position: str | None = None
    query_id: str | None = None
    context: dict[str, str] = msgspec.field(default_factory=dict)
    """Fields that the answer must echo (the driver that asked reads them again when it answers)."""
    record: int | None = None

    @property
    def kind(self) -> Kind:
        return Kind.HOST_QUERY


class UnansweredQuery(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A host query that was answered "no order", told by the box and by no instrument: the tube waits for a person."""

    specimen: str | None
    """None: the instrument could not read the barcode."""
    reason: str
    """A word of `protocols.uplink.asking`: why there was no order."""
    rack: str | None = None
    position: str | None = None
    record: int | None = None

    @property
    def kind(self) -> Kind:
        return Kind.UNANSWERED


class InstrumentEvent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A fact that is no result: an alarm, a status, a comment without a result, an acknowledgement of our answer."""

    name: str
    specimen: str | None = None
    detail: str | None = None
    occurred_at: str | None = None
    record: int | None = None

    @property
    def kind(self) -> Kind:
        return Kind.EVENT


class SpecimenAction(StrEnum):
    """What an assembly line (TLA) or sorter did with a tube."""

    ARRIVED = "arrived"
    ROUTED = "routed"
    CENTRIFUGED = "centrifuged"
    DECAPPED = "decapped"
    ALIQUOTED = "aliquoted"
    LOADED = "loaded"
    """The tube stands on a module that will measure it."""
    MEASURED = "measured"
    RECAPPED = "recapped"
    STORED = "stored"
    RETRIEVED = "retrieved"
    DISPOSED = "disposed"
    FAILED = "failed"
    """The line set the tube aside (unread barcode, clot, wrong cap): `detail` is its reason."""
    OTHER = "other"
    """Anything else the line tells of a tube: `detail` carries its own words."""


class SpecimenEvent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing that happened to one tube on a line: no result, but its whereabouts."""

    specimen: str | None
    action: SpecimenAction
    occurred_at: str | None = None
    module: str | None = None
    """The station that did it, in the line's own name."""
    destination: str | None = None
    """Where the tube was sent (routing), in the line's own name."""
    rack: str | None = None
    position: str | None = None
    parent: str | None = None
    """The tube that an aliquot was taken from."""
    volume_ul: str | None = None
    """Microlitres, as sent."""
    detail: str | None = None
    record: int | None = None

    @property
    def kind(self) -> Kind:
        return Kind.SPECIMEN_EVENT


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One measured point of the environment (a refrigerator's temperature), no result of a specimen."""

    point: str
    """The point in the register map: "temperature", "door", "conductivity" ..."""
    value: str | None
    """None: the device answered that it cannot read it (sensor broken), see `alarms`."""
    unit: str | None = None
    device: str | None = None
    """Which device of a line with several (its name in the configuration, else its Modbus address)."""
    observed_at: str | None = None
    alarms: tuple[str, ...] = ()
    """What stands wrong with this point: "high", "low", "sensor fault", the device's own alarm names."""
    record: int | None = None

    @property
    def kind(self) -> Kind:
        return Kind.READING

    @property
    def quantity(self) -> Quantity | None:
        return read_quantity(self.value)


class Undecoded(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Something the driver could not read. The raw bytes are kept and a person sees it; it is never dropped."""

    reason: str
    text: str = ""
    record: int | None = None

    @property
    def kind(self) -> Kind:
        return Kind.UNDECODED


Item = Observation | HostQuery | UnansweredQuery | InstrumentEvent | SpecimenEvent | Reading | Undecoded

_ItemT = TypeVar("_ItemT", bound=Item)


def changed(item: _ItemT, **changes: Any) -> _ItemT:
    """A copy of `item` with some of its fields changed."""
    return msgspec.structs.replace(item, **changes)


class Decoded(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Everything one message held, in its order."""

    items: tuple[Item, ...]
    sender: str | None = None
    """How the instrument names itself (ASTM H.5, HL7 MSH-3), padding trimmed."""
    message_id: str | None = None
    charset: str | None = None


class Order(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an instrument is to measure on one specimen, in the instrument's own test codes. No names by default."""

    specimen: str
    codes: tuple[str, ...]
    priority: str = "R"
    """R routine, S stat."""
    specimen_type: str | None = None
    collected_at: str | None = None
    patient_id: str | None = None
    patient_name: str | None = None
    sex: str | None = None
    birth_date: str | None = None
    cancelled: bool = False
    numbers: tuple[str, ...] = ()
    """What the instrument calls each of `codes` on this specimen (IHE LAW: the AWOS id), where it was told before.

    Without them a driver makes its own; work can be taken back only by them.
    """
    dilutions: tuple[tuple[str, str], ...] = ()
    """Codes that are to be measured in a dilution by the instrument, each with its factor: ``("AFP", "10")`` is 1:10.

    Only for drivers whose `can_dilute` says so; the others leave it out.
    """

    def dilution_of(self, code: str) -> str:
        """The factor for one of `codes`; "" undiluted."""
        return dict(self.dilutions).get(code, "")
