"""Places of a rack: their names in the order they are filled. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

_NAME = re.compile(r"^([A-Z])(\d{1,2})$")


def places(rows: int, columns: int) -> list[str]:
    """A1, A2 ... B1 ...: row by row, as a person fills a rack."""
    return [f"{chr(ord('A') + row)}{column}" for row in range(rows) for column in range(1, columns + 1)]


def next_free(rows: int, columns: int, taken: Collection[str]) -> str | None:
    """The first place that is free; None in a full rack."""
    return next((each for each in places(rows, columns) if each not in taken), None)


def is_place(name: str, rows: int, columns: int) -> bool:
    """Whether a rack of this size has such a place."""
    match = _NAME.match(name)
    return bool(match) and ord(match[1]) - ord("A") < rows and 1 <= int(match[2]) <= columns if match else False
