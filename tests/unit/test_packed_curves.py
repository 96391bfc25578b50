"""Curves and matrices that instruments pack into text: what unpacks, what does not and why, what is bounded."""

from __future__ import annotations

import base64
import gzip
import json
import random
import struct
import zlib

import pytest

from protocols.messages.histograms import LARGEST, BadStream, as_json, is_stream, read_stream

WORDS = "FLOATLE-stream/deflate:base64"
NUMBERS = (0.0, 12.5, -3.25, 4096.0, 0.1)
pytestmark = pytest.mark.req("GW-11")


def deflated(data: bytes, window: int = -zlib.MAX_WBITS) -> str:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return base64.b64encode(packer.compress(data) + packer.flush()).decode()


@pytest.mark.parametrize("window", [-zlib.MAX_WBITS, zlib.MAX_WBITS], ids=["raw deflate", "with a zlib header"])
def test_a_packed_curve_gives_its_numbers(window: int) -> None:
    found = read_stream(WORDS, deflated(struct.pack("<5f", *NUMBERS), window))
    assert found == struct.unpack("<5f", struct.pack("<5f", *NUMBERS))


@pytest.mark.parametrize(
    ("words", "data"),
    [
        ("FLOATBE-stream/:base64", base64.b64encode(struct.pack(">3f", 1, 2, 3))),
        ("INT32LE-stream/:base64", base64.b64encode(struct.pack("<3i", 1, 2, 3))),
        ("INT16BE-stream/:base64", base64.b64encode(struct.pack(">3h", 1, 2, 3))),
        ("INT16LE-stream/gzip:base64", base64.b64encode(gzip.compress(struct.pack("<3h", 1, 2, 3), mtime=0))),
    ],
    ids=["float", "int32", "int16", "gzip"],
)
def test_the_words_before_a_curve_say_how_it_is_packed(words: str, data: bytes) -> None:
    assert is_stream(words)
    assert read_stream(words, data.decode()) == (1, 2, 3)


@pytest.mark.parametrize(
    ("words", "text", "reason"),
    [
        ("DOUBLELE-stream/deflate:base64", "", "unknown packing"),
        ("FLOATLE-stream/zstd:base64", "", "unknown packing"),
        (WORDS, "not base64!", "no base64"),
        (WORDS, "AAA", "no base64"),
        (WORDS, "红细胞", "no base64"),
        (WORDS, base64.b64encode(b"\xff" * 20).decode(), "deflate stream"),
        (WORDS, deflated(b"12345"), "no whole count"),
        (WORDS, deflated(bytes(range(256)) * 4)[:-8], "it ends too early"),
        (WORDS, "", "it ends too early"),
    ],
    ids=["double", "zstd", "words", "short", "chinese", "no deflate", "5 bytes", "cut", "empty"],
)
def test_a_damaged_curve_is_refused_with_the_reason(words: str, text: str, reason: str) -> None:
    with pytest.raises(BadStream, match=reason):
        read_stream(words, text)


def test_a_curve_cannot_fill_the_memory() -> None:
    with pytest.raises(BadStream, match=f"longer than {LARGEST} bytes"):
        read_stream(WORDS, deflated(bytes(4 * LARGEST)))


def test_nothing_but_a_refusal_comes_from_a_damaged_curve() -> None:
    dice = random.Random(2026)
    good = deflated(struct.pack("<200f", *range(200)))
    refused = 0
    for _ in range(2000):
        place = dice.randrange(len(good))
        damaged = good[:place] + chr(dice.randrange(33, 0x200)) + good[place + dice.randrange(3) :]
        try:
            assert len(read_stream(WORDS, damaged)) <= LARGEST // 4
        except BadStream:
            refused += 1
    assert refused > 1000


def test_a_curve_is_attached_as_json_of_seven_digits_and_no_infinity() -> None:
    numbers = struct.unpack("<4f", struct.pack("<4f", 0.1, 3.0, float("nan"), float("inf")))
    found = json.loads(as_json("histogram RBC/PLT", {"values": numbers}))
    assert found == {"title": "histogram RBC/PLT", "values": [0.1, 3, None, None]}


@pytest.mark.parametrize("count", [40, 70, 5000], ids=["one piece", "two pieces", "many pieces"])
def test_a_curve_longer_than_one_piece_is_read_whole_and_only_whole(count: int) -> None:
    """It is unpacked piece by piece: what ends, stops or is no base64 in a later piece is refused all the same."""
    numbers = tuple(random.Random(count).uniform(-1e6, 1e6) for _ in range(count))
    data = struct.pack(f"<{count}f", *numbers)
    packed = deflated(data)
    assert read_stream(WORDS, packed) == struct.unpack(f"<{count}f", data)
    assert read_stream("FLOATLE-stream/:base64", base64.b64encode(data).decode()) == struct.unpack(f"<{count}f", data)
    middle = len(packed) // 8 * 4
    for spoiled in (packed[:-8], packed[:middle] + "AA==" + packed[middle + 4 :], f"{packed[:-6]}!!{packed[-4:]}"):
        with pytest.raises(BadStream):
            read_stream(WORDS, spoiled)
