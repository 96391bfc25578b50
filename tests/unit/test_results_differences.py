"""What two readings of one message differ in."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.results.differences import ADDED, CHANGED, REMOVED, compare


def value(code: str, text: str, **more: Any) -> dict[str, Any]:
    return {"kind": "observation", "specimen": "1", "code": code, "value": text, **more}


def told(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[tuple[str, int | None, int | None]]:
    return [(each.what, each.before_at, each.after_at) for each in compare(before, after).differences]


def test_the_same_values_in_another_place_of_the_message_are_no_difference() -> None:
    before = [value("WBC", "6.4", record=3), value("HGB", "130", record=4)]
    after = [value("HGB", "130", record=9), value("WBC", "6.4", record=8)]
    assert told(before, after) == []
    assert sorted(compare(before, after).same) == [(0, 1), (1, 0)]


def test_a_changed_value_a_new_one_and_one_that_is_gone_are_told_apart() -> None:
    before = [value("WBC", "64"), value("NOTE", "x")]
    after = [value("WBC", "6.4", unit="10*9/L"), value("PLT", "250")]
    assert told(before, after) == [(CHANGED, 0, 0), (REMOVED, 1, None), (ADDED, None, 1)]
    assert compare(before, after).differences[0].fields == ("unit", "value")


def test_a_run_put_before_another_changes_only_itself() -> None:
    assert told([value("GLU", "5.1")], [value("GLU", "9.9"), value("GLU", "5.1")]) == [(ADDED, None, 0)]


def test_a_result_that_was_a_control_all_along_is_gone_and_new() -> None:
    control = value("GLU", "5.1") | {"kind": "qc", "qc": {"material": "L1"}}
    assert told([value("GLU", "5.1")], [control]) == [(REMOVED, 0, None), (ADDED, None, 0)]


items = st.lists(
    st.builds(value, st.sampled_from(["A", "B", "C"]), st.sampled_from(["1", "2", "3"]), record=st.integers(0, 9))
)


@given(items, items)
def test_every_item_of_both_readings_is_accounted_for_once(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    found = compare(before, after)
    old = [each.before_at for each in found.differences if each.before_at is not None] + [
        each for each, _ in found.same
    ]
    new = [each.after_at for each in found.differences if each.after_at is not None] + [each for _, each in found.same]
    assert sorted(old) == list(range(len(before)))
    assert sorted(new) == list(range(len(after)))
    assert compare(before, before).differences == ()
