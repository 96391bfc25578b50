"""Bytes of a message, of an analyzer or of the HIS, for the eyes of staff."""

from __future__ import annotations

import re

from cloud.people.rules import mask_id, mask_phone

_CONTROLS = {
    **dict(enumerate(("NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR"))),
    21: "NAK",
    23: "ETB",
    28: "FS",
}
"""Names of ASTM and MLLP control characters; the signs of Unicode for them are missing in many fonts."""
_ID_NUMBER = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")
_PHONE = re.compile(r"(?<!\d)(?:1\d{10}|0001\d{7})(?!\d)")


def shown(raw: bytes, charset: str | None = None) -> str:
    """Bytes for the eye: control characters by name, a line for each CR or LF, citizen and phone numbers masked."""
    try:
        text = raw.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        text = raw.decode("gb18030", errors="replace")
    text = _ID_NUMBER.sub(lambda found: mask_id(found[0]), text)
    text = _PHONE.sub(lambda found: mask_phone(found[0]), text)
    text = text.replace("\r\n", "\r<LF>\n").replace("\r", "<CR>\n").replace("<CR>\n<LF>", "<CR><LF>")
    return "".join(each if each == "\n" or ord(each) >= 32 else _name(ord(each)) for each in text)


def _name(code: int) -> str:
    return f"<{_CONTROLS.get(code, format(code, '02X'))}>"
