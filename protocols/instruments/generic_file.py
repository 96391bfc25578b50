"""Any program that writes its results as a table into a folder and has no driver of its own: CSV, tabs or flat XML.

Source: none of one instrument; the columns are data. A link's options name them::

    [links.options]
    format = "csv"                     # or "tab", "xml"; without it the file is looked at
    delimiter = ";"
    row = "Result"                     # the element of a row, for XML
    columns = { specimen = "Sample ID", code = "Test", value = "Result", unit = "Unit", observed_at = "Time" }
    date_order = "dmy"
    decimal_comma = true

A table with a column for each test names them in `results` (or "*"). Without options columns with the usual names are
taken; a file that cannot be read so is carried whole, undecoded with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import ClassVar

from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.file_driver import FileDriver
from protocols.links.file_drop import opened
from protocols.messages.column_map import (
    MAP_OPTIONS,
    ColumnMap,
    encoding_option,
    flag,
    guessed,
    only,
    read_map,
    text_option,
)
from protocols.messages.record_lines import is_of_records
from protocols.messages.table import Row, TableError, delimiter_of, file_text, rows_of, xml_rows
from protocols.model import Decoded, InstrumentEvent, Item, Observation, QcMark, Undecoded

_SHOWN = 2000
_OPTIONS = ("format", "delimiter", "encoding", "row", "header", "skip", *MAP_OPTIONS)


class GenericFile(FileDriver):
    id: ClassVar[str] = "generic_file"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "no instrument: RFC 4180 and flat XML, columns as the link's options name them"
    status: ClassVar[Status] = Status.MANUAL
    map: ColumnMap = ColumnMap({})
    format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    row: str | None = None
    header: bool = True
    skip: int = 0

    def configured(self, options: Mapping[str, object]) -> Driver:
        only(options, _OPTIONS)
        driver = copy(self)
        driver.map = read_map(options)
        driver.format = text_option(options, "format", ("csv", "tab", "xml"))
        driver.delimiter = _delimiter(options)
        driver.encoding = encoding_option(options)
        driver.row = text_option(options, "row")
        driver.header = flag(options, "header", True)
        skip = options.get("skip", 0)
        if not isinstance(skip, int) or isinstance(skip, bool) or skip < 0:
            raise DriverOptionError("skip", f"not taken: {skip!r}", "write how many lines stand before the header")
        driver.skip = skip
        if driver.format == "xml" and driver.row is None:
            raise DriverOptionError("format", "xml without `row`", 'name the element of a row: row = "Result"')
        if not driver.header and not driver.map.columns:
            raise DriverOptionError("header", "a table without header and `columns`", "number the columns from 1")
        return driver

    def fingerprint(self, payload: bytes) -> Match:
        head, content = opened(payload)
        if head is not None:
            return Match(0.1, "a dropped file that no driver claims")
        start = content[:4000]
        if start.lstrip().startswith((b"\x0b", b"\x02", b"\x05", b"<")) or b"\x03" in start or is_of_records(content):
            return Match(0.0, "no table")
        text, _ = self.text_of(payload)
        delimiter = delimiter_of(text)
        lines = [line for line in text.splitlines()[:20] if line.strip()]
        if delimiter is not None and len(lines) >= 2 and min(line.count(delimiter) for line in lines[:2]) >= 2:
            return Match(0.1, "a table that no driver claims")
        return Match(0.0, "no table")

    def decode(self, payload: bytes) -> Decoded:
        head, _ = opened(payload)
        text, charset = self.text_of(payload)
        sender = head.name if head is not None else None
        try:
            items = tuple(self._items(text))
        except TableError as error:
            items = (Undecoded(str(error), text[:_SHOWN], 0),)
        return Decoded(items, sender=sender, charset=charset)

    def text_of(self, payload: bytes) -> tuple[str, str]:
        head, content = opened(payload)
        return file_text(content, self.encoding or (head.encoding if head is not None else None))

    def _items(self, text: str) -> Iterator[Item]:
        rows = list(self._rows(text))
        if not rows:
            raise TableError("a table without rows")
        columns = self.map if self.map.columns else guessed(list(rows[0].cells), self.map)
        if columns is None:
            raise TableError("no columns of the usual names: the link's options must name them (columns = ...)")
        for row in rows:
            yield from _results(row, columns)

    def _rows(self, text: str) -> Iterator[Row]:
        if self.format == "xml" or (self.format is None and self.row and text.lstrip().startswith("<")):
            return xml_rows(text, self.row or "")
        delimiter = self.delimiter or ("\t" if self.format == "tab" else delimiter_of(text))
        if delimiter is None or (self.format is None and text.lstrip().startswith("<")):
            raise TableError("neither a table nor XML whose rows are named")
        return rows_of(text, delimiter, header=self.header, skip=self.skip)


def _results(row: Row, columns: ColumnMap) -> Iterator[Item]:
    cells = row.cells
    specimen = columns.of(cells, "specimen")
    if not columns.results:
        code = columns.of(cells, "code")
        if code is None:
            yield Undecoded("a row without a test", "\t".join(cells.values())[:_SHOWN], row.number)
            return
        yield _observation(row, columns, code, columns.of(cells, "value"), columns.of(cells, "unit"))
        return
    found = False
    for test in columns.tests(cells):
        if columns.value(cells[test]) is not None:
            found = True
            yield _observation(row, columns, test, cells[test], (columns.units or {}).get(test))
    if not found:
        yield InstrumentEvent("row without results", specimen, "\t".join(cells.values())[:_SHOWN], record=row.number)


def _observation(row: Row, columns: ColumnMap, code: str, value: str | None, unit: str | None) -> Observation:
    cells = row.cells
    specimen, comment = columns.of(cells, "specimen"), columns.of(cells, "comment")
    return Observation(
        specimen=specimen,
        code=code,
        value=columns.value(value),
        unit=unit,
        flags=tuple((columns.of(cells, "flags") or "").split()),
        observed_at=columns.time(cells),
        reference_range=columns.of(cells, "reference_range"),
        status=columns.of(cells, "status"),
        name=columns.of(cells, "name"),
        dilution=columns.of(cells, "dilution"),
        operator=columns.of(cells, "operator"),
        module=columns.of(cells, "module"),
        reagent_lot=columns.of(cells, "reagent_lot"),
        rack=columns.of(cells, "rack"),
        position=columns.of(cells, "position"),
        comments=(comment,) if comment else (),
        qc=QcMark(material=specimen) if columns.is_control(cells) else None,
        record=row.number,
    )


def _delimiter(options: Mapping[str, object]) -> str | None:
    found = text_option(options, "delimiter")
    if found is not None and len(found) != 1:
        raise DriverOptionError("delimiter", f"not taken: {found!r}", 'one character, such as ";" or "\\t"')
    return found
