"""A tube whose values arrived was on that analyzer: its road says so once for each analyzer."""

from __future__ import annotations

import pytest

from cloud.kit.db import begin
from cloud.lis.results.service import ingest
from cloud.lis.specimens import lookup, rules
from tests.support.bench import observed, set_up


@pytest.mark.req("LIS-2")
def test_values_of_an_analyzer_put_the_tube_on_it_once(database: str) -> None:
    with begin() as session:
        bench = set_up(session)
        tube = bench.specimen("WBC", "RBC")
        for code, value in (("WBC", "6.1"), ("RBC", "4.5"), ("WBC", "6.3")):
            ingest(session, bench.source(), [observed(tube, code, value)])
        steps = lookup.history(session, tube.id)
        assert [each.device for each in steps if each.type == "on_instrument"] == ["XN1"]
        assert rules.replay((each.type, each.detail) for each in steps) == ("received", "at_hand")
