"""Horiba Yumizen H500 and H550 haematology analyzers, LIS2-A2.

Source: a capture of an H550 (a control, histogram, matrix, reagents); senaite.astm's description; public test messages
of both models. Horiba "Output Format for Host Connection" RAA055 is the vendor's document; only its contents were at
hand.

R.3 is ``^^^parameter^LOINC``, R.6 ``low-high^name of the range``, R.11 ``login^^profile``. O.3 is the sample, of a
model with racks ``sample^^rack^position`` (so taken: no source names the components). H.12 Q and O.16
``CTRL^^level`` mark a control. A comment behind the order lists alarms ``kind^parameter^alarm``, repeated. M records
hold a histogram or a matrix (bounds and thresholds, then the curve, packed), the reagents ``lot^opened^expires`` or
settings. EOT straight after ENQ is its keep-alive; frames reach 26 kB. It sends, and asks nothing in any source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context, Details, Test
from protocols.driver import Match, Status
from protocols.messages.astm import AstmMessage, Record, read_message
from protocols.messages.histograms import BadStream, as_json, is_stream, read_stream
from protocols.model import Attachment, InstrumentEvent, Item, Observation, changed

_NAMES = ("H500", "H550")
_CURVES = ("HISTOGRAM", "MATRIX")
_OWNERS = {"RBC": "RBC", "PLT": "PLT", "LMN": "WBC", "WBC": "WBC", "BAS": "WBC"}
"""First letters of a curve's name: the result that it was measured with."""
_ALARM, _CURVE, _UNREADABLE = "alarm", "curve", "unreadable curve"


class HoribaYumizen(AstmDriver):
    id: ClassVar[str] = "horiba_yumizen"
    vendor: ClassVar[str] = "Horiba"
    models: ClassVar[tuple[str, ...]] = ("Yumizen H500", "Yumizen H550")
    source: ClassVar[str] = "capture of an H550; senaite.astm and public test messages of H500 and H550"
    status: ClassVar[Status] = Status.CAPTURED

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.component(5, 1)
        if name in _NAMES and header.component(5, 2):
            return Match(1.0, f"H.5 names a Yumizen {name}")
        return Match(0.0, "H.5 names no H500 or H550")

    # ------------------------------------------------------------------ results

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        parts = [*order.components(3), "", "", "", ""]
        return parts[0] or None, parts[2] or None, parts[3] or None

    def test(self, parts: Sequence[str]) -> Test:
        if len(parts) < 6:
            parts = [*parts, "", "", "", "", "", ""]
        if not parts[3]:
            return "^".join(filter(None, parts)), None, None
        return parts[3], parts[4] or None, parts[5] or None

    def details(self, record: Record) -> Details:
        if not record.as_sent:
            told = super().details(record)
            return told[0], record.component(6, 1), told[2], record.component(11, 1), *told[4:]
        fields, separator = record.fields, record.delimiters.component
        reference, operator = fields[5].partition(separator)[0], fields[10].partition(separator)[0]
        return fields[4], reference, fields[8], operator, fields[12] or fields[11], fields[13], None, ()

    def manufacturer(self, record: Record, context: Context) -> None:
        """A curve waits for the results of its sample, which come behind it; anything else is carried whole."""
        kind = record.text(3)
        name = _CURVE if kind in _CURVES else f"{kind.lower()} record" if kind else "manufacturer record"
        context.items.append(InstrumentEvent(name, context.specimen, record.whole(), record=record.index))

    def finish(self, items: list[Item], message: AstmMessage) -> list[Item]:
        events = [item for item in items if isinstance(item, InstrumentEvent)]
        records = message.records
        if any(event.name == "comment" for event in events):
            items = [each for item in items for each in _with_alarms(item, records)]
            _explain(items)
        for event in events:
            if event.name == _CURVE:
                _hang_curve(event, items, records)
        return items


def _hang_curve(event: InstrumentEvent, items: list[Item], records: Sequence[Record]) -> None:
    """The curve becomes an attachment of its result; one that cannot be unpacked, or has none, stays an event."""
    record = records[event.record or 0]
    place = next(index for index, item in enumerate(items) if item is event)
    try:
        found = _attachment(record)
    except BadStream as error:
        items[place] = changed(event, name=_UNREADABLE, detail=f"{error}: {event.detail}")
        return
    owner = _owner(record, event.specimen, items)
    if owner is None:
        return
    result = items[owner]
    if isinstance(result, Observation):
        items[owner] = changed(result, attachments=(*result.attachments, found))
        del items[place]


def _attachment(record: Record) -> Attachment:
    """M.4 group, M.5 name, then streams: the first holds bounds and thresholds, the second the curve."""
    streams: dict[str, tuple[float, ...]] = {}
    names = iter(("bounds", "values"))
    for number in range(6, len(record.fields) + 1):
        descriptor, _, packed = record.raw(number).partition(record.delimiters.component)
        if is_stream(descriptor):
            streams[next(names, f"stream {number}")] = read_stream(descriptor, packed)
    if not streams:
        raise BadStream("no stream in the record")
    title = f"{record.text(3).lower()} {record.text(4)}"
    return Attachment(name=record.text(5) or title, media_type="application/json", data=as_json(title, streams))


def _owner(record: Record, specimen: str | None, items: Sequence[Item]) -> int | None:
    """Index of the result that a curve belongs to: by the curve's name, else the first of the sample."""
    results = [
        (index, item)
        for index, item in enumerate(items)
        if isinstance(item, Observation) and item.specimen == specimen and (item.record or 0) > record.index
    ]
    wanted = _OWNERS.get(record.text(5)[:3].upper())
    named = [index for index, item in results if item.code == wanted]
    return named[0] if named else (results[0][0] if results else None)


def _with_alarms(item: Item, records: Sequence[Record]) -> list[Item]:
    """The item itself; of a comment one event for each repeat of C.4."""
    if not isinstance(item, InstrumentEvent) or item.name != "comment" or item.record is None:
        return [item]
    repeats = ["^".join(repeat).strip("^") for repeat in records[item.record].repeats(4)]
    return [changed(item, name=_ALARM, detail=each) for each in repeats if each]


def _explain(items: list[Item]) -> None:
    """An alarm that names a parameter is also a comment of that parameter's result."""
    by_code: dict[tuple[str | None, str], list[str]] = {}
    for item in items:
        if isinstance(item, InstrumentEvent) and item.name == _ALARM:
            parts = (item.detail or "").split("^")
            if len(parts) == 3 and parts[1]:
                by_code.setdefault((item.specimen, parts[1]), []).append(f"{parts[0]} {parts[2]}")
    if not by_code:
        return
    for index, item in enumerate(items):
        if isinstance(item, Observation) and (item.specimen, item.code) in by_code:
            items[index] = changed(item, comments=(*item.comments, *by_code[item.specimen, item.code]))
