"""Which column of a table is what: the map of an instrument that nobody wrote a driver for, as data.

A map comes from the settings of one link (`[links.options]`). Columns are named as the table's header names them, or by
number from 1 where it has none. Every mistake in it is a `DriverOptionError` with its cure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from protocols.errors import DriverOptionError
from protocols.messages.printed_times import DateOrder, iso_clock, iso_date
from protocols.messages.times import iso_time

FIELDS = (
    "specimen", "code", "name", "value", "unit", "flags", "reference_range", "observed_at", "date", "time", "status",
    "dilution", "operator", "module", "reagent_lot", "rack", "position", "comment", "qc",
)  # fmt: skip
_COMMON: Mapping[str, tuple[str, ...]] = {
    "specimen": (
        "sample id",
        "sampleid",
        "sample",
        "sample no",
        "sample no.",
        "specimen",
        "barcode",
        "accession",
        "id",
        "样本号",
        "条码",
    ),
    "code": ("test", "test code", "item", "parameter", "analyte", "assay", "code", "项目", "检验项目"),
    "value": ("result", "value", "concentration", "结果", "检验结果"),
    "unit": ("unit", "units", "单位"),
    "flags": ("flag", "flags", "标志"),
    "reference_range": ("range", "reference range", "ref range", "reference", "参考范围", "参考值"),
    "observed_at": ("date time", "datetime", "result time", "test time", "检验时间", "测试时间"),
}  # fmt: skip
"""Names that tables give their columns; taken only where a link says nothing."""


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """`columns`: field to column name. With `results` the table is wide: each of those columns is a test."""

    columns: Mapping[str, str]
    results: tuple[str, ...] = ()
    """Column names, or "*": every column that the map does not name."""
    units: Mapping[str, str] | None = None
    """Of a wide table: column name to unit."""
    qc_values: tuple[str, ...] = ()
    """What stands in the column `qc` of a control."""
    date_order: DateOrder | None = None
    decimal_comma: bool = False
    no_value: tuple[str, ...] = ("",)

    def of(self, cells: Mapping[str, str], field: str) -> str | None:
        name = self.columns.get(field)
        if name is None:
            return None
        if name not in cells and name.isdecimal() and 1 <= int(name) <= len(cells):
            return list(cells.values())[int(name) - 1] or None
        return cells.get(name) or None

    def value(self, sent: str | None) -> str | None:
        if sent is None or sent in self.no_value:
            return None
        return re.sub(r"(?<=\d),(?=\d)", ".", sent) if self.decimal_comma else sent

    def time(self, cells: Mapping[str, str]) -> str | None:
        sent = self.of(cells, "observed_at")
        if sent is None:
            day, clock = self.of(cells, "date"), self.of(cells, "time")
            sent = " ".join(each for each in (day, clock) if each)
        return printed_time(sent, self.date_order) if sent else None

    def is_control(self, cells: Mapping[str, str]) -> bool:
        return bool(self.qc_values) and self.of(cells, "qc") in self.qc_values

    def tests(self, cells: Mapping[str, str]) -> Sequence[str]:
        """Of a wide table: the columns that are results."""
        if self.results == ("*",):
            return [name for name in cells if name not in self.columns.values()]
        return [name for name in self.results if name in cells]


def printed_time(sent: str, order: DateOrder | None) -> str:
    """ISO 8601 where date and time can be told apart and the order of the date is known; else as it was sent."""
    compact = iso_time(sent.replace("T", " ").strip())
    if compact is not None and compact != sent.strip():
        return compact
    day, _, clock = sent.strip().replace("T", " ").partition(" ")
    date, time = iso_date(day, order), iso_clock(clock)
    if date is None or (clock.strip() and time is None):
        return sent
    return f"{date}T{time}" if time else date


def guessed(names: Sequence[str], given: ColumnMap) -> ColumnMap | None:
    """`given`, with the columns of names that many tables give; None where specimen or result is not told."""
    lower = {name.strip().lower(): name for name in names}
    columns = {
        field: lower[common]
        for field, known in _COMMON.items()
        if (common := next((each for each in known if each in lower), None)) is not None
    }
    return replace(given, columns=columns) if {"specimen", "code", "value"} <= set(columns) else None


def read_map(options: Mapping[str, object]) -> ColumnMap:
    """The map in a link's options, without columns where they name none. Raises `DriverOptionError`."""
    columns = options.get("columns", {})
    if not isinstance(columns, dict) or ("columns" in options and not columns):
        raise DriverOptionError("columns", "is no table", 'write columns = { specimen = "Sample ID", ... }')
    for field, name in columns.items():
        if field not in FIELDS:
            raise DriverOptionError(f"columns.{field}", "is no field of a result", f"known: {', '.join(FIELDS)}")
        if not isinstance(name, str | int) or isinstance(name, bool) or name == "" or name == 0:
            cure = "write the column's name in quotes, or its number from 1"
            raise DriverOptionError(f"columns.{field}", f"not taken: {name!r}", cure)
    results = _names(options, "results")
    if columns or results:
        _complete(columns, results)
    return ColumnMap(
        columns={field: str(name) for field, name in columns.items()},
        results=results,
        units=_units(options),
        qc_values=_names(options, "qc_values"),
        date_order=date_order(options),
        decimal_comma=flag(options, "decimal_comma"),
        no_value=("", *_names(options, "no_value")),
    )


