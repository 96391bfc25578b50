"""How a new driver recognises its instrument: the code of `fingerprint`, from what the capture's header says."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from protocols.messages.astm import read_message
from protocols.messages.hl7 import read_messages
from protocols.messages.poct1a import NotReadable
from protocols.messages.poct1a import read as read_document
from tools.capture_cases import NoDriver

Fingerprint = tuple[str, str, list[str]]
"""Body of the method, the model's name in it, what it imports."""


def _astm(payload: bytes, model: str | None, codes: Collection[str]) -> Fingerprint:
    header = read_message(payload).header
    assert header is not None, "the capture's reader found messages by their header"
    parts = header.components(5)
    place = _place_of(model, parts)
    imports = ["from protocols.messages.astm import read_message"]
    if place is None:
        return _by_shape(payload, rb"[\r\n]"), model or "", ["import re"]
    body = f"""header = read_message(payload[:1024]).header
if header is None:
    return Match(0.0, "no ASTM header record")
name = header.component(5, {place + 1})
if name.startswith({_name(parts[place])!r}):
    return Match(1.0, f"H.5 names a {{name}}")
return Match(0.0, "H.5 names another instrument")"""
    return body, parts[place], imports


def _hl7(payload: bytes, model: str | None, codes: Collection[str]) -> Fingerprint:
    header = read_messages(payload)[0].header
    names = [(number, header.component(number, 1)) for number in (3, 4)]
    named = [(number, name) for number, name in names if name]
    if not named:
        return _by_shape(payload, rb"[\r\n]"), model or "", ["import re"]
    tests = " and ".join(f"header.component({number}, 1) == {name!r}" for number, name in named)
    said = " and ".join(f"MSH-{number} {name}" for number, name in named)
    body = f"""messages = read_messages(payload[:4096])
if not messages:
    return Match(0.0, "no MSH segment")
header = messages[0].header
if {tests}:
    return Match(1.0, {said!r})
return Match(0.0, "MSH names another instrument")"""
    return body, model or named[0][1], ["from protocols.messages.hl7 import read_messages"]


def _poct1a(payload: bytes, model: str | None, codes: Collection[str]) -> Fingerprint:
    try:
        device = read_document(payload).root.first("DEV")
    except NotReadable as fault:
        raise NoDriver(f"the first document of the capture is not read: {fault}") from None
    named = [(key, device.field(key)) for key in _DEVICE_NAMES] if device is not None else []
    name = next((each for each in named if each[1]), None)
    if name is None:
        raise NoDriver("no document names the device: capture from its first document (HEL) on")
    body = f"""try:
    root = read(payload).root
except NotReadable as fault:
    return Match(0.0, str(fault))
device = root.first("DEV")
if device is not None and device.field({name[0]!r}) == {name[1]!r}:
    return Match(1.0, {f"{name[0]} {name[1]}"!r})
codes = {{each.value for each in root.walk() if each.name == "OBS.observation_id"}}
if device is None and codes and codes <= {_as_set(codes)}:
    return Match(0.3, "results of the channels of its capture and no others; the document names no device")
return Match(0.0, "the document names another device, or none")"""
    return body, model or name[1], ["from protocols.messages.poct1a import NotReadable, read"]


_DEVICE_NAMES = ("DEV.model_id", "DEV.device_name", "DEV.vendor_id")
FAMILIES: dict[str, Callable[[bytes, str | None, Collection[str]], Fingerprint]] = {
    "astm": _astm,
    "hl7": _hl7,
    "poct1a": _poct1a,
}


def _place_of(model: str | None, parts: Sequence[str]) -> int | None:
    """Which component of H.5 names the model: the one that the engineer names, else the first with letters in it."""
    if model is not None:
        return next((place for place, part in enumerate(parts) if part.startswith(model)), None)
    return next((place for place, part in enumerate(parts) if re.search("[A-Za-z]{2}|[A-Za-z]-?[0-9]", part)), None)


def _name(part: str) -> str:
    return part.strip()


def _by_shape(payload: bytes, line_end: bytes) -> str:
    """The header names nobody: its shape, numbers left open. Another instrument may share it, so the score is low."""
    header = re.split(line_end, payload.lstrip(b"\r\n"), maxsplit=1)[0]
    pattern = re.sub(rb"\d{4,}", rb"\\d+", re.escape(header))
    return f"""if re.match(rb\"\"\"{pattern.decode("latin-1")}[\\r\\n]\"\"\", payload.lstrip()):
    return Match(0.5, "the header has the shape of its capture; it names nobody")
return Match(0.0, "another header")"""


def _as_set(codes: Collection[str]) -> str:
    return "{" + ", ".join(repr(code) for code in sorted(codes)) + "}"
