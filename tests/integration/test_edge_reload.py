"""The real daemon takes another configuration while instruments talk to it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.__main__ import app
from edge.reload_desk import NotRunning
from tests.support.analyzer import ACK, EOT, Analyzer, HungUp, Silent, frame, oru, over_tcp, xn_result
from tests.support.box import Box
from tests.support.broker import Broker, free_port, start_mosquitto
from tests.support.reloading import configuration, link, reload, state_of, wanted, wish
from tests.support.stand_in_cloud import StandInCloud
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("PRV-3")

WINDOW = "[reload]\nwindow_s = 4\npatience_s = 20\n"
LONG = "[reload]\nwindow_s = 600\npatience_s = 20\n"


Dial = Callable[[int], Analyzer]


@pytest.fixture
def dial() -> Iterator[Dial]:
    """An analyzer that connects to the box; it is switched off when the test is over."""
    opened: list[Analyzer] = []

    def connect(port: int) -> Analyzer:
        opened.append(over_tcp("127.0.0.1", port))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port(), more=LONG)  # nobody listens there
    yield made
    made.stop()


def test_a_link_in_the_middle_of_a_message_does_not_notice_that_another_one_changes(box: Box, dial: Dial) -> None:
    xn = box.add_tcp("xn")
    bs = box.add_tcp("bs", driver="mindray_bs")
    box.start()
    analyzer = dial(xn)
    analyzer.report(xn_result("2601"))
    records = [record + b"\r" for record in xn_result("2602")]
    analyzer.begin()
    for number in (1, 2):
        assert analyzer.put(frame(number, records[number - 1])) == ACK
    other = free_port()
    said = reload(box, box.links[0], link("bs", "mindray_bs", other))
    assert "changed: bs" in said
    assert "not touched: xn" in said
    for number in (3, 4, 5):
        assert analyzer.put(frame(number, records[number - 1])) == ACK
    analyzer.send(EOT)
    eventually(lambda: len(box.messages("xn")) == 2, what="the message is whole")
    assert box.messages("xn") == [(1, "decoded"), (2, "decoded")]
    assert box.frames("xn") == analyzer.acknowledged
    eventually(lambda: state_of(box, "xn")["counts"]["messages"] == 2, what="it counts on")
    chemistry = dial(other)
    chemistry.send(oru("41", "2603"))
    assert b"MSA|AA|41" in chemistry.take_block()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", bs), timeout=5)


def test_a_link_that_changes_finishes_its_message_first(box: Box, dial: Dial) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = dial(port)
    records = [record + b"\r" for record in xn_result("2601")]
    analyzer.begin()
    assert analyzer.put(frame(1, records[0])) == ACK
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.extend(reload(box, link("xn", "auto", port))))
    asking.start()
    eventually(lambda: configuration(box)["number"] == 2, what="the new configuration is in force")
    for number in (2, 3, 4, 5):
        assert analyzer.put(frame(number, records[number - 1])) == ACK
    with pytest.raises(HungUp):
        analyzer.byte()
    asking.join(20)
    assert "changed: xn" in said
    again = dial(port)
    again.report(xn_result("2602"))
    assert box.messages("xn") == [(1, "decoded"), (2, "decoded")]
    assert state_of(box, "xn")["driver"] == "auto"


def test_a_link_that_never_ends_its_message_is_waited_for_within_bounds_and_nothing_of_it_is_lost(
    box: Box, dial: Dial
) -> None:
    box.more = "[reload]\npatience_s = 0.2\n"
    port = box.add_tcp("xn")
    box.start()
    analyzer = dial(port)
    analyzer.begin()
    assert analyzer.put(frame(1, xn_result("2601")[0] + b"\r")) == ACK
    reload(box, link("xn", "auto", port))
    eventually(lambda: box.messages("xn") == [(1, "incomplete")], what="what was acknowledged is kept")
    assert box.frames("xn") == analyzer.acknowledged


def test_what_a_removed_link_had_stored_still_goes_to_the_cloud_and_to_another_broker_at_once(
    box: Box, dial: Dial, tmp_path_factory: pytest.TempPathFactory
) -> None:
    xn, bs = box.add_tcp("xn"), box.add_tcp("bs")
    box.start()
    for port in (xn, bs):
        analyzer = dial(port)
        analyzer.report(xn_result("2601"))
    reload(box, box.links[0])
    assert state_of(box, "bs") == {}
    assert box.waiting("bs") == 1
    broker = start_mosquitto(tmp_path_factory.mktemp("mosquitto"))
    cloud = StandInCloud(broker.port, box.gateway, box.partition)
    try:
        file = wanted(box, box.links[0])
        text = file.read_text(encoding="utf-8").replace(f"port = {box.broker_port}", f"port = {broker.port}")
        file.write_text(text, encoding="utf-8")
        shown = CliRunner().invoke(app, ["reload", str(file)])
        assert shown.exit_code == 0, shown.output
        assert "taken at once: cloud.port" in shown.output
        eventually(lambda: box.waiting("xn") == box.waiting("bs") == 0, what="everything is confirmed")
        assert cloud.sequences("bs")[:1] == [1]
        eventually(lambda: cloud.states and cloud.states[-1]["configuration"] == 3, what="the cloud knows its number")
    finally:
        cloud.close()
        broker.stop()


def test_a_driver_that_reads_fewer_of_the_stored_messages_is_refused_unless_it_is_forced(box: Box, dial: Dial) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = dial(port)
    analyzer.report(xn_result("2601"))
    accepted, lines = wish(box, link("xn", "mindray_bs", port))
    assert not accepted
    (line,) = lines
    assert line.startswith(f"{box.folder / 'wanted.toml'}:")
    assert "0 of the last 1 messages decode, before 1" in line
    analyzer.report(xn_result("2602"))  # nothing was closed
    assert configuration(box)["number"] == 1
    assert any(each.startswith("forced: ") for each in reload(box, link("xn", "mindray_bs", port), force=True))


def test_a_dry_run_says_everything_and_changes_nothing(box: Box, dial: Dial) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = dial(port)
    analyzer.report(xn_result("2601"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad = link("x2", "nobody", 5001), link("x3", "sysmex_xn", taken.getsockname()[1])
        accepted, lines = wish(box, box.links[0], *bad, verb="check")
        assert not accepted
        assert [each for each in lines if "unknown driver 'nobody'" in each]
        accepted, lines = wish(box, box.links[0], bad[1], verb="check")
        assert not accepted
        assert "cannot listen on 127.0.0.1" in lines[0]
    said = reload(box, link("xn", "auto", port), verb="check")
    assert "xn: 1 of the last 1 messages decode (1 items), before 1 (1 items)" in said
    assert configuration(box)["number"] == 1
    analyzer.report(xn_result("2602"))


def test_a_link_that_is_worse_in_its_health_window_gets_its_settings_back_once(box: Box, dial: Dial) -> None:
    box.more = WINDOW
    xn, bs = box.add_tcp("xn"), box.add_tcp("bs")
    box.start()
    quiet = dial(bs)
    reload(box, link("xn", "mindray_bs", xn), box.links[1], link("new", "sysmex_xn", free_port()), more=WINDOW)
    analyzer = dial(xn)
    eventually(lambda: is_cut_off_for_noise(analyzer), what="the link is begun again")
    eventually(lambda: state_of(box, "xn").get("driver") == "sysmex_xn", what="the link has its driver back")
    eventually(lambda: configuration(box)["note"], what="the box says so")
    assert "link xn: " in configuration(box)["note"]
    assert state_of(box, "new")["state"] == "listening"
    dial(xn).report(xn_result("2601"))
    quiet.report(xn_result("2602"))
    eventually(lambda: configuration(box)["trial"] is None, what="the rest is good")
    assert configuration(box)["number"] == 3
    shown = CliRunner().invoke(app, ["history", str(box.config)]).output
    assert "taken back" in shown
    assert "*    3" in shown


def is_cut_off_for_noise(analyzer: Analyzer) -> bool:
    try:
        analyzer.send(frame(1, b"H|\\^&\r"))
        analyzer.byte(0.05)
    except HungUp:
        return True
    except Silent:
        return False
    raise AssertionError("the box answered to noise")


def test_the_same_text_is_not_tried_again_by_itself(box: Box, dial: Dial) -> None:
    box.more = "[reload]\nwindow_s = 2\n"
    port = box.add_tcp("xn")
    box.start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad = link("xn", "sysmex_xn", taken.getsockname()[1])
        reload(box, bad, force=True)
        eventually(lambda: state_of(box, "xn")["state"] == "listening", what="the old port is back")
        accepted, lines = wish(box, bad)
        assert not accepted
        assert any("taken back as configuration 2" in each for each in lines)
    dial(port).report(xn_result("2601"))


def test_silence_and_an_absent_cloud_are_no_reason(box: Box, dial: Dial) -> None:
    box.more = "[reload]\nwindow_s = 1\n"
    port = box.add_tcp("xn")
    box.start()
    other = free_port()
    reload(box, link("xn", "sysmex_xn", other))
    eventually(lambda: configuration(box)["trial"] is None, what="the window has passed")
    assert configuration(box)["number"] == 2
    assert configuration(box)["note"] == ""
    assert state_of(box, "xn")["state"] == "listening"
    assert port != other


def test_a_box_that_is_killed_in_the_window_starts_with_the_configuration_before(box: Box, dial: Dial) -> None:
    port = box.add_tcp("xn")
    box.start()
    other = free_port()
    reload(box, link("xn", "sysmex_xn", other))
    box.kill()
    box.start()
    assert configuration(box)["number"] == 1
    assert "taken back" in configuration(box)["note"]
    dial(port).report(xn_result("2601"))


def test_a_box_that_was_stopped_in_order_goes_on_with_the_trial(box: Box, dial: Dial) -> None:
    port = box.add_tcp("xn")
    box.start()
    other = box.ports["xn"] = free_port()
    reload(box, link("xn", "sysmex_xn", other))
    box.stop()
    box.start()
    assert configuration(box)["number"] == 2
    assert configuration(box)["trial"]["links"] == ["xn"]
    dial(other).report(xn_result("2601"))
    shown = CliRunner().invoke(app, ["rollback", str(box.config)])
    assert shown.exit_code == 0, shown.output
    dial(port).report(xn_result("2602"))
    assert box.messages("xn") == [(1, "decoded"), (2, "decoded")]


def test_killed_at_any_moment_of_a_reload_the_box_has_the_old_configuration_or_the_new_one(
    box: Box, dial: Dial
) -> None:
    box.more = "[reload]\nwindow_s = 0\n"  # no trial: a finished reload stays
    port = box.add_tcp("xn")
    box.add_tcp("bs")
    box.start()
    for number, moment_s in enumerate((0.01, 0.025, 0.04, 0.06)):
        before = in_force(box)
        changed = link("xn", "sysmex_xn", port, f'timezone = "Etc/GMT+{number + 1}"\n')
        asking = threading.Thread(target=lost, args=(box, changed, box.links[1]), daemon=True)
        asking.start()
        asking.join(moment_s)
        box.kill()
        box.start()
        assert in_force(box) in (before, (box.folder / "wanted.toml").read_text(encoding="utf-8"))
        dial(port).report(xn_result(f"26{number}"))
    assert [state for _, state in box.messages("xn")] == ["decoded"] * 4


def in_force(box: Box) -> str:
    """The text of its configuration."""
    number = configuration(box)["number"]
    return (box.folder / "box.db.configs" / f"{number:06}.toml").read_text(encoding="utf-8")


def lost(box: Box, *links: str) -> None:
    """Asked of a box that does not live to answer."""
    with suppress(NotRunning):
        wish(box, *links)


@pytest.mark.parametrize("away", [False, True], ids=["the new settings are wrong", "the cloud is away"])
def test_another_broker_is_given_up_only_when_the_one_before_answers(
    tmp_path: Path, broker: Broker, away: bool
) -> None:
    box = Box(tmp_path, broker_port=broker.port, more=f"[reload]\nwindow_s = {1 if away else 5}\n")
    box.add_tcp("xn")
    box.start()
    try:
        eventually(lambda: (box.status() or {})["cloud"]["connected"], what="the cloud is reached")
        file = wanted(box, box.links[0])
        text = file.read_text(encoding="utf-8").replace(f"port = {box.broker_port}", f"port = {free_port()}")
        file.write_text(text.replace('host = "127.0.0.1"', 'host = "127.0.0.2"', 1), encoding="utf-8")
        if away:
            broker.stop()
        assert CliRunner().invoke(app, ["reload", str(file)]).exit_code == 0
        if not away:
            eventually(lambda: "cloud: " in configuration(box)["note"], what="the old settings are back")
            eventually(lambda: configuration(box)["number"] == 3, what="what is left is a version of its own")
            eventually(lambda: (box.status() or {})["cloud"]["connected"], what="the cloud is reached again")
        else:
            eventually(lambda: configuration(box)["trial"] is None, what="the window has passed")
            assert (configuration(box)["number"], configuration(box)["note"]) == (2, "")
    finally:
        box.stop()


def test_sighup_reads_the_file_again_and_a_file_with_mistakes_changes_nothing(box: Box, dial: Dial) -> None:
    port = box.add_tcp("xn")
    box.start()
    good = box.config.read_text(encoding="utf-8")
    box.config.write_text(good.replace("sysmex_xn", "sysmex_nx"), encoding="utf-8")
    os.kill(box.pid, signal.SIGHUP)
    eventually(lambda: "config.refused" in box.log(), what="the mistake is told")
    box.config.write_text(good.replace("sysmex_xn", "auto"), encoding="utf-8")
    os.kill(box.pid, signal.SIGHUP)
    eventually(lambda: state_of(box, "xn").get("driver") == "auto", what="the file is read again")
    assert port == box.ports["xn"]


def test_a_box_whose_file_was_spoiled_starts_with_what_it_had(box: Box, dial: Dial) -> None:
    port = box.add_tcp("xn")
    box.start()
    box.stop()
    box.links[0] = box.links[0].replace("sysmex_xn", "sysmex_nx")
    box.start()
    assert "unknown driver" in configuration(box)["note"]
    dial(port).report(xn_result("2601"))
