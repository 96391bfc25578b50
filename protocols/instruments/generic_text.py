"""Any instrument that sends lines of text and has no driver of its own: a printout, a CSV line, labels and values.

Source: none of one instrument; what is a sample, a result, an end is data. A link's options::

    [links.options]
    framing = "silence"            # or "stx_etx", "stx_etx_bcc", "line", "blank_line", "form_feed"
    idle_s = 2.0                   # silence that ends a text
    acknowledge = true             # ACK when it is stored, NAK when it is damaged
    delimiter = ","                # lines are rows; columns by number from 1
    columns = { specimen = 1, code = 3, value = 4, unit = 5 }
    specimen_label = "Sample ID"   # of labelled text; date_label, time_label alike
    codes = ["pH", "pCO2"]         # only these labels are results

Labelled text needs no options: a line is a result when a label is followed by a number or a word such as NEG, then a
unit and a flag. Lines that are neither stay as events, and a text without any result is carried whole, undecoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import ClassVar

from protocols.driver import Driver, Match, Status
from protocols.errors import DriverOptionError
from protocols.links.text import TextOptions
from protocols.links.text_framing import (
    ACK,
    BLANK_LINE,
    FORM_FEED,
    LINE,
    NAK,
    SILENCE,
    STX_ETX,
    STX_ETX_BCC,
    Framing,
)
from protocols.messages.column_map import (
    ColumnMap,
    date_order,
    encoding_option,
    flag,
    only,
    printed_time,
    read_map,
    text_option,
)
from protocols.messages.printed_times import DateOrder, iso_clock
from protocols.messages.record_lines import is_of_records
from protocols.model import Decoded, Observation, QcMark, Undecoded
from protocols.text_driver import SHOWN, Printed, PrintoutDriver

FRAMINGS: Mapping[str, Framing] = {
    "silence": SILENCE,
    "stx_etx": STX_ETX,
    "stx_etx_bcc": STX_ETX_BCC,
    "line": LINE,
    "blank_line": BLANK_LINE,
    "form_feed": FORM_FEED,
}
_RESULT = re.compile(
    r"\s*(?P<mark>[*!]?)\s*(?P<code>[^\W\d][\w.#%/+()-]{0,23})\s*(?:[:=]\s*|\s+)"
    r"(?P<value>[<>]=?\s*\d+(?:[.,]\d+)?|[+-]?\d+(?:[.,]\d+)?|neg(?:ative)?|pos(?:itive)?|trace|\+{1,4}|[-*.]{2,})"
    r"(?:\s*(?P<unit>%|[^\W\d]+(?:/[\w^]+)?|10[*^]\d+/\w+))?(?:\s+(?P<flag>[A-Z*!+-]{1,3}|\([A-Z]\)))?\s*$",
    re.IGNORECASE,
)
_ROW = re.compile(r"(?=[^,;|\t]*\d)[\w .:/+-]+([,;|\t])(?:[^\r\n]*\1){2}")
_SPECIMEN = re.compile(
    r"\s*(?:sample|specimen|patient|accession|barcode)?\s*(?:id|no|number|barcode)\b[. ]*[:=#]\s*(\S+)", re.IGNORECASE
)
_DATE = re.compile(r"\s*(?:date|date/time|date & time|time)\s*[:=]\s*(\S.*)$", re.IGNORECASE)
_PERSONAL = re.compile(r"\s*(?:patient\s+)?(?:name|sex|gender|age|birth|dob)\b", re.IGNORECASE)
_OPTIONS = (
    "framing", "idle_s", "acknowledge", "encoding", "delimiter", "specimen_label", "date_label", "time_label", "codes",
    "columns", "qc_values", "date_order", "decimal_comma", "no_value",
)  # fmt: skip


class GenericText(PrintoutDriver):
    id: ClassVar[str] = "generic_text"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "no instrument: labels, columns and ends as the link's options name them"
    status: ClassVar[Status] = Status.MANUAL
    link_options: TextOptions = TextOptions(SILENCE, accept=b"", refuse=b"", idle_end_s=2.0)  # type: ignore[misc]
    personal: ClassVar[re.Pattern[str] | None] = _PERSONAL
    headings: ClassVar[re.Pattern[str] | None] = re.compile(r"\s*[-=_*. ]{3,}\s*$")
    encoding: str | None = None
    delimiter: str | None = None
    map: ColumnMap | None = None
    labels: Mapping[str, re.Pattern[str]] = {"specimen": _SPECIMEN, "date": _DATE}
    codes: tuple[str, ...] = ()
    order: DateOrder | None = None

    def configured(self, options: Mapping[str, object]) -> Driver:
        only(options, _OPTIONS)
        driver = copy(self)
        columns = read_map(options)
        driver.map = columns if columns.columns else None
        driver.delimiter = text_option(options, "delimiter")
        driver.encoding, driver.order = encoding_option(options), date_order(options)
        if (driver.map is None) != (driver.delimiter is None):
            raise DriverOptionError("columns", "`columns` and `delimiter` go together", "name both or neither")
        named = {key: text_option(options, f"{key}_label") for key in ("specimen", "date", "time")}
        own = {key: re.compile(rf"\s*{re.escape(label)}\s*[:=]?\s*(\S.*)$") for key, label in named.items() if label}
        driver.labels = {**self.labels, **own}
        codes = options.get("codes", [])
        if not isinstance(codes, list) or not all(isinstance(each, str) for each in codes):
            raise DriverOptionError("codes", f"not taken: {codes!r}", 'write a list of labels, such as ["pH", "pCO2"]')
        driver.codes = tuple(codes)
        driver.link_options = _link_options(options, self.link_options)
        return driver

    def fingerprint(self, payload: bytes) -> Match:
        if payload.lstrip()[:1] in (b"<", b"\x01", b"\x0b", b"\x05") or is_of_records(payload):
            return Match(0.0, "not plain text")
        text, _ = self.characters(payload)
        if any(self._labelled(line) is not None for line in text.splitlines()[:200]):
            return Match(0.1, "lines of labels and values that no driver claims")
        if any(_ROW.match(line) for line in text.splitlines()[:200]):
            return Match(0.1, "rows of columns that no driver claims")
        return Match(0.0, "no line of a label and a value")

    def characters(self, payload: bytes) -> tuple[str, str]:
        if self.encoding is not None:
            try:
                return payload.decode(self.encoding), self.encoding
            except (ValueError, LookupError):
                pass
        return super().characters(payload)

    def decode(self, payload: bytes) -> Decoded:
        decoded = super().decode(payload)
        if any(isinstance(item, Observation) for item in decoded.items):
            return decoded
        text, charset = self.characters(payload)
        return Decoded((Undecoded("a text without a result", text[:SHOWN], 0),), charset=charset)

    def head(self, line: str, printed: Printed) -> bool:
        if self.map is not None:
            return False
        if self._is_code(line):
            return False
        for key, pattern in self.labels.items():
            found = pattern.match(line)
            if found is None:
                continue
            value = found[1].strip()
            if key == "specimen":
                printed.specimen = value
            elif key == "time":
                printed.time = iso_clock(value) or value
            else:
                printed.date = printed_time(value, self.order)
            return True
        return False

    def result(self, line: str, printed: Printed) -> Observation | None:
        return self._row(line) if self.map is not None else self._labelled(line)

    def _is_code(self, line: str) -> bool:
        found = _RESULT.match(line)
        return found is not None and found["code"] in self.codes

    def _labelled(self, line: str) -> Observation | None:
        found = _RESULT.match(line)
        if found is None or (self.codes and found["code"] not in self.codes):
            return None
        if not self.codes and (_SPECIMEN.match(line) or _DATE.match(line) or _PERSONAL.match(line)):
            return None
        value = found["value"].replace(" ", "")
        marks = (found["mark"], (found["flag"] or "").strip("()"))
        return Observation(
            specimen=None,
            code=found["code"],
            value=value if value.strip("-*.") else None,
            unit=found["unit"],
            flags=tuple(mark for mark in marks if mark),
        )

    def _row(self, line: str) -> Observation | None:
        """A line of columns; one that lacks the code or the sample is no result."""
        assert self.map is not None
        cells = {str(place): cell.strip() for place, cell in enumerate(line.split(self.delimiter or ","), start=1)}
        specimen, code = self.map.of(cells, "specimen"), self.map.of(cells, "code")
        if specimen is None or code is None:
            return None
        return Observation(
            specimen=specimen,
            code=code,
            value=self.map.value(self.map.of(cells, "value")),
            unit=self.map.of(cells, "unit"),
            flags=tuple((self.map.of(cells, "flags") or "").split()),
            observed_at=self.map.time(cells),
            qc=QcMark(material=specimen) if self.map.is_control(cells) else None,
        )


def _link_options(options: Mapping[str, object], default: TextOptions) -> TextOptions:
    name = text_option(options, "framing", tuple(FRAMINGS))
    acknowledges = flag(options, "acknowledge")
    idle = options.get("idle_s", default.idle_end_s if name in (None, "silence") else None)
    if idle is not None and (isinstance(idle, bool) or not isinstance(idle, int | float) or not 0 < idle <= 600):
        raise DriverOptionError("idle_s", f"not taken: {idle!r}", "write seconds, such as 2.0")
    return replace(
        default,
        framing=FRAMINGS[name or "silence"],
        accept=ACK if acknowledges else b"",
        refuse=NAK if acknowledges else b"",
        handshake=acknowledges,
        idle_end_s=float(idle) if idle is not None else None,
    )
