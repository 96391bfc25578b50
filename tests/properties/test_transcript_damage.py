"""Damaged bytes in every transcript of every driver.

Where the link verifies a sum, a damaged byte is refused and the repetition taken. Elsewhere nothing protects the text:
there the bytes are kept and every value that is read stands in them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from protocols.links.contract import FrameReceived, FrameRefused, MessageReceived
from protocols.model import Observation, Reading
from protocols.uplink.items import item_to_json
from tests.support.playing import Dialogue, Outcome, dialogues, mutated
from tests.support.wire import Bench

SPEAKING = [each for each in dialogues() if each.driver.protocol != "modbus"]
"""Modbus devices are asked: damage there makes a poll without its value (`test_modbus_properties`)."""
CHECKED = [each for each in SPEAKING if each.driver.new_link().checked]
UNCHECKED = [each for each in SPEAKING if not each.driver.new_link().checked]
ACK, NAK, EOT = b"\x06", b"\x15", b"\x04"
_ASTM_UNIT = re.compile(rb"\x02[^\x02\x03\x17]*[\x03\x17][^\x02-\x05]*|[\x04\x05]")
_SAMPLE = 250

each_checked = pytest.mark.parametrize("dialogue", CHECKED, ids=[each.name for each in CHECKED])
each_unchecked = pytest.mark.parametrize("dialogue", UNCHECKED, ids=[each.name for each in UNCHECKED])
astm_only = [each for each in CHECKED if each.driver.protocol == "astm"]
each_astm = pytest.mark.parametrize("dialogue", astm_only, ids=[each.name for each in astm_only])


def damages(dice: random.Random, data: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """(place, damaged) by lot: one byte becomes any other."""
    for _ in range(count):
        place = dice.randrange(len(data))
        yield place, data[:place] + bytes([(data[place] + dice.randrange(1, 256)) % 256]) + data[place + 1 :]


@pytest.mark.req("GW-2", "GW-5")
@each_checked
def test_no_damaged_byte_of_a_checked_line_gives_another_message(dialogue: Dialogue) -> None:
    """The instrument goes on regardless: fewer messages may arrive, never another one."""
    dice = random.Random(f"{dialogue.name} one byte")
    lines = dialogue.device_steps
    known = set(dialogue.whole.payloads)
    refused = refusals(dialogue.whole)
    whole = [0 if any(each in data for each in refused) else len(data) for data in lines]
    lost = 0
    for _ in range(_SAMPLE):
        number = dice.choices(range(len(lines)), whole)[0]
        place, damaged = next(damages(dice, lines[number], 1))
        outcome = dialogue.play({number: [damaged]})
        assert set(outcome.payloads) <= known, (number, place, damaged)
        lost += outcome.payloads != dialogue.whole.payloads or refusals(outcome) != refused
    assert lost > _SAMPLE / 4, "most places are text: their damage must be noticed"


def refusals(outcome: Outcome) -> list[bytes]:
    """What was refused: in some transcripts a text is damaged already, and a second damage may mend its sum."""
    return [event.raw for event in outcome.events if isinstance(event, FrameRefused) and event.raw]


class Sender:
    """An instrument that keeps to LIS01-A2: repeats a frame on NAK, ends and begins again after 15 s of silence."""

    def __init__(self, units: list[bytes]) -> None:
        self.units = units

    def deliver(self, line: Bench, number: int, damaged: bytes) -> None:
        """All units; the n-th comes damaged the first time."""
        position, attempts = 0, 0
        while position < len(self.units):
            attempts += 1
            assert attempts < 400, "the dialogue ends"
            line.answer()
            line.hear(damaged if position == number else self.units[position])
            if position == number:
                number = -1
            if self.units[position] == EOT:
                position += 1
                continue
            line.wait(7)
            answer = line.answer()
            if not answer:
                line.wait(9)
                answer = line.answer()
            if answer.endswith(ACK):
                position += 1
            elif not answer.endswith(NAK):
                line.hear(EOT)
                line.wait(11)
                position = max(n for n in range(position + 1) if self.units[n] == b"\x05")
        line.wait(60)


@pytest.mark.req("GW-2")
@each_astm
def test_instrument_that_repeats_what_was_refused_delivers_everything(dialogue: Dialogue) -> None:
    """No damage of one unit makes the instrument believe that a frame arrived which did not."""
    units = _ASTM_UNIT.findall(b"".join(dialogue.device_steps))
    expected = receive_only(dialogue, units)
    dice = random.Random(f"{dialogue.name} repeated")
    for _ in range(_SAMPLE // 4):
        number = dice.choices(range(len(units)), [len(unit) for unit in units])[0]
        place, damaged = next(damages(dice, units[number], 1))
        line = Bench(dialogue.driver.new_link())
        Sender(units).deliver(line, number, damaged)
        assert without_repeats(line.messages) == without_repeats(expected), (number, place, damaged)


def receive_only(dialogue: Dialogue, units: list[bytes]) -> list[bytes]:
    line = Bench(dialogue.driver.new_link())
    Sender(units).deliver(line, -1, b"")
    return line.messages


def without_repeats(messages: list[bytes]) -> list[bytes]:
    """A session begun again repeats whole messages: they are known by their content further on."""
    return list(dict.fromkeys(messages))


@pytest.mark.req("GW-2")
def test_damage_of_many_bytes_escapes_a_sum_no_oftener_than_theory_says(capsys: pytest.CaptureFixture[str]) -> None:
    """One sum in 256 fits by chance; two changed bytes may also cancel each other."""
    frames = [unit for each in astm_only for unit in _ASTM_UNIT.findall(b"".join(each.device_steps)) if len(unit) > 40]
    dice = random.Random("many bytes 2026")
    count, escaped = 20_000, 0
    for _ in range(count):
        good = dice.choice(frames)
        damaged = bytearray(good)
        for place in dice.sample(range(1, len(good) - 5), dice.randrange(2, 9)):
            damaged[place] = (damaged[place] + dice.randrange(1, 256)) % 256
        line = Bench(astm_only[0].driver.new_link())
        line.hear(b"\x05")
        line.hear(b"\x021" + bytes(damaged[2:]))
        line.wait(8)
        taken = [event.raw for event in line.events if isinstance(event, FrameReceived)]
        escaped += any(raw[2:-4] != good[2:-4] for raw in taken)
    with capsys.disabled():
        print(
            f"\n  damage of 2 to 8 bytes: {escaped} of {count} frames escaped, 1 in {count / max(escaped, 1):.0f}",
            end="",
        )
        print(" (theory: 1 in 256)")
    assert 0 < escaped < count / 128


# ---------------------------------------------------------------------- lines without a sum

_WORD = re.compile(r"[0-9A-Za-z.\u0080-\uffef]+")


@pytest.mark.req("GW-4", "GW-5", "GW-12")
@each_unchecked
def test_damaged_line_without_a_sum_is_kept_and_every_value_stands_in_its_bytes(dialogue: Dialogue) -> None:
    dice = random.Random(f"{dialogue.name} unchecked")
    lines = dialogue.device_steps
    for turn in range(_SAMPLE):
        number = dice.randrange(len(lines))
        damaged = next(damages(dice, lines[number], 1))[1] if turn % 2 else mutated(dice, lines[number], lines)
        outcome = dialogue.play({number: [damaged]})
        kept = {event.frame_id: event.raw for event in outcome.events if isinstance(event, FrameReceived)}
        for event in outcome.events:
            if not isinstance(event, MessageReceived):
                continue
            raw = b"".join(kept[frame_id] for frame_id in event.frame_ids)
            decoded = dialogue.read(event.payload)[0]
            for item in decoded.items:
                assert item_to_json(item)
                if isinstance(item, Observation | Reading) and b"\\X" not in raw:
                    assert stands_in(item.value or "", raw, decoded.charset), (item.value, raw)


def stands_in(value: str, raw: bytes, charset: str | None) -> bool:
    """Each word of `value` is written in `raw`.

    A structured number (SN) stands in components, a decimal sign may be a comma, or implied by a fixed-width column.
    """
    texts = [raw.decode(charset or "latin-1", "replace"), raw.decode("latin-1")]
    texts += [re.sub(r"[\^&~\x00-\x1f]", "", text) for text in texts] + [text.replace(",", ".") for text in texts]
    words = _WORD.findall(value)
    return all(any(word in text or word.replace(".", "") in text for text in texts) for word in words)
