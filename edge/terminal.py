"""What an instrument sent, printed on any terminal: no control code of it acts there, no character set stops it."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import Any, TextIO

_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Control codes, C1 codes (an 8-bit terminal obeys them) and characters that turn the direction of writing."""
_ACTING_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """`text` with every character that a terminal would obey written as an escape."""
    return _ACTING.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_line(data: Any, out: TextIO | None = None) -> str:
    """One JSON object for `out`: characters as they are where it can write them, else as ``\\u`` escapes."""
    encoding = (getattr(out or sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    plain = encoding in ("utf-8", "utf8", "utf-16", "gb18030")
    text = json.dumps(data, ensure_ascii=not plain)
    return _ACTING_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def write_line(text: str, out: TextIO | None = None) -> None:
    """A line of text; what the terminal's character set lacks is written as an escape."""
    target = out or sys.stdout
    encoding = getattr(target, "encoding", None) or "utf-8"
    target.write(text.encode(encoding, errors="backslashreplace").decode(encoding) + "\n")


def width(text: str) -> int:
    """Columns that `text` takes: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def columns(rows: list[list[str]], *, longest: int = 60) -> list[str]:
    """`rows` (the first is the heading) as lines with aligned columns; the last column is not cut."""
    shown = [[visible(cell) for cell in row] for row in rows]
    shown = [[*(_cut(cell, longest) for cell in row[:-1]), row[-1]] for row in shown]
    wide = [max(width(row[place]) for row in shown) for place in range(len(shown[0]))]
    return [
        "  ".join(cell + " " * (wide[place] - width(cell)) for place, cell in enumerate(row)).rstrip() for row in shown
    ]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
