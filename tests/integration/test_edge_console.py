"""The box's own page and its command line, asked of the real daemon; no network, no cloud."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge.__main__ import app
from edge.clock import Moment
from edge.config_file import load
from edge.console import client
from edge.console.captures import instrument_bytes
from edge.store.orders import SentOrder, SentState, put_sent
from edge.store.store import Store
from provisioning.console_key import hash_of
from tests.support.analyzer import over_tcp, xn_result
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.console import Visitor, add_console
from tests.support.waiting import eventually

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())  # nobody listens there
    yield made
    made.stop()


def edge(*arguments: object) -> Result:
    """A command of the box, in this process."""
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.mark.req("GW-14", "SEC-1")
def test_the_page_tells_of_every_link_and_shows_what_an_instrument_sent_as_text(box: Box) -> None:
    port = box.add_tcp("xn")
    box.add_dialled("au", free_port())
    visitor = Visitor(add_console(box))
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.report(xn_result("<script>alert(1)</script>"))
    overview = eventually(lambda: page if "已解码" in (page := visitor.get("/")) else "", what="the message is shown")
    assert visitor.status == 200
    assert "<script>alert" not in overview
    assert "&lt;script&gt;alert(1)" in overview
    for shown in ("xn", "au", "已连接", "等待回执", "证书", "时钟", "生效"):
        assert shown in overview
    assert "script-src &#x27;self&#x27;" not in overview
    policy = visitor.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    line = visitor.get("/links/xn")
    assert "&lt;ENQ&gt;" not in line  # frames are kept, and what stands around them is not
    assert "&lt;STX&gt;1H|" in line
    message = visitor.get("/links/xn/messages/1")
    assert "R|1|^^^^WBC^1|6.52" in message
    state = json.loads(visitor.get("/state.json"))
    assert [each["link"] for each in state["links"]] == ["xn", "au"]
    for missing in ("/links/no", "/links/xn/messages/99", "/captures/..%2fbox.db", "/static/../app.py", "/nothing"):
        visitor.get(missing)
        assert visitor.status == 404, missing
    visitor.get("/", Host="evil.example")
    assert visitor.status == 421
    visitor.post("/selftest", token="0" * 64)
    assert visitor.status == 403
    analyzer.close()


@pytest.mark.req("GW-14", "SEC-1")
def test_the_key_is_asked_for_and_guessing_it_is_slow(box: Box) -> None:
    box.add_tcp("xn")
    visitor = Visitor(add_console(box, f'key_hash = "{hash_of("abcd-efgh-jkmn-pqrs")}"\n'))
    box.start()
    assert "本盒的钥匙" in visitor.get("/")
    assert "xn" not in visitor.get("/")
    for path in ("/links/xn", "/state.json", "/links/xn/live", "/captures"):
        visitor.get(path)
        assert (visitor.status, visitor.headers["Location"]) == (303, "/sign-in")
    visitor.get("/sign-in")
    visitor.post("/selftest")
    assert visitor.status == 403
    assert "钥匙不对" in visitor.post("/sign-in", key="abcd")
    visitor.post("/sign-in", key="ABCD-EFGH-JKMN-PQRS")
    assert visitor.status == 303
    cookie = visitor.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert 'href="/links/xn"' in visitor.get("/")
    visitor.post("/sign-out")
    assert "本盒的钥匙" in visitor.get("/sign-in")
    guesses = [visitor.post("/sign-in", key=f"guess-{each}") and visitor.status for each in range(6)]
    assert guesses[-1] == 429


@pytest.mark.req("GW-14", "PRV-3", "SEC-1")
def test_another_configuration_is_looked_at_and_put_in_force_and_taken_back_on_the_page(box: Box) -> None:
    key = "abcd-efgh-jkmn-pqrs"
    box.add_tcp("xn")
    visitor = Visitor(add_console(box, f'key_hash = "{hash_of(key)}"\n'))
    box.more = "[reload]\nwindow_s = 0\n"
    box.start()
    visitor.get("/sign-in")
    visitor.post("/sign-in", key=key)
    assert "第 1 号" in visitor.get("/configuration")
    box.add_tcp("bs", driver="mindray_bs")
    box.write_config()
    looked = visitor.post("/configuration/look")
    assert "新增：bs" in looked
    assert "不动：xn" in looked
    assert "第 1 号" in visitor.get("/configuration"), "looking changes nothing"
    assert "bs" not in visitor.get("/")
    [digest] = re.findall(r'name="digest" value="(\w+)"', looked)
    box.config.write_text(box.config.read_text() + "# somebody edits it meanwhile\n")
    assert "看过之后又改了" in visitor.post("/configuration/apply", digest=digest)
    assert visitor.status == 409
    assert "bs" not in visitor.get("/")
    [digest] = re.findall(r'name="digest" value="(\w+)"', visitor.post("/configuration/look"))
    assert "已生效" in visitor.post("/configuration/apply", digest=digest)
    eventually(lambda: 'href="/links/bs"' in visitor.get("/"), what="the new link is served")
    history = visitor.get("/configuration")
    assert "第 2 号" in history
    assert "本页" in history
    looked = visitor.post("/configuration/look", number="1")
    assert "去掉：bs" in looked
    [digest] = re.findall(r'name="digest" value="(\w+)"', looked)
    visitor.post("/configuration/apply", number="1", digest=digest)
    eventually(lambda: 'href="/links/bs"' not in visitor.get("/"), what="the earlier configuration is in force")
    assert "不能用" in visitor.post("/configuration/look", number="77")
    box.config.write_text("this is no configuration")
    assert "不能用" in visitor.post("/configuration/look")
    visitor.post("/sign-out")
    visitor.post("/configuration/look")
    assert visitor.status == 403


@pytest.mark.req("PRV-3", "SEC-1")
def test_nobody_changes_the_configuration_on_a_page_that_asks_for_no_key(box: Box) -> None:
    box.add_tcp("xn")
    visitor = Visitor(add_console(box))
    box.start()
    shown = visitor.get("/configuration")
    assert "改配置要先用本盒的钥匙登录" in shown
    assert "/configuration/look" not in shown
    for what in ("look", "apply"):
        visitor.post(f"/configuration/{what}", number="1")
        assert visitor.status == 403


@pytest.mark.req("GW-7", "GW-14")
def test_the_page_of_a_line_tells_what_its_instrument_was_told_to_do(box: Box) -> None:
    box.add_tcp("xn")
    visitor = Visitor(add_console(box))
    box.start()
    assert "下发给仪器的医嘱" not in visitor.get("/links/xn")
    box.stop()
    with Store(box.store) as store:
        for specimen, state, pending in (("26011", SentState.SENT, ()), ("26012", SentState.FAILED, ("PLT",))):
            sent = SentOrder(specimen, 1, state, {"WBC": "", "PLT": ""}, pending, 2, "no answer", 2**60)
            at = Moment(datetime.now(UTC), True)
            store.write(lambda ledger, sent=sent, at=at: put_sent(ledger.connection, "xn", sent, at))  # type: ignore[misc]
    box.start()
    shown = visitor.get("/links/xn")
    for each in ("26011", "26012", "已发", "没发成，会再试", "PLT, WBC", "没有回答"):
        assert each in shown


@pytest.mark.req("GW-14")
def test_the_command_line_shows_a_line_live_and_captures_it(box: Box, tmp_path: Path) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    told = tmp_path / "monitor.txt"
    captured = tmp_path / "line.capture"
    # A capture begins where the line is: its first message may be cut, so it holds several.
    with told.open("w") as out:
        monitor = subprocess.Popen([sys.executable, "-m", "edge", "monitor", box.config, "xn"], cwd=_ROOT, stdout=out)
    capturing = threading.Thread(target=client.capture, args=(load(box.config), "xn", captured, 60, 2_000))
    capturing.start()

    def talks() -> bool:
        analyzer.report(xn_result("2601"))
        shown = told.read_text()
        return not capturing.is_alive() and "< <ENQ>" in shown and "is stored" in shown

    try:
        eventually(talks, what="the capture has its bytes and the monitor shows them")
    finally:
        monitor.kill()
        monitor.wait(10)
        analyzer.close()
    assert "> <ACK>" in told.read_text()
    assert b"\x06" not in instrument_bytes(captured.read_bytes())
    assert '"value": "6.52"' in edge("replay", captured).output
    assert captured.stat().st_mode & 0o777 == 0o600
    wrong = edge("monitor", box.config, "no-such-link")
    assert wrong.exit_code == 2
    assert "'no-such-link'" in wrong.output


@pytest.mark.req("GW-12")
def test_the_archive_is_read_again_by_another_driver_and_the_differences_are_told(box: Box) -> None:
    port = box.add_tcp("xn")
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    for specimen in ("2601", "2602", "2603"):
        analyzer.report(xn_result(specimen))
    analyzer.close()
    same = edge("replay", box.config, "--link", "xn", "--from", "2", "--to", "3", "--driver", "sysmex_xn")
    assert same.exit_code == 0, same.stderr
    read = [json.loads(each) for each in same.stdout.splitlines()]
    assert [(each["sequence"], each["items"][0]["specimen"]) for each in read] == [(2, "2602"), (3, "2603")]
    assert all(each["differences"] == [] for each in read)
    before = box.rows("SELECT count(*) FROM outbox")
    other = edge("replay", box.config, "--driver", "generic_astm", "--changed")
    assert other.exit_code == 1
    assert "3 messages, 3 of them read differently" in other.stderr
    assert json.loads(other.stdout.splitlines()[0])["differences"]
    assert box.rows("SELECT count(*) FROM outbox") == before
    box.stop()
    assert edge("replay", box.config, "--driver", "sysmex_xn").exit_code == 0  # the daemon need not run
    assert edge("replay", box.config, "--driver", "nobody").exit_code == 2


@pytest.mark.req("GW-14")
def test_the_self_test_names_what_is_wrong_and_its_cure(box: Box) -> None:
    box.add_tcp("xn")
    box.add_serial("bs", "/dev/no-such-adapter", driver="mindray_bs")
    box.start()
    done = edge("selftest", box.config)
    assert done.exit_code == 1
    assert "ok   Write to the store: written, committed and read back" in done.stdout
    assert done.stdout.count("ok   Loopback") == 2
    assert "BAD  Links bs: there is no device /dev/no-such-adapter" in done.stdout
    assert "BAD  Cloud: 127.0.0.1:" in done.stdout
    assert "→" in done.stdout
    assert "ok   写入存储" in edge("selftest", box.config, "--lang", "zh").stdout
    assert box.rows("SELECT count(*) FROM outbox") == [(0,)]
    box.stop()
    gone = edge("selftest", box.config)
    assert gone.exit_code == 2
    assert "does not answer" in gone.stderr


@pytest.mark.req("GW-14")
def test_the_socket_file_is_for_the_daemons_user_alone_however_deep_it_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    box = Box(deep, broker_port=free_port())
    box.add_tcp("xn")
    box.start()
    try:
        file = deep / "box.db.console"
        assert file.stat().st_mode & 0o777 == 0o600
        assert edge("selftest", box.config).exit_code == 1
        box.kill()
        box.start()  # the file of the killed one is in nobody's way
        assert edge("selftest", box.config).exit_code == 1
    finally:
        box.stop()
    assert not file.exists()


@pytest.mark.req("GW-14", "GW-1")
def test_visitors_who_never_finish_do_not_hold_up_the_bench(box: Box) -> None:
    port = box.add_tcp("xn")
    console = add_console(box)
    box.start()
    idle = [socket.create_connection(("127.0.0.1", console)) for _ in range(40)]
    for each in idle:
        each.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.report(xn_result("2601"))
    assert len(box.messages("xn")) == 1
    analyzer.close()
    for each in idle:
        each.close()
    visitor = Visitor(console)
    eventually(lambda: _page(visitor), what="the page is there again")


def _page(visitor: Visitor) -> bool:
    try:
        return "xn" in visitor.get("/")
    except OSError:
        return False


@pytest.mark.req("GW-14")
def test_systemd_hears_that_the_box_serves_lives_and_stops(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    box.add_tcp("xn")
    box.start()
    heard = [manager.recv(100) for _ in range(4)]
    assert heard.count(b"READY=1") == 1
    assert heard.count(b"WATCHDOG=1") == 3
    box.stop()
    while (last := manager.recv(100)) == b"WATCHDOG=1":
        pass
    assert last == b"STOPPING=1"
    manager.close()


@pytest.mark.req("GW-14", "SEC-1")
def test_a_page_that_others_can_reach_needs_a_key(tmp_path: Path) -> None:
    box = Box(tmp_path, broker_port=free_port())
    box.add_tcp("xn")
    add_console(box, 'host = "0.0.0.0"\n')
    with pytest.raises(AssertionError, match="key_hash"):
        box.start()
