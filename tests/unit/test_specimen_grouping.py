"""Tubes for tests: every test has exactly one tube, and no tube is asked for more than it holds."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.specimens.grouping import Need, OpenTube, tubes_for, usable_ul
from cloud.lis.specimens.rules import is_anticoagulated, replay
from cloud.lis.storage.rules import is_place, next_free, places

YELLOW, PURPLE = uuid.UUID(int=1), uuid.UUID(int=2)
PANELS = [None, uuid.UUID(int=11), uuid.UUID(int=12)]
needs = st.lists(
    st.builds(
        Need,
        item_id=st.uuids(),
        tube_id=st.sampled_from([YELLOW, PURPLE]),
        specimen_type=st.sampled_from(["serum", "blood"]),
        draw_order=st.just(30),
        volume_ul=st.integers(0, 900),
        line=st.sampled_from(["", "生化", "免疫"]),
        panel_id=st.sampled_from(PANELS),
    ),
    max_size=12,
    unique_by=lambda each: each.item_id,
)
room = st.one_of(st.none(), st.integers(1, 2000))


@pytest.mark.req("LIS-1")
@given(needs, room, st.integers(0, 800))
def test_every_test_has_one_tube_that_fits_and_has_room(wanted: list[Need], room_ul: int | None, used: int) -> None:
    there = OpenTube(uuid.uuid4(), YELLOW, "serum", used_ul=used)
    plans = tubes_for(wanted, {YELLOW: room_ul, PURPLE: room_ul}, [there])
    by_id = {each.item_id: each for each in wanted}
    placed = [item for plan in plans for item in plan.item_ids]
    assert sorted(placed) == sorted(by_id)
    for plan in plans:
        inside = [by_id[each] for each in plan.item_ids]
        assert {(each.tube_id, each.specimen_type) for each in inside} == {(plan.tube_id, plan.specimen_type)}
        assert len({each.line for each in inside} - {""}) <= 1
        measured = [each.volume_ul for each in inside if each.volume_ul]
        asked = sum(measured) + (used if plan.specimen_id and measured else 0)
        too_large_alone = len(measured) == 1 and plan.specimen_id is None
        assert room_ul is None or asked <= room_ul or too_large_alone


@pytest.mark.req("LIS-1")
def test_a_panel_stays_in_one_tube_where_one_holds_it() -> None:
    panel = [Need(uuid.uuid4(), YELLOW, "serum", 30, volume_ul=300, panel_id=PANELS[1]) for _ in range(3)]
    single = Need(uuid.uuid4(), YELLOW, "serum", 30, volume_ul=400)
    plans = tubes_for([single, *panel], {YELLOW: 1000})
    assert sorted(len(each.item_ids) for each in plans) == [1, 3]


@pytest.mark.req("LIS-1")
@pytest.mark.parametrize(
    ("fill", "expected"),
    [((5000, 200, 40), 1800), ((2000, 100, None), 1900), ((None, 100, 40), None), ((100, 200, None), 0)],
)
def test_what_of_a_tube_can_be_measured(fill: tuple[int | None, int | None, int | None], expected: int | None) -> None:
    assert usable_ul(*fill) == expected


@pytest.mark.req("LIS-2")
def test_a_rack_is_filled_row_by_row_and_has_only_its_places() -> None:
    assert places(2, 3) == ["A1", "A2", "A3", "B1", "B2", "B3"]
    assert next_free(2, 3, {"A1", "A3"}) == "A2"
    assert next_free(1, 2, {"A1", "A2"}) is None
    assert all(is_place(each, 2, 3) for each in places(2, 3))
    assert not any(is_place(each, 2, 3) for each in ("A0", "A4", "C1", "a1", "", "AA1", "A01x"))


@pytest.mark.req("LIS-14")
def test_a_tube_counts_as_anticoagulated_by_its_additive_unless_somebody_said() -> None:
    assert is_anticoagulated("EDTA-K2")
    assert not is_anticoagulated("促凝剂、分离胶")
    assert not is_anticoagulated("EDTA-K2", False)
    assert is_anticoagulated("无", True)


@pytest.mark.req("LIS-2")
def test_a_history_amounts_to_its_last_state_and_a_step_back_to_the_state_it_names() -> None:
    steps = [("printed", {}), ("collected", {}), ("received", {}), ("reception_undone", {"back_to": "collected"})]
    assert replay(steps) == ("collected", "at_hand")
    assert replay([*steps, ("received", {}), ("stored", {}), ("line_routed", {})]) == ("received", "stored")
    assert replay([]) == (None, "at_hand")
