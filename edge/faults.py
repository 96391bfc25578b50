"""How a fault of our own goes to the log: what and where, without its message, which may hold a patient's value."""

from __future__ import annotations

import traceback
from pathlib import Path


def where(fault: BaseException) -> str:
    """``KeyError at session.py:120 in _answer``."""
    frames = traceback.extract_tb(fault.__traceback__)
    if not frames:
        return type(fault).__name__
    last = frames[-1]
    return f"{type(fault).__name__} at {Path(last.filename).name}:{last.lineno} in {last.name}"
