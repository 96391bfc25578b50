"""One tube, one rule set, one decision: what each kind of rule holds, and the guards that no rule can lift."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from cloud.lis.verification.deciding import decide
from cloud.lis.verification.facts import Earlier, Facts, from_json, to_json
from cloud.lis.verification.ruleset import Rule, rule_from_json, rule_to_json
from cloud.lis.verification.sentences import finding_sentence, rule_sentence
from tests.support.rulework import NOON, rule, rules, tube, value

pytestmark = pytest.mark.req("LIS-6")


def held(facts: Facts, *given: Rule, **said: Any) -> list[str]:
    """Kinds of what holds the first test."""
    return [each.kind for each in decide(facts, rules(*given, **said)).tests[0].held_by]


def test_a_normal_enabled_value_passes() -> None:
    decided = decide(tube(value("K", "4.2")), rules(rule("range", "K", basis="reference")))
    assert decided.passed
    assert decided.tests[0].findings[0].outcome == "pass"


def test_a_test_that_no_rule_enables_is_left_to_a_person() -> None:
    assert held(tube(value("GLU", "5.0"))) == ["not_enabled"]


def test_a_tube_with_a_missing_test_does_not_pass_though_its_values_do() -> None:
    decided = decide(tube(value("K", "4.2"), missing=("NA",)), rules())
    assert decided.tests[0].passed
    assert not decided.passed


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"critical": True}, "critical"),
        ({"holds": ("instrument_flag",)}, "verdict"),
        ({"rerun": True}, "rerun"),
        ({"typed": True}, "typed"),
        ({"qc": "out_of_control"}, "qc_out"),
    ],
)
def test_a_guard_holds_whatever_the_rules_say(said: dict[str, Any], kind: str) -> None:
    assert kind in held(tube(value("K", "4.2", **said)))


def test_a_draft_range_holds_in_production_and_works_elsewhere() -> None:
    drafted = value("K", "4.2", draft=True)
    assert held(tube(drafted, production=True)) == ["draft"]
    assert held(tube(drafted)) == []


def test_a_concession_specimen_is_never_passed() -> None:
    assert held(tube(value("K", "4.2"), concession=True)) == ["concession"]


@pytest.mark.parametrize("stop", ["all", "test:K", "instrument:BS-1"])
def test_what_somebody_stopped_is_held(stop: str) -> None:
    assert held(tube(value("K", "4.2"), stops=(stop,))) == ["stopped"]


def test_a_stop_of_another_test_stops_nothing_here() -> None:
    assert held(tube(value("K", "4.2"), stops=("test:NA", "instrument:XN-1"))) == []


@pytest.mark.parametrize(
    ("method", "limit", "before", "hours", "holds"),
    [
        ("difference", 13, "140", 24, False),
        ("difference", 12, "140", 24, True),
        ("percent", 9, "140", 24, True),
        ("percent", 10, "140", 24, False),
        ("rate", 25, "140", 12, True),
        ("rate", 26, "140", 12, False),
        ("percent_rate", 18, "140", 12, True),
    ],
)
def test_delta_by_each_of_four_methods(method: str, limit: int, before: str, hours: int, holds: bool) -> None:
    """140 to 153: 13 mmol/L, 9.29 %; in half a day 26 mmol/L a day, 18.6 % a day. The limit itself is inside."""
    checked = rule("delta", "NA", method=method, limit=limit, hours=72)
    assert bool(held(tube(value("NA", "153", before=(before, hours))), checked)) is holds


@pytest.mark.req("LIS-3")
@pytest.mark.parametrize(
    ("now", "before", "kinds"),
    [
        ("1:160", "1:40", []),
        ("1:320", "1:40", ["delta"]),
        (">1:640", "1:40", ["delta"]),
        (">1:80", "1:40", ["delta"]),
        ("3+", "-", ["delta"]),
        ("1+", "-", []),
        ("1:80", "阴性", ["delta"]),
    ],
)
def test_delta_of_titres_and_grades_counts_steps(now: str, before: str, kinds: list[str]) -> None:
    """Two steps are a fourfold rise; what may be more is left to a person."""
    checked = rule("delta", "NA", method="steps", limit=2, hours=72, unknown="hold")
    titre = value("NA", None, text=now, value_type="titre")
    earlier = Earlier(None, NOON - timedelta(hours=24), text=before)
    facts = tube(replace(titre, earlier=earlier))
    assert held(facts, checked) == kinds
    assert from_json(json.loads(json.dumps(to_json(facts)))) == facts


def test_a_change_from_below_the_limit_of_detection_is_held_where_it_is_certain() -> None:
    checked = rule("delta", "NA", method="difference", limit=100, hours=72)
    before = Earlier(Decimal("0.05"), NOON - timedelta(hours=24), "", "<", "<0.05")
    assert held(tube(replace(value("NA", "100.04"), earlier=before)), checked) == []
    assert held(tube(replace(value("NA", "100.05"), earlier=before)), checked) == ["delta"]
    assert held(tube(replace(value("NA", "100.00"), earlier=before)), checked) == []


def test_delta_in_one_direction_only() -> None:
    up = rule("delta", "NA", method="difference", limit=5, hours=72, direction="up")
    assert held(tube(value("NA", "150", before=("140", 1))), up) == ["delta"]
    assert held(tube(value("NA", "130", before=("140", 1))), up) == []


@pytest.mark.parametrize(
    "said", [{}, {"before": ("0", 24)}, {"before": ("140", 73)}, {"before": ("140", 1), "comparator": ">"}]
)
def test_a_delta_that_cannot_be_evaluated_passes_or_holds_as_its_author_wants(said: dict[str, Any]) -> None:
    given = {"method": "percent", "limit": 10, "hours": 72}
    assert held(tube(value("NA", "150", **said)), rule("delta", "NA", **given)) == []
    assert held(tube(value("NA", "150", **said)), rule("delta", "NA", unknown="hold", **given)) == ["delta"]


def test_a_rate_without_time_between_cannot_be_evaluated() -> None:
    checked = rule("delta", "NA", method="rate", limit=1, hours=72)
    decided = decide(tube(value("NA", "150", before=("140", 0))), rules(checked))
    assert decided.tests[0].findings[0].outcome == "unknown"


def test_own_limits_include_their_bounds_and_read_comparators_only_as_far_as_they_go() -> None:
    own = rule("range", "K", basis="limits", low=3, high=6)
    assert held(tube(value("K", "6")), own) == []
    assert held(tube(value("K", "6.01")), own) == ["range"]
    assert held(tube(value("K", "5", comparator="<")), own) == ["range"]
    assert held(tube(value("K", "5", comparator="<")), rule("range", "K", basis="limits", high=6)) == []


def test_direct_bilirubin_above_total_holds_both() -> None:
    broken = rule(
        "relation",
        conditions=[{"terms": [("DBIL", Decimal(1)), ("TBIL", Decimal(-1))], "op": ">", "value": Decimal(0)}],
    )
    facts = tube(value("DBIL", "12"), value("TBIL", "11"), value("K", "4"))
    decided = decide(facts, rules(broken, enabled=("K", "DBIL", "TBIL")))
    assert [(each.code, each.passed) for each in decided.tests] == [("DBIL", False), ("K", True), ("TBIL", False)]
    assert decide(tube(value("TBIL", "11"), value("K", "4")), rules(broken, enabled=("K", "TBIL"))).passed


def test_all_conditions_of_edta_contamination_hold_together_or_not_at_all() -> None:
    edta = rule(
        "relation",
        "K",
        "CA",
        whole=True,
        conditions=[
            {"terms": [("K", Decimal(1))], "op": ">", "value": Decimal("6.0")},
            {"terms": [("CA", Decimal(1))], "op": "<", "value": Decimal("1.8")},
        ],
    )
    given = {"enabled": ("K", "CA", "NA")}
    assert (
        not decide(tube(value("CA", "1.2"), value("K", "7"), value("NA", "140")), rules(edta, **given)).tests[2].passed
    )
    assert decide(tube(value("CA", "2.2"), value("K", "7"), value("NA", "140")), rules(edta, **given)).passed


def test_a_haemolysed_tube_holds_potassium_and_not_sodium() -> None:
    index = rule("index", "K", index="H", limit=1)
    decided = decide(tube(value("K", "5.0"), value("NA", "140"), indices={"H": Decimal(2)}), rules(index))
    assert [each.passed for each in decided.tests] == [False, True]
    assert held(tube(value("K", "5.0"), indices={"H": Decimal(1)}), index) == []


def test_flags_of_the_instrument_hold_but_for_its_own_high_and_low() -> None:
    any_flag = rule("flags", mode="any_except", letters=("PLT_Clumps",))
    assert held(tube(value("K", "4", flags=("H",))), any_flag) == []
    assert held(tube(value("K", "4", flags=("PLT_Clumps",))), any_flag) == []
    assert held(tube(value("K", "4", flags=("!",))), any_flag) == ["flags"]
    assert held(tube(value("K", "4", flags=("!",))), rule("flags", mode="only", letters=("X",))) == []


@pytest.mark.parametrize(
    ("state", "hours_ago", "holds"),
    [("in_control", 2, False), ("in_control", 25, True), ("warning", 2, True), ("none", 0, True)],
)
def test_qc_of_the_channel(state: str, hours_ago: int, holds: bool) -> None:
    checked = rule("qc", warning="hold", none="hold", hours=24)
    measured = value("K", "4", qc=state, qc_at=NOON - timedelta(hours=hours_ago))
    assert bool(held(tube(measured), checked)) is holds


def test_reportable_range_dilution_and_repeats() -> None:
    amr = rule("reportable", "K", low=1, high=10)
    assert held(tube(value("K", "11")), amr) == ["reportable"]
    assert held(tube(value("K", "10", comparator=">")), amr) == ["reportable"]
    assert held(tube(value("K", "9", dilution="2")), amr) == ["reportable"]
    again = rule("repeat", "K", percent=10)
    assert held(tube(value("K", "4.5", runs=(Decimal("4.0"),))), again) == ["repeat"]
    assert held(tube(value("K", "4.4", runs=(Decimal("4.0"),))), again) == []


def test_a_tube_that_stood_too_long() -> None:
    stable = rule("age", "K", hours=4)
    assert held(tube(value("K", "4"), collected_at=NOON - timedelta(hours=4)), stable) == []
    assert held(tube(value("K", "4"), collected_at=NOON - timedelta(hours=5)), stable) == ["age"]
    assert held(tube(value("K", "4"), collected_at=NOON + timedelta(hours=1)), stable) == ["age"]


def test_departments_and_diagnoses_are_excepted() -> None:
    never = rule("exclude", scope={"departments": ("ICU",)})
    assert held(tube(value("K", "4"), department="ICU"), never) == ["exclude"]
    assert held(tube(value("K", "4"), department="NK"), never) == []
    dialysis = rule("delta", "NA", method="difference", limit=5, hours=72, scope={"diagnosis_except": ("透析",)})
    assert held(tube(value("NA", "150", before=("140", 1)), diagnosis="血液透析"), dialysis) == []
    assert held(tube(value("NA", "150", before=("140", 1)), diagnosis="肺炎"), dialysis) == ["delta"]


def test_an_unknown_age_is_in_no_age_band() -> None:
    child = rule("exclude", scope={"age_max_days": 365})
    assert held(tube(value("K", "4"), age_days=10), child) == ["exclude"]
    assert held(tube(value("K", "4"), age_days=365), child) == []
    assert held(tube(value("K", "4"), age_days=None), child) == []


def test_a_qualitative_word_passes_only_when_it_is_listed() -> None:
    words = rule("words", "HBSAG", allowed=("阴性",))
    assert held(tube(value("HBSAG", None, text="阴性")), words, enabled=("HBSAG",)) == []
    assert held(tube(value("HBSAG", None, text="阳性")), words, enabled=("HBSAG",)) == ["words"]


def test_another_persons_blood_is_seen_in_several_small_changes_together() -> None:
    spreads = {code: {"within": Decimal(1), "between": Decimal(6), "log": False} for code in ("A", "B", "C")}
    tubes = rule("wrong_tube", limit=3, fewest=3, hours=720, spreads=spreads)
    same = tube(*(value(code, "101", before=("100", 24)) for code in "ABC"))
    other = tube(*(value(code, "103", before=("100", 24)) for code in "ABC"))
    assert decide(same, rules(tubes, enabled=("A", "B", "C"))).passed
    decided = decide(other, rules(tubes, enabled=("A", "B", "C")))
    assert [each.passed for each in decided.tests] == [False, False, False]
    few = decide(tube(value("A", "109", before=("100", 24))), rules(tubes, enabled=("A",)))
    assert few.tests[0].findings[-1].outcome == "unknown"


def test_a_stored_decision_is_made_again_from_the_store_alone() -> None:
    given = (
        rule("delta", "NA", method="percent", limit=5, hours=72, scope={"departments_except": ("ICU",)}),
        rule("range", "NA", basis="limits", low=Decimal("135.50"), high=145),
    )
    facts = tube(
        value("NA", "150", before=("140", 24), runs=(Decimal("149"),), flags=("H",)),
        indices={"H": Decimal("0.5")},
        collected_at=NOON - timedelta(hours=1),
        missing=("K",),
    )
    stored_facts = json.loads(json.dumps(to_json(facts)))
    stored_rules = tuple(rule_from_json(json.loads(json.dumps(rule_to_json(each)))) for each in given)
    assert from_json(stored_facts) == facts
    assert decide(from_json(stored_facts), rules(*stored_rules)).to_json() == decide(facts, rules(*given)).to_json()


def test_rules_and_reasons_read_as_sentences_with_their_values() -> None:
    checked = rule("delta", "NA", method="difference", limit=13, hours=72, unknown="hold")
    names = {"NA": "钠"}
    assert rule_sentence(checked, names) == "钠：72 小时内与上次结果相比变化超过 13 时转人工；无法判断时也转人工。"
    decided = decide(tube(value("NA", "155", before=("140", 24))), rules(checked))
    said = finding_sentence(decided.tests[0].held_by[0].to_json(), names)
    assert said == "与上次 140（24 小时前）相差 15，超过 13"
