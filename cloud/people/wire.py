"""Bytes of a message, of an analyzer or of the HIS, for the eyes of staff."""

from __future__ import annotations

import re

from cloud.people.rules import mask_id, mask_phone

_CONTROLS = {0: "␀", 2: "␂", 3: "␃", 4: "␄", 5: "␅", 6: "␆", 11: "␋", 13: "␍", 21: "␕", 23: "␗", 28: "␜"}
_ID_NUMBER = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")
_PHONE = re.compile(r"(?<!\d)(?:1\d{10}|0001\d{7})(?!\d)")


def shown(raw: bytes, charset: str | None = None) -> str:
    """Bytes for the eye: control characters as signs, a line for each CR or LF, citizen and phone numbers masked."""
    try:
        text = raw.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        text = raw.decode("gb18030", errors="replace")
    text = _ID_NUMBER.sub(lambda found: mask_id(found[0]), text)
    text = _PHONE.sub(lambda found: mask_phone(found[0]), text)
    text = text.replace("\r\n", "␍␊\n").replace("\r", "␍\n")
    return "".join(_CONTROLS.get(ord(each), each) if ord(each) < 32 and each != "\n" else each for each in text)
