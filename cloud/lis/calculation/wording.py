"""Sentences for what is wrong with a formula, and for why a value cannot be calculated."""

from __future__ import annotations

from collections.abc import Mapping

from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_

FAULTS = {
    "empty": N_("请填写公式。"),
    "too_long": N_("公式太长（不超过 2000 字）。"),
    "too_deep": N_("括号嵌套太深，请用 := 分步书写。"),
    "unreadable": N_("看不懂的符号“{text}”。"),
    "expected": N_("这里应有“{wanted}”。"),
    "left_over": N_("多出来的内容“{text}”：前面的式子已经完整，是否漏了运算符？"),
    "operand_missing": N_("这里缺一个数、项目代码或括号。"),
    "function_unknown": N_("没有函数 {name}；可用 min max sum abs sqrt ln lg exp pow if。"),
    "arguments": N_("函数 {name} 的参数个数不对。"),
    "name_taken": N_("名称 {name} 已被使用，请换一个。"),
    "name_unknown": N_("没有代码为 {name} 的定量项目、参数或中间量。"),
    "reads_itself": N_("公式用到了它自己（{name}）。"),
    "unit_unknown": N_("不认识的单位“{unit}”。"),
    "units_differ": N_("两边的单位不同（{left} 与 {right}），不能相加减或比较；常数请写上单位，如 40[g/L]。"),
    "result_unit": N_("结果的单位是 {found}，项目的单位是 {wanted}；请检查公式，或给常数写上单位。"),
    "exponent_unit": N_("指数不能有单位（这里是 {found}）。"),
    "power_of_unit": N_("带单位的量（{found}）只能乘整数次方；请先除以带单位的常数。"),
    "function_of_unit": N_("{name} 的参数不能有单位（这里是 {found}）；请先除以带单位的常数。"),
    "wrong_sort": N_("“{sign}”两边的类型不对：数与数、条件与条件、文字与文字才能一起用。"),
    "not_a_number": N_("公式的结果应是一个数。"),
    "not_a_condition": N_("这里应是一个条件，如 age >= 18[year]。"),
    "question_in_formula": N_("{name}(…) 只能用在规则条件里。"),
    "question_of_test": N_("{name}(…) 的括号里应是一个项目代码。"),
    "cycle": N_("公式互相引用成环：{way}。"),
    "target_unknown": N_("没有代码为 {test} 的定量项目。"),
    "test_unknown": N_("没有代码为 {test} 的项目。"),
    "test_not_numeric": N_("{test} 不是定量项目，不能参与计算。"),
    "name_twice": N_("名称 {name} 用了两次。"),
    "not_convertible": N_("不能由 {from} 换算为 {to}。"),
    "window_missing": N_("{name} 取自其他标本时，请填写允许相差的小时数。"),
    "not_a_value": N_("“{text}”不是数。"),
    "source_missing": N_("请写明参数 {name} 的来源（如试剂批号与说明书）。"),
    "say_missing": N_("请写明超出适用范围时报告上的话。"),
    "example_missing": N_("请至少写一个算例：公式以后每次修改都会重算它。"),
    "example_differs": N_("算例不符：应为 {expected}，算得 {got}。"),
    "source_empty": N_("请写明公式的来源。"),
    "table_line": N_("第 {line} 行看不懂：{text}"),
}
OUTCOMES = {
    "outside": N_("超出适用范围：{say}"),
    "operand_missing": N_("缺少 {name}"),
    "operand_unit": N_("{name} 的单位 {unit} 不能换算"),
    "operand_text": N_("{name} 不是数值：{text}"),
    "operand_sign": N_("{name} 带“{sign}”号，不能计算：{text}"),
    "operand_held": N_("{name} 尚待审核"),
    "operand_away": N_("{name} 已判无效或正在复检"),
    "parameter_blank": N_("参数 {name} 尚未填写"),
    "sex_unknown": N_("患者性别未知"),
    "age_unknown": N_("患者年龄未知"),
    "arithmetic": N_("无法计算（除以零或超出范围）"),
    "not_a_number": N_("无法计算（结果不是数）"),
    "answer_missing": N_("缺少 {name}"),
}


def sentence(code: str, fields: Mapping[str, str]) -> str:
    """A fault or an outcome as a sentence in the reader's language."""
    text = FAULTS.get(code) or OUTCOMES.get(code)
    if text is None:
        return code
    try:
        return _(text).format(**fields)
    except KeyError:
        return _(text)


def outcome_sentence(code: str, fields: Mapping[str, str]) -> str:
    """Why there is no value; the same code may mean something else in the editor."""
    text = OUTCOMES.get(code)
    return sentence(code, fields) if text is None else _(text).format(**{"name": "", **fields})
