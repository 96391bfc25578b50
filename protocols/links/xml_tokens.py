"""The end of one XML document in bytes that arrive piece by piece.

Tokens of XML 1.0 are recognised just far enough to know what closes what: ``>`` in quotes, comments, CDATA sections,
processing instructions and a DOCTYPE are passed over, nothing is expanded. What is not well-formed still ends with its
root: an end tag closes everything opened since its start tag, an end tag of nothing is ignored, a tag that was cut or
lacks a quote ends where the next one begins.

In UTF-8, Latin-1, GBK, Big5 and Shift-JIS no byte of a longer character is ``<``, ``>`` or a quote, so bytes do.
"""

from __future__ import annotations

import re
from enum import Enum

_NAME = rb"[A-Za-z_:\x80-\xff][^\s/<>=\"'!?&;]*+"
_TAG_NAME = re.compile(rb"<(/?)(%b)" % _NAME)
_BEGINNING = rb"<(?=[A-Za-z_:/!?\x80-\xff])"
"""A "<" that begins a tag. Any other stands for itself: senders forget to escape it in values (``V="<3.0"``)."""
_TAG_START = re.compile(_BEGINNING)
_IN_TAG = re.compile(rb"[\"'>]|" + _BEGINNING)
_IN_VALUE = {quote: re.compile(b"%c|" % quote + _BEGINNING) for quote in b"\"'"}
_DECLARATION = re.compile(rb"<\?xml[ \t\r\n]")
_SECTIONS = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))
_LONGEST_OPENING = 9
_DEEPEST = 64
_BYTE_ORDER_MARK = 3


class Boundary(Enum):
    """What the scanner came to."""

    END = "the root is closed"
    ANOTHER = "another document begins before the root was closed"
    NO_ROOT = "another document begins before any root"


class XmlScanner:
    """Looks at one buffer that grows at its end. `root_name`: names that only a root has; where such a tag opens
    inside a document, another document begins."""

    def __init__(self, root_name: re.Pattern[bytes]) -> None:
        self._root_name = root_name
        self._open: list[bytes] = []
        self._had_root = False
        self.position = 0
        """All before it has been understood."""
        self._in_markup = False
        self._searched = 0
        self._state = (0, 0, 0)
        """Of a tag or a DOCTYPE that is not all here: where to go on, depth of brackets, open quote."""

    def scan(self, view: bytearray) -> Boundary | None:
        """The boundary at `position`, or None: more bytes are needed."""
        while True:
            if not self._in_markup and not self._to_markup(view):
                return None
            if not self._had_root and self.position > _BYTE_ORDER_MARK and _DECLARATION.match(view, self.position):
                return Boundary.NO_ROOT
            end = self._markup(view, self.position)
            if end is None:
                return None
            if end < 0:
                return Boundary.ANOTHER
            self.position, self._searched, self._in_markup = end, end, False
            if self._had_root and not self._open:
                return Boundary.END

    def shed(self, count: int) -> None:
        """The first `count` bytes, understood already, were taken off the buffer."""
        self.position -= count
        self._searched = max(0, self._searched - count)
        place, depth, quote = self._state
        self._state = (max(0, place - count), depth, quote)

    def _to_markup(self, view: bytearray) -> bool:
        at = view.find(b"<", max(self.position, self._searched))
        if at < 0:
            self._searched = len(view)
            return False
        self.position, self._searched, self._in_markup = at, at, True
        self._state = (at + 2, 0, 0)
        return True

    def _markup(self, view: bytearray, at: int) -> int | None:
        """The end of the markup at `at`; None: it is not all here; -1: another document begins with it."""
        opening = bytes(view[at : at + _LONGEST_OPENING])
        if self._had_root and _DECLARATION.match(opening):
            return -1
        for begin, close in _SECTIONS:
            if opening.startswith(begin):
                end = view.find(close, max(at + len(begin), self._searched - len(close)))
                self._searched = len(view)
                return None if end < 0 else end + len(close)
            if begin.startswith(opening):
                return None
        if opening.startswith(b"<!"):
            return self._type_declaration(view)
        if not _TAG_START.match(opening):
            return at + 1
        return self._tag(view, at)

    def _type_declaration(self, view: bytearray) -> int | None:
        """A DOCTYPE with its internal subset: quotes and brackets are matched, nothing is read."""
        place, depth, quote = self._state
        while place < len(view):
            byte = view[place]
            place += 1
            if quote:
                quote = 0 if byte == quote else quote
            elif byte in b"\"'":
                quote = byte
            elif byte in b"[<":
                depth += 1
            elif byte in b"]>":
                if depth == 0:
                    return place
                depth -= 1
        self._state = (place, depth, quote)
        return None

    def _tag(self, view: bytearray, at: int) -> int | None:
        """Each byte is looked at once, however the tag arrives."""
        place, depth, quote = self._state
        place = max(place, at + 1)
        while True:
            found = (_IN_VALUE[quote] if quote else _IN_TAG).search(view, place)
            if found is None:
                self._state = (max(at + 1, len(view) - 1) if view[-1:] == b"<" else len(view), depth, quote)
                return None
            mark = view[found.start()]
            if mark == 0x3C:  # another tag begins: this one was cut, or a quote is missing
                return self._tag_ends(view, at, found.start(), b"/>" in view[at : found.start()])
            if mark == 0x3E:
                return self._tag_ends(view, at, found.end(), view[found.start() - 1] == 0x2F)
            quote = 0 if quote else mark
            place = found.end()

    def _tag_ends(self, view: bytearray, at: int, end: int, empty: bool) -> int:
        named = _TAG_NAME.match(view, at)
        return end if named is None else self._nest(named[2], bool(named[1]), empty, end)

    def _nest(self, name: bytes, closes: bool, empty: bool, end: int) -> int:
        if not closes:
            if self._open and self._root_name.fullmatch(name):
                return -1
            self._had_root = True
            if not empty and len(self._open) < _DEEPEST:
                self._open.append(bytes(name))
        elif name in self._open:
            while self._open.pop() != name:
                pass
        return end
