"""The formulas that come with the product, against the reference's worked values and against their own examples."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import cloud.lis.catalog
from cloud.lis.calculation.formula import Definition, Example, Given, KnownTest, calculate, faults, of_example
from cloud.lis.calculation.load import definitions

pytestmark = pytest.mark.req("LIS-3")

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "reference" / "reference.json"
CATALOGUE = Path(cloud.lis.catalog.__file__).parent / "data" / "tests.csv"
SHIPPED = {definition.test: definition for _, definition in definitions()}


def catalogue() -> dict[str, KnownTest]:
    with CATALOGUE.open(encoding="utf-8") as file:
        return {
            row["code"]: KnownTest(row["code"], row["unit"], row["value_type"] in ("numeric", "ratio"))
            for row in csv.DictReader(file)
        }


TESTS = catalogue()


def value(
    definition: Definition | str, values: dict[str, Any], sex: str = "", age: int | None = None
) -> Decimal | None:
    """What a formula gives for values in its operands' units."""
    found = SHIPPED[definition] if isinstance(definition, str) else definition
    example = Example({name: str(each) for name, each in values.items()}, "", sex, age)
    outcome = of_example(found, TESTS, example, TESTS[found.test].unit)
    assert outcome.number is not None or outcome.code == "outside", outcome
    return outcome.number


def near(found: Decimal | None, wanted: float, tolerance: str = "0.006") -> bool:
    return found is not None and abs(found - Decimal(str(wanted))) <= Decimal(tolerance)


