"""From a refrigerator's register and an assembly line's conveyor to the laboratory's pages: all parts real.

pymodbus's server is the refrigerator, a socket the line; box, broker, ingest worker and database are the product's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud.gateways import ingest
from cloud.kit.db import begin
from cloud.lis.environment.model import EnvironmentAlarm, EnvironmentPoint
from cloud.lis.specimens import service as specimens
from tests.support.box import Box
from tests.support.broker import Broker, free_port
from tests.support.gateways import registered
from tests.support.lab import GATEWAY, Lab, open_lab, order
from tests.support.modbus_devices import Devices
from tests.support.waiting import eventually


@pytest.fixture
def lab(database: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    from cloud.config import settings

    monkeypatch.setenv("XINGLIN_MQTT_HOST", broker.host)
    monkeypatch.setenv("XINGLIN_MQTT_PORT", str(broker.port))
    monkeypatch.setenv("XINGLIN_PARTITIONS", "1")
    settings.cache_clear()
    made = open_lab()
    registered((GATEWAY, 0))
    stop = threading.Event()
    worker = threading.Thread(target=ingest.run, args=("w1", 15.0), kwargs={"stop": stop})
    worker.start()
    yield made
    stop.set()
    worker.join(30)


@pytest.fixture
def box(lab: Lab, broker: Broker, tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker.port, gateway=GATEWAY, partition=0)
    yield made
    made.stop()


def last_reading() -> tuple[str | None, list[str]] | None:
    with begin() as session:
        point = session.scalars(select(EnvironmentPoint)).first()
        return None if point is None else (point.value, list(point.alarms))


def alarms() -> list[tuple[str, bool]]:
    """(alarm, has ended) in the order they began."""
    with begin() as session:
        found = session.scalars(select(EnvironmentAlarm).order_by(EnvironmentAlarm.began_at))
        return [(each.alarm, each.ended_at is not None) for each in found]


@pytest.mark.req("GW-6", "LIS-15")
def test_a_refrigerator_that_warms_up_and_falls_silent_is_on_the_laboratorys_list(box: Box) -> None:
    port = free_port()
    devices = Devices({1: {1: 41}}).on_tcp(port)
    point = {"name": "temperature", "function": 4, "address": 1, "scale": 0.1, "unit": "°C", "high": 8, "delay": 2}
    fridge = {"name": "血液冰箱 1", "unit_id": 1, "points": [point]}
    options = {"framing": "tcp", "poll_s": 0.2, "timeout_s": 0.3, "tries": 2, "devices": [fridge]}
    box.add_dialled("cold", port, "generic_modbus", options=options)
    box.start()
    eventually(lambda: last_reading() == ("4.1", []), what="the refrigerator is known")
    devices.registers[1][1] = 92
    eventually(lambda: last_reading() == ("9.2", ["high"]), what="the alarm arrived")
    devices.registers[1][1] = 45
    eventually(lambda: last_reading() == ("4.5", []), what="it is cold again")
    devices.stop()
    eventually(lambda: last_reading() == (None, ["no answer"]), what="its silence is told")
    assert alarms() == [("high", True), ("no answer", False)]


@pytest.mark.req("GW-8")
def test_a_tube_on_the_line_is_followed_to_its_shelf(lab: Lab, box: Box) -> None:
    with begin() as session:
        placed = order(session, lab)
        (tube,) = specimens.print_labels(session, placed.id, by="system")
        barcode, specimen_id = tube.barcode, tube.id
    port = box.add_tcp("track", "generic_automation_hl7")
    box.start()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        for number, (letter, more) in enumerate((("I", ""), ("P", "||R42|3"), ("A", "|||||T8|7")), start=1):
            head = f"MSH|^~\\&|LINE|LAB|LIS|LAB|2026112308{number:02}00||SSU^U03^SSU_U03|S{number}|P|2.5.1"
            text = f"{head}\rEQU|M-{number}|2026112308{number:02}00\rSAC|||{barcode}|||||{letter}{more}\r"
            line.sendall(b"\x0b" + text.encode() + b"\x1c\r")
            assert f"MSA|AA|S{number}".encode() in line.recv(4096)

    def road() -> list[tuple[str, str]]:
        with begin() as session:
            found = specimens.timeline(session, specimen_id)
            return [(each.type, each.place) for each in found if each.type.startswith("line_")]

    steps = [("line_arrived", "M-1"), ("line_loaded", "M-2"), ("line_stored", "M-3")]
    eventually(lambda: sorted(road()) == sorted(steps), what="the tube's timeline is whole")
