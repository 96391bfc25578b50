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
from datetime import datetime
from typing import Any

import structlog
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.config import CloudSection
from edge.errors import BrokerUnreachable
from edge.faults import where
from edge.tls import FloorContext, client_context, explain

KEEP_ALIVE_S = 30
"""A connection on which nothing comes is asked for a sign of life after this long, and given up after twice as long."""
_CONNECT_TIMEOUT_S = 15.0
_SOCKET_TIMEOUT_S = 10.0
_SESSION_EXPIRY_S = 30 * 86400
_IN_FLIGHT = 20
"""Publishes without PUBACK at most: what a stock broker takes at once."""
_PACKET_TOO_LARGE = 149
_TCP_USER_TIMEOUT_S = 30
"""What we sent and nobody confirms breaks the connection after this long, not after the kernel's quarter of an hour."""

log = structlog.get_logger()

OnMessage = Callable[[str, bytes], None]


class BrokerConnection:
    """`connect`, then `publish` until `ended` is done. Use once."""

    def __init__(
        self,
        settings: CloudSection,
        client_id: str,
        on_message: OnMessage,
        on_too_large: Callable[[str, int], None] = lambda _topic, _size: None,
        *,
        keep_alive_s: int = KEEP_ALIVE_S,
    ) -> None:
        """`on_message(topic, payload)` is called on the event loop; its faults are logged and go no further.

        `on_too_large(topic, bytes)`: the broker answered that a publish is larger than it takes.
        """
        self._settings = settings
        self._on_message = on_message
        self._on_too_large = on_too_large
        self._keep_alive_s = keep_alive_s
        self._context: FloorContext | None = None
        self._unanswered: dict[int, tuple[str, int]] = {}
        self._largest_answered = 0
        self.max_packet_bytes: int | None = None
        """What the broker said in its CONNACK; None: nothing."""
        self._loop_thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._misc: asyncio.Task[None] | None = None
        self.refused_publishes = 0
        self.refusal = ""
        """Why the broker refused a publish last."""
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

    @property
    def largest_unanswered(self) -> int:
        """Bytes of the largest publish that the broker has not answered."""
        return max((size for _, size in self._unanswered.values()), default=0)

    @property
    def largest_answered(self) -> int:
        """Bytes of the largest publish that the broker took."""
        return self._largest_answered

    async def connect(self, topic_filter: str, floor: datetime | None = None) -> None:
        """Connected and subscribed. Raises `BrokerUnreachable` with the reason.

        `floor`: the box does not trust its clock; it is this late at least.
        """
        try:
            await asyncio.wait_for(self._connect(topic_filter, floor), _CONNECT_TIMEOUT_S)
        except TimeoutError:
            self.close()
            raise BrokerUnreachable(f"{self._settings.host}:{self._settings.port} does not answer") from None
        except OSError as error:
            self.close()
            raise BrokerUnreachable(explain(error, self._settings)) from error
        except ValueError as error:
            self.close()
            raise BrokerUnreachable(str(error)) from error
        except BaseException:
            self.close()
            raise

    async def _connect(self, topic_filter: str, floor: datetime | None) -> None:
        self._authenticate(floor)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S
        # Name look-up, connection and TLS block: not on the loop that serves the bench.
        await asyncio.to_thread(
            self._client.connect,
            self._settings.host,
            self._settings.port,
            self._keep_alive_s,
            clean_start=False,
            properties=properties,
        )
        self._misc = self._loop.create_task(self._run_misc())
        await self._connected
        self._client.subscribe(topic_filter, qos=1)
        await self._subscribed

    def _authenticate(self, floor: datetime | None) -> None:
        """Read at every connect: a renewed certificate or password is used from the next connection on."""
        settings = self._settings
        if settings.username is not None:
            password = None
            if settings.password_file is not None:
                password = settings.password_file.read_text(encoding="utf-8").strip()
            self._client.username_pw_set(settings.username, password)
        if settings.uses_tls:
            self._context = client_context(settings, floor)
            self._client.tls_set_context(self._context)

    def publish(self, topic: str, payload: bytes, expires_s: int | None = None, qos: int = 1) -> None:
        """`expires_s`: not worth delivering later. Raises `BrokerUnreachable` when the connection is gone."""
        properties = None
        if expires_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = expires_s
        info = self._client.publish(topic, payload, qos=qos, properties=properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerUnreachable(mqtt.error_string(info.rc))
        if qos:
            self._unanswered[info.mid] = topic, len(payload)

    def close(self) -> None:
        """Say good-bye if that is possible; `ended` is done afterwards."""
        if self._misc is not None:
            self._misc.cancel()
        self._end("closed by the box")
        self._client.disconnect()
        self._client.loop_write()  # the DISCONNECT, if the socket takes it now; nobody waits for it
        left = self._client.socket()
        if left is not None:
            self._on_socket_close(None, None, left)
            left.close()

    def _end(self, reason: str) -> None:
        if self._context is not None and self._context.fault is not None:
            reason = explain(self._context.fault, self._settings)
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

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason_code: Any, properties: Any) -> None:
        if reason_code.is_failure:
            self._end(f"the broker refused the connection: {reason_code}")
        elif not self._connected.done():
            self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
            self._connected.set_result(None)

    def _on_subscribe(self, _client: Any, _userdata: Any, _mid: int, reason_codes: Any, _properties: Any) -> None:
        failures = [each for each in reason_codes if each.is_failure]
        if failures:
            self._end(f"the subscription was refused: {failures[0]}")
        elif not self._subscribed.done():
            self._subscribed.set_result(None)

    def _on_publish(self, _client: Any, _userdata: Any, mid: int, reason_code: Any, _properties: Any) -> None:
        topic, size = self._unanswered.pop(mid, ("", 0))
        if not reason_code.is_failure:
            self._largest_answered = max(self._largest_answered, size)
            return
        self.refused_publishes += 1
        self.refusal = str(reason_code)
        log.error("broker.refused_publish", topic=topic, bytes=size, reason=self.refusal)
        if reason_code.value == _PACKET_TOO_LARGE:
            self._on_too_large(topic, size)

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, reason_code: Any, _properties: Any) -> None:
        if reason_code.value == _PACKET_TOO_LARGE and self._unanswered and not self.ended.done():
            self._on_too_large(*max(self._unanswered.values(), key=lambda each: each[1]))
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
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_S * 1000)
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
