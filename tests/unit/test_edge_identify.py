"""`edge identify`: an unknown line is named, with its section for the box's configuration (GW-13)."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.config_file import load
from edge.identify import Place, identify_files, identify_tty, stanza
from edge.listening import Ear
from edge.terminal import columns, json_line, visible, width, write_line
from protocols.driver import discover
from protocols.identify_line import hear, propose
from protocols.identify_samples import LineSetting, Sample
from tests.support import uart
from tests.support.transcripts import ROOT, cases_of, read_case
from tests.support.uart import Form, on_the_line

pytestmark = pytest.mark.req("GW-13")

XN = read_case(ROOT / "sysmex_xn" / "results_with_flags_and_histograms").device_bytes()
BOX = """
[gateway]
id = "gw-1"
campus = "main"
partition = 0
[store]
path = "box.db"
[cloud]
host = "localhost"
"""


class Clock:
    """Time that passes only while somebody listens."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class HeardLine(Ear):
    """What an instrument on a serial line sounds like at one setting: it speaks once in each `every` seconds."""

    marks = True

    def __init__(self, line: Instrument, setting: LineSetting) -> None:
        self._line = line
        self._setting = setting
        self.next_at = line.clock.now + line.waits

    def read(self, wait_s: float) -> bytes | None:
        clock = self._line.clock
        if clock.now + wait_s < self.next_at:
            clock.now += wait_s
            return b""
        clock.now, self.next_at = self.next_at, self.next_at + self._line.every
        assert self._setting.baud_rate is not None
        form = Form(self._setting.data_bits, self._setting.parity, self._setting.stop_bits)
        return uart.hear(self._line.levels(), self._line.rate, self._setting.baud_rate, form).marked

    def write(self, data: bytes) -> None:
        self._line.written += data

    def close(self) -> None:
        self._line.closed += 1


class Instrument:
    def __init__(self, data: bytes, rate: int, form: Form, *, waits: float = 1.0, every: float = 15.0) -> None:
        self.clock = Clock()
        self.data, self.rate, self.form = data, rate, form
        self.waits, self.every = waits, every
        self.written = b""
        self.opened: list[LineSetting] = []
        self.closed = 0

    def levels(self) -> bytes:
        """With --answer it goes on after its ENQ."""
        return on_the_line(self.data[1:] if self.written and self.data.startswith(b"\x05") else self.data, self.form)

    def open_at(self, setting: LineSetting) -> Ear:
        self.opened.append(setting)
        return HeardLine(self, setting)


def asked(capsys: pytest.CaptureFixture[str], code: int, expected: int = 0) -> dict[str, Any]:
    assert code == expected
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(("rate", "form"), [(9600, Form()), (19200, Form(7, "even")), (4800, Form(8, "odd"))])
def test_serial_line_is_walked_over_until_it_is_known(
    capsys: pytest.CaptureFixture[str], rate: int, form: Form, tmp_path: Path
) -> None:
    line = Instrument(XN, rate, form)
    found = asked(
        capsys,
        identify_tty(
            Path("/dev/ttyUSB7"), 20, as_json=True, save=tmp_path / "kept", opener=line.open_at, clock=line.clock
        ),
    )
    best = found["proposals"][0]
    assert best["baud_rate"]["value"] == rate
    assert best["driver"]["value"] == "sysmex_xn"
    assert best["vendor"]["value"] == "Sysmex"
    assert line.written == b"", "nothing is sent to an unknown instrument"
    assert line.closed == len(line.opened)
    kept = sorted((tmp_path / "kept").iterdir())
    assert len(kept) == sum(1 for each in found["heard"] if each["bytes"])
    assert any(file.read_bytes() for file in kept)
    box = check(found["toml"], tmp_path)
    port = box.links[0].port
    assert box.links[0].driver == "sysmex_xn"
    assert (port.kind, str(port.device)) == ("serial", "/dev/ttyUSB7")
    assert (port.baud_rate, port.data_bits, port.parity) == (rate, form.data_bits, form.parity)


def check(section: str, folder: Path) -> Any:
    """What `edge check` makes of the section in a box's configuration; raises with its mistakes."""
    file = folder / "box.toml"
    file.write_text(BOX + section, encoding="utf-8")
    return load(file)


def test_kept_samples_are_judged_again_as_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = Instrument(XN, 19200, Form())
    identify_tty(Path("/dev/ttyS0"), 20, save=tmp_path, opener=line.open_at, clock=line.clock)
    assert "sysmex_xn" in capsys.readouterr().out
    found = asked(capsys, identify_files([tmp_path], as_json=True))
    assert len(found["heard"]) >= 2
    assert found["proposals"][0]["baud_rate"]["value"] == 19200


