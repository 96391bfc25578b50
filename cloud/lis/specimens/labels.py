"""Tube labels, 50 x 30 mm: PDF for any printer, ZPL for label printers. Barcode is Code 128 (ISO/IEC 15417).

Patient data are handed to the templates as data: typst reads JSON, ZPL fields are hex-escaped (``^FH_``), so that no
name can become a command. The ZPL needs a 203 dpi printer with the SimSun font (``E:SIMSUN.FNT``), as sold in China.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from string import Template

import pylopdf_fonts_zh_cn
import typst
from barcode import Code128

TEMPLATES = Path(__file__).parent / "templates"
WIDTH_DOTS = 400
"""50 mm at 8 dots a millimetre."""
MARGIN_DOTS = 20


@dataclass(frozen=True, slots=True)
class Label:
    """What stands on one tube."""

    barcode: str
    name: str
    who: str
    """Sex and age."""
    number: str
    """Record number (病历号): beside the name the second thing a patient is told apart by."""
    tube: str
    tests: str
    place: str
    """Department and moment of printing."""
    urgent: str
    """"急" on a stat tube, else empty."""


def bars(text: str) -> list[int]:
    """Code 128 of `text` as widths of bar, space, bar ... in modules."""
    return [len(list(run)) for _, run in groupby(str(Code128(text).build()[0]))]


def as_pdf(labels: Sequence[Label]) -> bytes:
    """One label a page, each page 50 x 30 mm."""
    content = [{**asdict(each), "bars": bars(each.barcode)} for each in labels]
    made = typst.compile(
        str(TEMPLATES / "label.typ"),
        format="pdf",
        font_paths=[str(_fonts())],
        ignore_system_fonts=True,
        sys_inputs={"labels": json.dumps(content, ensure_ascii=False)},
    )
    if not isinstance(made, bytes):
        raise TypeError("typst gave no single PDF")
    return made


@cache
def _fonts() -> Path:
    return Path(str(pylopdf_fonts_zh_cn.sans_path())).parent


def as_zpl(labels: Sequence[Label]) -> str:
    """All labels as one ZPL II job, UTF-8."""
    template = Template((TEMPLATES / "label.zpl").read_text(encoding="utf-8"))
    return "".join(template.substitute(_zpl_fields(each)) for each in labels)


def _zpl_fields(label: Label) -> dict[str, str]:
    modules = sum(bars(label.barcode))
    module = 3 if modules * 3 + 2 * MARGIN_DOTS <= WIDTH_DOTS else 2
    fields = {name: _escaped(value) for name, value in asdict(label).items()}
    return fields | {"module": str(module), "left": str(max(MARGIN_DOTS, (WIDTH_DOTS - modules * module) // 2))}


def _escaped(text: str) -> str:
    """Everything that ZPL reads as a command, and what cannot be printed, as ``_hh`` of its UTF-8 bytes."""
    return "".join(
        each
        if each.isprintable() and each not in "^~_>\\"
        else "".join(f"_{byte:02X}" for byte in each.encode("utf-8"))
        for each in text
    )
