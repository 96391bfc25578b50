"""The MLLP server that the HIS dials: a thread for each connection, answers only after the commit.

A database that is away answers AR "not stored": the HIS keeps the message and sends it again.
"""

from __future__ import annotations

import signal
import socket
import threading
import time

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cloud.config import settings
from cloud.his import answers, inbox
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.jobs import Begin
from cloud.kit.presence import NotThere
from protocols.links.contract import FrameReceived, FrameRefused, LinkEvent, MessageAbandoned, MessageReceived
from protocols.links.mllp import MllpLink, MllpOptions
from protocols.messages.hl7 import read_messages

log = structlog.get_logger(__name__)

CONNECTIONS = 64
READ = 65536
POLL_S = 0.5


class HisServer:
    """Listens from the moment it is made; `port` is the real one when 0 was asked for."""

    def __init__(self, host: str, port: int, *, transaction: Begin = begin) -> None:
        self._begin = transaction
        self._listener = socket.create_server((host, port))
        self._listener.settimeout(POLL_S)
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._connections = threading.BoundedSemaphore(CONNECTIONS)
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        """Accept until `stop`."""
        log.info("his_server_listens", port=self.port)
        while not self._stop.is_set():
            try:
                connection, (host, *_) = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                break
            self._threads = [each for each in self._threads if each.is_alive()]
            if not self._connections.acquire(blocking=False):
                log.error("his_connections_exhausted", connections=CONNECTIONS)
                connection.close()
                continue
            thread = threading.Thread(target=self._serve_one, args=(connection, host), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End after the messages under way."""
        self._stop.set()
        self._listener.close()
        for each in self._threads:
            each.join(5)

    def _serve_one(self, connection: socket.socket, host: str) -> None:
        log.info("his_connected", host=host)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(POLL_S)
        line = _Line(connection, self._begin)
        try:
            while not self._stop.is_set() and line.turn():
                pass
        except OSError as error:
            log.warning("his_connection_lost", host=host, reason=str(error))
        finally:
            line.close()
            self._connections.release()
            log.info("his_disconnected", host=host)


class _Line:
    """One connection: bytes in, messages stored and acted on, answers out."""

    def __init__(self, connection: socket.socket, transaction: Begin) -> None:
        self._connection = connection
        self._begin = transaction
        self._link = MllpLink(MllpOptions(vt_optional=True))
        self._raw: dict[int, bytes] = {}

    def turn(self) -> bool:
        """Wait a moment for bytes and handle what they complete; False when the other side closed."""
        try:
            data = self._connection.recv(READ)
        except TimeoutError:
            self._handle(self._link.wake(time.monotonic()))
            return True
        if not data:
            self._handle(self._link.disconnected(time.monotonic()))
            return False
        self._handle(self._link.receive(data, time.monotonic()))
        return True

    def close(self) -> None:
        self._connection.close()

    def _handle(self, events: list[LinkEvent]) -> None:
        for event in events:
            if isinstance(event, FrameReceived):
                self._raw[event.frame_id] = event.raw
            elif isinstance(event, MessageReceived):
                self._answer(self._take(event.payload), event.frame_ids)
            elif isinstance(event, MessageAbandoned):
                self._keep(b"".join(self._raw.get(each, b"") for each in event.frame_ids), event.reason)
                self._answer([], event.frame_ids)
            elif isinstance(event, FrameRefused):
                self._keep(event.raw, event.reason)

    def _take(self, payload: bytes) -> list[bytes]:
        try:
            return inbox.receive(self._begin, payload)
        except SQLAlchemyError as error:
            log.error("his_message_not_stored", error=type(error).__name__)
            found = read_messages(payload)[:1]
            reason = "not stored, please send again"
            return [answers.application(each, "AR", reason, None, clock.local(clock.now())) for each in found]

    def _keep(self, raw: bytes, reason: str) -> None:
        try:
            inbox.keep_unreadable(self._begin, raw, reason)
        except SQLAlchemyError as error:
            log.error("his_bytes_not_kept", error=type(error).__name__, length=len(raw))

    def _answer(self, found: list[bytes], frame_ids: tuple[int, ...]) -> None:
        now = time.monotonic()
        for each in frame_ids:
            self._raw.pop(each, None)
            self._link.acknowledge(each, now)
        for answer in found:
            self._link.send(answer, now)
        data = self._link.bytes_to_send()
        if data:
            self._connection.sendall(data)


def run(*, stop: threading.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT (or `stop`). Raises NotThere when the port cannot be listened on."""
    config = settings()
    try:
        server = HisServer(config.his_listen_host, config.his_listen_port)
    except OSError as error:
        place = f"{config.his_listen_host}:{config.his_listen_port}"
        cure = "Correct XINGLIN_HIS_LISTEN_HOST and XINGLIN_HIS_LISTEN_PORT, or end the program that holds the port."
        raise NotThere(f"Cannot listen for the HIS on {place} ({error.strerror}). {cure}") from error
    ending = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ending.set())
    serving = threading.Thread(target=server.serve, name="his-accept", daemon=True)
    serving.start()
    ending.wait()
    server.stop()
