"""The real daemon and a folder that an instrument's program writes into: every file once, whatever happens between."""

from __future__ import annotations

import fcntl
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.instruments.generic_file import GenericFile
from protocols.links.file_drop import opened
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.waiting import eventually

_PORT = '{{ kind = "file_drop", folder = "{folder}", settle_s = {settle}, look_every_s = 0.05{more} }}'


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=free_port())  # nobody listens there
    yield made
    made.stop()


def folder_of(box: Box, *, settle: float = 0.1, more: str = "", name: str = "results") -> Path:
    folder = box.folder / name
    folder.mkdir()
    box._add(name, "generic_file", _PORT.format(folder=folder, settle=settle, more=more))
    return folder


def table(specimen: str, value: str = "5.1") -> bytes:
    return f"Sample ID,Test,Result,Unit\r\n{specimen},WBC,{value},10*9/L\r\n".encode()


def moved_in(folder: Path, name: str, content: bytes) -> None:
    """As a careful program does it: written elsewhere, renamed into place."""
    part = folder.parent / f".{name}.part"
    part.write_bytes(content)
    part.rename(folder / name)


def specimens(box: Box, link: str = "results") -> list[str]:
    found = []
    for frame in box.frames(link):
        head, content = opened(frame)
        assert head is not None
        found.append(content.split(b"\r\n")[1].split(b",")[0].decode())
    return found


def waiting_files(folder: Path) -> list[str]:
    taking = folder / "taking"
    inside = [each.name for each in taking.iterdir()] if taking.is_dir() else []
    return inside + [each.name for each in folder.iterdir() if each.is_file()]


def reason(box: Box, link: str = "results") -> str:
    status = box.status()
    return next((each["reason"] for each in status["links"] if each["link"] == link), "") if status else ""


@pytest.mark.req("GW-5", "GW-3")
def test_a_file_is_stored_then_put_away_and_read_as_results(box: Box) -> None:
    folder = folder_of(box)
    box.start()
    moved_in(folder, "run 1.csv", table("2601"))
    eventually(lambda: (folder / "taken").is_dir() and list((folder / "taken").iterdir()), what="the file is put away")
    assert box.messages("results") == [(1, "decoded")]
    (frame,) = box.frames("results")
    head, content = opened(frame)
    assert head is not None
    assert (head.name, content) == ("run 1.csv", table("2601"))
    (result,) = GenericFile().decode(frame).items
    assert (result.specimen, result.code, result.value) == ("2601", "WBC", "5.1")  # type: ignore[union-attr]
    (kept,) = (folder / "taken").iterdir()
    assert kept.name.startswith("run 1.")
    assert kept.suffix == ".csv"
    assert kept.read_bytes() == table("2601")


@pytest.mark.req("GW-5")
def test_the_same_file_dropped_again_is_stored_once_and_a_changed_one_of_that_name_again(box: Box) -> None:
    folder = folder_of(box)
    box.start()
    for content in (table("2601"), table("2602"), table("2601"), table("2601", "9.9")):
        moved_in(folder, "result.csv", content)
        eventually(lambda: not waiting_files(folder), what="the file is put away")
    assert specimens(box) == ["2601", "2602", "2601"]
    assert len(list((folder / "taken").iterdir())) == 3


@pytest.mark.req("GW-5")
def test_killed_after_the_commit_and_before_the_file_was_put_away_the_box_does_not_store_it_again(box: Box) -> None:
    folder = folder_of(box)
    box.start()
    moved_in(folder, "a.csv", table("2601"))
    eventually(lambda: not waiting_files(folder) and box.messages("results"), what="the file is put away")
    box.kill()
    (kept,) = (folder / "taken").iterdir()
    kept.rename(folder / "taking" / "a.csv")  # what a kill in between leaves behind
    box.start()
    eventually(lambda: list((folder / "taken").iterdir()) == [kept], what="the file is put away")
    moved_in(folder, "b.csv", table("2602"))
    eventually(lambda: not waiting_files(folder), what="the next file is put away")
    assert specimens(box) == ["2601", "2602"]


@pytest.mark.req("GW-5")
def test_killed_before_the_commit_the_box_takes_the_file_when_it_is_back(box: Box) -> None:
    folder = folder_of(box)
    (folder / "taking").mkdir()
    (folder / "taking" / "a.csv").write_bytes(table("2601"))  # claimed, never stored
    box.start()
    eventually(lambda: not waiting_files(folder), what="the file is put away")
    assert specimens(box) == ["2601"]


