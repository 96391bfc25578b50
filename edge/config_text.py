"""A configuration as the text of a TOML file: for one that the box made itself, of parts of two others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, fields

from edge.config import BoxConfig, Closed, LinkSection

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def text_of(config: BoxConfig, why: str) -> str:
    """What differs from the defaults, with absolute paths, so that the file means the same in any folder."""
    parts = ["# " + "".join(each if each.isprintable() else " " for each in line) for line in why.splitlines()]
    for field in fields(config):
        section = getattr(config, field.name)
        if isinstance(section, Closed) and (table := _table(section)):
            parts += ["", f"[{field.name}]", *table]
    for link in config.links:
        parts += ["", "[[links]]", *_table(link)]
    return "\n".join(parts) + "\n"


def with_link(config: BoxConfig, link: str, section: LinkSection | None) -> tuple[LinkSection, ...]:
    """The links with this one as `section` says, or without it."""
    kept = tuple(section if each.id == link and section is not None else each for each in config.links)
    return kept if section is not None else tuple(each for each in kept if each.id != link)


def _table(section: Closed) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in _given(section).items()]


def _given(section: Closed) -> dict[str, Any]:
    defaults = {each.name: each.default for each in fields(section)}
    values = asdict(section)
    return {
        key: value
        for key, value in values.items()
        if value is not None and (key == "kind" or (value != defaults[key] and value != {}))
    }


def _value(value: Any) -> str:
    if isinstance(value, Closed):
        return _value(_given(value))
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(key))} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Path):
        return _quoted(str(value))
    return _quoted(value) if isinstance(value, str) else repr(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but DEL, which TOML wants escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
