"""Which release of which driver read a message: named alike on both sides, so that what an older one read is known."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from protocols.driver import Driver


@cache
def software_version() -> str:
    try:
        return metadata.version("xinglin")
    except metadata.PackageNotFoundError:
        return "source"


@cache
def version_of(driver: Driver) -> str:
    """The release and the first digits of a hash over the files of the driver's classes: it changes when they do."""
    names = sorted({each.__module__ for each in type(driver).__mro__ if each.__module__.startswith("protocols.")})
    files = [sys.modules[each].__file__ for each in names]
    try:
        source = b"".join(Path(each).read_bytes() for each in files if each)
    except OSError:  # installed without sources
        return software_version()
    return f"{software_version()}+{hashlib.sha256(source).hexdigest()[:8]}"
