"""A network cable between the box and its broker that can be pulled: bytes stop and nobody is told."""

from __future__ import annotations

import selectors
import socket
import threading

from tests.support.broker import free_port

_PIECE = 65536


class Cable:
    """The box dials `port`. Pulled, nothing passes in either direction and no connection is closed."""

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self._broker_port = broker_port
        self._selector = selectors.DefaultSelector()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._plugged, self._over = threading.Event(), threading.Event()
        self._plugged.set()
        self.passed = 0
        """Bytes, in both directions."""
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    def pull(self) -> None:
        self._plugged.clear()

    def plug(self) -> None:
        """What was sent meanwhile and not given up arrives now, as TCP would repeat it."""
        self._plugged.set()

    def close(self) -> None:
        self._over.set()
        self._plugged.set()
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._over.is_set():
            self._plugged.wait()
            for key, _ in self._selector.select(0.05):
                if not self._plugged.is_set():
                    break
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listening:
                    self._connect()
                elif key.fileobj.fileno() >= 0:  # else its other end was closed just now
                    self._pass(key.fileobj, key.data)

    def _connect(self) -> None:
        near, _ = self._listening.accept()
        far = socket.create_connection(("127.0.0.1", self._broker_port))
        self._selector.register(near, selectors.EVENT_READ, far)
        self._selector.register(far, selectors.EVENT_READ, near)

    def _pass(self, source: socket.socket, to: socket.socket) -> None:
        try:
            data = source.recv(_PIECE)
            to.sendall(data)
        except OSError:
            data = b""
        self.passed += len(data)
        if not data:
            for each in (source, to):
                self._selector.unregister(each)
                each.close()
