"""The first few thousand frames of `./xinglin bench fuzz`, for each family of protocols that a driver speaks."""

from __future__ import annotations

import pytest

from protocols.driver import discover
from tests.bench.fuzz import families, held_bytes, run_block

_FRAMES = 3000
_LARGEST = 17 * 1024 * 1024
"""The bound of one message, 16 MiB, and what is at hand beside it."""


@pytest.mark.req("GW-2", "GW-4", "GW-5")
@pytest.mark.parametrize("family", families())
def test_mutated_frames_raise_nothing_and_keep_memory_bounded(family: str) -> None:
    tally = run_block(family, 2026, 0, _FRAMES)
    assert not tally.exceptions, "\n".join(tally.faults)
    assert tally.frames >= _FRAMES
    assert tally.messages > _FRAMES / 20, "mutated frames reach the driver"
    assert tally.items > 0
    assert tally.largest_buffer < _LARGEST


@pytest.mark.req("GW-2", "GW-4", "GW-5")
def test_block_played_again_gives_the_same() -> None:
    first, second = run_block("astm", 7, 3, 500), run_block("astm", 7, 3, 500)
    for each in (first, second):
        each.seconds = each.rss_growth_mb = 0.0
    assert first == second


def test_buffers_of_a_link_are_counted() -> None:
    link = discover()["generic_astm"].new_link()
    link.receive(b"\x05\x021" + b"x" * 5000, 0.0)
    assert 5000 < held_bytes(link) < 5100
