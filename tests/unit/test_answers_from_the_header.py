"""HL7 results are acknowledged by their header alone: the box answers first and reads them later."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from protocols.driver import Driver, discover
from protocols.hl7_driver import Hl7Driver
from protocols.model import Decoded, HostQuery, Order
from tests.support.transcripts import cases_of, read_case, replay

pytestmark = pytest.mark.req("GW-3", "GW-5")

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
MESSAGES = [
    pytest.param(driver, payload, id=f"{driver.id}/{folder.name}/{number}")
    for driver in sorted(discover().values(), key=lambda each: each.id)
    for folder in cases_of(driver.id)
    for number, payload in enumerate(replay(driver, read_case(folder)).payloads)
]
HL7 = [each for each in MESSAGES if isinstance(each.values[0], Hl7Driver)]
ORDERS = {"*": [Order("*", ("GLU",))]}


def whole(driver: Hl7Driver, payload: bytes) -> Sequence[bytes]:
    """The replies when every segment is read."""
    return [reply for message in driver.read(payload) for reply in driver.reply(message, {}, NOW)]


@pytest.mark.parametrize(("driver", "payload"), MESSAGES)
def test_answer_to_what_need_not_be_read_is_the_same_unread(driver: Driver, payload: bytes) -> None:
    decoded = driver.decode(payload)
    if driver.must_read(payload):
        return
    assert driver.respond(payload, Decoded(()), {}, NOW) == driver.respond(payload, decoded, {}, NOW)
    assert not any(isinstance(item, HostQuery) for item in decoded.items), "a query is always read"


@pytest.mark.parametrize(("driver", "payload"), HL7)
def test_answer_by_the_header_is_that_of_the_whole_message(driver: Hl7Driver, payload: bytes) -> None:
    assert driver.respond(payload, Decoded(()), {}, NOW) == whole(driver, payload)


@pytest.mark.parametrize(("driver", "payload"), HL7)
def test_only_results_need_not_be_read(driver: Hl7Driver, payload: bytes) -> None:
    kinds = [message.kind[:3] for message in driver.read(payload)]
    assert driver.must_read(payload) is (not kinds or any(kind not in ("ORU", "OUL") for kind in kinds))


@pytest.mark.parametrize("name", sorted({each.values[0].id for each in HL7}))  # type: ignore[attr-defined]
def test_damaged_message_is_answered_alike_read_or_unread(name: str) -> None:
    dice = random.Random(f"{name} header")
    sources = [each.values[1] for each in HL7 if each.values[0].id == name]  # type: ignore[attr-defined]
    driver = discover()[name]
    assert isinstance(driver, Hl7Driver)
    extras = [
        b"\rMSH|^~\\&|X||||||ORU^R01|2|P|2.3\r",
        b"MSH",
        b"\xff",
        "名".encode("gb18030"),
        b"\x1b$B",
        b"\x00",
        b"\x0b",
    ]
    for _ in range(300):
        data = bytearray(dice.choice(sources))
        for _ in range(dice.randrange(1, 4)):
            place = dice.choice((dice.randrange(len(data) + 1), dice.randrange(120)))
            data[place : place + dice.randrange(3)] = dice.choice([*extras, dice.randbytes(2)])
        payload = bytes(data)
        assert driver.respond(payload, Decoded(()), {}, NOW) == whole(driver, payload), payload


def test_batch_with_a_query_in_it_is_read() -> None:
    driver = discover()["generic_hl7"]
    result = b"MSH|^~\\&|A||||20261102||ORU^R01|1|P|2.3.1\rOBX|1|NM|GLU||5.1\r"
    query = b"MSH|^~\\&|A||||20261102||QRY^Q02|2|P|2.3.1\rQRD|20261102|R|D|1|||RD|S1\r"
    assert not driver.must_read(result + result)
    assert driver.must_read(result + query)
    assert driver.must_read(b"")
    assert len(driver.respond(result + query, Decoded(()), {}, NOW)) == 2


def test_drivers_of_other_families_read_first() -> None:
    assert discover()["siemens_dca"].must_read(b"<OBS.R01>")
