"""Decoded items as JSON objects and back: what travels from the box to the cloud and what `edge decode` prints.

A key that is unknown to this version is ignored, a key that is missing takes its default: boxes and clouds of versions
N and N-1 read each other. Bytes travel as base64. What stands in a field but is of another type than the field's is
refused with `ValueError` (`msgspec.ValidationError`), which names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocols.model import (
    HostQuery,
    InstrumentEvent,
    Item,
    Kind,
    Observation,
    Order,
    QcMark,
    Reading,
    SpecimenAction,
    SpecimenEvent,
    UnansweredQuery,
    Undecoded,
)

JsonObject = dict[str, Any]

_KINDS: Mapping[str, tuple[type[Item], JsonObject]] = {
    Kind.OBSERVATION: (Observation, {"specimen": None, "code": "", "value": None}),
    Kind.QC: (Observation, {"specimen": None, "code": "", "value": None}),
    Kind.HOST_QUERY: (HostQuery, {"specimens": ()}),
    Kind.EVENT: (InstrumentEvent, {"name": "unknown"}),
    Kind.SPECIMEN_EVENT: (SpecimenEvent, {"specimen": None}),
    Kind.READING: (Reading, {"point": "", "value": None}),
    Kind.UNANSWERED: (UnansweredQuery, {"specimen": None, "reason": "unknown"}),
    Kind.UNDECODED: (Undecoded, {"reason": "unknown"}),
}
"""Each kind's class, and what stands for a field that has no default when the sender left it out."""
_ACTIONS = frozenset(SpecimenAction)
_NO_ACTION = str(SpecimenAction.OTHER)
_NOTHING: tuple[object, ...] = (None, "", [])
_HEADS: Mapping[str, bytes] = {str(kind): b'{"kind":"%s",' % str(kind).encode() for kind in Kind}


def _fields_of(value: msgspec.Struct) -> JsonObject:
    """Fields that differ from nothing: None, "" and () are left out, 0 is not."""
    plain: JsonObject = msgspec.json.decode(msgspec.json.encode(value))
    return {name: content for name, content in plain.items() if content not in _NOTHING}


def item_to_json(item: Item) -> JsonObject:
    """One item with its `kind` first."""
    return {"kind": str(item.kind), **_fields_of(item)}


def encode_item(item: Item) -> bytes:
    """`item_to_json` as JSON text, without the way through a dictionary wherever no field is empty."""
    text = msgspec.json.encode(item)
    if text == b"{}" or b'""' in text or b"null" in text or b"[]" in text:
        return msgspec.json.encode(item_to_json(item))
    return _HEADS[item.kind] + text[1:]


def item_from_json(data: JsonObject) -> Item:
    """The item again; an unknown kind (a newer box) becomes `Undecoded`, so that it is seen and not lost."""
    kind = data.get("kind")
    found = _KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        return Undecoded(reason=f"unknown kind of item: {kind}", text=str(data)[:2000])
    cls, left_out = found
    values = {**left_out, **data}
    if cls is Observation:
        values["qc"] = (data.get("qc") or QcMark()) if kind == Kind.QC else None
    elif cls is SpecimenEvent and values.get("action") not in _ACTIONS:  # a newer box knows one more: its own word
        values["detail"] = " ".join(filter(None, (str(values.get("action")), values.get("detail"))))
        values["action"] = _NO_ACTION
    return msgspec.convert(values, cls)


def order_to_json(order: Order) -> JsonObject:
    """With its priority always: orders are compared with those stored before (`cloud.lis.worklists.rules`)."""
    return {**_fields_of(order), "priority": order.priority}


def order_from_json(data: JsonObject) -> Order:
    return msgspec.convert({"codes": (), **data}, Order)
