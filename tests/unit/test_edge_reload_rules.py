"""The rules of another configuration on a running box: what it touches, what it was worth, and how it is kept."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge import port_probe
from edge.config import BoxConfig, FileDrop, LinkSection, SerialLine, TcpDial, TcpListen
from edge.config_diff import difference, in_force
from edge.config_file import parse
from edge.config_start import choose
from edge.config_text import text_of, with_link
from edge.config_versions import Fate, Versions
from edge.dry_run import compare, try_out
from edge.errors import ConfigError
from edge.trial import Watched, fault_of, not_reopened
from protocols.uplink.states import GatewayState
from tests.support.analyzer import frame, oru, xn_result

pytestmark = pytest.mark.req("PRV-3")

HEAD = """\
[gateway]
id = "gw-1"
campus = "main"
partition = 0
[store]
path = "box.db"
[cloud]
host = "broker.hospital"
"""


def link(id_: str, port: int, driver: str = "sysmex_xn") -> str:
    return f'[[links]]\nid = "{id_}"\ndriver = "{driver}"\nport = {{ kind = "tcp_listen", port = {port} }}\n'


def box(*links: str, head: str = HEAD) -> BoxConfig:
    return parse(head + "".join(links), "box.toml", Path("/lab"))


# ------------------------------------------------------------------ what it touches


def test_a_link_is_touched_by_its_own_settings_alone() -> None:
    before = box(link("a", 5001), link("b", 5002), link("c", 5003))
    found = difference(before, box(link("d", 5004), link("c", 5003), link("b", 5002, "auto")))
    assert (found.added, found.changed, found.removed, found.unchanged) == (("d",), ("b",), ("a",), ("c",))
    assert difference(before, box(link("c", 5003), link("b", 5002), link("a", 5001))).is_empty


def test_settings_that_a_running_box_cannot_take_wait_for_the_next_start_and_are_named() -> None:
    before = box(link("a", 5001))
    head = HEAD.replace("partition = 0", "partition = 1").replace("broker.hospital", "other")
    wanted = box(link("a", 5001), head=head.replace('box.db"', 'box.db"\nkeep_delivered_days = 3\nmax_megabytes = 9'))
    found = difference(before, wanted)
    assert set(found.at_once) == {"cloud.host", "store.keep_delivered_days"}
    assert set(found.at_restart) == {"gateway.partition", "store.max_megabytes"}
    taken = in_force(before, wanted)
    assert (taken.cloud.host, taken.store.keep_delivered_days) == ("other", 3)
    assert (taken.gateway.partition, taken.store.max_megabytes) == (0, before.store.max_megabytes)
    assert set(difference(taken, wanted).at_restart) == set(found.at_restart)


# ------------------------------------------------------------------ one that the box made itself

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
VALUES = st.recursive(
    st.one_of(
        TEXT, st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.dates(date(1970, 1, 1))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(options=st.dictionaries(TEXT, VALUES, max_size=4), pattern=TEXT.filter(lambda each: bool(each.strip())))
def test_a_written_configuration_is_read_as_what_it_was(options: dict[str, object], pattern: str) -> None:
    folder = FileDrop(folder=Path("/lab/a b"), pattern=pattern, settle_s=0.5)
    made = replace(
        box(link("a", 5001)),
        links=(
            LinkSection(id="f", driver="generic_file", port=folder),
            LinkSection(id="s", driver="auto", port=SerialLine(device=Path("/dev/ttyUSB0"), parity="even")),
            LinkSection(id="d", driver="auto", port=TcpDial(host="10.0.0.1", port=4001), timezone="UTC"),
            LinkSection(id="l", driver="auto", port=TcpListen(port=5001, peers=("10.0.0.2",))),
        ),
    )
    assert parse(text_of(made, "why\nit was made"), "", Path("/")) == made
    with_options = replace(made, links=(replace(made.links[0], options=options),))
    try:
        read = parse(text_of(with_options, ""), "", Path("/"))
    except ConfigError as error:  # the driver does not take such options; the text itself is right
        wrong = [each.what for each in error.mistakes if "not TOML" in each.what]
    else:
        wrong = [] if read == with_options else [str(read)]
    assert wrong == []


def test_one_link_gets_its_settings_back_and_a_new_one_goes_again() -> None:
    before, after = box(link("a", 5001), link("b", 5002)), box(link("a", 5009), link("b", 5008), link("c", 5003))
    assert with_link(after, "a", before.links[0]) == (before.links[0], *after.links[1:])
    assert with_link(after, "c", None) == after.links[:2]


# ------------------------------------------------------------------ what it was worth


@pytest.mark.parametrize(
    ("now", "before", "reason"),
    [
        (Watched(), Watched(messages=900, was_open=True), ""),  # silence is neither good nor bad
        (Watched(failed_s=31), Watched(was_open=True), "cannot be opened"),
        (Watched(failed_s=31), None, "cannot be opened"),
        (Watched(failed_s=29), None, ""),
        (Watched(failed_s=400), Watched(failed_s=1), ""),  # it could not be opened before either
        (Watched(refused=5), Watched(messages=100), "5 frames failed their check"),
        (Watched(refused=4), Watched(messages=100), ""),
        (Watched(refused=20, messages=100), Watched(refused=10, messages=100), ""),
        (Watched(refused=60, messages=40), Watched(refused=60, messages=50), ""),  # a line that was always noisy
        (Watched(messages=9, tried=9, unread=9), Watched(tried=9), "9 of 9 messages cannot be decoded"),
        (Watched(messages=9, tried=9, unread=9), Watched(tried=9, unread=8), ""),
        (Watched(faults=3), Watched(messages=5), "fails again and again"),
        (Watched(faults=3, messages=400), Watched(), ""),
    ],
)
def test_a_link_is_worse_by_its_port_its_frames_its_messages_or_its_faults(
    now: Watched, before: Watched | None, reason: str
) -> None:
    found = fault_of(now, before, 300)
    assert (reason in found) if reason else found == ""


def test_a_line_that_was_open_and_never_again_is_told_at_the_end() -> None:
    assert not_reopened(Watched(), Watched(was_open=True))
    assert not not_reopened(Watched(was_open=True), Watched(was_open=True))
    assert not not_reopened(Watched(), Watched())
    assert not not_reopened(Watched(), None)


# ------------------------------------------------------------------ what stored messages become


def stored() -> list[bytes]:
    records = [record + b"\r" for record in xn_result("2601")]
    astm = b"".join(frame(number, each) for number, each in enumerate(records, start=1))
    return [astm, astm]


def section(driver: str) -> LinkSection:
    return LinkSection(id="x", driver=driver, port=TcpListen(port=5001))


def test_stored_transmissions_are_read_again_with_other_settings() -> None:
    assert try_out(section("sysmex_xn"), stored()).decoded == 2
    assert try_out(section("auto"), stored()).decoded == 2
    assert try_out(section("mindray_bs"), [oru("1", "2601")]).decoded == 1
    worse = compare(section("sysmex_xn"), section("mindray_bs"), stored())
    assert worse.refusal.startswith("0 of the last 2 messages decode, before 2")
    assert compare(section("mindray_bs"), section("sysmex_xn"), stored()).refusal == ""
    assert compare(section("sysmex_xn"), section("mindray_bs"), []).refusal == ""


def test_a_line_or_a_folder_that_is_not_there_is_named_with_its_cure(tmp_path: Path) -> None:
    def said(port: SerialLine | FileDrop) -> str:
        found = port_probe.complaint(LinkSection(id="x", driver="auto", port=port), [])
        return " ".join(found) if found else ""

    assert "No such file" in said(SerialLine(device=tmp_path / "ttyS9"))
    (tmp_path / "file").write_text("")
    assert "is no line" in said(SerialLine(device=tmp_path / "file"))
    assert "there is no folder" in said(FileDrop(folder=tmp_path / "none"))
    assert said(FileDrop(folder=tmp_path)) == ""


# ------------------------------------------------------------------ how they are kept


class Killed(BaseException):
    """kill -9."""


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Dies before the nth thing that is done to the disk."""
    left = {"steps": 10**6, "done": 0}

    def counted(name: str) -> None:
        real = getattr(os, name)

        def step(*arguments: object, **named: object) -> object:
            if left["done"] >= left["steps"]:
                raise Killed
            left["done"] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(os, name, step)

    for name in ("fsync", "replace", "rename", "mkdir", "unlink"):
        counted(name)
    yield left
    left["steps"] = 10**6


