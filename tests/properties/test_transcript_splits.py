"""Every split of every transcript of every driver gives the same messages, the same items and the same answers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.playing import Dialogue, cut_at, dialogues

DIALOGUES = dialogues()
each_dialogue = pytest.mark.parametrize("dialogue", DIALOGUES, ids=[each.name for each in DIALOGUES])
pytestmark = pytest.mark.req("GW-2", "GW-4", "GW-5")

_EXHAUSTIVE_BYTES = 1000
_SAMPLE = 150


def same(dialogue: Dialogue, pieces: Mapping[int, Sequence[bytes]]) -> None:
    """Messages decide the items (drivers are pure), so messages and bytes written are compared."""
    split = dialogue.play(pieces)
    assert split.payloads == dialogue.whole.payloads, pieces
    assert split.written == dialogue.whole.written, pieces


def two_way_splits(dialogue: Dialogue) -> list[tuple[int, int]]:
    """(line, place) of each cut of one line in two."""
    return [(number, place) for number, data in enumerate(dialogue.device_steps) for place in range(1, len(data))]


@each_dialogue
def test_dialogue_cut_once_gives_the_same(dialogue: Dialogue) -> None:
    """Each place of a short dialogue, places drawn by lot of a long one (all of them: the slow test below)."""
    places = two_way_splits(dialogue)
    if len(places) > _EXHAUSTIVE_BYTES:
        places = random.Random(dialogue.name).sample(places, _SAMPLE)
    lines = dialogue.device_steps
    for number, place in places:
        same(dialogue, {number: [lines[number][:place], lines[number][place:]]})


@pytest.mark.slow
@each_dialogue
def test_dialogue_cut_once_at_every_place_gives_the_same(dialogue: Dialogue) -> None:
    lines = dialogue.device_steps
    for number, place in two_way_splits(dialogue):
        same(dialogue, {number: [lines[number][:place], lines[number][place:]]})


@each_dialogue
@settings(max_examples=12, deadline=None)
@given(places=st.lists(st.integers(0, 60_000), max_size=40))
def test_dialogue_cut_anywhere_gives_the_same(dialogue: Dialogue, places: list[int]) -> None:
    same(dialogue, {number: cut_at(data, places) for number, data in enumerate(dialogue.device_steps)})


@each_dialogue
def test_dialogue_byte_by_byte_gives_the_same(dialogue: Dialogue) -> None:
    lines = dialogue.device_steps
    same(dialogue, {number: [bytes([each]) for each in data] for number, data in enumerate(lines)})


def test_there_are_dialogues_and_they_hold_messages() -> None:
    assert len(DIALOGUES) > 10
    assert all(dialogue.whole.payloads for dialogue in DIALOGUES)
