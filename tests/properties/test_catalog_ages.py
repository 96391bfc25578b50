"""Where the configuration check finds neither gap nor overlap, every day of life has exactly one reference range."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.catalog import rules
from cloud.lis.catalog.choice import Facts, choose_range
from cloud.lis.catalog.model import ReferenceRange

TODAY = date(2026, 11, 23)
LAST = 130
"""Days of life looked at: every edge of the drawn bands lies below, so no day of a longer life is judged otherwise."""
days = st.integers(0, 100)


def band(sex: str, start: int, end: int | None) -> ReferenceRange:
    return ReferenceRange(
        sex=sex,
        age_min_days=start,
        age_max_days=end,
        specimen_type="",
        phase="",
        method="",
        instrument="",
        state="approved",
        valid_from=date(2026, 1, 1),
        valid_to=None,
        version=1,
        text="",
    )


@st.composite
def bands(draw: st.DrawFn) -> list[ReferenceRange]:
    """Bands as people write them: some meet, some leave gaps or overlap, for both sexes or one."""
    found = []
    for sex in draw(st.sampled_from([("",), ("M", "F"), ("", "F"), ("", "M", "F")])):
        edges = sorted(draw(st.sets(days, min_size=2, max_size=5)))
        for start, end in zip(edges, [*edges[1:], None], strict=True):
            found.append(band(sex, start + draw(st.sampled_from([0, 0, 0, 1])), end))
        if draw(st.booleans()):
            found.pop(draw(st.integers(0, len(found) - 1)))
    return [each for each in found if each.age_max_days is None or each.age_max_days > each.age_min_days]


def fitting(rows: list[ReferenceRange], sex: str, age: int) -> list[ReferenceRange]:
    """The bands that speak about such a person; those of their own sex silence those of both."""
    found = [each for each in rows if rules.covers(each, sex, age)]
    own = [each for each in found if each.sex == sex]
    return own or found


@pytest.mark.req("LIS-3", "LIS-16")
@given(bands())
def test_every_day_of_age_has_exactly_one_range_where_the_check_is_silent(rows: list[ReferenceRange]) -> None:
    silent = not rules.band_problems("X", rows, TODAY)
    alone = True
    for sex in ("M", "F"):
        starts = [each.age_min_days for each in rows if each.sex in ("", sex)]
        ends = [each.age_max_days or rules.NO_END for each in rows if each.sex in ("", sex)]
        for age in range(min(starts, default=0), min(max(ends, default=0), LAST)):
            chosen = choose_range(rows, Facts(sex, age), TODAY).band
            speak = fitting(rows, sex, age)
            assert (chosen is None) == (not speak)
            alone &= len(speak) == 1
            if len(speak) == 1:
                assert chosen is speak[0]
    assert not silent or alone
    if not alone:
        assert not silent, "a day without a range, or with two, that the check does not name"


@pytest.mark.req("LIS-3")
@given(st.lists(st.tuples(st.sampled_from(["", "M", "F"]), days, days), max_size=6), days, st.sampled_from(["M", "F"]))
def test_the_order_in_which_ranges_are_read_changes_nothing(
    drawn: list[tuple[str, int, int]], age: int, sex: str
) -> None:
    rows = [band(each, low, high) for each, low, high in drawn if low < high]
    unique = list({(each.sex, each.age_min_days): each for each in rows}.values())
    one = choose_range(unique, Facts(sex, age), TODAY).band
    other = choose_range(unique[::-1], Facts(sex, age), TODAY).band
    spans = {(each.sex, each.age_max_days, each.age_min_days) for each in (one, other) if each is not None}
    widths = {(sex_, (high or 0) - low) for sex_, high, low in spans}
    assert len(widths) <= 1
