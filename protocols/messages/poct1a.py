"""POCT1-A documents (CLSI POCT01-A2, Device Messaging Layer): read as a tree of elements, and built.

The root names the message (``OBS.R01``); objects (``SVC``, ``PT``, ``OBS``) hold fields named after them
(``OBS.value``) whose value stands in the attribute ``V``. An entity that a document declares or refers to is never
resolved: such a document is refused whole, inside or outside its DOCTYPE. Two mistakes of senders are mended: a bare
``&`` and a bare ``<`` in a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from protocols.errors import RemoteProtocolError
from protocols.messages.charset import decode_text

ROOT_NAME = re.compile(rb"[A-Z]{3}\.R\d\d")
"""Message types of the standard. No object or field has such a name: its fields go on in small letters."""

_ENCODING = re.compile(r"^\s*<\?xml[^>]*?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_REFERENCE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)")
_NAMED_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z_:][\w.:-]*;")
_BARE_IN_VALUE = re.compile(r"(=\s*)(\"[^\"]*\"|'[^']*')")
_ROOT = re.compile(rb"<\x00?(?!\?|!)([A-Za-z_:][^\s/<>]{0,80})")
_CONTROL_ID = re.compile(r"<HDR\.control_id\s+V\s*=\s*(?:\"([^\"<>]{0,80})\"|'([^'<>]{0,80})')")
_DEEPEST = 100
_MOST_ELEMENTS = 100_000


ENTITY = "an entity"
"""In the reason of every document that declares or names one: such a document is refused."""


class NotReadable(RemoteProtocolError):
    """Why a document is not read: constant text that a person understands."""


@dataclass(slots=True)
class Element:
    """One element; `index` is its number (from 0) in the document, the `record` of what is read from it."""

    name: str
    attributes: dict[str, str]
    index: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    @property
    def value(self) -> str:
        """The attribute V, trimmed; "" where there is none."""
        return self.attributes.get("V", "").strip()

    def all(self, name: str) -> list[Element]:
        """The children of that name."""
        return [each for each in self.children if each.name == name]

    def first(self, name: str) -> Element | None:
        return next((each for each in self.children if each.name == name), None)

    def field(self, name: str) -> str:
        """V of the first child of that name; "" where there is none."""
        found = self.first(name)
        return found.value if found is not None else ""

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in document order."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += reversed(element.children)


@dataclass(slots=True)
class Poct1aMessage:
    root: Element
    charset: str

    @property
    def kind(self) -> str:
        """The message type, from the root: HDR.message_type is optional and sometimes wrong."""
        return self.root.name

    @property
    def header(self) -> Element:
        return self.root.first("HDR") or Element("HDR", {}, 0)

    @property
    def control_id(self) -> str:
        return self.header.field("HDR.control_id")


def text_of(document: bytes) -> tuple[str, str]:
    """The characters of a document and the character set they were read with. Never raises."""
    for mark, charset in _MARKS:
        if document.startswith(mark):
            return document[len(mark) :].decode(charset, "replace"), charset
    if document[:2] in (b"<\0", b"\0<"):
        charset = "utf-16-le" if document[0] else "utf-16-be"
        return document.decode(charset, "replace"), charset
    declared = _ENCODING.match(document[:200].decode("latin-1"))
    name = declared[1].lower() if declared else None
    return decode_text(document, None if name in (None, "utf8", "utf-16") else name)


def read(document: bytes) -> Poct1aMessage:
    """The document as a tree. Raises `NotReadable`."""
    text, charset = text_of(document)
    text = _NOT_XML.sub("\ufffd", text.strip(" \t\r\n\x00\ufeff"))
    if _NAMED_ENTITY.search(text):
        raise NotReadable(f"it refers to {ENTITY}")
    try:
        return Poct1aMessage(_Reader().read(text), charset)
    except expat.ExpatError:
        pass
    try:
        return Poct1aMessage(_Reader().read(_mended(text)), charset)
    except expat.ExpatError as error:
        raise NotReadable(f"it is not well-formed XML: {expat.errors.messages[error.code]}") from None


def _mended(text: str) -> str:
    """Bare ampersands anywhere and bare "<" in values, written as they should have been."""
    text = _REFERENCE.sub("&amp;", text)
    return _BARE_IN_VALUE.sub(lambda match: match[1] + match[2].replace("<", "&lt;"), text)


class _Reader:
    """One use of expat, without a DTD, an external file or an entity of the document's own."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.EntityDeclHandler = self._entity
        self._open: list[Element] = []
        self._root: Element | None = None
        self._count = 0

    def read(self, text: str) -> Element:
        self._parser.Parse(text, True)
        if self._root is None:  # pragma: no cover - expat refuses a document without a root
            raise NotReadable("it has no root element")
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        element = Element(name, attributes, self._count)
        self._count += 1
        if len(self._open) >= _DEEPEST or self._count > _MOST_ELEMENTS:
            raise NotReadable("it has more elements than a message can have")
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, name: str) -> None:
        self._open.pop()

    def _text(self, data: str) -> None:
        self._open[-1].text += data

    def _entity(self, *declared: object) -> None:
        raise NotReadable(f"it declares {ENTITY}")


