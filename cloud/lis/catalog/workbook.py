"""The workbook itself: bytes of an .xlsx out, cells of one in. Nothing in it is ever evaluated.

A file from outside is bounded before it is opened: an .xlsx is a zip, and a small one may unpack to gigabytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException

from cloud.kit.errors import Invalid
from cloud.web.i18n import mark as N_

LARGEST = 8 << 20
LARGEST_UNPACKED = 200 << 20
MOST_ROWS = 50_000
MOST_COLUMNS = 60
_HEAD = PatternFill("solid", fgColor="E6F0EE")


@dataclass(frozen=True, slots=True)
class Page:
    """One sheet as it is written."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()
    """Columns whose cells are numbers (so that a spreadsheet program can sort them)."""


def written(pages: Iterable[Page]) -> bytes:
    """The file."""
    book = Workbook(write_only=True)
    for page in pages:
        sheet = book.create_sheet(page.title)
        sheet.freeze_panes = "B2"
        for at, heading in enumerate(page.headings, 1):
            longest = max([len(heading) * 2, *(len(row[at - 1]) for row in page.rows[:200])], default=8)
            sheet.column_dimensions[get_column_letter(at)].width = min(max(longest + 2, 8), 48)
        head = [WriteOnlyCell(sheet, heading) for heading in page.headings]
        for cell in head:
            cell.font, cell.fill = Font(bold=True), _HEAD
        sheet.append(head)
        for row in page.rows:
            sheet.append([_cell(sheet, text, number=at in page.numbers) for at, text in enumerate(row)])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _cell(sheet: Any, text: str, *, number: bool) -> Any:
    if not text:
        return None
    if number:
        value = Decimal(text)
        return WriteOnlyCell(sheet, int(value) if value == value.to_integral_value() else float(value))
    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"  # a text that begins with "=" is no formula
    return cell


@dataclass(frozen=True, slots=True)
class ReadRow:
    """One row: its number in the sheet, and the texts of its cells by column number from 0."""

    number: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class ReadPage:
    title: str
    headings: list[str]
    rows: list[ReadRow]


def read(data: bytes) -> list[ReadPage]:
    """Every sheet with something in it. Raises `Invalid` for what is no workbook or too large."""
    _bounded(data)
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        return [page for page in (_page(sheet) for sheet in book.worksheets) if page.headings]
    except (InvalidFileException, KeyError, ValueError, SyntaxError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise Invalid("workbook.unreadable", N_("读不出这个文件，请用 .xlsx 格式另存后再试。")) from error


def _bounded(data: bytes) -> None:
    if len(data) > LARGEST:
        raise Invalid("workbook.large", N_("文件超过 8 MB，请分开导入。"))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(each.file_size for each in archive.infolist())
    except zipfile.BadZipFile as error:
        raise Invalid("workbook.unreadable", N_("读不出这个文件，请用 .xlsx 格式另存后再试。")) from error
    if unpacked > LARGEST_UNPACKED:
        raise Invalid("workbook.large", N_("文件超过 8 MB，请分开导入。"))


def _page(sheet: Any) -> ReadPage:
    lines = _lines(sheet)
    headings = next(lines, ReadRow(1, [])).cells
    while headings and not headings[-1]:
        headings.pop()
    rows = [each for each in lines if any(each.cells)]
    return ReadPage(sheet.title, headings, rows)


def _lines(sheet: Any) -> Iterator[ReadRow]:
    for number, row in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True), 1):
        if number > MOST_ROWS:
            raise Invalid("workbook.rows", N_("工作表“{sheet}”超过 {most} 行。"), sheet=sheet.title, most=MOST_ROWS)
        yield ReadRow(number, [_text(value) for value in row])


def _text(value: Any) -> str:
    """A cell as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float):
        number = Decimal(repr(value)).normalize()
        return f"{number:f}"
    if isinstance(value, datetime):
        return str(value.date())
    return str(value) if isinstance(value, date) else str(value).strip()


def cell_name(column: int, row: int) -> str:
    """As the spreadsheet program names it: column from 0, row from 1."""
    return f"{get_column_letter(column + 1)}{row}"
