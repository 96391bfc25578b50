"""Fields that stand in fixed columns, as data: where each begins and how wide it is, counted in characters from 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    start: int
    width: int

    @property
    def end(self) -> int:
        return self.start + self.width

    def of(self, text: str) -> str:
        """The field without its padding; "" where the text is too short."""
        return text[self.start : self.end].strip()

    def raw(self, text: str) -> str:
        """The field with its padding, as wide as it should be."""
        return text[self.start : self.end].ljust(self.width)


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that come again and again from `start` to the end of a text; a part that is cut off is given as it is."""

    start: int
    width: int

    def of(self, text: str) -> Iterator[str]:
        rest = text[self.start :].rstrip()
        for place in range(0, len(rest), self.width):
            yield rest[place : place + self.width]


def in_a_row(*widths: int, start: int = 0) -> tuple[Column, ...]:
    """Columns side by side."""
    columns = []
    for width in widths:
        columns.append(Column(start, width))
        start += width
    return tuple(columns)