def test_instrument_that_only_asks_is_named_as_far_as_it_goes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not answered, an ASTM instrument sends ENQ and no more: rate and family, the driver by message."""
    line = Instrument(b"\x05", 9600, Form())
    found = asked(capsys, identify_tty(Path("/dev/ttyS0"), 40, as_json=True, opener=line.open_at, clock=line.clock))
    assert found["proposals"][0]["protocol"]["value"] == "astm"
    assert found["proposals"][0]["driver"]["value"] is None
    assert check(found["toml"], tmp_path).links[0].driver == "auto"
    assert line.written == b""


def test_answer_brings_the_first_frame_and_acknowledges_none(capsys: pytest.CaptureFixture[str]) -> None:
    line = Instrument(XN[:1], 9600, Form(7, "odd"))
    line.levels = lambda: on_the_line(XN if line.written else b"\x05", line.form)  # type: ignore[method-assign]
    code = identify_tty(Path("/dev/ttyS0"), 40, answers=True, as_json=True, opener=line.open_at, clock=line.clock)
    found = asked(capsys, code)
    assert found["proposals"][0]["driver"]["value"] == "sysmex_xn"
    assert line.written in (b"\x06", b"\x86"), "one answer, to the ENQ"


def test_silent_line_is_said_to_be_silent(capsys: pytest.CaptureFixture[str]) -> None:
    line = Instrument(b"", 9600, Form(), waits=1e9)
    assert identify_tty(Path("/dev/ttyS0"), 2, opener=line.open_at, clock=line.clock) == 1
    assert "Nothing was heard" in capsys.readouterr().out
    assert len(line.opened) == len(set(line.opened)) == 36, "every rate, without, with even and with odd parity"


def test_line_that_cannot_be_opened_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def refused(setting: LineSetting) -> Ear:
        raise PermissionError(13, "Permission denied")

    assert identify_tty(Path("/dev/ttyS9"), 1, opener=refused) == 2
    assert "/dev/ttyS9" in capsys.readouterr().err


def test_rate_that_the_port_does_not_have_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    line = Instrument(XN, 4800, Form())

    def without_high_rates(setting: LineSetting) -> Ear:
        if setting.baud_rate and setting.baud_rate > 19200:
            raise ValueError("invalid baud rate")
        return line.open_at(setting)

    assert identify_tty(Path("/dev/ttyS0"), 20, as_json=True, opener=without_high_rates, clock=line.clock) == 0
    assert json.loads(capsys.readouterr().out)["proposals"][0]["baud_rate"]["value"] == 4800


def test_files_without_a_setting_are_lines_of_their_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("sysmex_xn/host_query", "mindray_bs/results"):
        folder = ROOT / name
        (tmp_path / folder.parent.name).write_bytes(read_case(folder).device_bytes())
    assert identify_files([tmp_path], as_json=True) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["proposals"][0]["driver"]["value"] for each in found] == ["mindray_bs", "sysmex_xn"]


def test_noise_is_not_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 3)
    assert identify_files([tmp_path / "noise"]) == 1
    assert "makes sense" in capsys.readouterr().out
    assert identify_files([tmp_path / "missing"]) == 2


def test_every_driver_gives_a_section_that_the_box_takes(tmp_path: Path) -> None:
    places = [
        Place("x", listen_port=5001),
        Place("x", dial_host="10.0.0.7", dial_port=4001),
        Place("x", device='/dev/"odd"'),
        Place("x"),
    ]
    for driver in discover().values():
        for folder in cases_of(driver.id)[:1]:
            (proposal,) = propose([hear(Sample(read_case(folder).device_bytes()))])
            wanted = proposal.driver.value or "auto"
            for place in places:
                assert check(stanza(place, proposal), tmp_path).links[0].driver == wanted


def test_report_for_people_has_reasons_and_the_section(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.9600-8N1.bin").write_bytes(XN)
    assert identify_files([tmp_path / "x.9600-8N1.bin"]) == 0
    said = capsys.readouterr().out
    for word in ("9600 8N1", "checksum", "sysmex_xn", "H.5 names", "[[links]]", "baud_rate = 9600"):
        assert word in said


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1", "utf-8"])
def test_any_terminal_can_show_what_an_instrument_sent(encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    text = "溶血 µmol \x1b[2J\x9b 中"
    write_line(visible(text), out)
    write_line(json_line({"value": text}, out), out)
    out.flush()
    written = out.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"\x1b" not in written, "an instrument cannot clear the screen"
    second = written.splitlines()[1].decode(encoding)
    assert json.loads(second)["value"] == text, "escapes or not, it is the same text"


def test_columns_line_up_under_chinese_characters() -> None:
    lines = columns([["name", "value"], ["溶血", "1"], ["HB", "2"]])
    assert {width(line[: line.rindex(each)]) for line, each in zip(lines[1:], "12", strict=True)} == {6}


def test_reader_that_is_no_terminal_gets_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(XN)))
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert identify_files([Path("-")], as_json=True) == 0
    assert json.loads(out.getvalue())["proposals"][0]["driver"]["value"] == "sysmex_xn"


def test_listening_never_outlasts_its_time() -> None:
    """A line that chatters nonsense without a pause is left after its seconds."""
    from edge.listening import listen

    clock = Clock()

    class Chatter(Ear):
        def read(self, wait_s: float) -> bytes | None:
            clock.now += 0.1
            return b"\x00\xff" * 4

        def write(self, data: bytes) -> None:
            raise AssertionError("nothing is written")

        def close(self) -> None:
            pass

    hearing = listen(Chatter(), LineSetting(9600), 5.0, clock=clock)
    assert clock.now <= 5.2
    assert hearing.score < 0.4
