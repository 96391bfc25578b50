"""The console's parts alone: what it writes as HTML, who comes in, what a capture holds, what a replay finds."""

from __future__ import annotations

import ast
import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge.console
from edge.console.captures import HEAD, MOST_BYTES, SPARE_BYTES, CaptureRefused, Captures, instrument_bytes
from edge.console.door import Door
from edge.console.english import ENGLISH
from edge.console.http import Request
from edge.console.line_bytes import hexed, named, named_lines
from edge.console.markup import Html, el, join
from edge.console.replay import compared, lines_of
from edge.console.tap import Piece, Taps, Watch
from edge.console.texts import Words
from protocols.driver import discover
from provisioning.console_key import complaint, hash_of, is_key, new_key
from tests.support.analyzer import frame, xn_result

CONSOLE = Path(edge.console.__file__).parent
PLACES = re.compile(r"\{(\w+)\}")


def request(path: str = "/", *, peer: str = "10.0.0.9", body: bytes = b"", **headers: str) -> Request:
    given = {"host": "10.0.0.2:8080", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Request("GET", path, {}, given, body, peer)


# ---------------------------------------------------------------------- what an instrument sends on a page


@pytest.mark.req("GW-14", "SEC-1")
@given(st.text())
def test_whatever_an_instrument_sends_stands_on_the_page_as_text(sent: str) -> None:
    shown = str(el("td", sent, title=sent))
    inside = shown[len("<td ") : -len("</td>")]
    assert "<" not in inside
    assert inside.count(">") == 1
    assert inside.count('"') == 2


@pytest.mark.req("GW-14", "SEC-1")
def test_no_text_becomes_html_and_no_attribute_acts() -> None:
    with pytest.raises(TypeError):
        Html("<b>")
    for attributes in ({"onclick": "alert(1)"}, {"style": "x"}, {"href": "javascript:alert(1)"}, {"src": "http://x/"}):
        with pytest.raises(ValueError, match=r"attribute|leads"):
            el("a", **attributes)
    with pytest.raises(ValueError, match="script"):
        el("script", "alert(1)")
    assert str(join("<", el("br"))) == "&lt;<br>"


@pytest.mark.req("GW-14")
@given(st.binary())
def test_bytes_of_a_line_are__losing_one(data: bytes) -> None:
    assert named(data).isprintable()
    assert named(data).isascii()
    assert bytes.fromhex(hexed(data)) == data
    assert named_lines(data).replace("\n", "") == named(data)


def test_control_characters_have_their_names() -> None:
    assert named(b"\x05\x02R|1\x03\r\n\xd6\x7f") == "<ENQ><STX>R|1<ETX><CR><LF><D6><DEL>"
    assert named_lines(b"H|\rP|1\r\nL|1\r").split("\n") == ["H|<CR>", "P|1<CR><LF>", "L|1<CR>"]


# ---------------------------------------------------------------------- languages


def _sentences() -> set[str]:
    """Every Chinese text in the code apart from docstrings and names of fields, which are English already."""
    found: set[str] = set()
    for file in CONSOLE.glob("*.py"):
        if file.name in ("english.py", "texts.py"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        apart = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        fields = [each for each in ast.walk(tree) if isinstance(each, ast.Assign) and _name(each) == "_FIELDS"]
        apart |= {id(each) for field in fields for each in ast.walk(field)}
        found |= {
            each.value
            for each in ast.walk(tree)
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in apart
        }
    return {each for each in found if re.search(r"[\u4e00-\u9fff]", each)}


def _name(node: ast.Assign) -> str:
    return getattr(node.targets[0], "id", "")


@pytest.mark.req("GW-14", "UX-1")
def test_every_sentence_of_the_page_has_its_english() -> None:
    assert _sentences() - set(ENGLISH) - {"中文"} == set()
    assert len(_sentences()) > 100


@pytest.mark.req("GW-14", "UX-1")
def test_both_languages_name_the_same_places() -> None:
    for chinese, english in ENGLISH.items():
        assert set(PLACES.findall(chinese)) == set(PLACES.findall(english)), chinese


@pytest.mark.req("GW-14", "UX-1")
def test_the_reasons_of_the_code_are_said_in_chinese() -> None:
    zh, en = Words("zh"), Words("en")
    assert zh.reason("Connection refused") == "对方拒绝连接"
    assert zh.reason("[Errno 111] Connection refused") == "对方拒绝连接"
    assert zh.reason("the clock says 1970-01-01, and it was 2026-11-20 before") == (
        "时钟是 1970-01-01，而之前已经到过 2026-11-20"
    )
    assert zh.reason("something nobody foresaw") == "something nobody foresaw"
    assert en.reason("Connection refused") == "Connection refused"


# ---------------------------------------------------------------------- the door


@pytest.mark.req("GW-14", "SEC-1")
def test_a_key_is_known_by_its_hash_alone() -> None:
    key = new_key()
    hashed = hash_of(key)
    assert key not in hashed
    assert complaint(hashed) == ""
    assert is_key(key.upper() + " ", hashed)
    assert not is_key(key[:-1], hashed)
    assert hash_of(key) != hashed
    for wrong in ("", "secret", "scrypt$1$8$1$00$00", "scrypt$8192$8$1$zz$zz", hashed.replace("8192", "16777216")):
        assert complaint(wrong) != ""


@pytest.mark.req("GW-14", "SEC-1")
def test_nobody_is_in_without_the_key_and_a_signed_out_session_is_over() -> None:
    door = Door(hash_of("abcd-efgh"))
    assert not door.is_in(request())
    token = door.let_in()
    assert door.is_in(request(cookie=f"xl-box={token}"))
    assert not door.is_in(request(cookie=f"xl-box={token}x"))
    door.let_out(request(cookie=f"xl-box={token}"))
    assert not door.is_in(request(cookie=f"xl-box={token}"))
    assert door.is_in(request(peer=""))  # the socket file has its own rights


@pytest.mark.req("GW-14", "SEC-1")
def test_a_session_ends_after_its_time() -> None:
    now = [0.0]
    door = Door(hash_of("abcd-efgh"), now=lambda: now[0])
    token = door.let_in()
    now[0] = 12 * 3600 - 1
    assert door.is_in(request(cookie=f"xl-box={token}"))
    now[0] += 2
    assert not door.is_in(request(cookie=f"xl-box={token}"))


@pytest.mark.req("GW-14", "SEC-1")
def test_trying_keys_is_slow_for_one_and_for_all() -> None:
    now = [0.0]
    door = Door("x", now=lambda: now[0])
    assert [door.may_try("10.0.0.9") for _ in range(7)] == [True] * 5 + [False] * 2
    assert door.may_try("10.0.0.8")
    now[0] += 20
    assert door.may_try("10.0.0.9")
    assert not door.may_try("10.0.0.9")
    many = [door.may_try(f"10.0.{each}.1") for each in range(200)]
    assert many.count(True) < 40


@pytest.mark.req("GW-14", "SEC-1")
@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("10.0.0.2:8080", True),
        ("[fe80::1]:8080", True),
        ("localhost:8080", True),
        ("box-12.local", True),
        ("evil.example:8080", False),
        ("", False),
    ],
)
def test_a_strangers_name_for_the_box_is_refused(host: str, known: bool) -> None:
    assert Door(None).knows_its_name(request(host=host)) is known


