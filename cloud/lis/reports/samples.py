"""Made-up reports for looking at a form before it is used: nobody's data, marked 样张 across the page.

Values, ranges and texts are only there to fill the form.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import dataclass, replace

from cloud.lis.reports.forms import FormSettings
from cloud.lis.reports.printing import Materials
from cloud.lis.reports.view import Change, Earlier, ReportContent, ReportImage, ReportItem, Trend, TrendPoint

WHEN = (
    "2026-01-05T00:12:00+00:00",
    "2026-01-05T00:40:00+00:00",
    "2026-01-05T01:05:00+00:00",
    "2026-01-05T02:30:00+00:00",
)
BEFORE = ("2025-12-20T02:10:00+00:00", "2025-11-30T02:10:00+00:00", "2025-10-28T02:10:00+00:00")
CHEMISTRY = """
ALT 丙氨酸氨基转移酶|Alanine aminotransferase|62.4|U/L|H|7-40|速率法
AST 天门冬氨酸氨基转移酶|Aspartate aminotransferase|33.1|U/L|N|13-35|速率法
TBIL 总胆红素|Total bilirubin|14.2|μmol/L|N|0-23|重氮法
ALB 白蛋白|Albumin|36.8|g/L|L|40-55|溴甲酚绿法
UREA 尿素|Urea|5.6|mmol/L|N|2.6-7.5|脲酶法
CREA 肌酐|Creatinine|68.0|μmol/L|N|41-73|肌氨酸氧化酶法
K 钾|Potassium|6.7|mmol/L|HH|3.5-5.3|离子选择电极法
NA 钠|Sodium|140.2|mmol/L|N|137-147|离子选择电极法
"""
COUNT = """
WBC 白细胞计数|White blood cell count|11.62|10^9/L|H|3.5-9.5|
NEUT% 中性粒细胞百分比|Neutrophils/100 leukocytes|78.4|%|H|40-75|
LYMPH% 淋巴细胞百分比|Lymphocytes/100 leukocytes|14.9|%|L|20-50|
MONO% 单核细胞百分比|Monocytes/100 leukocytes|5.2|%|N|3-10|
EO% 嗜酸性粒细胞百分比|Eosinophils/100 leukocytes|1.1|%|N|0.4-8.0|
BASO% 嗜碱性粒细胞百分比|Basophils/100 leukocytes|0.4|%|N|0-1|
NEUT# 中性粒细胞计数|Neutrophil count|9.11|10^9/L|H|1.8-6.3|
LYMPH# 淋巴细胞计数|Lymphocyte count|1.73|10^9/L|N|1.1-3.2|
MONO# 单核细胞计数|Monocyte count|0.60|10^9/L|N|0.1-0.6|
EO# 嗜酸性粒细胞计数|Eosinophil count|0.13|10^9/L|N|0.02-0.52|
BASO# 嗜碱性粒细胞计数|Basophil count|0.05|10^9/L|N|0-0.06|
RBC 红细胞计数|Red blood cell count|4.31|10^12/L|N|3.8-5.1|
HGB 血红蛋白|Hemoglobin|129|g/L|N|115-150|
HCT 血细胞比容|Hematocrit|0.388|L/L|N|0.35-0.45|
MCV 平均红细胞体积|Mean corpuscular volume|90.0|fL|N|82-100|
MCH 平均红细胞血红蛋白含量|Mean corpuscular hemoglobin|29.9|pg|N|27-34|
MCHC 平均红细胞血红蛋白浓度|Mean corpuscular hemoglobin concentration|332|g/L|N|316-354|
RDW-CV 红细胞分布宽度变异系数|Red cell distribution width CV|13.1|%|N||
RDW-SD 红细胞分布宽度标准差|Red cell distribution width SD|42.6|fL|N||
PLT 血小板计数|Platelet count|226|10^9/L|N|125-350|
MPV 平均血小板体积|Mean platelet volume|10.2|fL|N||
PDW 血小板分布宽度|Platelet distribution width|12.0|fL|N||
P-LCR 大型血小板比率|Platelet large cell ratio|27.1|%|N||
PCT 血小板压积|Plateletcrit|0.23|%|N||
"""
URINE = """
PRO 尿蛋白|Urine protein|1+|  |A|阴性|
GLU 尿葡萄糖|Urine glucose|阴性||N|阴性|
KET 尿酮体|Urine ketones|阴性||N|阴性|
BLD 尿隐血|Urine blood|2+||A|阴性|
PH 尿酸碱度|Urine pH|6.0||N|4.5-8.0|
SG 尿比重|Urine specific gravity|1.018||N|1.003-1.030|
RBC 红细胞|Red blood cells|86.2|/μL|H|0-25|
WBC 白细胞|White blood cells|9.4|/μL|N|0-25|
CAST 管型|Casts|0.3|/μL|N|0-1|
"""
SEROLOGY = """
HBsAg 乙型肝炎病毒表面抗原|Hepatitis B surface antigen|阴性||N|阴性|化学发光法
HBsAb 乙型肝炎病毒表面抗体|Hepatitis B surface antibody|阳性||A|阴性|化学发光法
HCV 丙型肝炎病毒抗体|Hepatitis C antibody|阴性||N|阴性|化学发光法
TPPA 梅毒螺旋体抗体|Treponema pallidum antibody|1:80||A|阴性|凝集法
"""
FREE_TEXT = """
CULT 培养结果|Culture|需氧培养 5 天未见细菌生长；厌氧培养 5 天未见细菌生长。|||
SMEAR 涂片镜检|Smear|见少量白细胞及上皮细胞，未见真菌孢子及菌丝。以上文字仅用于展示版式。|||
"""
PROTEINS = """
ALB% 白蛋白|Albumin|57.2|%|N||毛细管电泳法
A1% α1球蛋白|Alpha-1 globulin|4.4|%|N||毛细管电泳法
A2% α2球蛋白|Alpha-2 globulin|9.8|%|N||毛细管电泳法
B% β球蛋白|Beta globulin|11.1|%|N||毛细管电泳法
G% γ球蛋白|Gamma globulin|17.5|%|N||毛细管电泳法
"""
_FILLED = {
    "table": (CHEMISTRY, "生化", "serum"),
    "beside": (COUNT, "血常规", "blood"),
    "qualitative": (SEROLOGY, "感染筛查", "serum"),
    "narrative": (FREE_TEXT, "培养与涂片", "swab"),
    "curve": (PROTEINS, "血清蛋白电泳", "serum"),
}
CASES = ("plain", "long", "amended")


@dataclass(frozen=True, slots=True)
class Sample:
    content: ReportContent
    pictures: dict[str, bytes]


def sample(settings: FormSettings, hospital: str, case: str = "plain") -> Sample:
    """A report to fill this form with. `case`: plain, long (60 lines, long words) or amended."""
    rows, title, specimen = _FILLED[settings.layout]
    if "urine" in settings.sections:
        rows, title, specimen = URINE, "尿常规", "urine"
    elif "hematology" in settings.sections:
        rows, title, specimen = _FILLED["beside"]
    items = [_item(line, settings) for line in rows.strip().splitlines()]
    content = _content(hospital, title, specimen, tuple(items))
    pictures = _pictures(settings)
    content = replace(content, images=tuple(image for image, _ in pictures), trends=_trends(items, settings))
    if case == "long":
        content = _long(content)
    if case == "amended":
        content = _amended(content)
    return Sample(content, {image.attachment_id: data for image, data in pictures})


def filled(
    settings: FormSettings, hospital: str, case: str = "plain", **more: object
) -> tuple[ReportContent, Materials]:
    """The sample with all that is needed to set it."""
    made = sample(settings, hospital, case)
    return made.content, Materials(settings=settings, pictures=made.pictures, **more)  # type: ignore[arg-type]


def _item(line: str, settings: FormSettings) -> ReportItem:
    head, name_en, value, unit, flag, bounds, method = (each.strip() for each in f"{line}||||".split("|")[:7])
    code, _, name = head.partition(" ")
    return ReportItem(
        code=code, name=name, name_en=name_en, short_name=code, value=value, unit=unit, flag=flag, range_text=bounds,
        method=method, critical=flag in ("HH", "LL"), instrument="AU-1",
        previous_value=_other(value, 0) if unit else None, previous_at=BEFORE[0] if unit else None,
        earlier=tuple(Earlier(_other(value, at), BEFORE[at]) for at in (1, 2)) if unit else (),
        referral=dict(settings.referrals).get(code, ""),
    )  # fmt: skip


def _other(value: str, at: int) -> str:
    digits = len(value.partition(".")[2])
    return f"{float(value) * (0.94, 1.03, 0.97)[at]:.{digits}f}"


def _content(hospital: str, title: str, specimen: str, items: tuple[ReportItem, ...]) -> ReportContent:
    ordered, collected, received, released = WHEN
    return ReportContent(
        hospital=hospital, campus=hospital, title=title, report_number="100000000016", accession="100000000016",
        barcode="100000000016", patient_name="样张患者", sex="F", age_text="36岁", birth_date=None, mrn="P000000",
        department="示例病区", ordered_by="示例医生", visit_number="V000000", diagnosis="示例诊断", bed="12",
        order_number="1000009", placer_number="1000009", priority="R", specimen_type=specimen, ordered_at=ordered,
        collected_at=collected, received_at=received, released_at=released, reviewed_by="检验者", released_by="审核者",
        kind="final", version=1, comment="建议结合临床，必要时复查。", reason=None, draft=False, items=items,
        remarks=("让步检验：标本量偏少；已与临床沟通（示例护士），结果仅供参考。",),
    )  # fmt: skip


def _long(content: ReportContent) -> ReportContent:
    items = []
    for number in range(60):
        item = content.items[number % len(content.items)]
        if number % 9 == 4:
            item = replace(
                item,
                name=item.name + "（名称很长的检验项目，用来查看换行和分页）",
                range_text="卵泡期 2.5-10.2；排卵期 3.4-33.4；黄体期 1.5-9.1；绝经期 23.0-116.3",
            )
        items.append(item)
    comment = "这一段备注很长，用来查看分页时文字是否完整、是否与表格重叠。" * 16
    diagnosis = "示例诊断甲；示例诊断乙；示例诊断丙（用来查看很长的诊断怎样换行）" * 2
    return replace(
        content, items=tuple(items), comment=comment, diagnosis=diagnosis,
        patient_name="阿布都热合曼·买买提吐尔逊·古丽巴哈尔汗", ordered_by="名字很长的示例医生甲乙丙丁",
    )  # fmt: skip


def _amended(content: ReportContent) -> ReportContent:
    first, *rest = content.items
    old = _other(first.value, 0) if first.unit else "（原结果）"
    changed = replace(first, corrected_from=old)
    return replace(
        content, kind="amended", version=2, report_number=f"{content.accession}-2", items=(changed, *rest),
        reason="复核发现首次检测时吸样不足，已用原标本重新检测。", supersedes_at=WHEN[2],
        changes=(Change(first.name, f"{old} {first.unit}".strip(), f"{first.value} {first.unit}".strip()),),
    )  # fmt: skip


def _trends(items: list[ReportItem], settings: FormSettings) -> tuple[Trend, ...]:
    made = []
    for item in [each for each in items if each.unit and each.flag != "N"][: settings.trends]:
        values = [*reversed([each.value for each in item.earlier]), item.previous_value or "", item.value]
        low, _, high = item.range_text.partition("-")
        points = tuple(
            TrendPoint(at, value, float(value)) for at, value in zip((*reversed(BEFORE), WHEN[3]), values, strict=True)
        )
        made.append(Trend(item.code, item.name, item.unit, float(low), float(high), points))
    return tuple(made)


def _pictures(settings: FormSettings) -> list[tuple[ReportImage, bytes]]:
    if settings.layout == "curve":
        names = ["电泳曲线"]
    elif "urine" in settings.sections:
        return [_picture(f"沉渣图 {number}", "image/png", dots(number)) for number in range(1, settings.pictures + 1)]
    else:
        names = ["WBC", "RBC", "PLT", "散点图", "图 5", "图 6"][: settings.pictures]
    made = []
    for number, name in enumerate(names):
        if name.startswith("散点"):
            made.append(_picture(name, "image/png", dots(7)))
        else:
            made.append(_picture(name, "application/json", curve(number, peaks=5 if settings.layout == "curve" else 2)))
    return made


def _picture(name: str, media_type: str, data: bytes) -> tuple[ReportImage, bytes]:
    return ReportImage(f"sample-{name}", name, media_type, ""), data


def curve(number: int, *, peaks: int) -> bytes:
    """A made-up histogram as drivers keep one."""
    centres = [
        (0.12 + 0.19 * at + 0.02 * number, 0.03 + 0.012 * at, (1.0, 0.22, 0.34, 0.4, 0.55)[at]) for at in range(peaks)
    ]
    values = [
        round(sum(size * math.exp(-(((x / 128) - centre) ** 2) / (2 * width**2)) for centre, width, size in centres), 4)
        for x in range(128)
    ]
    return json.dumps({"title": "sample", "values": values}).encode()


def dots(seed: int, size: int = 120) -> bytes:
    """A made-up field of dots as PNG; the same for the same seed."""
    rows = [bytearray(b"\0" + b"\xf4" * size) for _ in range(size)]
    state = seed * 7919 + 17
    for _ in range(60):
        state = (state * 1103515245 + 12345) % 2**31
        x, y, radius = state % size, (state >> 8) % size, 1 + (state >> 20) % 4
        for row in rows[max(0, y - radius) : y + radius]:
            for column in range(max(0, x - radius), min(size, x + radius)):
                row[column + 1] = 70 + radius * 25
    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
