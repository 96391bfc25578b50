"""A visit as a file for the phone's calendar (iCalendar, RFC 5545). Pure.

Calendars are shared and shown on locked screens: no department, doctor or patient's name, as in the messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

LINE_OCTETS = 75


@dataclass(frozen=True, slots=True)
class Visit:
    uid: str
    made_at: datetime
    from_at: datetime
    to_at: datetime
    summary: str
    description: str
    link: str
    changes: int


def calendar_file(visit: Visit, *, alarm_minutes: int = 120) -> bytes:
    """One event with an alarm before it; times in UTC, which every calendar shows in its own zone."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Xinglin//Registration//ZH",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        "BEGIN:VEVENT",
        f"UID:{_text(visit.uid)}",
        f"SEQUENCE:{visit.changes}",
        f"DTSTAMP:{_moment(visit.made_at)}",
        f"DTSTART:{_moment(visit.from_at)}",
        f"DTEND:{_moment(visit.to_at)}",
        f"SUMMARY:{_text(visit.summary)}",
        f"DESCRIPTION:{_text(visit.description)}",
        f"URL:{visit.link}",
        "CLASS:PRIVATE",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        f"DESCRIPTION:{_text(visit.summary)}",
        f"TRIGGER:-PT{alarm_minutes}M",
        "END:VALARM",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return b"".join(_folded(each) for each in lines)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(text: str) -> str:
    """Section 3.3.11."""
    kept = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return kept.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")


def _folded(line: str) -> bytes:
    """Section 3.1: at most 75 octets a line, never cut within a character."""
    pieces: list[bytes] = []
    piece = b""
    for character in line:
        octets = character.encode()
        if len(piece) + len(octets) > LINE_OCTETS - (1 if pieces else 0):
            pieces.append(piece)
            piece = b""
        piece += octets
    pieces.append(piece)
    return b"\r\n ".join(pieces) + b"\r\n"
