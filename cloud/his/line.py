"""One connection to the HIS: a message goes out in an MLLP frame, and the answer with its own number comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cloud.config import Settings
from protocols.links.contract import MessageReceived
from protocols.links.mllp import MllpLink
from protocols.messages.hl7 import read_messages

CONNECT_S = 10.0
ANSWER_S = 15.0
PASSING = frozenset({"206", "207"})


class HisAway(ConnectionError):
    """No connection, no answer in time, or an answer to something else: the line is closed and tried again later."""


class HisSilent(HisAway):
    """The line stands, and no answer came in time."""


class Line:
    """One connection to the HIS; one message under way at a time."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._link = MllpLink()

    def exchange(self, payload: bytes, control_id: str, answer_s: float = ANSWER_S) -> bytes:
        """The answer whose MSA-2 is our MSH-10. Any other answer breaks the line: it belongs to who knows what.

        Raises `HisAway`, or an `OSError` of the socket (`TimeoutError`: nothing came in time).
        """
        deadline = time.monotonic() + answer_s
        self._link.send(payload, time.monotonic())
        self._connection.sendall(self._link.bytes_to_send())
        while (left := deadline - time.monotonic()) > 0:
            self._connection.settimeout(left)
            data = self._connection.recv(65536)
            if not data:
                raise HisAway("the HIS closed the connection without an answer")
            for event in self._link.receive(data, time.monotonic()):
                if isinstance(event, MessageReceived):
                    return _matching(event.payload, control_id)
        raise HisSilent(f"no answer within {answer_s:g} s")

    def close(self) -> None:
        self._connection.close()


def _matching(payload: bytes, control_id: str) -> bytes:
    _, answered, _ = read_answer(payload)
    if answered != control_id:
        raise HisAway(f"an answer to {answered or 'nothing'} came where one to {control_id} was due")
    return payload


def read_answer(payload: bytes) -> tuple[str, str, str]:
    """Code, MSA-2 and text of an acknowledgement; empty where it is none."""
    for message in read_messages(payload):
        msa = message.first("MSA")
        if msa is not None:
            err = message.first("ERR")
            return msa.text(1).upper(), msa.text(2), msa.text(3) or (err.text(8) if err else "")
    return "", "", ""


def passing(payload: bytes) -> bool:
    """Whether the answer says that the same message may be taken later (table 0357: 206 locked, 207 internal)."""
    for message in read_messages(payload):
        msa, err = message.first("MSA"), message.first("ERR")
        if msa is not None and err is not None and msa.text(1).upper() in ("AE", "AR"):
            return err.component(3, 1) in PASSING
    return False


@contextmanager
def line_to(config: Settings) -> Iterator[Line]:
    with socket.create_connection((config.his_host or "", config.his_port), timeout=CONNECT_S) as connection:
        yield Line(connection)