@pytest.mark.req("GW-5", "GW-3")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_again_and_again_nothing_is_lost_and_nothing_doubled(box: Box, seed: int) -> None:
    chance = random.Random(seed)
    folder = folder_of(box, settle=0.0)
    sent = itertools.count(1)
    dropped: list[str] = []
    for _ in range(5):
        box.start()
        for _ in range(chance.randrange(3, 12)):
            specimen = f"26{next(sent):04}"
            moved_in(folder, f"{specimen}.csv", table(specimen))
            dropped.append(specimen)
        stored = chance.randrange(len(dropped))
        eventually(lambda: len(box.frames("results")) >= stored, what="some are stored")  # noqa: B023 - asked at once
        box.kill()
    box.start()
    eventually(lambda: not waiting_files(folder), what="every file is put away")
    assert Counter(specimens(box)) == Counter(dropped)
    assert len(list((folder / "taken").iterdir())) == len(dropped)
    assert [number for number, _ in box.messages("results")] == list(range(1, len(dropped) + 1))


@pytest.mark.req("GW-5")
def test_a_file_that_another_program_holds_waits_and_the_status_says_why(box: Box) -> None:
    folder = folder_of(box, more=', pattern = "*.csv"')
    held = folder / "held.csv"
    held.write_bytes(table("2601"))
    (folder / "notes.txt").write_text("not a result")
    with held.open("rb+") as program:
        fcntl.flock(program, fcntl.LOCK_EX)
        box.start()
        eventually(lambda: "another program holds it" in reason(box), what="the status says why")
        moved_in(folder, "free.csv", table("2602"))
        eventually(lambda: specimens(box) == ["2602"], what="the others go on")
    eventually(lambda: specimens(box) == ["2602", "2601"], what="the file that was let go is stored")
    eventually(lambda: reason(box) == "", what="the reason is gone")
    assert (folder / "notes.txt").exists()


@pytest.mark.req("GW-5")
def test_a_file_that_grows_is_taken_when_it_is_whole(box: Box) -> None:
    folder = folder_of(box, settle=2.0)
    box.start()
    whole = table("2601") * 40
    with (folder / "growing.csv").open("wb", buffering=0) as program:
        written = 0

        def grow() -> bool:
            """A few bytes each time it is asked: over many of the box's looks."""
            nonlocal written
            written += program.write(whole[written : written + 20])
            assert not box.frames("results"), f"taken at {written} of {len(whole)} bytes"
            return written == len(whole)

        eventually(grow, what="the file is written")
    eventually(lambda: box.frames("results"), what="the file is stored")
    (frame,) = box.frames("results")
    assert opened(frame)[1] == whole


@pytest.mark.req("GW-5")
def test_a_file_waits_for_the_mark_that_its_program_puts_beside_it(box: Box) -> None:
    folder = folder_of(box, more=', end_mark = ".ok"')
    box.start()
    moved_in(folder, "a.csv", table("2601"))
    eventually(lambda: "waits for a.csv.ok" in reason(box), what="the status says what it waits for")
    assert box.frames("results") == []
    (folder / "a.csv.ok").touch()
    eventually(lambda: not waiting_files(folder), what="file and mark are put away")
    assert specimens(box) == ["2601"]


@pytest.mark.req("GW-5")
def test_a_file_that_is_too_large_stays_where_it_is_and_holds_nothing_up(box: Box) -> None:
    folder = folder_of(box, more=", max_kilobytes = 64")
    box.start()
    moved_in(folder, "huge.csv", table("2601") * 3000)
    eventually(lambda: "larger than 64 KB" in reason(box), what="the status says why")
    moved_in(folder, "small.csv", table("2602"))
    eventually(lambda: specimens(box) == ["2602"], what="the others go on")
    assert (folder / "huge.csv").stat().st_size == len(table("2601") * 3000)


@pytest.mark.req("GW-5")
def test_a_large_file_is_stored_in_pieces_and_whole(box: Box) -> None:
    folder = folder_of(box)
    box.start()
    whole = b"Sample ID,Test,Result,Unit\r\n" + b"".join(
        table(f"{n:07}").split(b"\r\n")[1] + b"\r\n" for n in range(40000)
    )
    moved_in(folder, "large.csv", whole)
    eventually(lambda: not waiting_files(folder), what="the file is put away")
    (message,) = box.read("results")
    assert opened(message.raw)[1] == whole


@pytest.mark.req("GW-5")
def test_a_folder_that_goes_and_comes_back_is_served_again(box: Box) -> None:
    folder = folder_of(box)
    box.start()
    moved_in(folder, "a.csv", table("2601"))
    eventually(lambda: not waiting_files(folder) and specimens(box) == ["2601"], what="the first is stored")
    away = folder.with_name("unmounted")
    folder.rename(away)
    eventually(lambda: "not there" in reason(box), what="the status says that the folder is gone")
    away.rename(folder)
    moved_in(folder, "b.csv", table("2602"))
    eventually(lambda: specimens(box) == ["2601", "2602"], what="the folder is served again")
