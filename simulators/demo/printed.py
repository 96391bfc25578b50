"""What a report must say for what an analyzer sent: the laboratory's name and unit for each code and unit on the wire.

Written down independently of the service's own tables, from what the demo's laboratory has agreed: the XN runs on the
factory's units (10*3/uL, g/dL), reports are in SI units (10^9/L, g/L). A wrong channel, a wrong factor or a swapped
test shows up as a difference here.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Printed:
    """One line of a report, as it must be read."""

    name: str
    value: Decimal
    unit: str


_XN = {
    # code: (unit on the wire, name on paper, unit on paper, factor)
    "WBC": ("10*3/uL", "白细胞计数", "10^9/L", "1"),
    "RBC": ("10*6/uL", "红细胞计数", "10^12/L", "1"),
    "HGB": ("g/dL", "血红蛋白", "g/L", "10"),
    "HCT": ("%", "血细胞比容", "L/L", "0.01"),
    "MCV": ("fL", "平均红细胞体积", "fL", "1"),
    "MCH": ("pg", "平均红细胞血红蛋白含量", "pg", "1"),
    "MCHC": ("g/dL", "平均红细胞血红蛋白浓度", "g/L", "10"),
    "PLT": ("10*3/uL", "血小板计数", "10^9/L", "1"),
    "RDW-SD": ("fL", "红细胞分布宽度标准差", "fL", "1"),
    "RDW-CV": ("%", "红细胞分布宽度变异系数", "%", "1"),
    "PDW": ("fL", "血小板分布宽度", "fL", "1"),
    "MPV": ("fL", "平均血小板体积", "fL", "1"),
    "P-LCR": ("%", "大型血小板比率", "%", "1"),
    "PCT": ("%", "血小板压积", "%", "1"),
    "NEUT#": ("10*3/uL", "中性粒细胞计数", "10^9/L", "1"),
    "LYMPH#": ("10*3/uL", "淋巴细胞计数", "10^9/L", "1"),
    "MONO#": ("10*3/uL", "单核细胞计数", "10^9/L", "1"),
    "EO#": ("10*3/uL", "嗜酸性粒细胞计数", "10^9/L", "1"),
    "BASO#": ("10*3/uL", "嗜碱性粒细胞计数", "10^9/L", "1"),
    "NEUT%": ("%", "中性粒细胞百分比", "%", "1"),
    "LYMPH%": ("%", "淋巴细胞百分比", "%", "1"),
    "MONO%": ("%", "单核细胞百分比", "%", "1"),
    "EO%": ("%", "嗜酸性粒细胞百分比", "%", "1"),
    "BASO%": ("%", "嗜碱性粒细胞百分比", "%", "1"),
    "IG#": ("10*3/uL", "未成熟粒细胞计数", "10^9/L", "1"),
    "IG%": ("%", "未成熟粒细胞百分比", "%", "1"),
    "RET%": ("%", "网织红细胞百分比", "%", "1"),
    "RET#": ("10*6/uL", "网织红细胞计数", "10^9/L", "1000"),
    "IRF": ("%", "未成熟网织红细胞指数", "%", "1"),
    "RET-HE": ("pg", "网织红细胞血红蛋白含量", "pg", "1"),
}

_BS = {
    # test number: (unit on the wire, name on paper, unit on paper)
    "1": ("U/L", "丙氨酸氨基转移酶", "U/L"),
    "2": ("U/L", "天门冬氨酸氨基转移酶", "U/L"),
    "3": ("umol/L", "总胆红素", "μmol/L"),
    "4": ("umol/L", "直接胆红素", "μmol/L"),
    "5": ("g/L", "总蛋白", "g/L"),
    "6": ("g/L", "白蛋白", "g/L"),
    "7": ("U/L", "碱性磷酸酶", "U/L"),
    "8": ("U/L", "γ-谷氨酰基转移酶", "U/L"),
    "9": ("umol/L", "总胆汁酸", "μmol/L"),
    "10": ("U/L", "胆碱酯酶", "U/L"),
    "11": ("mmol/L", "尿素", "mmol/L"),
    "12": ("umol/L", "肌酐", "μmol/L"),
    "13": ("umol/L", "尿酸", "μmol/L"),
    "14": ("mg/L", "胱抑素C", "mg/L"),
    "15": ("mmol/L", "二氧化碳", "mmol/L"),
    "16": ("mmol/L", "葡萄糖", "mmol/L"),
    "17": ("mmol/L", "总胆固醇", "mmol/L"),
    "18": ("mmol/L", "甘油三酯", "mmol/L"),
    "19": ("mmol/L", "高密度脂蛋白胆固醇", "mmol/L"),
    "20": ("mmol/L", "低密度脂蛋白胆固醇", "mmol/L"),
    "21": ("g/L", "载脂蛋白A1", "g/L"),
    "22": ("g/L", "载脂蛋白B", "g/L"),
    "23": ("mg/L", "脂蛋白(a)", "mg/L"),
    "24": ("U/L", "肌酸激酶", "U/L"),
    "25": ("U/L", "肌酸激酶同工酶MB活性", "U/L"),
    "26": ("U/L", "乳酸脱氢酶", "U/L"),
    "27": ("U/L", "α-羟丁酸脱氢酶", "U/L"),
    "28": ("U/L", "淀粉酶", "U/L"),
    "29": ("U/L", "脂肪酶", "U/L"),
    "30": ("mmol/L", "总钙", "mmol/L"),
    "31": ("mmol/L", "无机磷", "mmol/L"),
    "32": ("mmol/L", "镁", "mmol/L"),
    "33": ("umol/L", "血清铁", "μmol/L"),
    "34": ("mg/L", "C反应蛋白", "mg/L"),
    "35": ("mg/L", "超敏C反应蛋白", "mg/L"),
    "36": ("IU/mL", "抗链球菌溶血素O", "IU/mL"),
    "37": ("IU/mL", "类风湿因子", "IU/mL"),
    "38": ("mg/L", "前白蛋白", "mg/L"),
    "39": ("umol/L", "同型半胱氨酸", "μmol/L"),
    "40": ("g/L", "转铁蛋白", "g/L"),
    "57": ("mmol/L", "钾", "mmol/L"),
    "58": ("mmol/L", "钠", "mmol/L"),
    "59": ("mmol/L", "氯", "mmol/L"),
}


class NotAgreed(KeyError):
    """An analyzer sent a code or unit that the laboratory never agreed to."""


def printed(analyzer: str, code: str, value: str, unit: str) -> Printed:
    """The report's line for one observation. `analyzer` is its name in the ledger ("xn1", "bs1")."""
    if analyzer.startswith("xn"):
        found = _XN.get(code)
    else:
        chemistry = _BS.get(code)
        found = (*chemistry, "1") if chemistry else None
    if found is None or found[0] != unit:
        raise NotAgreed(f"{analyzer}: {code} in {unit!r}")
    return Printed(found[1], Decimal(value) * Decimal(found[3]), found[2])


def names() -> frozenset[str]:
    """Every name that can stand on a report here."""
    return frozenset(each[1] for each in (*_XN.values(), *_BS.values()))
