"""An unknown line is recognised from what is heard: rate, parity, protocol and driver, over all transcripts (GW-13)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from protocols.driver import discover
from protocols.identify_bytes import judge
from protocols.identify_line import (
    PLAUSIBLE,
    RATES,
    SURE,
    Hearing,
    LineSetting,
    Sample,
    acknowledgement,
    hear,
    next_setting,
    propose,
)
from protocols.identify_samples import read_setting, unmark, views
from tests.support import uart
from tests.support.transcripts import cases_of, read_case
from tests.support.uart import Form, on_the_line

pytestmark = pytest.mark.req("GW-13")

COMMON = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
FORMS = [
    Form(8, "none"), Form(8, "even"), Form(8, "odd"), Form(7, "even"), Form(7, "odd"), Form(7, "mark"),
]  # fmt: skip
SERIAL = ("astm", "hl7", "poct1a", "text")
CASES = [
    pytest.param(folder, id=f"{driver.id}/{folder.name}")
    for driver in sorted(discover().values(), key=lambda driver: driver.id)
    if driver.protocol in SERIAL
    for folder in cases_of(driver.id)
]
FIRST_OF_EACH = [
    pytest.param(cases_of(driver.id)[-1], id=driver.id)
    for driver in sorted(discover().values(), key=lambda driver: driver.id)
    if driver.protocol in SERIAL and cases_of(driver.id)
]
_LONGEST = 500
"""Bytes of a transcript that are put on the line: half a second at 9600."""
_HEARD = 800
"""Characters that are listened to."""
ENQUIRY = b"\x05"


class Line:
    """An instrument's serial line: what is heard of it at any setting."""

    def __init__(self, data: bytes, rate: int, form: Form, *, resumes_at_once: bool = True, marks: bool = True) -> None:
        self.levels = on_the_line(data, form)
        self.rate = rate
        self.resumes_at_once = resumes_at_once
        self.marks = marks

    def heard(self, setting: LineSetting) -> Sample:
        assert setting.baud_rate is not None
        form = Form(setting.data_bits, setting.parity, setting.stop_bits)
        got = uart.hear(
            self.levels, self.rate, setting.baud_rate, form, resumes_at_once=self.resumes_at_once, longest=_HEARD
        )
        if not self.marks:
            return Sample(got.data, setting)
        data, broken = unmark(got.marked)
        return Sample(data, setting, broken)


def walked(line: Line) -> list[Hearing]:
    """Listening at one setting after another until the line is known."""
    hearings: list[Hearing] = []
    tried: list[LineSetting] = []
    while (setting := next_setting(hearings, tried)) is not None:
        tried.append(setting)
        hearings.append(hear(line.heard(setting)))
    return hearings


def spoken(folder: Path) -> bytes:
    return read_case(folder).device_bytes()[:_LONGEST]


def each_form(data: bytes) -> Iterator[Form]:
    """Seven data bits carry ASCII only."""
    return (form for form in FORMS if form.data_bits == 8 or data.isascii())


