"""Whose message is it: the answer is that of asking every driver, without asking every driver (GW-13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols import driver as contract
from protocols.driver import Driver, Match, discover, family_of_message, identify
from tests.support.transcripts import cases_of, read_case, replay

pytestmark = pytest.mark.req("GW-13")

CASES = [
    pytest.param(driver, folder, id=f"{driver.id}/{folder.name}")
    for driver in sorted(discover().values(), key=lambda driver: driver.id)
    for folder in cases_of(driver.id)
]
XN = discover()["sysmex_xn"]


def payloads_of(driver: Driver, folder: Path) -> list[bytes]:
    return replay(driver, read_case(folder)).payloads


def asked_all(payload: bytes) -> tuple[Driver | None, float]:
    """The first of the best among all drivers."""
    best: tuple[Driver | None, float] = (None, 0.0)
    for driver in discover().values():
        score = driver.fingerprint(payload).score
        if score > best[1]:
            best = (driver, score)
    return best


@pytest.mark.parametrize(("driver", "folder"), CASES)
def test_the_short_way_finds_the_same_driver(driver: Driver, folder: Path) -> None:
    for payload in payloads_of(driver, folder):
        found, match = identify(payload)
        assert (found, match.score) == asked_all(payload)
        hinted, again = identify(payload, XN)
        assert (hinted, again.score) == (found, match.score), "who spoke before does not change who speaks now"


@pytest.mark.parametrize(("driver", "folder"), CASES)
def test_the_first_bytes_never_speak_for_another_family(driver: Driver, folder: Path) -> None:
    for payload in payloads_of(driver, folder):
        assert family_of_message(payload) in (driver.protocol, None)


def test_a_message_that_names_its_instrument_is_asked_of_its_family_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Asked(Driver):
        def __init__(self, inner: Driver) -> None:
            self.inner = inner
            self.protocol = inner.protocol  # type: ignore[misc]

        def fingerprint(self, payload: bytes) -> Match:
            asked.append(self.inner.id)
            return self.inner.fingerprint(payload)

    Asked.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    watched = {name: Asked(each) for name, each in discover().items()}
    monkeypatch.setattr(contract, "discover", lambda: watched)
    (payload,) = payloads_of(XN, cases_of("sysmex_xn")[-1])
    found, _ = identify(payload)
    assert isinstance(found, Asked)
    assert found.inner.id == "sysmex_xn"
    assert {discover()[name].protocol for name in asked} == {"astm"}
    asked.clear()
    identify(payload, watched["sysmex_xn"])
    assert asked == ["sysmex_xn"], "a line goes on with the instrument it had"


@pytest.mark.parametrize(
    ("payload", "family"),
    [
        (b"H|\\^&|||A\r", "astm"),
        (b"\r\nH|`^&\r", "astm"),
        (b"MSH|^~\\&|A\r", "hl7"),
        (b"\x0bFHS|^~\\&\r", "hl7"),
        (b'<?xml version="1.0"?><HEL.R01>', "poct1a"),
        (b"HGB 8.1 g/dL", None),
        (b"MSHELL", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_family_by_the_first_bytes(payload: bytes, family: str | None) -> None:
    assert family_of_message(payload) == family
