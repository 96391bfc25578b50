"""Conditions of reflex rules, their check, and that rules cannot call one another round and round."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from cloud.lis.calculation.engine import Facts
from cloud.lis.calculation.formula import KnownTest
from cloud.lis.reflex.rule import Act, Rule, applies, circle, faults

pytestmark = pytest.mark.req("LIS-3")

TESTS = {
    each.code: each
    for each in (
        KnownTest("TSH", "mIU/L"),
        KnownTest("FT4", "pmol/L"),
        KnownTest("U_PRO", "", numeric=False),
        KnownTest("TRUST", "", numeric=False),
        KnownTest("U_RBC", "/μL"),
    )
}
RULE = Rule("TSH > 10[mIU/L]", Act.ADD, ("FT4",))


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("TSH > 10[mIU/L]", True),
        ("TSH > 12[mIU/L]", False),
        ("flag(TSH) = 'H' and sex = 'F'", True),
        ("polarity(U_PRO) = 'positive' and grade(U_PRO) >= 3", True),
        ("titre(TRUST) >= 8", True),
        ("not known(FT4)", True),
        ("FT4 > 10[pmol/L]", False),
        ("critical(TSH) or run(TSH) > 1", False),
    ],
)
def test_a_condition_reads_values_flags_grades_titres_and_what_is_missing(condition: str, met: bool) -> None:
    answers = {
        ("flag", "TSH"): "H",
        ("critical", "TSH"): False,
        ("run", "TSH"): Decimal(1),
        ("known", "TSH"): True,
        ("polarity", "U_PRO"): "positive",
        ("grade", "U_PRO"): Decimal(3),
        ("titre", "TRUST"): Decimal(16),
    }
    facts = Facts({"TSH": (Decimal(11), "mIU/L")}, "F", answers=answers)
    rule = replace(RULE, condition=condition, tests=("U_RBC",))
    assert faults(rule, TESTS) == []
    assert applies(rule, facts) is met


@pytest.mark.parametrize(
    ("rule", "cell", "code"),
    [
        (replace(RULE, condition="TSH > 10"), "condition", "units_differ"),
        (replace(RULE, condition="TSH"), "condition", "not_a_condition"),
        (replace(RULE, condition="U_PRO > 2"), "condition", "name_unknown"),
        (replace(RULE, tests=("NOPE",)), "tests", "test_unknown"),
        (replace(RULE, tests=()), "tests", "one_test"),
        (replace(RULE, tests=("TSH",)), "tests", "adds_its_own"),
        (replace(RULE, act=Act.REPEAT, tests=("TSH", "FT4")), "tests", "one_test"),
        (replace(RULE, act=Act.DILUTE, tests=("TSH",), dilution="1"), "dilution", "dilution_wrong"),
        (replace(RULE, act=Act.DILUTE, tests=("TSH",), dilution="x"), "dilution", "dilution_wrong"),
        (replace(RULE, act=Act.COMMENT, tests=("TSH",)), "text", "text_missing"),
        (replace(RULE, times=4), "times", "times_wrong"),
    ],
)
def test_each_fault_is_said_at_its_cell(rule: Rule, cell: str, code: str) -> None:
    assert [(each.cell, each.code) for each in faults(rule, TESTS)] == [(cell, code)]


def test_rules_that_order_each_other_are_refused_with_the_way_round() -> None:
    others = {"B": (("FT4",), ("U_RBC",)), "C": (("U_RBC",), ("TSH",))}
    assert circle(RULE, others, "A") == ("A", "B", "C", "A")
    assert circle(RULE, {"B": (("FT4",), ("U_RBC",))}, "A") == ()
    assert circle(replace(RULE, act=Act.REPEAT, tests=("TSH",)), others, "A") == ()


def test_asking_whether_a_test_is_there_does_not_keep_a_rule_from_adding_it() -> None:
    assert faults(replace(RULE, condition="TSH > 10[mIU/L] and not known(FT4)"), TESTS) == []
    assert circle(replace(RULE, condition="not known(FT4)"), {"B": (("FT4",), ())}, "A") == ()
