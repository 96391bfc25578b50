"""Every entry of the shared reference is worked through by a test, or stands here with what has to be built first."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cloud.kit.percentile import percentile
from cloud.lis.verification.confusion import Confusion

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "reference" / "reference.json"
LATER = {
    "quality control (the rules, their power, sigma, measurement uncertainty, external assessment)": {
        "normal_tail",
        "single_rule_Pfr_exact",
        "Ped_shift_exact",
        "Ped_random_error_exact",
        "other_closed_forms",
        "multirule_MonteCarlo_lookback",
        "multirule_Pfr_by_rule_N2",
        "sigma",
        "dpm_short_term",
        "dpm_1.5s_shift",
        "EQA",
        "MU_Nordtest",
    },
    "quality control by patients' values": {
        "SMA_full_block_alarm_probability",
        "EWMA_example",
        "SMA_example",
        "Bull_XB_example",
    },
    "the reference change value": {"RCV", "RCV_lognormal"},
}
"""Entries without a test, by what of the product they belong to and that is not built."""

pytestmark = [
    pytest.mark.req("LIS-3"),
    pytest.mark.skipif(not REFERENCE.exists(), reason="the shared reference lies outside of the repository"),
]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    return found


def test_every_entry_is_worked_through_or_named_as_not_built(reference: dict[str, Any]) -> None:
    read = re.compile(r"""reference\[["']([^"']+)["']\]""")
    tests = (each.read_text(encoding="utf-8") for each in (ROOT / "tests").rglob("test_*.py"))
    exercised = {name for text in tests for name in read.findall(text)}
    later = set().union(*LATER.values())
    assert exercised & later == set(), "built by now: take it out of LATER"
    assert exercised - set(reference) == set(), "no such entry"
    assert set(reference) - exercised - later == set(), "an entry that nothing works through"


def test_the_confusion_table_of_a_published_trial_comes_out_the_same(reference: dict[str, Any]) -> None:
    row = reference["autoverify_Wang2019"]
    table = Confusion(tp=row["TP"], tn=row["TN"], fp=row["FP"], fn=row["FN"])
    assert table.total == row["total"]
    shares = (table.pass_rate, table.sensitivity, table.specificity, table.ppv, table.npv)
    named = ("pass_rate", "sensitivity", "specificity", "PPV", "NPV")
    for share, name in zip(shares, named, strict=True):
        assert share is not None
        assert round(share, 2) == row[name], name


def test_the_turnaround_example_comes_out_the_same_by_the_percentile_of_the_house(reference: dict[str, Any]) -> None:
    row = reference["TAT_example"]
    minutes = sorted(row["minutes"])
    assert percentile(minutes, 0.5) == row["median"]
    assert percentile(minutes, 0.9) == pytest.approx(row["P90_linear"])
    assert sum(minutes) / len(minutes) == pytest.approx(row["mean"])
    assert sum(each <= 60 for each in minutes) / len(minutes) == row["within_60"]