def start(file: Path) -> tuple[int, str]:
    """Number and text of the configuration that a start begins with."""
    chosen = choose(file)
    chosen.begin()
    return chosen.versions.in_force, chosen.config.cloud.host


def written(folder: Path, host: str) -> Path:
    file = folder / "box.toml"
    file.write_text(HEAD.replace("broker.hospital", host) + link("a", 5001), encoding="utf-8")
    return file


def apply(file: Path, host: str, boot: str = "boot") -> Versions:
    text = HEAD.replace("broker.hospital", host) + link("a", 5001)
    versions = Versions.open(file.parent / "box.db")
    versions.try_out(versions.write(text, folder=file.parent, source="command", at="now"), boot)
    versions.save(10)
    return versions


def test_killed_at_each_step_of_writing_the_box_starts_with_the_old_configuration_or_the_new_one(
    tmp_path: Path, killing: dict[str, int]
) -> None:
    outcomes: set[object] = set()
    for steps in range(30):
        folder = tmp_path / str(steps)
        folder.mkdir()
        file = written(folder, "old")
        assert start(file) == (1, "old")
        killing["steps"] = killing["done"] + steps
        try:
            versions = apply(file, "new")
            versions.settle(2)
            versions.save(10)
        except Killed:
            killing["steps"] = 10**6
            found = start(file)
            assert found in ((1, "old"), (2, "new")), steps
        else:
            killing["steps"] = 10**6
            found = start(file)
            assert found == (2, "new")
            outcomes.add("whole")
        outcomes.add(found)
    assert outcomes == {(1, "old"), (2, "new"), "whole"}


