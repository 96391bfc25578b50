"""typst: one source text and JSON in, PDF or PNG out. Deterministic for one version of typst and of the font package.

Data are handed over as `sys.inputs`, never formatted into markup. Fonts come from a package, not from the system. The
files of `templates/paper` are one text, so that it can be stored by its hash with the reports that were set with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pylopdf_fonts_zh_cn
import typst

from cloud.kit.errors import XinglinError
from cloud.web.i18n import mark as N_

PAPER = Path(__file__).parent / "templates" / "paper"
PREVIEW_PPI = 110.0
_LONG_RUN = re.compile(r"[^\s\u2e80-\uffff]{18,}")
_NOWHERE = str(PAPER)


class Unprintable(XinglinError):
    """typst refused the document; `detail` says where. The report itself stands in the database."""

    status = 500


@cache
def source(folder: Path = PAPER) -> str:
    """The typesetting source as it is today."""
    return "\n".join(each.read_text(encoding="utf-8") for each in sorted(folder.glob("*.typ")))


@cache
def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def fonts() -> typst.Fonts:
    folder = Path(str(pylopdf_fonts_zh_cn.sans_path())).parent
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(folder)])


def typeset(
    text: str, name: str, data: Mapping[str, Any], *, timestamp: int, pictures: Mapping[str, bytes] | None = None
) -> bytes:
    """The PDF/A-2b of `text` with `data` as `sys.inputs[name]`. `pictures`: file name and content. Untagged: a million
    are kept, and tags double their size.
    """
    made = _compiled(text, name, data, pictures or {}, "pdf", timestamp)
    if not isinstance(made, bytes):
        raise TypeError("typst gave no single PDF")
    return made


def pages(text: str, name: str, data: Mapping[str, Any], *, pictures: Mapping[str, bytes] | None = None) -> list[bytes]:
    """Every page as a PNG, for a preview."""
    made = _compiled(text, name, data, pictures or {}, "png", 0)
    return [made] if isinstance(made, bytes) else list(made or [])


def _compiled(
    text: str,
    name: str,
    data: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    form: Literal["pdf", "png"],
    timestamp: int,
) -> bytes | list[bytes] | None:
    """A compiler of its own for each call: one is not shared by threads. What typst has in memory is shared."""
    inputs = {name: json.dumps(data, ensure_ascii=False)}
    if not pictures:
        return _run(text, _NOWHERE, inputs, form, timestamp)
    with TemporaryDirectory(prefix="xinglin-paper-") as folder:
        for file, content in pictures.items():
            (Path(folder) / file).write_bytes(content)
        return _run(text, folder, inputs, form, timestamp)


def _run(
    text: str, root: str, inputs: dict[str, str], form: Literal["pdf", "png"], timestamp: int
) -> bytes | list[bytes] | None:
    compiler = typst.Compiler(text.encode(), root=root, font_paths=fonts())
    try:
        if form == "png":
            return compiler.compile(format="png", ppi=PREVIEW_PPI, sys_inputs=inputs, timestamp=timestamp)
        return compiler.compile(
            format="pdf", sys_inputs=inputs, pdf_standards="a-2b", timestamp=timestamp, pdf_tags=False
        )
    except typst.TypstError as error:
        raise Unprintable("report.unprintable", N_("这份报告无法排版，请联系信息科。"), detail=error.message) from error


_ONE_PICTURE = '#image("/" + json(bytes(sys.inputs.picture)).file, width: 30mm)'


def shows(content: bytes, file: str) -> bool:
    """Whether a picture can be set: a damaged one must not keep a report from being printed."""
    try:
        _compiled(_ONE_PICTURE, "picture", {"file": file}, {file: content}, "pdf", 0)
    except Unprintable:
        return False
    return True


def breakable(text: str) -> str:
    """A long run without a space (a Latin name, a code) gets places where a line may end; else it would run over."""
    return _LONG_RUN.sub(lambda run: "\u200b".join(_pieces(run[0])), text)


def _pieces(run: str) -> list[str]:
    return [run[at : at + 9] for at in range(0, len(run), 9)]
