"""The list that travels with a batch (交接单): an A4 page with the batch's barcode, its tubes and two signatures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pylopdf_fonts_zh_cn
import typst

from cloud.kit import clock
from cloud.lis.specimens.labels import bars
from cloud.lis.specimens.tubes import TubeView
from cloud.lis.transport.model import TransportBatch

TEMPLATE = Path(__file__).parent / "templates" / "sheet.typ"


def as_pdf(batch: TransportBatch, department: str, packed_by: str, views: Sequence[TubeView]) -> bytes:
    """Always Chinese, as ward and laboratory read it. Patients' data are handed over as data, nothing is evaluated."""
    content = {
        "number": batch.number,
        "bars": bars(batch.number),
        "department": department,
        "place": batch.place,
        "packed_by": packed_by,
        "courier": batch.courier,
        "sent_at": clock.local(batch.sent_at).strftime("%Y-%m-%d %H:%M") if batch.sent_at else "",
        "printed_at": clock.local(clock.now()).strftime("%Y-%m-%d %H:%M"),
        "tubes": [
            {
                "barcode": each.specimen.barcode,
                "name": each.person.name or "（未知）",
                "number": each.record_number,
                "tube": each.tube.name,
                "tests": " ".join(each.asked),
                "urgent": "急" if each.specimen.priority == "S" else "",
            }
            for each in views
        ],
    }
    made = typst.compile(
        str(TEMPLATE),
        format="pdf",
        font_paths=[str(Path(str(pylopdf_fonts_zh_cn.sans_path())).parent)],
        ignore_system_fonts=True,
        sys_inputs={"batch": json.dumps(content, ensure_ascii=False)},
    )
    if not isinstance(made, bytes):
        raise TypeError("typst gave no single PDF")
    return made
