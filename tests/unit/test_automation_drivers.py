"""Assembly lines over HL7 and ASTM: what each status, command and word becomes, and what a mistaken map is told."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.dialects.automation import microlitres
from protocols.driver import discover, identify
from protocols.errors import DriverOptionError
from protocols.model import InstrumentEvent, Item, Observation, SpecimenEvent, Undecoded

pytestmark = pytest.mark.req("GW-8")

HL7, ASTM = discover()["generic_automation_hl7"], discover()["automation_astm"]
HEAD = "MSH|^~\\&|LINE||LIS||20261102080000||{kind}|1|P|2.5.1"


def read(kind: str, *segments: str, **options: object) -> list[Item]:
    text = "\r".join([HEAD.format(kind=kind), *segments, ""])
    return list(HL7.configured(options).decode(text.encode()).items)


def status(letter: str) -> SpecimenEvent:
    (event,) = read("SSU^U03", "EQU|M1|20261102081500", f"SAC|||T1|||||{letter}")
    assert isinstance(event, SpecimenEvent)
    return event


@pytest.mark.parametrize(
    ("letter", "action", "detail"),
    [
        ("A", "stored", None),
        ("I", "arrived", None),
        ("L", "routed", None),
        ("M", "failed", "missing"),
        ("O", "other", "in process"),
        ("P", "loaded", None),
        ("R", "other", "process completed"),
        ("U", "other", "unknown"),
        ("X", "other", "container unavailable"),
        ("Z9", "other", "Z9"),
        ("", "other", "no status"),
    ],
)
def test_every_status_of_table_0370_and_what_is_not_in_it(letter: str, action: str, detail: str | None) -> None:
    event = status(letter)
    assert (event.specimen, event.action, event.detail, event.module) == ("T1", action, detail, "M1")


@pytest.mark.parametrize(
    ("container", "tube"),
    [
        ("SAC|||T1^LAB", "T1"),
        ("SAC||A1|N/D", "A1"),
        ("SAC|E1", "E1"),
        ("SAC|N/D\rSPM|1|S1^ISID", "S1"),
        ("SAC|N/D\rSPM|1|&X^S2", "X"),
        ("SAC|", None),
    ],
)
def test_the_tube_is_named_by_whatever_the_line_fills(container: str, tube: str | None) -> None:
    (event,) = read("SSU^U03", "EQU|N/D|20261102081500", container)
    assert isinstance(event, SpecimenEvent)
    assert (event.specimen, event.module) == (tube, None)


@pytest.mark.parametrize(
    ("command", "response", "action"),
    [
        ("AT^Aliquot To", "OK", "aliquoted"),
        ("AF", "", "aliquoted"),
        ("LO", "OK", "loaded"),
        ("TT", "OK", "routed"),
        ("UN", "OK", "other"),
        ("LO", "ST", "failed"),
    ],
)
def test_a_command_that_was_answered_is_what_happened(command: str, response: str, action: str) -> None:
    (event,) = read("EAR^U08", "EQU|M1|20261102081500", f"ECD|1|{command}", "SAC|||T1", f"ECR|{response}", "DST|CHEM-2")
    assert isinstance(event, SpecimenEvent)
    assert (event.specimen, event.action, event.destination) == ("T1", action, "CHEM-2")


def test_a_command_that_was_only_given_is_nothing_done_yet() -> None:
    (event,) = read("EAC^U07", "EQU|M1|20261102081500", "ECD|1|LO^Load", "SAC|||T1")
    assert isinstance(event, SpecimenEvent)
    assert (event.action, event.detail) == ("other", "command: load")


def test_the_state_of_the_equipment_is_an_event_of_its_own() -> None:
    (event,) = read("ESU^U01", "EQU|M1|20261102081500|ES^E-stop")
    assert event == InstrumentEvent("equipment status", None, "M1 ES E-stop", "2026-11-02T08:15:00", 1)


def test_a_status_without_a_tube_is_not_lost() -> None:
    (item,) = read("SSU^U03", "EQU|M1|20261102081500")
    assert isinstance(item, Undecoded)


def test_results_are_results_and_an_ordinary_result_is_left_to_the_generic_driver() -> None:
    (item,) = read("ORU^R01", "OBR|1||T1", "OBX|1|NM|GLU||5.5")
    assert isinstance(item, Observation)
    found, _ = identify(HEAD.format(kind="ORU^R01").encode() + b"\rOBR|1||T1\rOBX|1|NM|GLU||5.5\r")
    assert found is not None
    assert found.id == "generic_hl7"


@pytest.mark.parametrize(
    ("volume", "unit", "expected"),
    [
        ("250", "uL", ("250", None)),
        ("0.25", "ml", ("250", None)),
        ("1.50", "mL", ("1500", None)),
        ("<1", "ml", (None, "<1 ml")),
        ("12", "ug", (None, "12 ug")),
        ("12", "", (None, "12")),
        ("", "ml", (None, None)),
    ],
)
def test_volumes_are_microlitres_or_stay_as_sent(volume: str, unit: str, expected: tuple[Any, Any]) -> None:
    assert microlitres(volume, unit) == expected


def lines(*records: str) -> bytes:
    return "\r".join(["H|\\^&|||LINE", *records, "L|1|N", ""]).encode()


def test_a_line_that_tells_in_result_records_still_sends_results() -> None:
    driver = ASTM.configured(
        {"record": "R", "fields": {"event": "R.3.4", "detail": "R.4", "time": "R.13"}, "actions": {"STORE": "stored"}}
    )
    items = driver.decode(
        lines("P|1", "O|1|T1", "R|1|^^^STORE|SHELF 3|||||||||20261102093000", "R|2|^^^GLU|5.5|mmol/L")
    ).items
    stored, glucose = items
    assert isinstance(stored, SpecimenEvent)
    assert (stored.specimen, stored.action, stored.detail) == ("T1", "stored", "SHELF 3")
    assert stored.occurred_at == "2026-11-02T09:30:00"
    assert isinstance(glucose, Observation)
    assert (glucose.code, glucose.value) == ("GLU", "5.5")


def test_a_line_that_tells_in_order_records() -> None:
    options = {"record": "O", "fields": {"event": "O.16", "rack": "O.4.2"}, "actions": {"S": "stored"}}
    (event,) = ASTM.configured(options).decode(lines("O|1|T1|^R7||||||||||||S")).items
    assert isinstance(event, SpecimenEvent)
    assert (event.specimen, event.action, event.rack) == ("T1", "stored", "R7")


@pytest.mark.parametrize(
    ("driver", "options", "key"),
    [
        (ASTM, {"fields": {"specimen": "O.3"}}, "fields"),
        (ASTM, {"fields": {"event": "X.3"}}, "fields.event"),
        (ASTM, {"fields": {"event": "M.3", "colour": "M.4"}}, "fields.colour"),
        (ASTM, {"fields": {"event": "M.3"}, "actions": {"A": "vanished"}}, "actions.A"),
        (ASTM, {"record": "Q", "fields": {"event": "M.3"}}, "record"),
        (HL7, {"actions": ["stored"]}, "actions"),
        (HL7, {"colour": "red"}, "colour"),
    ],
)
def test_a_mistake_in_a_map_is_named(driver: Any, options: dict[str, object], key: str) -> None:
    with pytest.raises(DriverOptionError) as caught:
        driver.configured(options)
    assert caught.value.key == key
