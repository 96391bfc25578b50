"""A field engineer's answers become a configuration that can work, or a sentence that says what to correct."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edge.config_file import load
from provisioning.box import box_configuration, parse_broker, parse_link
from provisioning.broker import access_list
from provisioning.errors import ProvisioningError


def configuration(*links: str, gateway: str = "gw-1") -> str:
    return box_configuration(
        gateway=gateway,
        campus="main",
        partition=2,
        broker=parse_broker("broker.hospital.example:8883", None, None, None),
        store="/var/lib/xinglin/edge.sqlite3",
        links=[parse_link(each) for each in links],
    )


@pytest.mark.req("PRV-3")
def test_answers_become_a_configuration_of_every_link() -> None:
    text = configuration("xn-1:sysmex_xn:tcp-listen:5001", "bs-1:mindray_bs:serial:/dev/ttyUSB0@19200,7E1")
    data = tomllib.loads(text)
    assert data["gateway"] == {"id": "gw-1", "campus": "main", "partition": 2}
    assert data["links"][0]["port"] == {"kind": "tcp_listen", "host": "0.0.0.0", "port": 5001}
    assert data["links"][1]["port"] == {
        "kind": "serial",
        "device": "/dev/ttyUSB0",
        "baud_rate": 19200,
        "data_bits": 7,
        "parity": "even",
        "stop_bits": 1,
    }


def test_the_box_itself_accepts_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(configuration("xn-1:auto:tcp-listen:5001", "bs-1:mindray_bs:tcp-dial:192.0.2.10:5100"), "utf-8")
    assert [link.id for link in load(path).links] == ["xn-1", "bs-1"]


@pytest.mark.parametrize(
    ("broker", "certificate", "what_it_says"),
    [("broker.example", None, "HOST:PORT"), ("b:0", None, "HOST:PORT"), ("b:8883", "box.crt", "belong together")],
)
def test_a_broker_that_cannot_be_reached_so_is_refused(broker: str, certificate: str | None, what_it_says: str) -> None:
    with pytest.raises(ProvisioningError, match=what_it_says):
        parse_broker(broker, None, certificate, None)


@pytest.mark.parametrize(
    ("answer", "what_it_says"),
    [
        ("xn-1", "LINK:DRIVER:PORT"),
        ("xn 1:sysmex_xn:tcp-listen:5001", "not a name"),
        ("xn-1:sysmex_xm:tcp-listen:5001", "sysmex_xn"),
        ("xn-1:sysmex_xn:tcp-dial:5001", "address"),
        ("xn-1:sysmex_xn:tcp-listen:70000", "65535"),
        ("xn-1:sysmex_xn:usb:1", "serial:DEVICE"),
    ],
)
def test_an_answer_that_cannot_work_says_what_to_give(answer: str, what_it_says: str) -> None:
    with pytest.raises(ProvisioningError, match=what_it_says):
        parse_link(answer)


def test_a_link_given_twice_is_refused() -> None:
    with pytest.raises(ProvisioningError, match="given twice"):
        configuration("xn-1:auto:tcp-listen:5001", "xn-1:auto:tcp-listen:5002")


def test_a_gateway_name_that_cannot_stand_in_a_topic_is_refused() -> None:
    with pytest.raises(ProvisioningError, match="not a name"):
        configuration("xn-1:auto:tcp-listen:5001", gateway="gw/1")


def test_a_wildcard_is_no_user_of_the_broker() -> None:
    with pytest.raises(ProvisioningError, match="not a name"):
        access_list(ingest_users=["#"], publisher_users=[])
