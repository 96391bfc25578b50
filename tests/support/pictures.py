"""Pages of a PDF as grey pictures, by poppler's pdftoppm; skipped with the reason where that is not installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def first_page(pdf: bytes, *, dpi: int) -> memoryview:
    """The first page, one byte a pixel, rows by columns, as a barcode reader takes it."""
    program = shutil.which("pdftoppm")
    if program is None:
        pytest.skip("pdftoppm (poppler) is not installed: the page cannot be looked at")
    done = subprocess.run(
        [program, "-r", str(dpi), "-gray", "-f", "1", "-l", "1", "-"], input=pdf, capture_output=True, check=True
    )
    kind, width, height, _depth, *_ = done.stdout.split(maxsplit=4)
    if kind != b"P5":
        raise ValueError(f"pdftoppm gave {kind!r}, not a grey picture")
    rows, columns = int(height), int(width)
    return memoryview(done.stdout[-rows * columns :]).cast("B", shape=[rows, columns])