def _complete(columns: Mapping[str, object], results: tuple[str, ...]) -> None:
    wanted = {"specimen"} if results else {"specimen", "code", "value"}
    missing = sorted(wanted - set(columns))
    if missing:
        cure = "name the column; a table with one column for each test lists them in results = [...]"
        raise DriverOptionError("columns", f"{' and '.join(missing)} not named", cure)


def _names(options: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = options.get(key, ())
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(each, str) for each in listed):
        raise DriverOptionError(key, f"not taken: {value!r}", 'write a list of names, such as ["WBC", "RBC"]')
    return tuple(listed)


def _units(options: Mapping[str, object]) -> Mapping[str, str] | None:
    value = options.get("units")
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise DriverOptionError("units", f"not taken: {value!r}", 'write units = { WBC = "10*9/L", ... }')
    return value


def date_order(options: Mapping[str, object]) -> DateOrder | None:
    value = options.get("date_order")
    if value is None:
        return None
    if value not in tuple(DateOrder):
        raise DriverOptionError("date_order", f"not taken: {value!r}", 'write "ymd", "dmy" or "mdy"')
    return DateOrder(str(value))


def flag(options: Mapping[str, object], key: str, default: bool = False) -> bool:
    value = options.get(key, default)
    if not isinstance(value, bool):
        raise DriverOptionError(key, f"not taken: {value!r}", "write true or false")
    return value


def text_option(options: Mapping[str, object], key: str, choices: Sequence[str] = ()) -> str | None:
    value = options.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or (choices and value not in choices):
        cure = f"take one of {', '.join(choices)}" if choices else "write text in quotes"
        raise DriverOptionError(key, f"not taken: {value!r}", cure)
    return value


def encoding_option(options: Mapping[str, object]) -> str | None:
    found = text_option(options, "encoding")
    if found is not None:
        try:
            "".encode(found)
        except (LookupError, ValueError):
            cure = 'such as "gb18030", "utf-8", "utf-16", "latin-1"'
            raise DriverOptionError("encoding", f"unknown: {found!r}", cure) from None
    return found


def only(options: Mapping[str, object], known: Sequence[str]) -> None:
    """Raises `DriverOptionError` for an option that nobody reads."""
    for key in options:
        if key not in known:
            raise DriverOptionError(key, "is no option of this driver", f"known: {', '.join(known)}")


MAP_OPTIONS = ("columns", "results", "units", "qc_values", "date_order", "decimal_comma", "no_value")
