"""Tables in files: CSV with any delimiter, tabs, and flat XML, in the character sets of laboratories.

Rows are counted from 0 as they stand in the file, the header included (`Observation.record`). An XML document that
declares a DTD is refused: nothing of it is ever fetched or expanded.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from protocols.messages.charset import decode_text

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = "\t;,|"


class TableError(ValueError):
    """The text is no table of the kind that was asked for. The message is for a person."""


def file_text(content: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The text of a file: a byte order mark first, then what was declared, then a test of validity. Never raises."""
    for bom, name in _BOMS:
        if content.startswith(bom):
            return content.decode(name, "replace"), name.removesuffix("-sig")
    if encoding is not None:
        try:
            return content.decode(encoding), encoding
        except (ValueError, LookupError):
            pass
    return decode_text(content)


def delimiter_of(text: str) -> str | None:
    """The delimiter that the first two lines have in common most often; None: no table."""
    lines = [line for line in text.splitlines()[:20] if line.strip()][:2]
    if not lines:
        return None
    counts = {each: min(line.count(each) for line in lines) for each in _DELIMITERS}
    best = max(counts, key=lambda each: counts[each])
    return best if counts[best] > 0 else None


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number in the file and its cells by the header's names (without a header "1", "2" ...)."""

    number: int
    cells: Mapping[str, str]


def rows_of(text: str, delimiter: str, *, header: bool = True, skip: int = 0) -> Iterator[Row]:
    """Rows with their cells trimmed; rows of blanks are left out but counted. Raises `TableError`."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = csv.reader(io.StringIO(lines), delimiter=delimiter, strict=False)
    names: list[str] | None = None
    try:
        for number, cells in enumerate(reader):
            if number < skip or not any(cell.strip() for cell in cells):
                continue
            trimmed = [cell.strip() for cell in cells]
            if header and names is None:
                names = _unique(trimmed)
                continue
            known = names or []
            keys = [*known, *(str(place + 1) for place in range(len(known), len(trimmed)))]
            yield Row(number, dict(zip(keys, trimmed, strict=False)))
    except csv.Error as error:
        raise TableError(f"not a table: {error}") from None


def _unique(names: list[str]) -> list[str]:
    """Two columns of one name are told apart by their number."""
    seen: set[str] = set()
    found = []
    for place, name in enumerate(names, start=1):
        key = name if name and name not in seen else f"{name or 'column'} ({place})"
        seen.add(key)
        found.append(key)
    return found


def xml_rows(text: str, row: str) -> Iterator[Row]:
    """Each element called `row`: its attributes and the texts below it, by name or path. Raises `TableError`."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise TableError("an XML document with a DTD is not read")
    body = text[text.index("?>") + 2 :] if text.lstrip().startswith("<?xml") and "?>" in text else text
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - no DTD, so no entity can be declared
    except ElementTree.ParseError as error:
        raise TableError(f"not XML: {error}") from None
    for number, element in enumerate(each for each in root.iter() if _name(each) == row):
        yield Row(number, dict(_cells(element, "")))


def _cells(element: ElementTree.Element, path: str) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        yield f"{path}@{_bare(name)}", value.strip()
    for child in element:
        below = f"{path}{_name(child)}"
        if child.text and child.text.strip():
            yield below, child.text.strip()
        yield from _cells(child, f"{below}/")


def _name(element: ElementTree.Element) -> str:
    return _bare(element.tag)


def _bare(name: str) -> str:
    """Without its namespace."""
    return name.rpartition("}")[2]