@pytest.mark.req("GW-14", "SEC-1")
def test_a_form_of_another_page_does_nothing() -> None:
    door = Door(None)
    mine = request(cookie="xl-box=a")
    assert door.meant_it(mine, door.token(mine))
    assert not door.meant_it(mine, "")
    assert not door.meant_it(mine, door.token(request(cookie="xl-box=b")))
    assert not door.meant_it(request(cookie="xl-box=a", origin="http://evil.example"), door.token(mine))
    assert not door.meant_it(request(cookie="xl-box=a", origin="null"), door.token(mine))


# ---------------------------------------------------------------------- looking at a line


class _Session:
    tap = None


class _Served:
    def __init__(self) -> None:
        self.session = _Session()


@pytest.mark.req("GW-14")
def test_a_line_is_tapped_only_while_somebody_looks_and_again_after_a_reload() -> None:
    async def look() -> None:
        served = {"xn": _Served()}
        taps = Taps(served)  # type: ignore[arg-type]
        with Watch(taps, "xn") as one:
            with Watch(taps, "xn") as other:
                served["xn"].session.tap(True, b"\x05")  # type: ignore[misc]
                assert [each.data for each in await one.pieces(1)] == [b"\x05"]
                assert [each.data for each in await other.pieces(1)] == [b"\x05"]
            served["xn"] = _Served()  # a reload made another session
            assert await one.pieces(0.01) == []
            served["xn"].session.tap(False, b"\x06")  # type: ignore[misc]
            (piece,) = await one.pieces(1)
            assert (piece.from_instrument, piece.data) == (False, b"\x06")
        assert served["xn"].session.tap is None

    asyncio.run(look())