def test_a_box_that_lost_its_power_goes_on_with_a_trial_and_one_that_died_of_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boots = iter(("one", "two", "three"))
    file = written(tmp_path, "old")
    start(file)
    apply(file, "new", "zero")
    for _ in range(2):
        boot = next(boots)
        monkeypatch.setattr("edge.config_start.boot_id", lambda boot=boot: boot)
        assert start(file) == (2, "new")
    monkeypatch.setattr("edge.config_start.boot_id", lambda: next(boots))
    assert start(file) == (1, "old")  # three power cuts in one window are no coincidence
    apply(file, "newer", "same")
    monkeypatch.setattr("edge.config_start.boot_id", lambda: "same")
    assert start(file) == (1, "old")
    assert [each.fate for each in Versions.open(tmp_path / "box.db").versions] == [
        Fate.GOOD,
        Fate.TAKEN_BACK,
        Fate.TAKEN_BACK,
    ]


def test_the_file_is_a_wish_once_and_what_was_taken_back_stays_so(tmp_path: Path) -> None:
    file = written(tmp_path, "old")
    assert start(file) == (1, "old")
    assert start(file) == (1, "old")
    assert start(written(tmp_path, "new")) == (2, "new")
    assert start(file) == (1, "old")  # it died in its window, and the file is the same
    assert start(file) == (1, "old")
    file.write_text("[gateway\n", encoding="utf-8")
    with pytest.raises(ConfigError):  # nobody can tell whose box this is
        choose(file)
    written(tmp_path, "x")
    file.write_text(file.read_text(encoding="utf-8").replace("campus", "campas"), encoding="utf-8")
    assert start(file) == (1, "old")


def test_a_spoiled_record_of_configurations_never_keeps_the_box_from_serving(tmp_path: Path) -> None:
    file = written(tmp_path, "old")
    start(file)
    state = tmp_path / "box.db.configs" / "state.json"
    for spoiled in ("", "{", "[]", "{}", json.dumps({"in_force": 7, "seen_file": "", "trial": None, "versions": []})):
        state.write_text(spoiled, encoding="utf-8")
        assert start(file)[1] == "old"


def test_so_many_are_kept_and_always_the_one_in_force(tmp_path: Path) -> None:
    file = written(tmp_path, "old")
    start(file)
    versions = Versions.open(tmp_path / "box.db")
    for number in range(20):
        versions.settle(versions.write(f"# {number}", folder=tmp_path, source="command", at="now").number)
        versions.save(5)
    kept = Versions.open(tmp_path / "box.db")
    assert [each.number for each in kept.versions] == [17, 18, 19, 20, 21]
    assert sorted(each.name for each in kept.folder.glob("*.toml")) == [
        f"{each.number:06}.toml" for each in kept.versions
    ]
    assert stat.S_ISDIR(kept.folder.stat().st_mode)


def test_the_cloud_is_told_which_configuration_is_in_force() -> None:
    state = GatewayState(
        "gw-1", "e", datetime(2026, 11, 23, tzinfo=UTC), True, "1", 0, (), 0,
        configuration=7, configuration_digest="ab12", configuration_trial=True, configuration_note="link xn: worse",
    )  # fmt: skip
    assert GatewayState.from_bytes(state.to_bytes()) == state
    old = {key: value for key, value in json.loads(state.to_bytes()).items() if not key.startswith("configuration")}
    assert GatewayState.from_bytes(json.dumps(old).encode()).configuration == 0