class Consulted:
    """The reference, and which fields of the entries that were asked for nobody looked at."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self._entries, self._asked, self._read = entries, set[str](), set[tuple[str, str]]()

    def __getitem__(self, name: str) -> list[Any]:
        self._asked.add(name)
        consulted = self

        class Row(dict[str, Any]):
            def __getitem__(self, field: str) -> Any:
                consulted._read.add((name, field))
                return super().__getitem__(field)

        return [Row(each) for each in self._entries[name]]

    def unread(self) -> set[tuple[str, str]]:
        fields = {(name, field) for name in self._asked for row in self._entries[name] for field in row}
        return fields - self._read


FRIEDEWALD_MG = Definition(
    "LDL",
    "TC - HDL - TG/5",
    operands=Definition.of_json(
        "LDL", "0", {"operands": [{"name": name, "test": name, "unit": "mg/dL"} for name in ("TC", "HDL", "TG")]}
    ).operands,
)
SAMPSON = Definition(
    "LDL",
    "t := TC*38.67[mg*L/dL/mmol]; h := HDL*38.67[mg*L/dL/mmol]; g := TG*88.57[mg*L/dL/mmol]; n := t - h;"
    "(t/0.948 - h/0.971 - (g/8.56 + g*n/2140[mg/dL] - g^2/16100[mg/dL]) - 9.44[mg/dL]) / 38.67[mg*L/dL/mmol]",
)
CKD_EPI_2009 = Definition(
    "EGFR",
    "k := if(sex = 'F', 0.7[mg/dL], 0.9[mg/dL]); a := if(sex = 'F', -0.329, -0.411);"
    "141[mL/min/1.73m²]*min(CREA/k,1)^a*max(CREA/k,1)^-1.209*0.993^(age/1[year])*if(sex = 'F', 1.018, 1)",
    operands=SHIPPED["EGFR"].operands,
)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the shared reference lies outside of the repository")
def test_every_formula_of_the_reference_gives_its_worked_values() -> None:
    reference = Consulted(json.loads(REFERENCE.read_text(encoding="utf-8")))

    def sex(row: dict[str, Any]) -> str:
        return "F" if row["female"] else "M"

    for row in reference["eGFR_CKD_EPI_2021_creatinine"]:
        assert near(value("EGFR", {"CREA": row["mg_dL"]}, sex(row), row["age"]), row["eGFR"]), row
    for row in reference["eGFR_umol_input"]:
        given = {"CREA": Given(Decimal(str(row["umol_L"])), "μmol/L")}
        found = calculate(SHIPPED["EGFR"], TESTS["EGFR"].unit, given, sex=sex(row), age_years=row["age"])
        assert near(found.number, row["eGFR"]), row
    for row in reference["eGFR_2009"]:
        assert near(value(CKD_EPI_2009, {"CREA": row["mg_dL"]}, sex(row), row["age"]), row["eGFR"]), row
    for row in reference["eGFR_cys_2012"]:
        assert near(value("EGFR_CYS", {"CYSC": row["cys"]}, sex(row), row["age"]), row["eGFR"]), row
    for row in reference["eGFR_crcys_2021"]:
        values = {"CREA": row["cr"], "CYSC": row["cys"]}
        assert near(value("EGFR_CRCYS", values, sex(row), row["age"]), row["eGFR"]), row
    for row in reference["LDL"]:
        lipids = {name: row[name] for name in ("TC", "HDL", "TG")}
        if row["LDL_friedewald_mmol"] is None:
            assert value("LDL", lipids) is None, row
        else:
            assert near(value("LDL", lipids), row["LDL_friedewald_mmol"], "0.0006"), row
        assert near(value("NONHDL", {"TC": row["TC"], "HDL": row["HDL"]}), row["nonHDL"], "0"), row
        assert near(value(SAMPSON, lipids), row["LDL_sampson_mmol"], "0.0006"), row
    for row in reference["anion_gap"]:
        ions = {"NA": row["Na"], "CL": row["Cl"], "CO2": row["HCO3"]}
        assert near(value("AGAP", ions), row["AG"], "0"), row
        assert near(value("AGAP_K", {**ions, "K": row["K"]}), row["AG_with_K"], "0"), row
        corrected = Definition("AGAP", "NA - CL - CO2 + 0.25[mmol/g] * (40[g/L] - ALB)")
        assert near(value(corrected, {**ions, "ALB": row["alb"]}), row["AG_alb_corr"], "0"), row
    for row in reference["osmolality_2Na_Glu_Urea"]:
        assert near(value("OSM", {"NA": row["Na"], "GLU": row["Glu"], "UREA": row["Urea"]}), row["osm"], "0"), row
    for row in reference["corrected_Ca"]:
        assert near(value("CA_ADJ", {"CA": row["Ca"], "ALB": row["Alb"]}), row["cCa"], "0"), row
    for row in reference["haem"]:
        assert near(value("MCV", {"HCT": row["HCT"], "RBC": row["RBC"]}), row["MCV"], "0"), row
        assert near(value("MCH", {"HGB": row["Hb"], "RBC": row["RBC"]}), row["MCH"], "0"), row
        assert near(value("MCHC", {"HGB": row["Hb"], "HCT": row["HCT"]}), row["MCHC"]), row
    for row in reference["INR"]:
        assert near(value("INR", {name: row[name] for name in ("PT", "MNPT", "ISI")}), row["INR"], "0.0006"), row
    for row in reference["globulin_AG_ratio_IBIL"]:
        proteins = {"TP": row["TP"], "ALB": row["ALB"]}
        assert near(value("GLB", proteins), row["GLB"], "0")
        assert near(value("AG_RATIO", proteins), row["A_G"], "0.0006")
        assert near(value("IBIL", {"TBIL": row["TBIL"], "DBIL": row["DBIL"]}), row["IBIL"], "0")
    for row in reference["Ccr_24h"]:
        values = {"U_CREA": row["U_umol_L"], "U_VOL24": row["V_mL"], "CREA": row["S_umol_L"]}
        assert near(value("CCR", values), row["Ccr"], "0.0006")
    for row in reference["HOMA_IR"]:
        assert near(value("HOMA_IR", {"GLU": row["Glu"], "INS": row["Ins"]}), row["HOMA"], "0.0006")
    for row in reference["TSAT"]:
        assert near(value("TSAT", {"FE": row["Fe"], "TIBC": row["TIBC"]}), row["TSAT"], "0")
    for row in reference["eAG_HbA1c"]:
        assert near(value("EAG", {"HBA1C": row["A1c"]}), row["eAG_mmol"])
        assert near(value("HBA1C_IFCC", {"HBA1C": row["A1c"]}), row["IFCC"])
    for row in reference["LDL_mgdl"]:
        given = {name: Given(Decimal(row[name]), "mg/dL") for name in ("TC", "HDL", "TG")}
        assert near(calculate(FRIEDEWALD_MG, "mg/dL", given).number, row["LDL"], "0"), row
    assert (
        reference.unread()
        == {
            ("eGFR_CKD_EPI_2021_creatinine", "umol_L"): "the same creatinine in the other unit",
            ("Ccr_24h", "min"): "a day has 1440 minutes: the formula knows",
        }.keys()
    )


@pytest.mark.parametrize("test", sorted(SHIPPED))
def test_a_shipped_formula_has_no_fault_and_gives_its_own_examples(test: str) -> None:
    reads = {code: tuple(each.test for each in other.read()) for code, other in SHIPPED.items() if code != test}
    assert faults(SHIPPED[test], TESTS, reads) == []
    assert SHIPPED[test].examples


def test_egfr_is_for_adults_only_and_asks_for_sex_and_age() -> None:
    assert value("EGFR", {"CREA": "0.5"}, "F", 17) is None
    assert value("EGFR", {"CREA": "0.5"}, "F", 18) is not None
    creatinine = {"CREA": Given(Decimal(80), "μmol/L")}
    unit = TESTS["EGFR"].unit
    assert calculate(SHIPPED["EGFR"], unit, creatinine, age_years=40).code == "sex_unknown"
    assert calculate(SHIPPED["EGFR"], unit, creatinine, sex="F").code == "age_unknown"


def test_ldl_is_not_calculated_above_4_5_of_triglycerides_but_at_it() -> None:
    assert near(value("LDL", {"TC": "7.0", "HDL": "0.9", "TG": "4.5"}), 4.055, "0.0006")
    assert value("LDL", {"TC": "7.0", "HDL": "0.9", "TG": "4.51"}) is None


def test_inr_waits_for_the_numbers_of_the_reagent_lot() -> None:
    given = {"PT": Given(Decimal(24), "s")}
    assert calculate(SHIPPED["INR"], "", given).code == "parameter_blank"


def test_a_division_by_zero_is_an_outcome_and_no_fault_of_the_program() -> None:
    given = {"TP": Given(Decimal(40), "g/L"), "ALB": Given(Decimal(40), "g/L")}
    assert calculate(SHIPPED["AG_RATIO"], "", given).code == "arithmetic"


def test_a_value_in_another_unit_enters_converted_and_one_of_another_kind_not_at_all() -> None:
    in_grams = {"TP": Given(Decimal("7.2"), "g/dL"), "ALB": Given(Decimal(42), "g/L")}
    assert near(calculate(SHIPPED["GLB"], "g/L", in_grams).number, 30, "0")
    wrong = {"FE": Given(Decimal(18), "μmol/L"), "TIBC": Given(Decimal(60), "s")}
    operand = Definition.of_json("TSAT", "FE/TIBC", {"operands": [{"name": "TIBC", "test": "TIBC", "unit": "μmol/L"}]})
    assert calculate(operand, "%", wrong).code == "operand_unit"
