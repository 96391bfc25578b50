"""The printed report: typst renders the frozen content, handed over as data and never formatted into markup.

Deterministic: the same content gives the same bytes (the document's date is the release, fonts come from a package, no
system fonts). PDF/A-2b, so that the archive stays readable. Times are printed in the hospital's zone.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pylopdf_fonts_zh_cn
import typst
from barcode import Code128

from cloud.kit import clock
from cloud.lis.catalog.words import SPECIMENS
from cloud.lis.reports.view import ReportContent, ReportItem

TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
ARROWS = {"H": "↑", "L": "↓", "HH": "↑↑", "LL": "↓↓", "A": "*"}
SEX = {"M": "男", "F": "女", "U": "未知"}
KIND = {"preliminary": "初步报告", "final": "", "amended": "修订报告"}


def rendered(content: ReportContent, notice: str = "") -> bytes:
    """The PDF of one version. `notice`: printed across a copy that is not valid any more, with why."""
    released = datetime.fromisoformat(content.released_at)
    made = typst.compile(
        str(TEMPLATE),
        format="pdf",
        font_paths=[str(_fonts())],
        ignore_system_fonts=True,
        sys_inputs={"report": json.dumps({**_printed(content), "notice": notice}, ensure_ascii=False)},
        pdf_standards="a-2b",
        timestamp=int(released.timestamp()),
    )
    if not isinstance(made, bytes):
        raise TypeError("typst gave no single PDF")
    return made


@cache
def _fonts() -> Path:
    return Path(str(pylopdf_fonts_zh_cn.sans_path())).parent


def bars(text: str) -> list[int]:
    """Code 128 as widths of bar, space, bar ... in modules."""
    modules = str(Code128(text).build()[0])
    widths: list[int] = []
    last = "1"
    count = 0
    for module in modules:
        if module == last:
            count += 1
        else:
            widths.append(count)
            last, count = module, 1
    widths.append(count)
    return widths


def _printed(content: ReportContent) -> dict[str, Any]:
    """Every text of the page, ready to set."""
    return {
        "hospital": content.hospital,
        "campus": content.campus,
        "title": content.title,
        "kind": KIND.get(content.kind, ""),
        "number": content.report_number,
        "barcode": {"text": content.accession, "bars": bars(content.accession)},
        "patient": [
            ["姓名", content.patient_name or "（未知）"],
            ["性别", SEX.get(content.sex, content.sex)],
            ["年龄", content.age_text or "—"],
            ["病历号", content.mrn or "—"],
            ["科室", content.department],
            ["申请医生", content.ordered_by],
            ["标本类型", SPECIMENS.get(content.specimen_type, content.specimen_type)],
            ["标本号", content.barcode],
            ["就诊号", content.visit_number or "—"],
            ["诊断", content.diagnosis or "—"],
            ["优先级", "急诊" if content.priority == "S" else "常规"],
            ["申请单号", content.order_number],
        ],
        "times": [
            ["申请", _moment(content.ordered_at)],
            ["采集", _moment(content.collected_at)],
            ["接收", _moment(content.received_at)],
            ["报告", _moment(content.released_at)],
        ],
        "reviewed_by": content.reviewed_by,
        "released_by": content.released_by,
        "items": [_line(number, item) for number, item in enumerate(content.items, 1)],
        "previous": any(item.previous_value for item in content.items),
        "missing": "、".join(content.missing),
        "comment": content.comment or "",
        "reason": content.reason or "",
        "draft": content.draft,
    }


def _line(number: int, item: ReportItem) -> dict[str, Any]:
    return {
        "number": number,
        "name": item.name,
        "short": item.short_name,
        "value": item.value,
        "arrow": ARROWS.get(item.flag, ""),
        "critical": item.critical,
        "unit": item.unit,
        "range": item.range_text or "—",
        "draft": item.draft,
        "previous": item.previous_value or "",
        "method": item.method or "",
        "corrected": item.corrected_from or "",
    }


def _moment(text: str | None) -> str:
    return "—" if text is None else clock.local(datetime.fromisoformat(text)).strftime("%Y-%m-%d %H:%M")
