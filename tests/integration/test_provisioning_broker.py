"""The generated broker configuration on a real mosquitto: each box reaches its own topics and nobody else's."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from provisioning.__main__ import app
from tests.support.broker import free_port, mosquitto_path
from tests.support.waiting import eventually

Key = ec.EllipticCurvePrivateKey


def _certificate(name: str, folder: Path, issuer: tuple[x509.Certificate, Key] | None) -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key


class Peer:
    """An MQTT 5 client with the certificate of `name`; keeps what arrives and what was refused."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.received: list[str] = []
        self.refused: list[str] = []
        self.published: list[str] = []
        self.connected = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.client.tls_set(str(folder / "ca.crt"), str(folder / f"{name}.crt"), str(folder / f"{name}.key"))
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_message = lambda _client, _data, message: self.received.append(message.topic)
        self.client.on_publish = lambda _client, _data, _id, code, _properties: (
            self.refused if code.is_failure else self.published
        ).append(str(code))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        eventually(self.connected.is_set, within_s=10, what=f"{name} is connected")

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    program = mosquitto_path()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    ca = _certificate("ca", tmp_path, None)
    for name in ("server", "ingest", "gw-a", "gw-b"):
        _certificate(name, tmp_path, ca)
    port = free_port()
    folder = tmp_path / "broker"
    arguments = ["broker", "--folder", str(folder), "--port", str(port), "--ca-file", str(tmp_path / "ca.crt")]
    arguments += ["--certificate-file", str(tmp_path / "server.crt"), "--key-file", str(tmp_path / "server.key")]
    app(arguments, standalone_mode=False)
    with (folder / "mosquitto.conf").open("a", encoding="utf-8") as configuration:
        configuration.write("user root\n" if tmp_path.owner() == "root" else "")
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(port), within_s=10, what="the broker listens")
        yield tmp_path, port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.req("PRV-1", "SEC-1")
def test_a_box_writes_its_own_topics_and_is_refused_on_anothers(guarded_broker: tuple[Path, int]) -> None:
    folder, port = guarded_broker
    ingest, box = Peer("ingest", folder, port), Peer("gw-a", folder, port)
    try:
        subscribed = threading.Event()
        ingest.client.on_subscribe = lambda *_: subscribed.set()
        ingest.client.subscribe("xinglin/v1/0/+/up/+", qos=1)
        eventually(subscribed.is_set, within_s=10, what="ingest is subscribed")
        box.client.publish("xinglin/v1/0/gw-b/up/xn-1", b"forged", qos=1)
        box.client.publish("xinglin/v1/0/gw-a/up/xn-1", b"own", qos=1)
        eventually(lambda: len(box.refused) + len(box.published) == 2, within_s=10, what="both were answered")
        eventually(lambda: ingest.received, within_s=10, what="its own message arrives")
        assert ingest.received == ["xinglin/v1/0/gw-a/up/xn-1"]
        assert box.refused == ["Not authorized"]
    finally:
        ingest.close()
        box.close()