# ---------------------------------------------------------------------- what can be seen of any document


def kind_of(document: bytes) -> str:
    """The root's name, without reading the document; "" where there is none."""
    head = document[:4096]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"):
        head = text_of(head)[0].encode("utf-8", "replace")
    found = _ROOT.search(re.sub(rb"(?s)<!--.*?-->|<\?.*?\?>", b"", head))
    return found[1].decode("utf-8", "replace") if found else ""


def control_id_of(document: bytes) -> str:
    """HDR.control_id, also of a document that cannot be read: it is kept, and its sender is told so."""
    found = _CONTROL_ID.search(text_of(document[:16_384])[0])
    return (found[1] or found[2] or "").strip() if found else ""


# ---------------------------------------------------------------------- building

Body = tuple[str, str | None, tuple["Body", ...]]
"""An element to write: name, V (None: no V), children."""


def leaf(name: str, value: str) -> Body:
    return (name, value, ())


def timestamp(at: datetime) -> str:
    """ISO 8601 to the second with the offset from UTC, as the standard's type TS."""
    return at.isoformat(timespec="seconds")


def build(kind: str, at: str, *objects: Body, control_id: str = "") -> bytes:
    """A document of ours in UTF-8. The link puts in the control id (`numbered`): it counts our side."""
    header: Body = (
        "HDR",
        None,
        (
            leaf("HDR.message_type", kind),
            leaf("HDR.control_id", control_id),
            leaf("HDR.version_id", "POCT1"),
            leaf("HDR.creation_dttm", at),
        ),
    )
    body = "".join(_written(each) for each in (header, *objects))
    return f'<?xml version="1.0" encoding="utf-8"?><{kind}>{body}</{kind}>'.encode("utf-8", "replace")


def _written(element: Body) -> str:
    name, value, children = element
    start = f"<{name}" if value is None else f"<{name} V={quoteattr(_NOT_XML.sub('?', value))}"
    if not children:
        return start + " />"
    return start + ">" + "".join(_written(each) for each in children) + f"</{name}>"


def numbered(document: bytes, control_id: int) -> bytes:
    """`document`, made by `build`, with our control id."""
    return document.replace(b'<HDR.control_id V="" />', b'<HDR.control_id V="%d" />' % control_id, 1)


def created(document: bytes) -> datetime | None:
    """HDR.creation_dttm of any document, where it is a time with an offset."""
    found = re.search(r"<HDR\.creation_dttm\s+V\s*=\s*[\"']([^\"'<>]{10,40})[\"']", text_of(document[:16_384])[0])
    try:
        at = datetime.fromisoformat(found[1].strip()) if found else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
