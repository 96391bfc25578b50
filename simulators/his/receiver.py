"""Where the HIS listens: the laboratory's results, requests for numbers, reports of money. Acknowledged once done."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from simulators.his.book import Book
from simulators.his.desk import Desk
from simulators.his.faults import Temper
from simulators.ledger import Ledger
from simulators.mllp import Mllp, field, segment
from simulators.wire import LineBroken, TcpLine


class HisReceiver:
    """A listening MLLP port; a thread for each connection."""

    def __init__(
        self,
        ledger: Ledger,
        host: str,
        port: int,
        timezone: str = "Asia/Shanghai",
        *,
        book: Book | None = None,
        temper: Temper | None = None,
    ) -> None:
        self.ledger = ledger
        self._now = partial(datetime.now, ZoneInfo(timezone))
        self.book = book or Book(self._now)
        self.temper = temper or Temper()
        self._desk = Desk(self.book, ledger, self._now)
        self._address = (host, port)
        self._listener = self._listen()
        self.port: int = self._listener.getsockname()[1]
        self._address = (host, self.port)
        self._lines: set[TcpLine] = set()
        self._numbers = itertools.count(1)

    def _listen(self) -> socket.socket:
        return socket.create_server(self._address, backlog=128)

    def start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), name="his receiver", daemon=True).start()

    def go_down(self) -> None:
        """Nobody can connect, and every line that stood is cut."""
        self.close()
        for line in list(self._lines):
            line.close()

    def come_back(self) -> None:
        self._listener = self._listen()
        self.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(TcpLine(connection),), daemon=True).start()

    def _serve(self, line: TcpLine) -> None:
        self._lines.add(line)
        mllp = Mllp(line)
        try:
            going_on = True
            while going_on:
                received = mllp.receive(3600)
                going_on = received is None or self._answer(mllp, received)
        except (LineBroken, OSError):  # the caller gave up, or we were told to go down in the middle of an answer
            pass
        self._lines.discard(line)
        line.close()

    def _answer(self, mllp: Mllp, received: list[str]) -> bool:
        """False: hang up."""
        fault = self.temper.due("^".join(field(segment(received, "MSH"), 9).split("^")[:2]))
        how = fault.how if fault is not None else ""
        if how:
            self.ledger.write("misbehaves", how=how, number=field(segment(received, "MSH"), 10))
        if how == "lost_before":
            return False
        if fault is not None and how == "slow":
            time.sleep(fault.slow_s)
        number = f"A{next(self._numbers):06d}"
        if how == "refuse":
            mllp.send(self._desk.refused_by_itself(received, number))
            return True
        answer = self._take(received, number)
        if how == "lost_after":
            return False
        if how == "wrong_number":
            answer = [f"MSA|AA|NOBODY{number}" if each.startswith("MSA|") else each for each in answer]
        mllp.send(["?"] if how == "garbage" else answer)
        return True

    def _take(self, received: list[str], number: str) -> list[str]:
        if field(segment(received, "MSH"), 9).startswith("ORU"):
            self.ledger.write(
                "result received",
                number=field(segment(received, "MSH"), 10),
                placer=field(segment(received, "OBR"), 2).split("^")[0] or field(segment(received, "ORC"), 2),
                mrn=field(segment(received, "PID"), 3).split("~")[0].split("^")[0],
                results=[_result(each.split("|")) for each in received if each.startswith("OBX|")],
            )
        return self._desk.answer(received, number)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._listener.close()


def _result(obx: list[str]) -> dict[str, str]:
    return {"code": field(obx, 3).split("^")[0], "value": field(obx, 5), "unit": field(obx, 6).split("^")[0]}
