"""BD FACSCalibur flow cytometer with MultiSET: a table of tabs that the program exports, a row for each sample.

Source: a capture of an export (MultiSET 2.2: 278 columns, 14 samples). Column names are the program's and stay the
codes of the results; a dot is no value. A column that counts (percent, absolute count, ratio, events) is a result, the
others describe the sample or the tube they name in front. Error codes of a tube are the flags of its results; columns
of control beads (Ctrl L, M, H) are controls. Rows end with CR alone, as a Macintosh writes them: the characters are
read as Mac Roman (the capture's only high byte is a µ, in Latin-1 as well).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.file_driver import FileDriver
from protocols.links.file_drop import opened
from protocols.messages.printed_times import iso_clock, iso_date
from protocols.messages.table import Row, TableError, rows_of
from protocols.model import Decoded, Item, Observation, QcMark, Undecoded

_MARKS = (b"Cytometer\t", b"\tPanel Name\t", b"\tSample ID\t")
_NO_VALUE = {"", "."}
_RESULT = re.compile(
    r"^(?:WBC Count .*|Lymphs \(.*|Lymphosum|T Helper/Suppressor Ratio|.*%.*|.*Abs Cnt|.* T H/S Ratio|.* Events)$"
)
_TUBE = re.compile(r"^(\S+/\S+(?: TruC)?(?: Ctrl [LMH])?) (.+)$")
_CONTROL = re.compile(r" Ctrl ([LMH])$")


class BdFacscalibur(FileDriver):
    id: ClassVar[str] = "bd_facscalibur"
    vendor: ClassVar[str] = "BD Biosciences"
    models: ClassVar[tuple[str, ...]] = ("FACSCalibur",)
    source: ClassVar[str] = "capture of an export of MultiSET 2.2"
    status: ClassVar[Status] = Status.CAPTURED
    charset: ClassVar[str | None] = "mac_roman"

    def fingerprint(self, payload: bytes) -> Match:
        head = re.split(rb"[\r\n]", opened(payload)[1], maxsplit=1)[0]
        if all(mark in head for mark in _MARKS):
            return Match(0.95, "columns of a MultiSET export (Cytometer, Panel Name, Sample ID)")
        return Match(0.0, "no columns of a MultiSET export")

    def decode(self, payload: bytes) -> Decoded:
        text, charset = self.text_of(payload)
        try:
            rows = list(rows_of(text, "\t"))
        except TableError as error:
            return Decoded((Undecoded(str(error), text[:2000], 0),), charset=charset)
        if not rows or "Sample ID" not in rows[0].cells:
            return Decoded((Undecoded("a table without samples", text[:2000], 0),), charset=charset)
        items = [item for row in rows for item in _results(row)]
        return Decoded(tuple(items), sender=rows[0].cells.get("Software Version"), charset=charset)


def _results(row: Row) -> Iterator[Item]:
    cells = row.cells
    specimen = _value(cells, "Sample ID")
    found = [name for name, value in cells.items() if value not in _NO_VALUE and _RESULT.match(name)]
    for name in found:
        tube = _tube(name)
        errors = _value(cells, f"{tube} Error Codes") if tube else None
        yield Observation(
            specimen=specimen,
            code=name,
            value=cells[name],
            unit="%" if "%" in name else None,
            flags=tuple(dict.fromkeys(errors.split(";"))) if errors else (),
            observed_at=_time(cells, tube),
            operator=_value(cells, "Operator"),
            module=_value(cells, "Cytometer Serial Number"),
            reagent_lot=_value(cells, f"{tube} Lot ID") if tube else None,
            qc=_control(tube, cells),
            record=row.number,
        )
    if not found:
        yield Undecoded("a sample without a result", "\t".join(cells.values())[:2000], row.number)


def _tube(name: str) -> str | None:
    match = _TUBE.match(name)
    return match[1] if match is not None else None


def _control(tube: str | None, cells: Mapping[str, str]) -> QcMark | None:
    match = _CONTROL.search(tube or "")
    if match is None:
        return None
    return QcMark(_value(cells, "Control Bead Name"), match[1], _value(cells, "Control Bead Lot ID"))


def _time(cells: Mapping[str, str], tube: str | None) -> str | None:
    """``06-Janvier-15 12:26:43``: the collection's date with the tube's own time, where it has one."""
    sent = _value(cells, "Collection Date")
    if sent is None:
        return None
    day, _, clock = sent.rpartition(" ")
    date, time = iso_date(day or sent, None), iso_clock((tube and _value(cells, f"{tube} Collection Time")) or clock)
    return f"{date}T{time}" if date and time else sent


def _value(cells: Mapping[str, str], name: str) -> str | None:
    value = cells.get(name, "")
    return None if value in _NO_VALUE else value
