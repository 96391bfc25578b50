"""What the analyzers sent against what the phone and the paper say, line by line and by value."""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from pypdf import PdfReader

from simulators.demo.calculated import calculated
from simulators.demo.pages import Element
from simulators.demo.printed import Printed, names, printed
from simulators.ledger import Entry

Lines = Counter[Printed]
_RAISED = re.compile("(?<=10)[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


@dataclass(slots=True)
class Sent:
    """What one analyzer put on the wire for patients, by its own ledger."""

    by_specimen: dict[str, Lines] = field(default_factory=lambda: defaultdict(Counter))
    observations: int = 0
    messages: dict[tuple[str, int], Entry] = field(default_factory=dict)
    """(analyzer, number) → the message."""
    acknowledged: dict[tuple[str, int], float] = field(default_factory=dict)
    """(analyzer, number) → when the box took it over."""
    attempts: Counter[tuple[str, int]] = field(default_factory=Counter)
    queries: int = 0
    queries_answered: int = 0

    def take(self, entry: Entry) -> None:
        """One line of an analyzer's ledger."""
        event, source = entry["event"], entry["source"]
        if event == "message" and entry["kind"] == "patient":
            self.messages[source, entry["message"]] = entry
            for each in entry["observations"]:
                line = printed(source, each["code"], each["value"], each["unit"])
                self.by_specimen[each["specimen"]][line] += 1
                self.observations += 1
        elif event == "sending":
            self.attempts[source, entry["message"]] += 1
        elif event == "acknowledged":
            self.acknowledged[source, entry["message"]] = entry["t"]
        elif event == "query":
            self.queries += 1
        elif event == "answered" and entry["codes"]:
            self.queries_answered += 1

    @property
    def being_sent(self) -> int:
        """Messages that went out at least once and are not acknowledged."""
        return sum(1 for key in self.messages if key in self.attempts and key not in self.acknowledged)

    @property
    def sent_again(self) -> int:
        """Messages that had to go out more than once."""
        return sum(1 for key, count in self.attempts.items() if count > 1 and key in self.messages)


@dataclass(frozen=True, slots=True)
class Difference:
    """How one copy of a report differs from what was sent."""

    lost: int
    duplicated: int
    words: tuple[str, ...] = ()


def differences(sent: Lines, seen: Lines) -> Difference:
    """A line that was sent and is not seen with its value and unit is lost; a name seen more often is duplicated."""
    lost = sent - seen
    sent_names, seen_names = _by_name(sent), _by_name(seen)
    more = {name: count - sent_names[name] for name, count in seen_names.items() if count > sent_names[name]}
    for name in calculated(sent, seen):
        del more[name]
    words = [f"lost {each.name} {each.value} {each.unit}" for each in lost]
    words += [f"{count} too many of {name}" for name, count in more.items()]
    return Difference(sum(lost.values()), sum(more.values()), tuple(words))


def _by_name(lines: Lines) -> Counter[str]:
    found: Counter[str] = Counter()
    for line, count in lines.items():
        found[line.name] += count
    return found


def read_phone(page: Element) -> Lines:
    """The lines a patient reads on the report page: name, value in bold, unit in small print."""
    found: Lines = Counter()
    for each in page.with_class("indicator"):
        name = _own_text(each.with_class("indicator-name"))
        values = each.with_class("indicator-value")
        strong, small = values[0].first("strong"), values[0].first("small")
        if strong is not None:
            found[Printed(name, _number(strong.text), _unit(small.text) if small is not None else "")] += 1
    return found


def _unit(text: str) -> str:
    """A unit as it is typed: raised digits (10⁹/L) are an exponent (10^9/L)."""
    return _RAISED.sub(lambda found: "^" + found.group().translate(_LOWERED), text.strip())


def _own_text(elements: list[Element]) -> str:
    """The first element's text without that of its children (the short name stands in small print)."""
    return " ".join("".join(each for each in elements[0].children if isinstance(each, str)).split()) if elements else ""


def read_paper(document: bytes) -> Lines:
    """The lines of a printed report, from the text of its PDF."""
    text = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(document)).pages)
    return read_rows(text.split("\n"))


def read_rows(rows: Iterable[str]) -> Lines:
    """Rows `number name [short] value [mark word] unit range ...`; what is no such row is passed over."""
    patterns = [(name, _row_pattern(name)) for name in names()]
    found: Lines = Counter()
    for row in _whole(rows):
        for name, pattern in patterns:
            if (line := pattern.match(row)) is not None:
                found[Printed(name, _number(line["value"]), _unit(line["unit"]))] += 1
    return found


_BEGINS = re.compile(r"\s*\d+\s+(?:[\u4e00-\u9fffαγ]|C\s?反)")
"""A number and the first letter of a name."""


def _whole(rows: Iterable[str]) -> Iterable[str]:
    """Rows of the table with what a narrow column broke into further lines."""
    row = ""
    for each in rows:
        if _BEGINS.match(each):
            yield row
            row = each
        else:
            row += " " + each
    yield row


def _row_pattern(name: str) -> re.Pattern[str]:
    """A report's row for `name`. Between Chinese and Latin letters a printed page has a gap that reads as a blank."""
    spaced = r"\s?".join(re.escape(each) for each in name)
    short, mark = r"(?:[^\W\d]\S*\s+)?", r"(?:\s*[↑↓*]+(?:\s+(?:高|低|异常|危\s?急))?)?"
    return re.compile(rf"^\s*\d+\s+{spaced}\s+{short}(?P<value>\S+?){mark}\s+(?P<unit>\S+)")


def _number(text: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return Decimal("NaN")


def total(by_specimen: Mapping[str, Lines]) -> int:
    return sum(sum(lines.values()) for lines in by_specimen.values())