@pytest.mark.req("GW-14")
def test_who_looks_too_slowly_loses_the_oldest_bytes_and_is_told_how_many() -> None:
    async def look() -> None:
        served = {"xn": _Served()}
        with Watch(Taps(served), "xn") as watch:  # type: ignore[arg-type]
            for each in range(600):
                served["xn"].session.tap(bool(each % 2), bytes(1024))  # type: ignore[misc]
            found = await watch.pieces(1)
            held = sum(len(each.data) for each in found)
            assert held <= 256 * 1024
            assert found[0].lost + held == 600 * 1024

    asyncio.run(look())


# ---------------------------------------------------------------------- captures and replay


def piece(data: bytes, *, heard: bool = True) -> Piece:
    return Piece(datetime(2026, 11, 23, 8, 0, tzinfo=UTC), heard, data)


@pytest.mark.req("GW-14", "GW-12")
def test_a_capture_gives_back_what_the_instrument_sent_byte_for_byte(tmp_path: Path) -> None:
    captures = Captures(tmp_path / "captures", lambda: 2 * SPARE_BYTES)
    running = captures.begin("xn-1")
    sent = b"".join([b"\x05", *(frame(each, text) for each, text in enumerate(xn_result("2601"), 1)), b"\x04"])
    captures.write(running, [piece(sent[:7]), piece(b"\x06", heard=False), piece(sent[7:])])
    with pytest.raises(CaptureRefused):
        captures.begin("xn-1")
    captures.end("xn-1")
    (file,) = captures.files("xn-1")
    assert instrument_bytes(file.read_bytes()) == sent
    assert file.stat().st_mode & 0o777 == 0o600
    assert captures.file("../box.db") is None
    assert [each.item["value"] for each in lines_of(instrument_bytes(file.read_bytes()), None)] == ["6.52"]
    assert captures.files("xn") == []


@pytest.mark.req("GW-14")
def test_a_capture_ends_at_its_bound_and_where_results_need_the_disk(tmp_path: Path) -> None:
    room = [2 * SPARE_BYTES]
    captures = Captures(tmp_path, lambda: room[0])
    running = captures.begin("xn")
    while not running.ended:
        captures.write(running, [piece(bytes(1024 * 1024))])
    assert running.size <= MOST_BYTES
    again = captures.begin("xn")
    room[0] = SPARE_BYTES - 1
    captures.write(again, [piece(b"\x05")])
    assert again.ended == "磁盘空间要留给结果"
    with pytest.raises(CaptureRefused):
        captures.begin("au")


@pytest.mark.req("GW-14")
def test_no_more_captures_than_their_number_and_a_running_one_is_not_removed(tmp_path: Path) -> None:
    captures = Captures(tmp_path, lambda: 2 * SPARE_BYTES)
    for each in range(20):
        captures.begin(f"line-{each}")
    with pytest.raises(CaptureRefused):
        captures.begin("one-more")
    name = captures.files("line-3")[0].name
    captures.remove(name)
    assert captures.file(name) is not None
    captures.end("line-3")
    captures.remove(name)
    assert captures.file(name) is None


def test_a_file_that_is_no_capture_is_taken_as_it_is() -> None:
    assert instrument_bytes(b"\x05\x02") == b"\x05\x02"
    assert instrument_bytes(HEAD.encode() + b"\nrubbish < zz\n2026 < 05\n2026 > 06\n") == b"\x05"


@pytest.mark.req("GW-12")
def test_each_replayed_item_stands_beside_its_own_bytes() -> None:
    sent = b"".join([b"\x05", *(frame(each, text) for each, text in enumerate(xn_result("2601"), 1)), b"\x04"])
    (found,) = lines_of(sent, discover()["sysmex_xn"])
    assert found.item["specimen"] == "2601"
    assert found.source.startswith(b"R|1|^^^^WBC^1|6.52")


@pytest.mark.req("GW-12")
def test_a_reading_that_differs_is_told_field_by_field_and_one_item_more_shifts_nothing() -> None:
    old = [{"kind": "observation", "specimen": "1", "code": "WBC", "value": "6.52"}]
    new = [
        {"kind": "observation", "specimen": "1", "code": "RBC", "value": "4.1"},
        {"kind": "observation", "specimen": "1", "code": "WBC", "value": "6.53", "unit": "10*9/L"},
    ]
    changed, added = compared(old, new)
    assert changed.fields == {"value": ("6.52", "6.53"), "unit": (None, "10*9/L")}
    assert (added.before, added.now) == (None, new[0])
    assert compared(old, old) == []
    (gone,) = compared(old, [])
    assert gone.now is None
