"""Decoded items as JSON objects and back: what travels from the box to the cloud and what `edge decode` prints.

A key that is unknown to this version is ignored, a key that is missing takes its default: boxes and clouds of versions
N and N-1 read each other.
"""

from __future__ import annotations

import base64
from dataclasses import fields
from functools import cache
from typing import Any

from protocols.model import (
    Attachment,
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
    Undecoded,
)

JsonObject = dict[str, Any]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Attachment | QcMark):
        return _fields_of(value)
    return value


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def _fields_of(value: Any) -> JsonObject:
    """Fields that differ from nothing: None, "", () and False are left out, 0 is not. Runs for every stored result."""
    found: JsonObject = {}
    for name in _names(value.__class__):
        content = getattr(value, name)
        if content:
            found[name] = content if type(content) is str else _plain(content)
        elif content is not None and type(content) is int:
            found[name] = 0
    return found


def item_to_json(item: Item) -> JsonObject:
    """One item with its `kind` first."""
    return {"kind": str(item.kind), **_fields_of(item)}


def _known(cls: type[Any], data: JsonObject) -> JsonObject:
    names = {each.name for each in fields(cls)}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in names}


def item_from_json(data: JsonObject) -> Item:
    """The item again; an unknown kind (a newer box) becomes `Undecoded`, so that it is seen and not lost."""
    kind = data.get("kind")
    if kind in (Kind.OBSERVATION, Kind.QC):
        values = _known(Observation, data)
        values.setdefault("specimen", None)
        values.setdefault("code", "")
        values.setdefault("value", None)
        if "attachments" in values:
            values["attachments"] = tuple(
                Attachment(
                    name=each.get("name", ""),
                    media_type=each.get("media_type", "application/octet-stream"),
                    data=base64.b64decode(each.get("data", "")),
                    reference=each.get("reference"),
                )
                for each in data["attachments"]
            )
        if kind == Kind.QC:
            values["qc"] = QcMark(**_known(QcMark, data.get("qc") or {}))
        else:
            values.pop("qc", None)
        return Observation(**values)
    if kind == Kind.HOST_QUERY:
        values = _known(HostQuery, data)
        values.setdefault("specimens", ())
        return HostQuery(**values)
    if kind == Kind.EVENT:
        values = _known(InstrumentEvent, data)
        values.setdefault("name", "unknown")
        return InstrumentEvent(**values)
    if kind == Kind.SPECIMEN_EVENT:
        values = _known(SpecimenEvent, data)
        values.setdefault("specimen", None)
        action = values.get("action")
        if action not in set(SpecimenAction):  # a newer box knows one more: seen, with its own word
            values["detail"] = " ".join(filter(None, (str(action), values.get("detail"))))
            action = SpecimenAction.OTHER
        values["action"] = SpecimenAction(action)
        return SpecimenEvent(**values)
    if kind == Kind.READING:
        values = _known(Reading, data)
        values.setdefault("point", "")
        values.setdefault("value", None)
        return Reading(**values)
    if kind == Kind.UNDECODED:
        values = _known(Undecoded, data)
        values.setdefault("reason", "unknown")
        return Undecoded(**values)
    return Undecoded(reason=f"unknown kind of item: {kind}", text=str(data)[:2000])


def order_to_json(order: Order) -> JsonObject:
    return _fields_of(order)


def order_from_json(data: JsonObject) -> Order:
    values = _known(Order, data)
    values.setdefault("codes", ())
    return Order(**values)
