"""Which characters the bytes of a message are: declared, or found by a test. Decode first, split afterwards.

A second byte of GBK may be the code of ``\\``, ``^`` or ``|``: text is split as characters, never as bytes. What is
declared is often wrong (ASCII declared and GBK sent, Latin-1 declared and UTF-8 sent), and a name may be cut in the
middle of a character to fit its field: both are borne, and the damage stays where it is.
"""

from __future__ import annotations

import codecs
import re

UTF8, GB18030, LATIN1, ASCII = "utf-8", "gb18030", "latin-1", "ascii"

_RARE_PADDING = "\t\v\f\x1c\x1d\x1e\x1f"
_WIDE_PADDING = "\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

_HIGH_PAIR = re.compile(rb"[\x81-\xfe][\x40-\xfe]")
_ESCAPE = b"\x1b"
_LOST = "\ufffd"
_SINGLE_BYTE = re.compile(r"latin|iso8859|cp125|cp85|koi8|mac|ascii")
_BEYOND_LETTERS = re.compile(r"[\u0800-\U0010ffff]")
"""Characters that take three bytes or more in UTF-8: what GBK holds is hardly ever valid as such."""
_GBK_NAMES = frozenset(("gb18030", "gbk", "gb2312"))


def decode_text(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """The text and the name of the character set that it was read with. Never raises.

    `declared` is a Python codec name, believed where the bytes do not speak against it. Bytes that are damaged in a
    message of which all else is UTF-8 or GBK become U+FFFD; whoever stores the message has the bytes themselves.
    """
    if data.isascii():
        if declared is not None and _ESCAPE in data and _name(declared).startswith("iso2022"):
            return _attempt(data, declared) or (data.decode(ASCII), ASCII)
        return data.decode(ASCII), ASCII
    if declared is not None and (read := _believe(data, declared)) is not None:
        return read
    try:
        return data.decode(UTF8), UTF8
    except UnicodeDecodeError as error:
        seems_utf8 = _BEYOND_LETTERS.search(data[: error.start].decode(UTF8)) is not None
    guesses = (_damaged_utf8, _guess_gbk) if seems_utf8 else (_guess_gbk, _damaged_utf8)
    return guesses[0](data) or guesses[1](data) or (data.decode(LATIN1), LATIN1)


def has_rare_padding(text: str) -> bool:
    """Whether anything that `str.strip` takes away, beside blanks and line ends, stands in `text`.

    Readers ask once for a message, so that they need not strip each field of it.
    """
    padded = any(each in text for each in _RARE_PADDING)
    return padded or (not text.isascii() and any(each in text for each in _WIDE_PADDING))


def _name(codec: str) -> str:
    try:
        return codecs.lookup(codec).name.lower()
    except (LookupError, ValueError):  # no such set, or not even the name of one
        return ""


def _attempt(data: bytes, codec: str) -> tuple[str, str] | None:
    try:
        return data.decode(codec), codec
    except (ValueError, LookupError):
        return None


def _believe(data: bytes, declared: str) -> tuple[str, str] | None:
    """`data` as declared. A set of one byte fits any bytes, GBK nearly any: valid UTF-8 speaks against both."""
    name = _name(declared)
    if _SINGLE_BYTE.search(name):
        return _attempt(data, UTF8) or (None if name == ASCII else _guess_gbk(data) or _attempt(data, declared))
    if name in _GBK_NAMES:
        read = _guess_gbk(data) or _attempt(data, UTF8)
        if read is not None and (read[1] == GB18030 or _BEYOND_LETTERS.search(read[0])):
            return read
        return _attempt(data, GB18030)
    return _attempt(data, declared)


def _guess_gbk(data: bytes) -> tuple[str, str] | None:
    """GB18030 whose two-byte characters are mostly those of GB 2312 (rows 1 to 9 and 16 to 87), the everyday ones.

    Latin-1 text such as "µmol", "°C" or "Müller" is valid GBK too, but a letter of its own before one of ASCII (B5 6D,
    B0 43, FC 6C) is a rare character there. A byte that Latin-1 does not print, before one of ASCII, tells nothing: a
    rare character or noise on the line. Bytes that are no GB18030 at all are borne, one for eight characters.
    """
    try:
        text = data.decode(GB18030)
        lost = 0
    except UnicodeDecodeError:
        text = data.decode(GB18030, errors="replace")
        lost = text.count(_LOST)
    as_gb2312 = text.encode("gb2312", "ignore")
    if len(as_gb2312) == len(data):
        return text, GB18030
    printed = len(text.encode(ASCII, "ignore"))
    everyday = (len(as_gb2312) - printed) // 2
    others = len(text) - printed - everyday
    if others:
        others = sum(1 for lead, trail in _HIGH_PAIR.findall(data) if lead > 0xA0 and not _is_everyday(lead, trail))
    return (text, GB18030) if everyday > 0 and everyday >= 3 * others and everyday >= 8 * lost else None


def _is_everyday(lead: int, trail: int) -> bool:
    return trail >= 0xA1 and (0xB0 <= lead <= 0xF7 or 0xA1 <= lead <= 0xA9)


def _damaged_utf8(data: bytes) -> tuple[str, str] | None:
    """UTF-8 with a character cut here and there: at least four whole ones beyond ASCII for each that is lost."""
    text = data.decode(UTF8, errors="replace")
    lost = text.count(_LOST)
    whole = len(re.findall(r"[^\x00-\x7f]", text)) - lost
    return (text, UTF8) if whole >= 4 * lost else None
