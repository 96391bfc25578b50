"""Every driver that `discover()` finds is held to the same contract; a new one is reviewed here without an edit."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocols.driver import FAMILIES, Driver, Status, discover, identify
from protocols.links.contract import Link
from protocols.model import HostQuery, Undecoded
from protocols.uplink.items import item_from_json, item_to_json
from tests.support.transcripts import ROOT, cases_of, read_case, replay

DRIVERS = sorted(discover().values(), key=lambda driver: driver.id)
CASES = [
    pytest.param(driver, folder, id=f"{driver.id}/{folder.name}")
    for driver in DRIVERS
    for folder in cases_of(driver.id)
]
NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)

NAMELESS = re.compile(rb"<(?:DST|EOT|ACK|ESC|END|EVS|REQ)[.]R\d\d")
"""POCT1-A: after HEL.R01 the documents of the conversation name no device."""

each_driver = pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.id)
each_case = pytest.mark.parametrize(("driver", "folder"), CASES)
pytestmark = pytest.mark.req("GW-11")


@each_driver
def test_driver_says_what_it_is(driver: Driver) -> None:
    assert type(driver).__module__ == f"protocols.instruments.{driver.id}", "the id is the file's name"
    assert driver.vendor
    assert driver.source
    assert isinstance(driver.status, Status)
    assert driver.protocol in FAMILIES
    assert all(letter and meaning for letter, meaning in driver.flag_meanings.items())


@each_driver
def test_driver_has_transcripts_of_what_it_claims(driver: Driver) -> None:
    names = {folder.name for folder in cases_of(driver.id)}
    assert any(name.startswith("results") for name in names)
    if driver.answers_host_queries:
        assert {"host_query", "host_query_without_order"} <= names


@each_driver
def test_driver_makes_a_fresh_link_each_time(driver: Driver) -> None:
    first, second = driver.new_link(), driver.new_link()
    assert isinstance(first, Link)
    assert first is not second


@each_case
def test_transcript(driver: Driver, folder: Path) -> None:
    """The instrument's bytes give the items that a person approved, and our bytes are those of the transcript."""
    case = read_case(folder)
    played = replay(driver, case)
    for expected, written in played.answers:
        assert written == expected
    assert played.left == b"", "the transcript names all that we write"
    assert played.items == case.items
    assert played.items, "a transcript without items proves nothing"


@each_case
@pytest.mark.parametrize("piece", [1, 2, 7, 64])
def test_transcript_however_the_bytes_are_split(driver: Driver, folder: Path, piece: int) -> None:
    case = read_case(folder)
    assert replay(driver, case, piece=piece) == replay(driver, case)


@each_case
def test_driver_is_recognised_by_itself(driver: Driver, folder: Path) -> None:
    for payload in replay(driver, read_case(folder)).payloads:
        if (payload.startswith(b"MSH") and b"|ACK^" in payload) or NAMELESS.search(payload[:100]):
            continue
        found, match = identify(payload)
        assert found is not None
        assert found.id == driver.id, match.reason
        assert match.reason
        assert match.score == (0.1 if driver.id.startswith("generic_") else match.score)


@each_case
def test_nobody_else_claims_it_as_surely(driver: Driver, folder: Path) -> None:
    for payload in replay(driver, read_case(folder)).payloads:
        if NAMELESS.search(payload[:100]):
            continue
        own = driver.fingerprint(payload).score
        rivals = {other.id: other.fingerprint(payload).score for other in DRIVERS if other.id != driver.id}
        assert all(score < own or score == 0.1 for score in rivals.values()), rivals


@each_case
def test_items_travel_as_json_and_come_back(driver: Driver, folder: Path) -> None:
    for payload in replay(driver, read_case(folder)).payloads:
        for item in driver.decode(payload).items:
            assert item_from_json(json.loads(json.dumps(item_to_json(item)))) == item


@each_case
def test_every_item_points_at_its_record(driver: Driver, folder: Path) -> None:
    """GW-12: from a value back to where it stood."""
    for payload in replay(driver, read_case(folder)).payloads:
        for item in driver.decode(payload).items:
            assert item.record is not None
            assert item.record >= 0


@each_case
def test_query_is_never_met_with_silence(driver: Driver, folder: Path) -> None:
    for payload in replay(driver, read_case(folder)).payloads:
        decoded = driver.decode(payload)
        if any(isinstance(item, HostQuery) for item in decoded.items):
            assert driver.respond(payload, decoded, {}, NOW), "no order is an answer too"


@each_case
def test_names_leave_us_only_where_the_order_carries_them(driver: Driver, folder: Path) -> None:
    case = read_case(folder)
    for _, written in replay(driver, case).answers:
        assert b"PID|" not in written


@each_driver
def test_nonsense_is_undecoded_and_never_an_error(driver: Driver) -> None:
    dice = random.Random(f"{driver.id} 2026")
    payloads = [payload for folder in cases_of(driver.id) for payload in replay(driver, read_case(folder)).payloads]
    payloads += [b"", b"\r\r", b"H|", b"MSH|", b"\xff" * 50, "红细胞".encode("gb18030")]
    for _ in range(1500):
        data = bytearray(dice.choice(payloads))
        for _ in range(dice.randrange(4)):
            place = dice.randrange(len(data) + 1)
            data[place : place + dice.randrange(5)] = dice.randbytes(dice.randrange(4))
        mutated = bytes(data)
        decoded = driver.decode(mutated)
        driver.fingerprint(mutated)
        driver.respond(mutated, decoded, {}, NOW)
        driver.refuse(mutated, "disk full", NOW)
        for item in decoded.items:
            assert isinstance(item, Undecoded) or item_to_json(item)


def test_ids_are_unique_and_found_not_listed() -> None:
    assert len({driver.id for driver in DRIVERS}) == len(DRIVERS)
    assert {"sysmex_xn", "mindray_bs", "generic_astm", "generic_hl7"} <= set(discover())


def test_every_transcript_belongs_to_a_driver() -> None:
    assert {path.name for path in ROOT.iterdir() if path.is_dir()} <= set(discover())


def test_message_of_nobody_is_named_so() -> None:
    driver, match = identify(b"hello")
    assert driver is None
    assert match.reason
