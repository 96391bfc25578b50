"""Which characters the bytes of a message are: declared, or found by a test. Decode first, split afterwards.

A second byte of GBK may be the code of ``\\``, ``^`` or ``|``: text is split as characters, never as bytes.
"""

from __future__ import annotations

import re

UTF8, GB18030, LATIN1, ASCII = "utf-8", "gb18030", "latin-1", "ascii"

_HIGH_PAIR = re.compile(rb"[\x81-\xfe][\x40-\xfe]")


def decode_text(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """The text and the name of the character set that it was read with. Never raises.

    `declared` is tried first and dropped where the bytes contradict it: instruments declare ASCII and send GBK.
    """
    if data.isascii():
        return data.decode(ASCII), ASCII
    for charset in (declared, UTF8):
        if charset is not None and charset != ASCII:
            try:
                return data.decode(charset), charset
            except (ValueError, LookupError):  # other bytes than it has, or no such set (nor a name of one)
                continue
    if _looks_like_gbk(data):
        return data.decode(GB18030), GB18030
    return data.decode(LATIN1), LATIN1


def _looks_like_gbk(data: bytes) -> bool:
    """Valid GB18030 whose two-byte characters are mostly those of GB 2312, the everyday ones.

    Latin-1 text such as "µmol" or "°C" is valid GBK too, but its pairs (B5 6D, B0 43) lie outside GB 2312.
    """
    try:
        data.decode(GB18030)
    except UnicodeDecodeError:
        return False
    pairs = _HIGH_PAIR.findall(data)
    everyday = sum(1 for pair in pairs if pair[0] <= 0xF7 and pair[0] >= 0xA1 and pair[1] >= 0xA1)
    return everyday * 2 >= len(pairs) > 0
