"""What a technician types is read by what the test is; what cannot be its value is refused with what would be."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloud.kit.errors import Invalid
from cloud.lis.results.typed import Choice, TypedTest, read_typed

pytestmark = pytest.mark.req("LIS-3")

GLUCOSE = TypedTest("GLU", "mmol/L", 2, "numeric")
ALT = TypedTest("ALT", "U/L", 1, "numeric")
HGB = TypedTest("HGB", "g/L", 0, "numeric")
_GRADES = (("0", "-"), ("5", "±"), ("1", "1+"), ("2", "2+"), ("3", "3+"), ("4", "4+"))
GRADES = tuple(Choice(key, text, rank) for rank, (key, text) in enumerate(_GRADES))
PROTEIN = TypedTest("U_PRO", "", None, "qualitative", GRADES)
ANTIGEN = TypedTest("HBSAG", "", None, "qualitative", (Choice("1", "阴性", 0), Choice("2", "阳性", 2)))
TRUST = TypedTest("TRUST", "", None, "titre")
INR = TypedTest("INR", "", 2, "ratio")
UACR = TypedTest("UACR", "mg/g", 1, "ratio")
COLOUR = TypedTest("U_COLOR", "", None, "text", (Choice("1", "淡黄色"),))


@pytest.mark.parametrize(
    ("typed", "text", "number", "sign"),
    [
        ("5.2", "5.2", "5.2", None),
        ("５．２", "5.2", "5.2", None),
        ("<0.5", "<0.5", "0.5", "<"),
        ("＞ 30", ">30", "30", ">"),
        ("≥33.3", ">=33.3", "33.3", ">="),
        ("0", "0", "0", None),
    ],
)
def test_a_number_stays_as_it_was_typed(typed: str, text: str, number: str, sign: str | None) -> None:
    found = read_typed(typed, GLUCOSE)
    assert found.quantity is not None
    assert (found.text, found.quantity.number, found.quantity.comparator) == (text, Decimal(number), sign)
    assert found.raw == typed.strip()


@pytest.mark.parametrize(
    ("test", "typed", "text", "unit"),
    [
        (GLUCOSE, "100 mg/dL", "5.55", "mg/dL"),
        (GLUCOSE, "5550 μmol/L", "5.55", "μmol/L"),
        (HGB, "13.5g/dL", "135", "g/dL"),
        (ALT, "0.05 kU/L", "50.0", "kU/L"),
    ],
)
def test_a_value_typed_in_another_unit_is_converted_and_both_are_kept(
    test: TypedTest, typed: str, text: str, unit: str
) -> None:
    found = read_typed(typed, test)
    assert (found.text, found.raw, found.raw_unit) == (text, typed, unit)
    assert found.quantity is not None
    assert found.quantity.number == Decimal(text), "flags judge what the reader sees"


@pytest.mark.parametrize("typed", ["35.2*10", "35.2 x10", "35.2×10", "３５.２＊１０"])
def test_a_diluted_value_is_multiplied_and_both_are_kept(typed: str) -> None:
    found = read_typed(typed, GLUCOSE)
    assert (found.text, found.dilution) == ("352.00", "10")
    assert read_typed("35.2", GLUCOSE, dilution="1:10").text == "352.00"
    assert read_typed(">30*10", GLUCOSE).text == ">300.00"


def test_the_bound_of_a_sign_is_never_rounded() -> None:
    assert read_typed("<0.1 mg/dL", GLUCOSE).text.startswith("<0.00555")


@pytest.mark.parametrize(
    ("typed", "text"), [("0", "-"), ("5", "±"), ("1", "1+"), ("2+", "2+"), ("４", "4+"), ("-", "-")]
)
def test_a_short_key_types_its_grade(typed: str, text: str) -> None:
    assert read_typed(typed, PROTEIN).text == text


def test_words_of_a_list_are_typed_by_key_or_by_themselves() -> None:
    assert read_typed("2", ANTIGEN).text == "阳性"
    assert read_typed("阴性", ANTIGEN).text == "阴性"
    assert read_typed("1", COLOUR).text == "淡黄色"
    assert read_typed("酱油色", COLOUR).text == "酱油色", "a description may be free"


@pytest.mark.parametrize(
    ("typed", "text"), [("80", "1:80"), ("1:80", "1:80"), ("1：８０", "1:80"), ("<20", "<1:20"), ("阴性", "阴性")]
)
def test_a_titre_is_typed_by_its_reciprocal(typed: str, text: str) -> None:
    assert read_typed(typed, TRUST).text == text


@pytest.mark.parametrize(
    ("test", "typed", "dilution", "code"),
    [
        (GLUCOSE, "", "", "value.empty"),
        (GLUCOSE, "x" * 201, "", "value.empty"),
        (GLUCOSE, "溶血", "", "value.no_number"),
        (GLUCOSE, "5..2", "", "value.no_number"),
        (GLUCOSE, "5.2.1", "", "value.no_number"),
        (GLUCOSE, "5,2", "", "value.unit"),
        (GLUCOSE, "5.2 U/L", "", "value.unit"),
        (ALT, "50 mg/dL", "", "value.unit"),
        (GLUCOSE, "5.2", "0.5", "value.dilution"),
        (GLUCOSE, "5.2", "abc", "value.dilution"),
        (ANTIGEN, "3", "", "value.no_choice"),
        (PROTEIN, "5+", "", "value.no_choice"),
        (TRUST, "好多", "", "value.no_titre"),
        (TRUST, "1.5", "", "value.no_titre"),
        (INR, "1:80", "", "value.ratio"),
        (INR, "1.5:2", "", "value.ratio"),
        (INR, "2.1*4", "", "value.ratio_dilution"),
        (INR, "2.1", "1:4", "value.ratio_dilution"),
        (UACR, "12 mg/L", "", "value.unit"),
    ],
)
def test_what_cannot_be_the_tests_value_is_refused(test: TypedTest, typed: str, dilution: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_typed(typed, test, dilution=dilution)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("test", "typed", "text"),
    [
        (INR, "2.10", "2.10"),
        (INR, ">8", ">8"),
        (INR, "1.5:1", "1.5"),
        (INR, "1.5：1", "1.5"),
        (UACR, "<0.05", "<0.05"),
        (UACR, "3.5 mg/mmol", "30.9"),
    ],
)
def test_a_ratio_is_a_number_of_its_own(test: TypedTest, typed: str, text: str) -> None:
    found = read_typed(typed, test)
    assert found.text == text
    assert found.quantity is not None


def test_the_single_entry_keeps_a_word_in_place_of_a_number_for_a_person_to_judge() -> None:
    assert read_typed("溶血", GLUCOSE, strict=False).text == "溶血"
