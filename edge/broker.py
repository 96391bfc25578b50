"""One connection to the cloud's broker: MQTT 5 over paho, driven by the event loop (no thread of paho's dies unseen).

Each connection is a new client with the same id and a persistent session: the broker keeps our subscription and what it
holds for us, and paho repeats nothing by itself; what has no receipt is sent again from the store.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import structlog
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.config import CloudSection
from edge.errors import BrokerUnreachable
from edge.faults import where

_KEEP_ALIVE_S = 30
_CONNECT_TIMEOUT_S = 15.0
_SOCKET_TIMEOUT_S = 10.0
_SESSION_EXPIRY_S = 30 * 86400
_IN_FLIGHT = 20
"""Publishes without PUBACK at most: what a stock broker takes at once."""

log = structlog.get_logger()

OnMessage = Callable[[str, bytes], None]


class BrokerConnection:
    """`connect`, then `publish` until `ended` is done. Use once."""

    def __init__(self, settings: CloudSection, client_id: str, on_message: OnMessage) -> None:
        """`on_message(topic, payload)` is called on the event loop; its faults are logged and go no further."""
        self._settings = settings
        self._on_message = on_message
        self._loop_thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._misc: asyncio.Task[None] | None = None
        self.refused_publishes = 0
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.max_inflight_messages_set(_IN_FLIGHT)
        self._client.connect_timeout = _SOCKET_TIMEOUT_S
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_paho_message
        self._client.on_socket_open = self._on_socket_open
        self._client.on_socket_close = self._on_socket_close
        self._client.on_socket_register_write = self._on_register_write
        self._client.on_socket_unregister_write = self._on_unregister_write

    async def connect(self, topic_filter: str) -> None:
        """Connected and subscribed. Raises `BrokerUnreachable` with the reason."""
        try:
            await asyncio.wait_for(self._connect(topic_filter), _CONNECT_TIMEOUT_S)
        except TimeoutError:
            self.close()
            raise BrokerUnreachable("no answer") from None
        except (OSError, ssl.SSLError, ValueError) as error:
            self.close()
            raise BrokerUnreachable(str(error)) from error
        except BaseException:
            self.close()
            raise

    async def _connect(self, topic_filter: str) -> None:
        self._authenticate()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S
        # Name look-up, connection and TLS block: not on the loop that serves the bench.
        await asyncio.to_thread(
            self._client.connect,
            self._settings.host,
            self._settings.port,
            _KEEP_ALIVE_S,
            clean_start=False,
            properties=properties,
        )
        self._misc = self._loop.create_task(self._run_misc())
        await self._connected
        self._client.subscribe(topic_filter, qos=1)
        await self._subscribed

    def _authenticate(self) -> None:
        """Read at every connect: a renewed certificate or password is used from the next connection on."""
        settings = self._settings
        if settings.username is not None:
            password = None
            if settings.password_file is not None:
                password = settings.password_file.read_text(encoding="utf-8").strip()
            self._client.username_pw_set(settings.username, password)
        if settings.uses_tls:
            context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if settings.certificate_file is not None:
                context.load_cert_chain(str(settings.certificate_file), str(settings.key_file))
            self._client.tls_set_context(context)

    def publish(self, topic: str, payload: bytes) -> None:
        """QoS 1. Raises `BrokerUnreachable` when the connection is gone."""
        info = self._client.publish(topic, payload, qos=1)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerUnreachable(mqtt.error_string(info.rc))

    def close(self) -> None:
        """Say good-bye if that is possible; `ended` is done afterwards."""
        if self._misc is not None:
            self._misc.cancel()
        self._client.disconnect()
        # The client writes its DISCONNECT on the socket's next turn; nobody waits for it.
        self._end("closed by the box")

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
        for waiting in (self._connected, self._subscribed):
            if not waiting.done():
                waiting.set_exception(BrokerUnreachable(reason))
                waiting.exception()  # whoever waits gets it; nobody waiting is no fault

    async def _run_misc(self) -> None:
        """Keep-alive; ends with the connection."""
        while self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            await asyncio.sleep(1)
        self._end("the connection is lost")

    # ------------------------------------------------------------------ paho's callbacks

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason_code: Any, _properties: Any) -> None:
        if reason_code.is_failure:
            self._end(str(reason_code))
        elif not self._connected.done():
            self._connected.set_result(None)

    def _on_subscribe(self, _client: Any, _userdata: Any, _mid: int, reason_codes: Any, _properties: Any) -> None:
        failures = [each for each in reason_codes if each.is_failure]
        if failures:
            self._end(f"the subscription was refused: {failures[0]}")
        elif not self._subscribed.done():
            self._subscribed.set_result(None)

    def _on_publish(self, _client: Any, _userdata: Any, _mid: int, reason_code: Any, _properties: Any) -> None:
        if reason_code.is_failure:
            self.refused_publishes += 1
            log.error("broker.refused_publish", reason=str(reason_code))

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, reason_code: Any, _properties: Any) -> None:
        self._end(str(reason_code))

    def _on_paho_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self._on_message(message.topic, bytes(message.payload))
        except Exception as fault:  # outer loop: a message we fail on must not end the connection
            log.error("downlink.fault", topic=message.topic, fault=where(fault))

    # Connecting runs in a thread, the rest on the loop: socket callbacks come from both.

    def _on_socket_open(self, _client: Any, _userdata: Any, opened: Any) -> None:
        self._loop.call_soon_threadsafe(self._watch, opened)

    def _watch(self, opened: socket.socket) -> None:
        if self.ended.done():  # given up while the thread was still connecting
            opened.close()
        elif opened.fileno() >= 0:
            self._loop.add_reader(opened, self._readable)

    def _readable(self) -> None:
        self._client.loop_read()
        # TLS may have decrypted more than one packet; the socket will not become readable for those again.
        sock = self._client.socket()
        while isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0 and sock.pending():
            self._client.loop_read()

    def _on_socket_close(self, _client: Any, _userdata: Any, closing: Any) -> None:
        if closing.fileno() >= 0:
            self._loop.remove_reader(closing)
            self._loop.remove_writer(closing)

    def _on_register_write(self, _client: Any, _userdata: Any, sock: Any) -> None:
        if threading.get_ident() == self._loop_thread:
            self._watch_write(sock)
        else:
            self._loop.call_soon_threadsafe(self._watch_write, sock)

    def _watch_write(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock, self._client.loop_write)

    def _on_unregister_write(self, _client: Any, _userdata: Any, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock)
