"""Internet Printing Protocol, encoding only: requests as bytes, answers as values. No I/O.

RFC 8010 (encoding: version, operation or status, request id, groups of attributes, end tag, data) and RFC 8011 (model:
operations 4.2, status codes B, job-state 5.3.7, printer-state 5.4.11). Collections are read past, not understood.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

VERSION = 0x0101
"""1.1: what every printer and print server of the last twenty years takes."""
OPERATION_GROUP, JOB_GROUP, END, PRINTER_GROUP = 0x01, 0x02, 0x03, 0x04
_FIRST_VALUE_TAG = 0x10
_INTEGER, _BOOLEAN, _ENUM = 0x21, 0x22, 0x23
_NAME, _KEYWORD, _URI, _CHARSET, _LANGUAGE, _MIME = 0x42, 0x44, 0x45, 0x47, 0x48, 0x49
_TAGS = {
    "attributes-charset": _CHARSET,
    "attributes-natural-language": _LANGUAGE,
    "printer-uri": _URI,
    "requesting-user-name": _NAME,
    "job-name": _NAME,
    "document-format": _MIME,
    "job-id": _INTEGER,
    "limit": _INTEGER,
    "copies": _INTEGER,
    "which-jobs": _KEYWORD,
    "my-jobs": _BOOLEAN,
    "requested-attributes": _KEYWORD,
    "sides": _KEYWORD,
    "media": _KEYWORD,
}

Value = int | str | bool | bytes


class Operation(IntEnum):
    PRINT_JOB = 0x0002
    CANCEL_JOB = 0x0008
    GET_JOB_ATTRIBUTES = 0x0009
    GET_JOBS = 0x000A
    GET_PRINTER_ATTRIBUTES = 0x000B


class JobStateOnDevice(IntEnum):
    """RFC 8011 5.3.7; from CANCELED on it is over."""

    PENDING = 3
    HELD = 4
    PROCESSING = 5
    STOPPED = 6
    CANCELED = 7
    ABORTED = 8
    COMPLETED = 9


NOT_FOUND = 0x0406
STOPPED_PRINTER = 5


class NotIpp(ValueError):
    """The bytes are no IPP message, or end in the middle of one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a printer said. Groups in their order; each attribute's values as a list."""

    status: int
    request_id: int
    groups: Sequence[tuple[int, Mapping[str, list[Value]]]] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """successful-ok and its like (RFC 8011 B.1.2)."""
        return self.status < 0x0100

    def group(self, tag: int) -> Mapping[str, list[Value]]:
        """The first group of this kind; empty where there is none."""
        return next((values for kind, values in self.groups if kind == tag), {})

    def text(self, tag: int, name: str) -> str:
        return ", ".join(str(each) for each in self.group(tag).get(name, []))

    def integer(self, tag: int, name: str) -> int | None:
        found = self.group(tag).get(name, [])
        return found[0] if found and isinstance(found[0], int) else None


def request(
    operation: Operation,
    request_id: int,
    printer_uri: str,
    operation_attributes: Mapping[str, Value | Sequence[str]] | None = None,
    job_attributes: Mapping[str, Value | Sequence[str]] | None = None,
    data: bytes = b"",
) -> bytes:
    """One request; charset, language and printer stand first, as RFC 8011 4.1.4 wants them."""
    first: dict[str, Value | Sequence[str]] = {
        "attributes-charset": "utf-8",
        "attributes-natural-language": "zh-cn",
        "printer-uri": printer_uri,
    }
    made = bytearray(struct.pack(">HHIB", VERSION, operation, request_id, OPERATION_GROUP))
    for name, value in {**first, **(operation_attributes or {})}.items():
        made += _attribute(name, value)
    if job_attributes:
        made.append(JOB_GROUP)
        for name, value in job_attributes.items():
            made += _attribute(name, value)
    made.append(END)
    return bytes(made) + data


def _attribute(name: str, value: Value | Sequence[str]) -> bytes:
    values = [value] if isinstance(value, str | bytes | int) else list(value)
    tag = _TAGS[name]
    made = bytearray()
    for place, each in enumerate(values):
        key = name.encode() if place == 0 else b""  # a further value of the same attribute has no name (RFC 8010 3.1.5)
        raw = _raw(tag, each)
        made += struct.pack(">BH", tag, len(key)) + key + struct.pack(">H", len(raw)) + raw
    return bytes(made)


def _raw(tag: int, value: Value) -> bytes:
    if tag == _BOOLEAN:
        return b"\x01" if value else b"\x00"
    if isinstance(value, int):
        return struct.pack(">i", value)
    return value.encode() if isinstance(value, str) else value


def read(payload: bytes) -> Answer:
    """The answer of a printer; raises `NotIpp`."""
    reader = _Reader(payload)
    _, status, request_id = reader.unpack(">HHI")
    groups: list[tuple[int, dict[str, list[Value]]]] = []
    name = ""
    while (tag := reader.unpack(">B")[0]) != END:
        if tag < _FIRST_VALUE_TAG:
            groups.append((tag, {}))
            continue
        if not groups:
            raise NotIpp("a value before any group")
        key = reader.take(reader.unpack(">H")[0]).decode("utf-8", "replace")
        raw = reader.take(reader.unpack(">H")[0])
        name = key or name
        groups[-1][1].setdefault(name, []).append(_value(tag, raw))
    return Answer(status, request_id, groups)


def _value(tag: int, raw: bytes) -> Value:
    if tag in (_INTEGER, _ENUM) and len(raw) == 4:
        return int(struct.unpack(">i", raw)[0])
    if tag == _BOOLEAN:
        return raw == b"\x01"
    return raw.decode("utf-8", "replace") if tag >= 0x40 else raw


class _Reader:
    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, count: int) -> bytes:
        found = self._payload[self._at : self._at + count]
        if len(found) != count:
            raise NotIpp("the message ends in the middle")
        self._at += count
        return found

    def unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))
