"""The smoke run's judge must itself be judged: what is lost, doubled or changed must be called so."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from simulators.demo.compare import Sent, differences, read_phone, read_rows
from simulators.demo.pages import forms, read_page
from simulators.demo.printed import NotAgreed, Printed, printed
from simulators.demo.saboteur import doubled
from simulators.demo.tally import percentile

WBC = Printed("白细胞计数", Decimal("6.94"), "10^9/L")
HGB = Printed("血红蛋白", Decimal("96"), "g/L")

PAGE = """
<ul class="indicators">
<li class="indicator tone-low" data-code="HGB" data-value="96">
  <div><span class="indicator-name">血红蛋白 <small>HGB</small></span>
  <span class="indicator-value"><strong>96</strong> <small>g/L</small> <span aria-hidden="true">↓</span></span></div>
</li>
<li class="indicator tone-good" data-code="WBC" data-value="6.94">
  <div><span class="indicator-name">白细胞计数 <small>WBC</small></span>
  <span class="indicator-value"><strong>6.94</strong> <small>10⁹/L</small></span></div>
</li>
</ul>
"""


def test_nothing_is_lost_when_every_line_is_read() -> None:
    found = differences(Counter([WBC, HGB]), Counter([HGB, WBC]))
    assert (found.lost, found.duplicated) == (0, 0)


def test_a_line_that_is_not_read_is_lost() -> None:
    found = differences(Counter([WBC, HGB]), Counter([HGB]))
    assert (found.lost, found.duplicated) == (1, 0)


def test_a_line_read_twice_is_duplicated() -> None:
    found = differences(Counter([WBC, HGB]), Counter([HGB, WBC, WBC]))
    assert (found.lost, found.duplicated) == (0, 1)


@pytest.mark.parametrize(
    "changed", [Printed("血红蛋白", Decimal("97"), "g/L"), Printed("血红蛋白", Decimal("96"), "g/dL")]
)
def test_a_changed_value_or_unit_is_a_lost_one(changed: Printed) -> None:
    found = differences(Counter([HGB]), Counter([changed]))
    assert (found.lost, found.duplicated) == (1, 0)


def test_a_value_nobody_sent_is_one_too_many() -> None:
    assert differences(Counter([HGB]), Counter([HGB, WBC])).duplicated == 1


def test_a_calculated_line_is_right_once_and_only_with_the_value_that_we_calculate_ourselves() -> None:
    total, albumin = Printed("总蛋白", Decimal("72.0"), "g/L"), Printed("白蛋白", Decimal("42.0"), "g/L")
    right, wrong = Printed("球蛋白", Decimal("30.0"), "g/L"), Printed("球蛋白", Decimal("31.0"), "g/L")
    sent = Counter([total, albumin])
    assert differences(sent, Counter([total, albumin, right])).duplicated == 0
    assert differences(sent, Counter([total, albumin, wrong])).duplicated == 1
    assert differences(sent, Counter([total, albumin, right, right])).duplicated == 2
    assert differences(Counter([total]), Counter([total, right])).duplicated == 1


def test_the_phone_is_read_as_it_is_seen_and_not_by_hidden_attributes() -> None:
    assert read_phone(read_page(PAGE)) == Counter([HGB, WBC])
    wrong = PAGE.replace("<strong>96</strong>", "<strong>69</strong>")
    assert read_phone(read_page(wrong)) != Counter([HGB, WBC])


def test_the_saboteur_doubles_one_line_that_the_judge_sees() -> None:
    found = differences(Counter([WBC, HGB]), read_phone(read_page(doubled(PAGE))))
    assert (found.lost, found.duplicated) == (0, 1)


def test_the_paper_is_read_row_by_row() -> None:
    rows = [
        "序 项目 简称 结果 单位 参考区间 方法",
        "1 白细胞计数 WBC 6.94 10^9/L 3.5-9.5 草案",
        "13 血红蛋白 HGB 96 ↓ g/L 115-150 草案",
        "15 胱抑素 C CysC 0.95 mg/L —",
        "16 血小板计数 PLT 12 ↓↓ 10^9/L 125-350",
        "2 中性粒细胞百分比 78.4 ↑ 高 % 40-75",
        "12 红细胞计数 4.31 10^12/L 3.8-5.1",
        "7 钾 K 6.7 ↑↑ 危急 mmol/L 3.5-5.3 6.3 离子选择电",
        "极法",
        "1 C 反应蛋白 CRP 1.5 mg/L —",
        "17 平均红细胞血红蛋白",
        "浓度",
        "338 g/L 316-354 草案",
        "本报告仅对所送检标本负责；↑↓ 表示高于或低于参考区间。报告编号 1000000018",
    ]
    assert read_rows(rows) == Counter(
        [
            WBC,
            HGB,
            Printed("胱抑素C", Decimal("0.95"), "mg/L"),
            Printed("血小板计数", Decimal("12"), "10^9/L"),
            Printed("中性粒细胞百分比", Decimal("78.4"), "%"),
            Printed("红细胞计数", Decimal("4.31"), "10^12/L"),
            Printed("钾", Decimal("6.7"), "mmol/L"),
            Printed("C反应蛋白", Decimal("1.5"), "mg/L"),
            Printed("平均红细胞血红蛋白浓度", Decimal("338"), "g/L"),
        ]
    )


def test_what_an_analyzer_sent_is_printed_in_the_laboratorys_unit() -> None:
    assert printed("xn2", "HGB", "9.6", "g/dL") == HGB
    assert printed("xn1", "RET#", "0.0523", "10*6/uL") == Printed("网织红细胞计数", Decimal("52.3"), "10^9/L")
    assert printed("bs1", "16", "5.32", "mmol/L") == Printed("葡萄糖", Decimal("5.32"), "mmol/L")
    with pytest.raises(NotAgreed):
        printed("bs1", "16", "95.8", "mg/dL")
    with pytest.raises(NotAgreed):
        printed("xn1", "ESR", "3", "mm/h")


def test_a_message_sent_twice_is_one_message_and_in_flight_until_it_is_acknowledged() -> None:
    sent = Sent()
    value = {"specimen": "7", "code": "WBC", "value": "6.94", "unit": "10*3/uL"}
    head = {"t": 1.0, "source": "xn1"}
    sent.take({**head, "event": "message", "message": 1, "kind": "patient", "observations": [value], "specimen": "7"})
    assert sent.being_sent == 0
    sent.take({**head, "event": "sending", "message": 1, "attempt": 1})
    assert sent.being_sent == 1
    sent.take({**head, "event": "sending", "message": 1, "attempt": 2})
    sent.take({**head, "event": "acknowledged", "message": 1, "attempt": 2})
    assert (sent.being_sent, sent.sent_again, sent.observations) == (0, 1, 1)
    assert sent.by_specimen["7"] == Counter([WBC])


def test_control_results_are_no_patients_values() -> None:
    sent = Sent()
    value = {"code": "WBC", "value": "6.94", "unit": "10*3/uL"}
    sent.take({"t": 1.0, "source": "xn1", "event": "message", "message": 1, "kind": "control", "observations": [value]})
    assert (sent.observations, dict(sent.by_specimen)) == (0, {})


def test_a_form_is_sent_as_it_stands() -> None:
    page = read_page(
        "<form method='post' action='/x'><input type='hidden' name='csrf_token' value='t'>"
        "<input type='radio' name='r' value='a'><input type='radio' name='r' value='b' checked>"
        "<input type='checkbox' name='c' value='1'><select name='s'><option value='1'>一<option value='2' selected>二"
        "</select><button name='partial' value='true'>去</button></form>"
    )
    (form,) = forms(page)
    assert form.fields == {"csrf_token": "t", "r": "b", "s": "2"}
    assert (form.action, form.method) == ("/x", "post")


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(each) for each in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([], 50)) == (50, 99, None)
    assert percentile([7.4], 99) == 7
