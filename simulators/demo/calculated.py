"""Lines that no analyzer sent because the laboratory calculates them: right if they are what we calculate ourselves.

From the definitions, in plain arithmetic of our own. The filtration rate also needs the patient's sex and age, which
are not on the wire: it may be anything that a kidney can do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from itertools import product

from simulators.demo.printed import Printed

_ROUNDED = Decimal("0.051")
"""The paper has one or two digits."""


Formula = tuple[tuple[str, str], Callable[[Decimal, Decimal], Decimal]]
FORMULAS: dict[str, Formula] = {
    "球蛋白": (("总蛋白", "白蛋白"), lambda total, albumin: total - albumin),
    "白球比例": (("总蛋白", "白蛋白"), lambda total, albumin: albumin / (total - albumin)),
    "间接胆红素": (("总胆红素", "直接胆红素"), lambda total, direct: total - direct),
    "非高密度脂蛋白胆固醇": (("总胆固醇", "高密度脂蛋白胆固醇"), lambda total, high: total - high),
}
FILTRATION = "估算肾小球滤过率"


def calculated(sent: Counter[Printed], seen: Counter[Printed]) -> frozenset[str]:
    """Names that stand once on the report, were never sent, and say what sent values (of any run) give."""
    values: dict[str, list[Decimal]] = {}
    for each in sent:
        values.setdefault(each.name, []).append(each.value)
    return frozenset(
        line.name for line, count in seen.items() if count == 1 and line.name not in values and _right(line, values)
    )


def _right(line: Printed, values: dict[str, list[Decimal]]) -> bool:
    if line.name == FILTRATION:
        return "肌酐" in values and 0 < line.value < 250
    if line.name not in FORMULAS:
        return False
    operands, formula = FORMULAS[line.name]
    pairs = product(*(values.get(each, []) for each in operands))
    return any(left != right and abs(formula(left, right) - line.value) <= _ROUNDED for left, right in pairs)
