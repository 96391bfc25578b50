"""The one place that makes MQTT 5 clients of the cloud: credentials, TLS, and what durable means.

MQTT 5 only: an older protocol answers a refused publish with a PUBACK as if it had been taken.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud.config import Settings
from cloud.kit.errors import Unavailable

SESSION_EXPIRY_S = 7 * 24 * 3600
RECEIVE_MAXIMUM = 64
"""Publishes in flight to us without our acknowledgement; the broker holds the rest."""
KEEP_ALIVE_S = 20


def make_client(settings: Settings, client_id: str, *, manual_ack: bool = False) -> Client:
    """A client with the deployment's credentials, not yet connected."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=manual_ack
    )
    if settings.mqtt_username:
        password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
        client.username_pw_set(settings.mqtt_username, password)
    if settings.mqtt_ca_file:
        client.tls_set(
            ca_certs=str(settings.mqtt_ca_file),
            certfile=str(settings.mqtt_certificate_file) if settings.mqtt_certificate_file else None,
            keyfile=str(settings.mqtt_key_file) if settings.mqtt_key_file else None,
        )
    client.reconnect_delay_set(1, 30)
    return client


def durable_session() -> Properties:
    """CONNECT properties of a subscriber whose messages wait for it while it is away."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    return properties


class Publisher:
    """A short-lived connection that publishes with QoS 1 and knows what the broker took; for jobs."""

    def __init__(self, settings: Settings, *, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._client = make_client(settings, f"xinglin-downlink-{uuid.uuid4().hex[:12]}")
        self._connected = threading.Event()
        self._refused = ""
        self._client.on_connect = self._on_connect

    def __enter__(self) -> Publisher:
        try:
            self._client.connect(self._settings.mqtt_host, self._settings.mqtt_port, KEEP_ALIVE_S, clean_start=True)
        except OSError as error:
            raise self._away(str(error)) from error
        self._client.loop_start()
        if not self._connected.wait(self._timeout_s) or self._refused:
            self.__exit__()
            raise self._away(self._refused or "no answer to CONNECT")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """All of them, in order; returns when the broker took the last, raises Unavailable otherwise."""
        sent: list[MQTTMessageInfo] = [self._client.publish(topic, payload, qos=1) for topic, payload in messages]
        for each in sent:
            try:
                each.wait_for_publish(self._timeout_s)
            except (RuntimeError, ValueError) as error:
                raise self._away(str(error)) from error
            if not each.is_published():
                raise self._away("no PUBACK in time")

    def _on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._refused = str(code) if code.is_failure else ""
        self._connected.set()

    @staticmethod
    def _away(reason: str) -> Unavailable:
        return Unavailable("broker_away", "消息代理不可用，稍后会自动重试。", reason=reason)


__all__ = [
    "KEEP_ALIVE_S",
    "ConnectFlags",
    "DisconnectFlags",
    "Publisher",
    "durable_session",
    "make_client",
]
