"""Where each key of a TOML file stands, so that a mistake can name its line. `tomllib` reads values but forgets lines.

A tolerant scanner, used after `tomllib` has accepted the file: it knows headers, dotted and quoted keys, strings and
brackets over several lines. Keys of an inline table count as standing where their table starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]

_KEY_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_STRING_OR_BRACKET = re.compile(r'"""|\'\'\'|"|\'|#|[\[\]{}]|\n')


class Lines:
    """Line numbers (from 1) by path, for example ``("links", 0, "port")``."""

    def __init__(self, text: str) -> None:
        self._found: dict[Path, int] = {(): 1}
        self._arrays: dict[Path, int] = {}
        self._scan(text)

    def of(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that the file names."""
        while path not in self._found:
            path = path[:-1]
        return self._found[path]

    def _scan(self, text: str) -> None:
        table: Path = ()
        for line, statement in _statements(text):
            if statement.startswith("[["):
                table = self._element(_key(statement[2:])[0])
            elif statement.startswith("["):
                table = self._inside(_key(statement[1:])[0])
            else:
                parts, _ = _key(statement)
                for depth in range(1, len(parts) + 1):
                    self._found.setdefault(table + parts[:depth], line)
                continue
            self._found.setdefault(table, line)

    def _element(self, parts: Path) -> Path:
        """The table that a ``[[header]]`` starts: the next element of its array."""
        array = self._inside(parts)
        self._arrays[array] = self._arrays.get(array, -1) + 1
        return (*array, self._arrays[array])

    def _inside(self, parts: Path) -> Path:
        """``links.port`` is inside the latest element of ``[[links]]``."""
        path: Path = ()
        for position, part in enumerate(parts):
            path = (*path, part)
            if path in self._arrays and position < len(parts) - 1:
                path = (*path, self._arrays[path])
        return path


def _key(text: str) -> tuple[Path, int]:
    """The dotted key that `text` starts with, and where it ends."""
    parts: list[str] = []
    position = 0
    while match := _KEY_PART.match(text, position):
        parts.append(next(each for each in match.groups() if each is not None))
        position = match.end()
        if text[position : position + 1] != ".":
            break
        position += 1
    return tuple(parts), position


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header or assignment with the line it starts on; comments and blank lines left out."""
    position, line = 0, 1
    while position < len(text):
        end = _end_of_statement(text, position)
        statement = text[position:end]
        stripped = statement.strip()
        if stripped and not stripped.startswith("#"):
            yield line, stripped
        line += statement.count("\n") + 1
        position = end + 1


def _end_of_statement(text: str, position: int) -> int:
    """Index of the newline that ends the statement: not one inside brackets or a multi-line string."""
    depth = 0
    while match := _STRING_OR_BRACKET.search(text, position):
        mark, position = match[0], match.end()
        if mark == "\n" and depth <= 0:
            return match.start()
        if mark == "#":
            position = _find(text, "\n", position)
        elif mark in ('"""', "'''", '"', "'"):
            position = _end_of_string(text, mark, position)
        elif mark != "\n":
            depth += 1 if mark in "[{" else -1
    return len(text)


def _end_of_string(text: str, quote: str, position: int) -> int:
    end = _find(text, quote, position)
    while '"' in quote and end < len(text) and _backslashes_before(text, end) % 2:
        end = _find(text, quote, end + 1)
    return end + len(quote)


def _backslashes_before(text: str, position: int) -> int:
    return position - len(text[:position].rstrip("\\"))


def _find(text: str, what: str, position: int) -> int:
    found = text.find(what, position)
    return len(text) if found < 0 else found
