"""Damage on a Modbus line: a poll may lose a value, never get a wrong one; any split of the bytes gives the same."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.model import Reading
from tests.support.playing import Dialogue, Outcome, dialogues
from tests.support.wire import Bench

MODBUS = [each for each in dialogues() if each.driver.protocol == "modbus"]
SUMMED = [each for each in MODBUS if each.driver.new_link().checked]


def readings(dialogue: Dialogue, outcome: Outcome) -> list[Reading]:
    found = [item for payload in outcome.payloads for item in dialogue.read(payload)[0].items]
    return [item for item in found if isinstance(item, Reading)]


class Device:
    """The devices of a dialogue as they are: they answer what they are asked. One of their answers comes damaged."""

    def __init__(self, dialogue: Dialogue, dice: random.Random) -> None:
        steps = dialogue.case.steps
        self.answers: dict[bytes, bytes] = {}
        for (kind, asked), (other, answer) in pairwise(steps):
            if (kind, other) == ("host", "device"):
                self.answers.setdefault(asked, answer)
        self.damage_at = dice.randrange(len(self.answers))
        self._dice = dice

    def answer(self, asked: bytes, turn: int) -> bytes:
        answer = bytearray(self.answers.get(asked, b""))
        if turn == self.damage_at and answer:
            answer[self._dice.randrange(len(answer))] ^= self._dice.randrange(1, 256)
        return bytes(answer)


def polled(dialogue: Dialogue, device: Device, seconds: float = 40) -> list[Reading]:
    line = Bench(dialogue.driver.new_link())
    turn = 0
    while line.now < seconds:
        line.wait(0.01 if line.link.wake_at is None else max(line.link.wake_at - line.now, 0.001))
        if asked := line.answer():
            line.hear(device.answer(asked, turn))
            turn += 1
    found = [item for payload in line.messages for item in dialogue.read(payload)[0].items]
    return [item for item in found if isinstance(item, Reading)]


@pytest.mark.req("GW-6")
@pytest.mark.parametrize("dialogue", SUMMED, ids=[each.name for each in SUMMED])
def test_no_damaged_byte_gives_a_value_that_the_device_did_not_send(dialogue: Dialogue) -> None:
    """It is asked again: what was damaged once comes whole the second time, or is missing with the reason."""
    dice = random.Random(f"{dialogue.name} damage")
    whole = Device(dialogue, dice)
    whole.damage_at = -1
    true = {(each.point, each.device, each.value) for each in polled(dialogue, whole)}
    for _ in range(60):
        for each in polled(dialogue, Device(dialogue, dice)):
            assert each.value is None or (each.point, each.device, each.value) in true
            assert each.value is not None or each.alarms, "a value that is missing says why"


@pytest.mark.req("GW-6")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_split_of_the_answers_gives_the_same_polls(data: st.DataObject) -> None:
    dialogue = data.draw(st.sampled_from(MODBUS))
    pieces: dict[int, list[bytes]] = {}
    for number, line in enumerate(dialogue.device_steps):
        cuts = sorted(data.draw(st.sets(st.integers(0, len(line)), max_size=6)))
        ends = [*cuts, len(line)]
        pieces[number] = [line[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
    assert dialogue.play(pieces).payloads == dialogue.whole.payloads


@pytest.mark.req("GW-6")
@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=40), framing=st.sampled_from(sorted({each.name for each in MODBUS})))
def test_noise_before_an_answer_never_becomes_a_value(noise: bytes, framing: str) -> None:
    dialogue = next(each for each in MODBUS if each.name == framing)
    first = dialogue.device_steps[0]
    true = {(each.point, each.device, each.value) for each in readings(dialogue, dialogue.whole)}
    for each in readings(dialogue, dialogue.play({0: [noise, first]})):
        assert each.value is None or (each.point, each.device, each.value) in true
