"""Takes the laboratory's ORU^R01 and acknowledges it once it is in the ledger."""

from __future__ import annotations

import socket
import threading
from datetime import datetime
from zoneinfo import ZoneInfo

from simulators.his.messages import accepted
from simulators.ledger import Ledger
from simulators.mllp import Mllp, field, segment
from simulators.wire import LineBroken, TcpLine


class HisReceiver:
    """A listening MLLP port; a thread for each connection."""

    def __init__(self, ledger: Ledger, host: str, port: int, timezone: str = "Asia/Shanghai") -> None:
        self.ledger = ledger
        self._zone = ZoneInfo(timezone)
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self._count = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._accept, name="his receiver", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(TcpLine(connection),), daemon=True).start()

    def _serve(self, line: TcpLine) -> None:
        mllp = Mllp(line)
        try:
            while True:
                received = mllp.receive(3600)
                if received is not None:
                    mllp.send(self._take(received))
        except LineBroken:
            line.close()

    def _take(self, received: list[str]) -> list[str]:
        with self._lock:
            self._count += 1
            number = f"A{self._count:06d}"
        results = [each.split("|") for each in received if each.startswith("OBX|")]
        self.ledger.write(
            "result received",
            number=field(segment(received, "MSH"), 10),
            placer=field(segment(received, "OBR"), 2).split("^")[0] or field(segment(received, "ORC"), 2),
            mrn=field(segment(received, "PID"), 3).split("~")[0].split("^")[0],
            results=[
                {"code": field(each, 3).split("^")[0], "value": field(each, 5), "unit": field(each, 6).split("^")[0]}
                for each in results
            ],
        )
        return accepted(received, datetime.now(self._zone), number)

    def close(self) -> None:
        self._listener.close()
