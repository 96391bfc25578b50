"""Pure: what a flag means in words, and which sentence explains it.

The sentences say only what follows from the flag's definition (above the range printed beside it, beyond the limit at
which the laboratory calls the ward), never what it may mean for this patient: that is for the doctor. They are drafts
until the hospital approves its own wording, and say so on the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cloud.lis.reports.view import ReportItem
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Explanation:
    """`word` stands beside the value, `sentence` below it; `tone` colours both (shape and word carry it too)."""

    word: str
    sentence: str
    tone: str
    sign: str
    state: str = "draft"
    source: str = "definition of the flag in cloud.lis.verification.rules"


_ASK = N_("单项结果不能说明是否患病，请由医生结合您的情况判断。")
_AT_ONCE = N_("这是检验科规定要立即通知医生的结果。请马上联系您的医生；如有不适，请到急诊。")

EXPLANATIONS = {
    "N": Explanation(N_("在参考范围内"), "", "good", ""),
    "L": Explanation(N_("低于参考范围"), _ASK, "low", "↓"),
    "H": Explanation(N_("高于参考范围"), _ASK, "high", "↑"),
    "LL": Explanation(N_("达到危急值（低）"), _AT_ONCE, "critical", "↓↓"),
    "HH": Explanation(N_("达到危急值（高）"), _AT_ONCE, "critical", "↑↑"),
    "A": Explanation(N_("与参考结果不同"), _ASK, "high", "*"),
    "": Explanation(N_("本项没有参考范围可比较"), "", "plain", ""),
}


def explain(flag: str) -> Explanation:
    """The words for a flag; one we do not know is shown as different from the reference, never as normal."""
    return EXPLANATIONS.get(flag, EXPLANATIONS["A"])


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Indicator:
    """One line of the report as the phone shows it."""

    item: ReportItem
    explanation: Explanation

    @property
    def unit_shown(self) -> str:
        """The unit as it is printed in books (10⁹/L); the report's own text stays as it is."""
        return re.sub(r"\^(\d+)", lambda power: power[1].translate(_RAISED), self.item.unit)

    @property
    def stands_out(self) -> bool:
        return self.explanation.tone not in ("good", "plain")


def indicators(items: Iterable[ReportItem]) -> list[Indicator]:
    """All items in the order of the report."""
    return [Indicator(item, explain(item.flag)) for item in items]


def waiting_word(specimen_state: str) -> str:
    """Where a specimen without a readable report is; a report held back looks like one being worked on."""
    if specimen_state == "printed":
        return N_("待采样")
    if specimen_state == "collected":
        return N_("已采样")
    if specimen_state == "rejected":
        return N_("需要重新采样，请联系开单科室")
    return N_("检验中")
