"""The staff navigation: each slice registers its own entries, the layout shows those the person may use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One place to go. `label` and `group` are Chinese sentences marked with ``N_``; translated when shown."""

    label: str
    href: str
    permission: str
    """Only who has it sees the entry."""
    group: str
    position: int
    """Order within everything, rising; tens leave room."""
    key: str | None = None
    """Keys pressed one after the other, e.g. ``g r``; shown on ``?``."""


_entries: dict[str, Entry] = {}


def add(label: str, href: str, *, permission: str, group: str, position: int, key: str | None = None) -> None:
    """Register an entry (at import of the slice's routes). One address, one entry."""
    _entries[href] = Entry(label, href, permission, group, position, key)


def every_entry() -> list[Entry]:
    """Of all slices that have been imported."""
    return list(_entries.values())


def for_permissions(permissions: Collection[str]) -> list[Entry]:
    """The entries that these permissions open, in order."""
    found = [entry for entry in _entries.values() if entry.permission in permissions]
    return sorted(found, key=lambda entry: (entry.position, entry.href))


def current(path: str) -> str | None:
    """The address of the entry that the page at `path` belongs to: of those that lead there, the longest."""
    leading = [href for href in _entries if path == href or path.startswith(f"{href}/")]
    return max(leading, key=len, default=None)


def groups(permissions: Collection[str]) -> list[tuple[str, list[Entry]]]:
    """The same, by group, groups in the order of their first entry."""
    by_group: dict[str, list[Entry]] = {}
    for entry in for_permissions(permissions):
        by_group.setdefault(entry.group, []).append(entry)
    return list(by_group.items())
