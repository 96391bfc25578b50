"""A stored message read anew: every message of every transcript gives the same items from its stored bytes alone."""

from __future__ import annotations

import pytest

from cloud.gateways.redecode import reading
from cloud.kit.errors import Invalid
from protocols.driver import Driver, discover
from protocols.links.contract import FrameReceived, LinkEvent, MessageReceived
from protocols.uplink.items import item_to_json
from protocols.uplink.versions import version_of
from tests.support.transcripts import Case, cases_of, read_case


def stored(driver: Driver, case: Case) -> list[tuple[bytes, bytes]]:
    """(bytes of the frames joined, text) of each message, as a box stores them."""
    link = driver.new_link()
    raw_of: dict[int, bytes] = {}
    found: list[tuple[bytes, bytes]] = []
    now = 0.0
    for kind, data in case.steps:
        now += float(data) if kind == "wait" else 0.0
        if kind == "host":
            link.bytes_to_send()
            continue
        events: list[LinkEvent] = [*link.wake(now), *link.receive(data if kind == "device" else b"", now)]
        while events:
            event = events.pop(0)
            if isinstance(event, FrameReceived):
                raw_of[event.frame_id] = event.raw
                events += link.acknowledge(event.frame_id, now)
            elif isinstance(event, MessageReceived):
                found.append((b"".join(raw_of[each] for each in event.frame_ids), event.payload))
            events += link.wake(now)
    return found


@pytest.mark.req("GW-12")
@pytest.mark.parametrize("name", sorted(discover()))
def test_what_is_stored_of_a_message_reads_like_the_message(name: str) -> None:
    for folder in cases_of(name):
        case = read_case(folder)
        driver = reading.driver_of(name, case.options)
        assert driver is not None
        for raw, payload in stored(driver, case):
            read = reading.read(raw, driver)
            assert read.items == [item_to_json(each) for each in driver.decode(payload).items], folder.name
            assert (read.driver, read.driver_version, read.failed) == (name, version_of(driver), False)


def test_a_message_of_a_link_without_a_driver_is_recognised_by_itself() -> None:
    driver = discover()["sysmex_xn"]
    [(raw, _payload), *_] = stored(driver, read_case(cases_of("sysmex_xn")[-1]))
    assert reading.read(raw, None).driver == "sysmex_xn"


def test_bytes_that_are_no_message_are_undecoded_with_the_reason() -> None:
    read = reading.read(b"\x00\x01nothing of the kind", discover()["sysmex_xn"])
    assert read.state == reading.UNDECODED
    assert read.reason
    assert not reading.read(b"\x00\x01nothing of the kind", None).failed


def test_a_driver_that_fails_is_told_of_and_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = discover()["sysmex_xn"]
    [(raw, _payload), *_] = stored(driver, read_case(cases_of("sysmex_xn")[-1]))

    def fault(self: Driver, payload: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(driver), "decode", fault)
    read = reading.read(raw, driver)
    assert read.failed
    assert read.reason == "the driver failed: ZeroDivisionError"


def test_an_unknown_driver_and_options_it_does_not_take_are_refused() -> None:
    with pytest.raises(Invalid):
        reading.driver_of("no_such_driver", {})
    with pytest.raises(Invalid):
        reading.driver_of("sysmex_xn", {"colour": "red"})
    assert reading.driver_of("auto", {}) is None
