"""Reading costs what its length costs: ratios within one process, with room for a busy machine, and no seconds."""

from __future__ import annotations

import gc
import time
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest

from protocols.driver import Driver, discover

_ROUNDS = 15
_LONGER = 16
_ROOM = 2.5
"""A message sixteen times as long may take 2.5 times its share; what grows with the square takes up to sixteen times.

Time is the thread's own, so that a busy machine counts little; the lengths fit a processor's own cache, beyond which
each byte costs two to three times as much."""


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def best(*acts: Callable[[], object]) -> list[float]:
    """The quickest of several rounds of each, taken in turn so that a busy moment meets all of them."""
    found = [float("inf")] * len(acts)
    for act in acts:
        act()
    for _ in range(_ROUNDS):
        for position, act in enumerate(acts):
            started = time.thread_time()
            act()
            found[position] = min(found[position], time.thread_time() - started)
    return found


def driver(name: str) -> Driver:
    return discover()[name]


def astm(results: int) -> bytes:
    records = [f"R|{n}|^^^C{n % 50}|{n}.5|mmol/L||N||F||||20261123080100" for n in range(results)]
    return "\r".join(["H|\\^&|||X", "P|1", "O|1|S1", *records, "L|1|N", ""]).encode()


def chinese(results: int) -> bytes:
    records = [f"R|{n}|^^^C{n % 50}^葡萄糖|弱阳性|mmol/L||N||F||||20261123080100" for n in range(results)]
    return "\r".join(["H|\\^&|||尿液分析仪", "P|1", "O|1|S1", *records, "L|1|N", ""]).encode("gb18030")


def oru(results: int) -> bytes:
    head = ["MSH|^~\\&|A|B|||20261123080200||ORU^R01|7|P|2.3.1", "OBR|1||S1"]
    return "\r".join([*head, *(f"OBX|{n}|NM|C{n}^name^LN||{n}.5|g/L|1-9|N|||F" for n in range(results)), ""]).encode()


def wrapped_picture(size: int) -> bytes:
    data = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(size * 300)).decode()
    lines = "\r\n".join(data[start : start + 76] for start in range(0, len(data), 76))
    return f"MSH|^~\\&|A|B|||2026||ORU^R01|7|P|2.3.1\rOBX|1|ED|P||^Image^PNG^Base64^{lines}||||||F\r".encode()


def escapes(count: int) -> bytes:
    return b"H|\\^&|||X\rO|1|S1\rR|1|^^^C|" + b"a&F&b&Z&x&" * count + b"|\rL|1|N\r"


@pytest.mark.req("GW-3", "GW-4")
@pytest.mark.parametrize(
    ("name", "message", "size"),
    [
        ("generic_astm", astm, 30),
        ("generic_astm", chinese, 30),
        ("generic_astm", escapes, 50),
        ("generic_hl7", oru, 30),
        ("generic_hl7", wrapped_picture, 30),
    ],
    ids=["astm", "chinese", "escapes", "hl7", "wrapped picture"],
)
def test_reading_grows_with_the_length_and_not_with_its_square(
    name: str, message: Callable[[int], bytes], size: int
) -> None:
    short, long = message(size), message(size * _LONGER)
    once, more = best(lambda: driver(name).decode(short), lambda: driver(name).decode(long))
    assert more < once * _LONGER * _ROOM


@pytest.mark.req("GW-3", "GW-4")
@pytest.mark.parametrize(("name", "message"), [("generic_astm", astm), ("generic_hl7", oru)], ids=["astm", "hl7"])
def test_observations_cost_a_bounded_multiple_of_a_bare_split(name: str, message: Callable[[int], bytes]) -> None:
    """Five to eight times is usual (`./xinglin bench protocols`); forty says that something went wrong."""
    payload = message(200)
    split, decode = best(
        lambda: [line.split("|") for line in payload.decode().split("\r")], lambda: driver(name).decode(payload)
    )
    assert decode < 40 * split