@pytest.mark.parametrize("folder", FIRST_OF_EACH)
def test_every_instrument_is_recognised_at_every_rate(folder: Path) -> None:
    """With one form of characters, by lot; the slow test hears all of them."""
    form = random.Random(folder.parent.name).choice(list(each_form(spoken(folder))))
    recognised_at_every_rate(folder, [form], resumes_at_once=len(folder.parent.name) % 2 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("folder", CASES)
@pytest.mark.parametrize("resumes_at_once", [True, False], ids=["16550", "waits_for_idle"])
def test_every_transcript_is_recognised_at_every_rate_and_parity(folder: Path, resumes_at_once: bool) -> None:
    recognised_at_every_rate(folder, list(each_form(spoken(folder))), resumes_at_once=resumes_at_once)


def recognised_at_every_rate(folder: Path, forms: list[Form], *, resumes_at_once: bool) -> None:
    """A sample at each common rate: the true one wins, with its data bits and parity.

    What is heard depends on the ratio of the rates only, so each ratio is heard once.
    """
    data = spoken(folder)
    for form in forms:
        heard_at: dict[Fraction, Hearing] = {}
        for true in COMMON:
            line = Line(data, true, form, resumes_at_once=resumes_at_once)
            hearings = []
            for rate in COMMON:
                ratio = Fraction(rate, true)
                if ratio not in heard_at:
                    heard_at[ratio] = hear(line.heard(LineSetting(rate)))
                hearings.append(at_rate(heard_at[ratio], rate))
            if form.data_bits == 8 and form.parity != "none":
                hearings += [hear(line.heard(LineSetting(true, 8, parity))) for parity in ("even", "odd")]
            best = propose(hearings)[0]
            assert best.baud_rate.value == true, (form, best)
            assert (best.setting.data_bits, best.setting.parity) == (form.data_bits, form.parity), best.parity
            rest = [each.score for each in hearings if each.sample.setting.baud_rate != true]
            assert max(rest) < PLAUSIBLE <= best.score, "a wrong rate must not look plausible"


def at_rate(hearing: Hearing, rate: int) -> Hearing:
    """The hearing as it is at another rate with the same ratio."""
    setting, view = hearing.sample.setting, hearing.view
    assert setting.parity == "none"
    return Hearing(
        Sample(hearing.sample.data, LineSetting(rate), hearing.sample.broken),
        type(view)(
            view.data,
            LineSetting(rate, view.setting.data_bits, view.setting.parity),
            view.score,
            view.reason,
            view.whole_share,
        ),
        hearing.evidence,
    )


@pytest.mark.parametrize("folder", CASES)
def test_every_transcript_names_its_driver_and_protocol(folder: Path) -> None:
    """Heard right, the driver that made the transcript is proposed, with the protocol of its family."""
    driver = discover()[folder.parent.name]
    case = read_case(folder)
    if case.options:
        pytest.skip("read with settings that the laboratory gave")
    data = case.device_bytes()
    (proposal,) = propose([hear(Sample(data))])
    assert proposal.driver.value == driver.id, proposal.driver.reason
    assert proposal.protocol.value == driver.protocol
    assert all(finding.reason for finding in proposal.findings().values())
    if not driver.id.startswith("generic_"):
        assert proposal.vendor.value == driver.vendor
    else:
        assert proposal.vendor.value is None, "a generic driver knows no maker"


@pytest.mark.parametrize("marks", [True, False], ids=["port_marks_broken_characters", "port_tells_nothing"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.data_bits}{form.parity}")
@pytest.mark.parametrize("rate", COMMON)
def test_walk_over_the_settings_ends_at_the_right_one(rate: int, form: Form, marks: bool) -> None:
    data = spoken(Path(str(CASES[0].values[0])))
    hearings = walked(Line(data, rate, form, marks=marks))
    best = propose(hearings)[0]
    assert best.score >= SURE
    assert (best.setting.baud_rate, best.setting.data_bits) == (rate, form.data_bits)
    if marks or form.data_bits == 7 or form.parity == "none":
        assert best.setting.parity == form.parity
    else:
        assert best.parity.score <= 0.5, "without marks even and odd sound alike behind eight data bits"
    assert len(hearings) <= len(RATES) + 6, "the rates that sound best are tried with parity first"


def test_walk_ends_when_every_setting_was_tried() -> None:
    tried: list[LineSetting] = []
    while (setting := next_setting([], tried)) is not None:
        tried.append(setting)
    assert len(tried) == len(set(tried)) == 3 * len(RATES)


@pytest.mark.parametrize("form", [Form(8, "none"), Form(7, "even")], ids=["8N1", "7E1"])
def test_chinese_text_has_eight_bits_and_its_character_set(form: Form) -> None:
    """GBK names cannot travel on a line of seven bits; at eight they are told from noise."""
    data = "H|\\^&|||X^1\rC|1|I|标本溶血，重新采样|I\rL|1|N\r".encode("gb18030")
    best = propose([hear(Line(data, 9600, form).heard(LineSetting(rate))) for rate in (4800, 9600, 19200)])[0]
    if form.data_bits == 8:
        assert best.setting == LineSetting(9600)
        assert "gb18030" in best.protocol.reason
    else:
        assert best.setting.data_bits == 7, "what arrives has seven bits"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.data_bits}{form.parity}")
def test_lone_enquiry_is_astm_but_not_sure(form: Form) -> None:
    """An ASTM instrument that is not answered says nothing but ENQ: rate and protocol, no driver."""
    line = Line(ENQUIRY * 3, 9600, form)
    setting = LineSetting(9600, form.data_bits, form.parity) if form.parity != "none" else LineSetting(9600)
    best = propose([hear(line.heard(setting)), hear(line.heard(LineSetting(19200)))])[0]
    assert best.baud_rate.value == 9600
    assert best.protocol.value == "astm"
    assert best.driver.value is None
    assert PLAUSIBLE <= best.score < SURE


@pytest.mark.parametrize(
    ("form", "answer"),
    [(Form(8, "none"), b"\x06"), (Form(7, "even"), b"\x06"), (Form(7, "odd"), b"\x86"), (Form(7, "mark"), b"\x86")],
    ids=["8N1", "7E1", "7O1", "7M1"],
)
def test_answer_to_an_enquiry_has_the_parity_of_the_line(form: Form, answer: bytes) -> None:
    heard = hear(Line(b"\x04" + ENQUIRY * 6, 9600, form).heard(LineSetting(9600)))
    assert acknowledgement(heard) == answer
    assert uart.hear(on_the_line(answer, Form()), 9600, 9600, form).broken == frozenset(), "the instrument takes it"


def test_nothing_but_an_enquiry_is_ever_answered() -> None:
    """A frame is never acknowledged here: its result would count as delivered and be lost."""
    for param in CASES:
        data = spoken(Path(str(param.values[0])))
        if data.strip(b"\x04\x05"):
            assert acknowledgement(hear(Sample(data + ENQUIRY))) == b""
    assert acknowledgement(hear(Sample(b""))) == b""


def test_noise_is_nothing_plausible() -> None:
    dice = random.Random("noise 2026")
    for length in (1, 2, 5, 20, 200, 2000):
        for _ in range(40):
            assert hear(Sample(dice.randbytes(length))).score < PLAUSIBLE


def test_silence_is_no_proposal() -> None:
    assert propose([hear(Sample(b"", LineSetting(rate))) for rate in RATES]) == []
    assert hear(Sample(b"")).reason == "nothing was heard"


def test_message_that_no_driver_claims_is_carried_by_the_generic_one() -> None:
    data = b"H|\\^&|||Unheard Of^1\rO|1|7\rR|1|^^^GLU|5.1|mmol/L\rL|1|N\r"
    (proposal,) = propose([hear(Sample(data))])
    assert proposal.driver.value == "generic_astm"
    assert "generic" in proposal.driver.reason
    assert proposal.vendor.value is None


def test_one_wrong_checksum_among_many_frames_does_not_hide_the_protocol() -> None:
    good = b"\x021H|\\^&\r\x03" + b"%02X\r\n" % (sum(b"1H|\\^&\r\x03") % 256)
    evidence = judge(b"\x05" + good + good.replace(b"&", b"@") + b"\x04")
    assert evidence.protocol == "astm"
    assert "1 of 2 frames" in evidence.reason


def test_marks_of_the_tty_are_taken_out() -> None:
    assert unmark(b"a\xff\xffb") == (b"a\xffb", frozenset())
    assert unmark(b"a\xff\x00xb") == (b"axb", frozenset({1}))
    assert unmark(b"\xff\x00\x00") == (b"\x00", frozenset({0})), "a break"
    assert unmark(b"a\xff") == (b"a", frozenset())
    assert unmark(b"a\xff\x00") == (b"a", frozenset())
    assert unmark(b"\xff\x41") == (b"\xffA", frozenset()), "no mark of a tty: kept"


def test_marks_and_bytes_come_back_whatever_the_bytes_are() -> None:
    dice = random.Random(7)
    for _ in range(200):
        data = bytes(dice.choice(b"\x00\xff\x41") for _ in range(dice.randrange(30)))
        broken = frozenset(dice.sample(range(len(data)), dice.randrange(len(data) + 1)))
        assert unmark(uart.Heard(data, broken).marked) == (data, broken)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("xn.9600-8N1.bin", LineSetting(9600)),
        ("19200 7e1", LineSetting(19200, 7, "even")),
        ("7O2", LineSetting(None, 7, "odd", 2)),
        ("capture.bin", None),
    ],
)
def test_setting_is_read_as_people_write_it(text: str, setting: LineSetting | None) -> None:
    assert read_setting(text) == setting
    if setting is not None:
        assert read_setting(str(setting)) == setting


def test_seven_bits_are_told_from_eight_by_the_pattern_of_bit_seven() -> None:
    plain = b"H|\\^&|||analyzer\r"
    even = bytes(byte | 0x80 if byte.bit_count() & 1 else byte for byte in plain)
    best = views(Sample(even))[0]
    assert (best.setting.data_bits, best.setting.parity, best.data) == (7, "even", plain)
    assert views(Sample(plain))[0].setting == LineSetting()
