"""The HIS's two ends for tests: dials our MLLP server, and listens for results with a ledger and a temper."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from protocols.links.contract import MessageReceived
from protocols.links.mllp import MllpLink
from protocols.messages.hl7 import Hl7Message, build, read_messages, reply_header
from tests.support.broker import free_port

PERSON = "PID|1||{mrn}^^^HIS^MR~C{mrn}^^^HIS^CARD~{id_number}^^^CHN^NI||{name}||19850302|F|||||00013800001"


def person(mrn: str = "P7001", name: str = "王小梅", id_number: str = "999001198503020001") -> str:
    return PERSON.format(mrn=mrn, name=name, id_number=id_number)


def header(kind: str, number: str, *, at: str = "20261123081500", charset: str = "UNICODE UTF-8") -> str:
    return f"MSH|^~\\&|HIS|XLYY|XINGLIN|LAB|{at}||{kind}|{number}|P|2.5.1||||||{charset}"


def adt(event: str, number: str, *segments: str, **more: str) -> bytes:
    lines = (header(f"ADT^{event}^ADT_A01", number, **more), f"EVN|{event}|20261123081500", *segments)
    return ("\r".join(lines) + "\r").encode()


def order_line(placer: str, item: str, *, control: str = "NW", priority: str = "R") -> list[str]:
    return [
        f"ORC|{control}|{placer}|||||||20261123081200|||D001^李医生|||||NK^内科门诊",
        f"TQ1|1||||||||{priority}",
        f"OBR|1|{placer}||{item}^{item}^L",
    ]


def oml(number: str, *lines: str, patient: str | None = None, charset: str = "UNICODE UTF-8") -> bytes:
    visit = "PV1|1|O|NK^^12^XLYY^^^^^内科门诊" + "|" * 16 + "V0001"
    segments = (header("OML^O21^OML_O21", number, charset=charset), patient or person(), visit, *lines)
    return ("\r".join(segments) + "\r").encode("gb18030" if "18030" in charset else "utf-8")


class HisLine:
    """One connection of the HIS to the laboratory."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._link = MllpLink()
        self._answers: list[bytes] = []

    def say(self, payload: bytes) -> Hl7Message:
        """Send one message in a frame; the answer."""
        return read_messages(self.raw(b"\x0b" + payload + b"\x1c\r"))[0]

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; the next answer's payload."""
        self._connection.sendall(data)
        while not self._answers:
            received = self._connection.recv(65536)
            assert received, "the server closed the connection"
            events = self._link.receive(received, time.monotonic())
            self._answers += [each.payload for each in events if isinstance(each, MessageReceived)]
        return self._answers.pop(0)

    def send_only(self, data: bytes) -> None:
        self._connection.sendall(data)

    def close(self) -> None:
        self._connection.close()


def msa(answer: Hl7Message) -> tuple[str, str, str]:
    """Code, number and text of an acknowledgement."""
    segment = answer.first("MSA")
    assert segment is not None
    return segment.text(1), segment.text(2), segment.text(3)


class HisReceiver:
    """Where we send ORU: keeps what arrived; `temper` says what it answers (None: hangs up without a word)."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.received: list[Hl7Message] = []
        self.temper: Callable[[Hl7Message], str | None] = lambda message: "AA"
        self.wrong_number = False
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        link = MllpLink()
        with connection:
            while data := connection.recv(65536):
                for event in link.receive(data, time.monotonic()):
                    if isinstance(event, MessageReceived):
                        message = read_messages(event.payload)[0]
                        self.received.append(message)
                        code = self.temper(message)
                        if code is None:
                            return
                        connection.sendall(b"\x0b" + self._answer(message, code) + b"\x1c\r")

    def _answer(self, message: Hl7Message, code: str) -> bytes:
        from datetime import UTC, datetime

        number = "SOMEBODY" if self.wrong_number else message.control_id
        segments = [reply_header(message.header, "ACK^R01^ACK", datetime.now(UTC)), ["MSA", code, number, "说明"]]
        return build(segments)

    def close(self) -> None:
        self._listener.close()
