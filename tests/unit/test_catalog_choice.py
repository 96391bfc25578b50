"""Which reference range holds: phase, week of pregnancy, method, analyzer, specimen; and when nobody told."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.lis.catalog.choice import Facts, choose_limit, choose_range, weeks_on
from cloud.lis.catalog.model import CriticalLimit, ReferenceRange
from cloud.lis.catalog.words import phase_label

TODAY = date(2026, 11, 23)
DAYS_30_YEARS = 10957
ICU, WARD = uuid.uuid4(), uuid.uuid4()


def band(low: str, high: str, **more: Any) -> ReferenceRange:
    given: dict[str, Any] = {
        "sex": "",
        "age_min_days": 0,
        "age_max_days": None,
        "specimen_type": "",
        "phase": "",
        "method": "",
        "instrument": "",
        "state": "approved",
        "valid_from": date(2026, 1, 1),
        "valid_to": None,
        "version": 1,
        "text": "",
    }
    return ReferenceRange(low=Decimal(low), high=Decimal(high), **{**given, **more})


FOLLICULAR = band("3.85", "8.78", sex="F", phase="follicular")
MIDCYCLE = band("4.54", "22.51", sex="F", phase="midcycle")
LUTEAL = band("1.79", "5.12", sex="F", phase="luteal")
MEN = band("1.27", "19.26", sex="M")
CYCLE = [LUTEAL, MEN, FOLLICULAR, MIDCYCLE]


def woman(**more: Any) -> Facts:
    return Facts("F", DAYS_30_YEARS, **more)


def man(**more: Any) -> Facts:
    return Facts("M", DAYS_30_YEARS, **more)


@pytest.mark.req("LIS-3")
def test_the_phase_that_the_order_tells_chooses_the_range() -> None:
    assert choose_range(CYCLE, woman(phase="luteal"), TODAY).band is LUTEAL
    assert choose_range(CYCLE, woman(phase="follicular"), TODAY).band is FOLLICULAR


@pytest.mark.req("LIS-3")
def test_of_an_untold_phase_no_range_is_taken_and_all_are_shown_in_the_order_of_the_cycle() -> None:
    choice = choose_range(CYCLE, woman(), TODAY)
    assert choice.band is None
    assert choice.open == (FOLLICULAR, MIDCYCLE, LUTEAL)


@pytest.mark.req("LIS-3")
def test_a_man_never_meets_a_phase_not_even_one_that_was_written_for_both_sexes() -> None:
    assert choose_range(CYCLE, man(), TODAY).band is MEN
    careless = [band("1", "2", phase="luteal")]
    assert choose_range(careless, man(), TODAY) == choose_range([], man(), TODAY)


@pytest.mark.req("LIS-3")
def test_a_range_for_every_woman_holds_where_the_phase_is_not_told_but_one_for_everybody_does_not() -> None:
    women = band("1", "30", sex="F")
    assert choose_range([*CYCLE, women], woman(), TODAY).band is women
    everybody = band("1", "40")
    assert choose_range([*CYCLE, everybody], woman(), TODAY).open == (FOLLICULAR, MIDCYCLE, LUTEAL)


@pytest.mark.req("LIS-0")
def test_an_approved_general_range_holds_before_drafts_of_phases() -> None:
    drafts = [band("1", "2", sex="F", phase=each, state="draft") for each in ("follicular", "luteal")]
    general = band("1", "40")
    assert choose_range([*drafts, general], woman(), TODAY).band is general


@pytest.mark.req("LIS-3")
@pytest.mark.parametrize(("weeks", "expected"), [(0, 0), (12, 0), (13, 1), (27, 1), (28, 2), (41, 2)])
def test_the_week_of_pregnancy_chooses_and_the_first_week_of_a_band_belongs_to_it(weeks: int, expected: int) -> None:
    bands = [
        band("0.1", "2.5", sex="F", gestation_min_weeks=0, gestation_max_weeks=13),
        band("0.2", "3.0", sex="F", gestation_min_weeks=13, gestation_max_weeks=28),
        band("0.3", "3.5", sex="F", gestation_min_weeks=28),
    ]
    general = band("0.27", "4.2")
    assert choose_range([*bands, general], woman(gestation_weeks=weeks), TODAY).band is bands[expected]
    assert choose_range([*bands, general], woman(), TODAY).band is general, "pregnancy is never supposed"
    untold = choose_range([*bands, general], woman(phase="pregnant"), TODAY)
    assert untold.band is None
    assert untold.open == tuple(bands)
    assert [phase_label(each) for each in bands] == ["孕0～12周", "孕13～27周", "孕28周起"]


@pytest.mark.req("LIS-3")
def test_a_week_told_with_the_order_has_gone_on_by_the_day_of_collection() -> None:
    ordered = date(2026, 11, 1)
    assert weeks_on(12, ordered, date(2026, 11, 7)) == 12
    assert weeks_on(12, ordered, date(2026, 11, 8)) == 13
    assert weeks_on(None, ordered, TODAY) is None


@pytest.mark.req("LIS-3")
def test_analyzer_goes_before_method_and_method_before_general() -> None:
    general, method = band("1", "9"), band("2", "8", method="化学发光")
    analyzer = band("3", "7", instrument="CL-1")
    bands = [general, method, analyzer]
    assert choose_range(bands, man(method="化学发光", instrument="CL-1"), TODAY).band is analyzer
    assert choose_range(bands, man(method="化学发光", instrument="CL-2"), TODAY).band is method
    assert choose_range(bands, man(method="酶法"), TODAY).band is general


@pytest.mark.req("LIS-3")
def test_a_range_for_another_specimen_never_applies() -> None:
    plasma, serum = band("1", "2", specimen_type="plasma"), band("3", "4", specimen_type="serum")
    assert choose_range([plasma, serum], man(specimen_type="serum"), TODAY).band is serum
    assert choose_range([plasma], man(specimen_type="serum"), TODAY).band is None


@pytest.mark.req("LIS-0")
def test_a_range_dated_ahead_waits_for_its_day() -> None:
    now = band("1", "2", valid_to=date(2027, 1, 1))
    later = band("1", "3", valid_from=date(2027, 1, 1), version=2)
    assert choose_range([now, later], man(), TODAY).band is now
    assert choose_range([now, later], man(), date(2027, 1, 1)).band is later


def limit(low: str | None, high: str | None, **more: Any) -> CriticalLimit:
    given: dict[str, Any] = {
        "sex": "",
        "age_min_days": 0,
        "age_max_days": None,
        "specimen_type": "",
        "department_id": None,
        "diagnosis": "",
        "state": "approved",
        "valid_from": date(2026, 1, 1),
        "valid_to": None,
        "version": 1,
        "texts": [],
    }
    bounds = {"low": None if low is None else Decimal(low), "high": None if high is None else Decimal(high)}
    return CriticalLimit(**bounds, **{**given, **more})


@pytest.mark.req("LIS-11")
def test_a_critical_limit_of_the_department_the_diagnosis_and_the_age_goes_before_the_general_one() -> None:
    general, here = limit("2.8", "6.2"), limit("2.5", "6.5", department_id=ICU)
    renal = limit("2.5", "7.0", diagnosis="肾功能衰竭")
    newborn = limit("2.5", "8.0", age_max_days=28)
    rows = [general, here, renal, newborn]
    assert choose_limit(rows, man(department_id=WARD), TODAY) is general
    assert choose_limit(rows, man(department_id=ICU), TODAY) is here
    assert choose_limit(rows, man(department_id=ICU, diagnosis="慢性肾功能衰竭 尿毒症期"), TODAY) is renal
    assert choose_limit(rows, Facts("M", 3, department_id=WARD), TODAY) is newborn


@pytest.mark.req("LIS-0")
def test_what_chose_a_range_is_kept_in_few_words() -> None:
    facts = woman(gestation_weeks=20, specimen_type="serum", method="化学发光", instrument="CL-1")
    assert facts.to_json() == {
        "sex": "F",
        "age_days": DAYS_30_YEARS,
        "phase": "pregnant",
        "gestation_weeks": 20,
        "specimen_type": "serum",
        "method": "化学发光",
        "instrument": "CL-1",
    }
