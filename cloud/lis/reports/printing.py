"""The printed report: what stands on the paper, from the frozen content, the form it was made out on and its pictures.

Deterministic: the same content, form, source and pictures give the same bytes with the same typst and font package
(the document's date is the release); with a later typst the same text. Times are printed in the hospital's zone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Any

from barcode import Code128

from cloud.kit import clock
from cloud.lis.catalog.words import SPECIMENS
from cloud.lis.reports import typesetting
from cloud.lis.reports.bitmaps import bmp_as_png
from cloud.lis.reports.forms import GENERAL, FormSettings, brought_along
from cloud.lis.reports.typesetting import breakable
from cloud.lis.reports.view import ReportContent, ReportImage, ReportItem, Trend

ARROWS = {"H": "↑", "L": "↓", "HH": "↑↑", "LL": "↓↓", "A": "*"}
FLAG_WORDS = {
    "H": ("高", "High"),
    "L": ("低", "Low"),
    "HH": ("危急", "Critical"),
    "LL": ("危急", "Critical"),
    "A": ("异常", "Abnormal"),
}
SEX = {"M": ("男", "Male"), "F": ("女", "Female"), "U": ("未知", "Unknown")}
SPECIMENS_EN = {
    "blood": "Whole blood", "serum": "Serum", "plasma": "Plasma", "arterial": "Arterial blood", "urine": "Urine",
    "stool": "Stool", "swab": "Swab", "blood_culture": "Blood culture",
}  # fmt: skip
KIND = {"preliminary": ("初步报告", "Preliminary"), "final": ("", ""), "amended": ("修订报告", "Amended report")}
LEGEND = "↑↓ 高于或低于参考区间，↑↑↓↓ 危急值，* 异常。"
LEGEND_EN = " ↑↓ above or below reference; ↑↑↓↓ critical; * abnormal."
LONG_VALUE = 16
"""Characters of a result from which it takes the rest of its line."""
_SETTABLE = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


@dataclass(frozen=True, slots=True)
class Materials:
    """What stands beside the content when a report is set: all of it stored (`form_store.materials`)."""

    settings: FormSettings = field(default_factory=lambda: brought_along()[GENERAL].settings)
    form: str = ""
    """Name and version of the form, in the last line."""
    source: str = field(default_factory=typesetting.source)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """By id of the attachment."""
    signatures: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    """Media type and content by hash."""


@dataclass(frozen=True, slots=True)
class Marked:
    """What a copy says across its face and above its values because it is not a report in force."""

    notice: str
    watermark: str = "已 作 废"
    """Across the page."""


def rendered(
    content: ReportContent,
    notice: str | Marked = "",
    *,
    materials: Materials | None = None,
    bilingual: bool | None = None,
) -> bytes:
    """The PDF of one version. `notice`: printed on a copy that is not valid any more, with why. `bilingual`: None is as
    the form says.
    """
    data, pictures, used = _document(content, notice, materials, bilingual)
    released = datetime.fromisoformat(content.released_at)
    return typesetting.typeset(used.source, "report", data, timestamp=int(released.timestamp()), pictures=pictures)


def preview(content: ReportContent, *, materials: Materials) -> list[bytes]:
    """The pages as PNG, marked as a specimen copy of the form."""
    data, pictures, used = _document(content, "", materials, None)
    data |= {"watermark": "样 张", "watermark-colour": "#00000014"}
    return typesetting.pages(used.source, "report", data, pictures=pictures)


def _document(
    content: ReportContent, notice: str | Marked, materials: Materials | None, bilingual: bool | None
) -> tuple[dict[str, Any], dict[str, bytes], Materials]:
    used = materials or Materials()
    marked = Marked(notice) if isinstance(notice, str) else notice
    files: dict[str, bytes] = {}
    data = {
        **_printed(content, used.settings),
        "bilingual": used.settings.bilingual if bilingual is None else bilingual,
        "notice": marked.notice,
        "form": used.form,
        "signers": _signers(content, used, files),
        "pictures": _pictures(content, used, files),
    }
    data["watermark"] = marked.watermark if marked.notice else "草案区间 · 仅供演示" if content.draft else ""
    data["watermark-colour"] = "#b0000022" if marked.notice else "#00000016"
    data["legend"] = "".join(
        (used.settings.footnote, "；" if used.settings.footnote else "", LEGEND, LEGEND_EN if data["bilingual"] else "")
    )
    return data, files, used


def bars(text: str) -> list[int]:
    """Code 128 as widths of bar, space, bar ... in modules."""
    return list(_bars(text))


@cache
def _bars(text: str) -> tuple[int, ...]:
    return tuple(len(list(run)) for _, run in groupby(str(Code128(text).build()[0])))


def _printed(content: ReportContent, settings: FormSettings) -> dict[str, Any]:
    """Every text of the page, ready to set."""
    return {
        "paper": settings.paper,
        "layout": settings.layout,
        "two-columns": settings.two_columns,
        "short-names": settings.short_names,
        "hospital": content.hospital,
        "campus": content.campus,
        "laboratory": settings.laboratory,
        "accreditation": settings.accreditation,
        "heading": (settings.heading, settings.heading_en),
        "title": content.title,
        "kind": KIND.get(content.kind, ("", "")),
        "number": content.report_number,
        "number-words": ("报告编号", "Report No."),
        "barcode": {"text": content.accession, "bars": bars(content.accession)},
        "patient": _patient(content),
        "times": [
            [("申请时间", "Ordered"), moment(content.ordered_at)],
            [("采集时间", "Collected"), moment(content.collected_at)],
            [("接收时间", "Received"), moment(content.received_at)],
            [("报告时间", "Reported"), moment(content.released_at)],
        ],
        "items": [_line(number, item, settings) for number, item in enumerate(content.items, 1)],
        "amended": _amended(content),
        "remarks": _remarks(content),
        "trends": [_trend(each) for each in content.trends],
    }


def _patient(content: ReportContent) -> list[list[Any]]:
    sex, sex_en = SEX.get(content.sex, (content.sex, ""))
    specimen = SPECIMENS.get(content.specimen_type, content.specimen_type)
    urgent = content.priority == "S"
    rows: list[list[tuple[str, str]]] = [
        [("姓名", "Name"), (content.patient_name or "（未知）", "")],
        [("性别", "Sex"), (sex, sex_en)],
        [("年龄", "Age"), (content.age_text or "—", "")],
        [("病历号", "MRN"), (content.mrn or "—", "")],
        [("科室", "Dept."), (content.department, "")],
        [("床号", "Bed"), (content.bed or "—", "")],
        [("就诊号", "Visit"), (content.visit_number or "—", "")],
        [("标本号", "Spec. No."), (content.barcode, "")],
        [("申请医生", "Doctor"), (content.ordered_by, "")],
        [("标本类型", "Specimen"), (specimen, SPECIMENS_EN.get(content.specimen_type, ""))],
        [("优先级", "Priority"), ("急诊", "STAT") if urgent else ("常规", "Routine")],
        [("申请单号", "Order No."), (content.order_number, "")],
        [("诊断", "Diagnosis"), (content.diagnosis or "—", "")],
    ]
    return [[words, (breakable(zh), en)] for words, (zh, en) in rows]


def _line(number: int, item: ReportItem, settings: FormSettings) -> dict[str, Any]:
    many = [(item.previous_value, item.previous_at), *((each.value, each.at) for each in item.earlier)]
    earlier = [(breakable(value), _day(at)) for value, at in many[: settings.previous] if value]
    value = breakable(item.value)
    return {
        "number": number,
        "name": breakable(item.name),
        "name-en": item.name_en,
        "short": item.short_name,
        "value": value,
        "long": len(item.value) > LONG_VALUE,
        "arrow": ARROWS.get(item.flag, ""),
        "word": FLAG_WORDS.get(item.flag, ("", "")),
        "marked": item.flag in ARROWS or item.critical,
        "critical": item.critical,
        "unit": breakable(item.unit),
        "range": item.range_text or "—",
        "draft": item.draft,
        "earlier": earlier,
        "method": item.method if settings.methods else "",
        "instrument": item.instrument if settings.instruments else "",
        "corrected": item.corrected_from or "",
        "referral": f"▲{item.referral}" if item.referral else "",
    }


def _amended(content: ReportContent) -> dict[str, Any] | None:
    if content.kind != "amended":
        return None
    before = moment(content.supersedes_at)
    zh, en = f"修订报告（第 {content.version} 版）", f"Amended report, version {content.version}"
    if content.supersedes_at:
        zh += f"，{moment(content.released_at)} 修订，取代 {before} 发布的第 {content.version - 1} 版"
        en += f", replaces version {content.version - 1} of {before}"
    changes = [f"{each.what}：{each.before or '（无）'} → {each.after or '（无）'}" for each in content.changes]
    return {"title": (zh, en), "changes": [breakable(each) for each in changes], "reason": content.reason or ""}


def _remarks(content: ReportContent) -> list[Any]:
    referred = dict.fromkeys(each.referral for each in content.items if each.referral)
    rows: list[Any] = [
        [("未完成项目", "Pending"), "、".join(content.missing)],
        *([("标本说明", "Specimen"), each] for each in content.remarks),
        *([("受委托实验室", "Referral laboratory"), f"▲ {each}"] for each in referred),
        [("备注", "Comment"), content.comment or ""],
    ]
    if content.kind != "amended":
        rows.append([("修订原因", "Reason"), content.reason or ""])
    return [[words, breakable(value)] for words, value in rows if value]


def _signers(content: ReportContent, used: Materials, files: dict[str, bytes]) -> list[Any]:
    rows = []
    for act, words, name in (
        ("review", ("检验者", "Tested by"), content.reviewed_by),
        ("release", ("审核者", "Reviewed by"), content.released_by),
    ):
        file = None
        found = next((each for each in content.signatures if each.act == act), None)
        if used.settings.signatures and found is not None and found.sha256 in used.signatures:
            kind, data = used.signatures[found.sha256]
            file = f"signature-{act}.{_SETTABLE.get(kind, 'png')}"
            files[file] = data
        rows.append([words, breakable(name), None if file is None else f"/{file}"])
    return rows


def _pictures(content: ReportContent, used: Materials, files: dict[str, bytes]) -> list[dict[str, Any]]:
    made = []
    for number, each in enumerate(content.images[: used.settings.pictures], 1):
        data = used.pictures.get(each.attachment_id, b"")
        file, values = None, list[float]()
        if each.media_type == "application/json":
            values = curve_of(data)
        else:
            file = _file_of(number, each, data, files)
        made.append({"caption": breakable(each.name), "file": file, "values": values})
    return made


def _file_of(number: int, image: ReportImage, data: bytes, files: dict[str, bytes]) -> str | None:
    if image.media_type == "image/bmp":
        data, kind = bmp_as_png(data) or b"", "png"
    else:
        kind = _SETTABLE.get(image.media_type, "")
    name = f"picture-{number}.{kind}"
    if not kind or not data or not typesetting.shows(data, name):
        return None
    files[name] = data
    return f"/{name}"


MOST_POINTS = 256


def curve_of(data: bytes) -> list[float]:
    """The numbers of a curve (`protocols.messages.histograms.as_json`), thinned to what the paper can show."""
    try:
        found = json.loads(data)
        numbers = [float(each) for each in found["values"] if each is not None]
    except (ValueError, KeyError, TypeError):
        return []
    if len(numbers) <= MOST_POINTS:
        return numbers
    step = len(numbers) / MOST_POINTS
    return [max(numbers[int(at * step) : int((at + 1) * step) or 1]) for at in range(MOST_POINTS)]


def _trend(trend: Trend) -> dict[str, Any]:
    return {
        "caption": f"{trend.name} {trend.unit}".strip(),
        "low": trend.low,
        "high": trend.high,
        "points": [{"day": _day(each.at), "number": each.number} for each in trend.points],
    }


def moment(text: str | None) -> str:
    return "—" if text is None else clock.local(datetime.fromisoformat(text)).strftime("%Y-%m-%d %H:%M")


def _day(text: str | None) -> str:
    return "" if text is None else clock.local(datetime.fromisoformat(text)).strftime("%y-%m-%d")
