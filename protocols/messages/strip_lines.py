"""Lines of a printed urine strip: a mark, the name of a pad, a grade, a value with its unit, in this order or less.

``*LEU +1 70 CELL/uL``, ``NIT neg``, ``PRO ++++2000 mg/dl``, ``S.G >=1.030``, ``UBG 3.4umol/L``: what URIT, Dirui and
URiSCAN analyzers send to a printer and to a computer alike. Nothing is renamed: a grade stays as it was printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GRADE = re.compile(
    r"(?P<grade>\+\d(?![\d.])|\++|\d\s?\+|\+-|\+/-|±|-{1,2}(?!\d)|neg(?:ative)?\.?|pos(?:itive)?\.?|trace|norm(?:al)?\.?)"
    r"(?=$|[\s\d<>.=])\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_VALUE = re.compile(r"(?P<value>(?:[<>]=?|≤|≥)?\s*[+-]?\d+(?:\.\d+)?)\s*(?P<unit>.*)$")


@dataclass(frozen=True, slots=True)
class StripLine:
    name: str
    value: str | None
    """The number where one is printed, else the grade."""
    unit: str | None
    grade: str | None
    """What is printed before a number."""
    is_marked: bool
    """The analyzer put its mark of an abnormal result before the name."""


def strip_line(line: str, names: frozenset[str]) -> StripLine | None:
    """`line` as the result of a pad in `names` (upper case, without dots); None for any other line."""
    match = re.match(r"\s*([*!]?)\s*([A-Za-z][A-Za-z.:]*)\s*[:=]?\s*(?=[^A-Za-z]|$|neg|pos|trace|norm)(.*)$", line)
    if match is None or _plain(match[2]) not in names:
        return None
    rest, is_marked = match[3].strip(), bool(match[1])
    if rest.endswith(("*", "!")):
        rest, is_marked = rest[:-1].rstrip(), True
    graded = _GRADE.match(rest)
    grade = graded["grade"] if graded is not None else None
    valued = _VALUE.match(graded["rest"] if graded is not None else rest)
    if valued is not None:
        value, unit = valued["value"].replace(" ", ""), valued["unit"].strip()
    else:  # a word: ``- neg``, or one that is no grade
        value, unit = (graded["rest"] if graded is not None else rest).strip(), ""
    return StripLine(
        name=match[2].rstrip(":."),
        value=value or grade or None,
        unit=unit or None,
        grade=grade if value else None,
        is_marked=is_marked,
    )


def _plain(name: str) -> str:
    return name.replace(".", "").rstrip(":").upper()
