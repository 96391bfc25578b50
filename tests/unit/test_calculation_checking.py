"""What the formula editor refuses, with the cell and the place; and that nothing but arithmetic can be written."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.calculation.checking import cycle
from cloud.lis.calculation.engine import Facts, evaluate, holds
from cloud.lis.calculation.formula import Definition, Example, KnownTest, Limit, Operand, Parameter, faults
from cloud.lis.calculation.language import FormulaError, parse

pytestmark = pytest.mark.req("LIS-16")

TESTS = {
    each.code: each
    for each in (
        KnownTest("TP", "g/L"),
        KnownTest("ALB", "g/L"),
        KnownTest("GLB", "g/L"),
        KnownTest("AG_RATIO", ""),
        KnownTest("CREA", "μmol/L"),
        KnownTest("ALT", "U/L"),
        KnownTest("HBSAG", "", numeric=False),
    )
}
GOOD = Definition("GLB", "TP - ALB", examples=(Example({"TP": "72", "ALB": "42"}, "30"),))


def found(definition: Definition, **reads: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(each.cell, each.code) for each in faults(definition, TESTS, reads)]


def test_a_good_formula_has_no_fault() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("expression", "code", "at"),
    [
        ("TP - ALBU", "name_unknown", "ALBU"),
        ("TP - HBSAG", "name_unknown", "HBSAG"),
        ("TP - ALT", "units_differ", "TP - ALT"),
        ("40 - ALB", "units_differ", "40 - ALB"),
        ("TP / ALB", "result_unit", "TP / ALB"),
        ("TP - GLB", "reads_itself", "GLB"),
        ("TP - 4[g/Q]", "unit_unknown", "4[g/Q]"),
        ("ln(TP)", "function_of_unit", "ln(TP)"),
        ("TP^0.5", "power_of_unit", "TP^0.5"),
        ("TP^ALB", "exponent_unit", "ALB"),
        ("TP > ALB", "not_a_number", "TP > ALB"),
        ("if(TP, TP, ALB)", "not_a_condition", "TP"),
        ("if(TP > ALB, TP, 1)", "units_differ", "if(TP > ALB, TP, 1)"),
        ("TP - flag(ALB)", "question_in_formula", "flag(ALB)"),
        ("TP - ", "operand_missing", ""),
        ("(TP - ALB", "expected", ""),
        ("TP ALB", "left_over", "ALB"),
        ("TP - @", "unreadable", "@"),
        ("round(TP)", "function_unknown", "round"),
        ("", "empty", ""),
    ],
)
def test_each_fault_is_said_at_its_place_in_the_expression(expression: str, code: str, at: str) -> None:
    [fault] = faults(replace(GOOD, expression=expression), TESTS, {})
    assert (fault.cell, fault.code) == ("expression", code)
    if at:
        assert expression[fault.start : fault.end] == at


def test_operands_parameters_limits_and_examples_are_told_apart() -> None:
    operand = replace(GOOD, operands=(Operand("ALB", "ALB", "mmol/L"),))
    assert found(operand) == [("operand.0", "not_convertible")]
    assert found(replace(GOOD, operands=(Operand("ALB", "NOPE"),))) == [("operand.0", "test_unknown")]
    assert found(replace(GOOD, operands=(Operand("ALB", "ALB", scope="person"),))) == [("operand.0", "window_missing")]
    twice = replace(GOOD, operands=(Operand("A", "ALB"), Operand("A", "TP")))
    assert ("operand.1", "name_twice") in found(twice)
    unsourced = replace(GOOD, parameters=(Parameter("F", "1.2"),))
    assert found(unsourced) == [("parameter.0", "source_missing")]
    assert found(replace(GOOD, parameters=(Parameter("F", "1,2", source="x"),))) == [("parameter.0", "not_a_value")]
    assert found(replace(GOOD, limits=(Limit("TP", "x"),))) == [("limit.0", "not_a_condition")]
    assert found(replace(GOOD, limits=(Limit("TP > ALB", " "),))) == [("limit.0", "say_missing")]
    assert found(replace(GOOD, examples=())) == [("examples", "example_missing")]
    wrong = replace(GOOD, examples=(*GOOD.examples, Example({"TP": "72", "ALB": "42"}, "31")))
    assert found(wrong) == [("example.1", "example_differs")]
    assert found(replace(GOOD, test="HBSAG")) == [("test", "target_unknown")]


def test_formulas_that_read_each_other_are_refused_with_the_way_round() -> None:
    assert found(GOOD, ALB=("AG_RATIO",), AG_RATIO=("GLB",)) == [("expression", "cycle")]
    assert cycle({"A": ("B",), "B": ("C",), "C": ("A",)}, "A") == ("A", "B", "C", "A")
    assert cycle({"A": ("B", "C"), "B": ("C",), "C": ()}, "A") == ()


def test_a_factor_typed_where_units_convert_already_is_caught_by_its_example() -> None:
    doubled = Definition("AG_RATIO", "1000 * ALB / TP", examples=(Example({"TP": "50", "ALB": "25"}, "0.50"),))
    assert found(doubled) == [("example.0", "example_differs")]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("2 + 3 * 4", "14"),
        ("2^3^2", "512"),
        ("-2^2", "-4"),
        ("2^-1", "0.5"),
        ("(1+2)×3÷2", "4.5"),
        ("min(3, 1, 2) + max(1, 2)", "3"),
        ("if(1 < 2 and not 2 < 1, 5, 6)", "5"),
        ("if(1 ≥ 2 or 1 ≠ 2, 5, 6)", "5"),
        ("a := 2; b := a * 3; a + b", "8"),
        ("sqrt(16) + lg(100) + ln(exp(1))", "7"),
        ("0.1 + 0.2", "0.3"),
        ("500[mg] / 1[g]", "0.5"),
    ],
)
def test_the_language_calculates_as_it_is_written(text: str, result: str) -> None:
    assert evaluate(parse(text), Facts()) == Decimal(result)


def test_conditions_ask_about_who_the_patient_is() -> None:
    woman = Facts(sex="F", age_years=30, age_days=10_960)
    assert holds(parse("sex = 'F' and age >= 18[year] and age_days > 28[d]"), woman)
    assert not holds(parse("sex = 'M'"), woman)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "TP.real", "(1).bit_length", "lambda: 1", "[1]", "1; 2", "TP := 1"]
)
def test_nothing_but_arithmetic_can_be_written(text: str) -> None:
    with pytest.raises(FormulaError):
        parse(text)


def test_nesting_and_length_have_an_end() -> None:
    for text in ("(" * 500 + "1" + ")" * 500, "1+" * 1500 + "1", "-" * 300 + "1"):
        with pytest.raises(FormulaError):
            parse(text)


@given(st.text(alphabet="TPALB0123456789.+-*/^()[]<>=,;:' andorif", max_size=60))
def test_any_text_is_read_or_refused_with_a_place_inside_of_it(text: str) -> None:
    places = [0]
    try:
        parse(text)
    except FormulaError as fault:
        places = [fault.start, fault.end]
    assert all(0 <= each <= len(text) + 1 for each in places)
