"""Text as PostgreSQL can hold it: no NUL, no half of a surrogate pair. The exact bytes are in `raw` beside it."""

from __future__ import annotations

import re
from typing import Any, overload

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@overload
def storable(value: str) -> str: ...
@overload
def storable(value: str | None) -> str | None: ...
def storable(value: str | None) -> str | None:
    """`value` with each character that a text column refuses shown as U+FFFD."""
    return None if value is None else _UNSTORABLE.sub("\ufffd", str(value))


def storable_json(value: Any) -> Any:
    """The same for every text inside a JSON value; a number that JSON has no word for (NaN) becomes its text."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, dict):
        return {storable(str(key)): storable_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(each) for each in value]
    return value
