"""Spoils one observation on purpose, to show that the comparison would notice.

`drop`: a stranger on the line between the chemistry analyzer and the box swallows one result and acknowledges it
himself. `double`: the page that a phone is shown has one line twice.
"""

from __future__ import annotations

import argparse
import re
import socket
import threading
from datetime import UTC, datetime

from simulators.http_service import wait_for_end
from simulators.mllp import CR, FS, VT, field, segment, stamp
from simulators.wire import LineBroken, TcpLine

_RESULT = re.compile(rb"\x0b[^\x1c]*\x1c\r?")


class Swallower:
    """Passes everything on between an analyzer and a box, but swallows the result message number `victim` (from 1)."""

    def __init__(self, port: int, box: tuple[str, int], victim: int) -> None:
        self.box = box
        self.victim = victim
        self.seen = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            analyzer = TcpLine(self._listener.accept()[0])
            try:
                box = TcpLine(socket.create_connection(self.box, timeout=5))
            except OSError:
                analyzer.close()
                continue
            threading.Thread(target=self._back, args=(box, analyzer), daemon=True).start()
            threading.Thread(target=self._forth, args=(analyzer, box), daemon=True).start()

    def _back(self, box: TcpLine, analyzer: TcpLine) -> None:
        try:
            while True:
                analyzer.write(box.read(1) or b"")
        except LineBroken:
            box.close()
            analyzer.close()

    def _forth(self, analyzer: TcpLine, box: TcpLine) -> None:
        waiting = b""
        try:
            while True:
                waiting += analyzer.read(1)
                while (message := _RESULT.match(waiting)) is not None:
                    waiting = waiting[message.end() :]
                    self._pass_on(message.group(), analyzer, box)
        except LineBroken:
            box.close()
            analyzer.close()

    def _pass_on(self, message: bytes, analyzer: TcpLine, box: TcpLine) -> None:
        segments = message.strip(VT + FS + CR).decode().split("\r")
        header = segment(segments, "MSH")
        if field(header, 9) == "ORU^R01" and field(header, 16) == "0":
            self.seen += 1
            if self.seen == self.victim:
                analyzer.write(_acknowledgement(field(header, 10)))
                return
        box.write(message)


def _acknowledgement(number: str) -> bytes:
    at = stamp(datetime.now(UTC))
    lines = f"MSH|^~\\&|||Mindray|BS-480|{at}||ACK^R01|{number}|P|2.3.1||||0||ASCII|||\rMSA|AA|{number}|||||0|\r"
    return VT + lines.encode() + FS + CR


def doubled(html: str) -> str:
    """The page with its first result line twice."""
    found = re.search(r"<li class=\"indicator.*?</li>", html, re.DOTALL)
    return html if found is None else html[: found.end()] + found.group() + html[found.end() :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--box-port", type=int, required=True)
    parser.add_argument("--victim", type=int, default=1)
    arguments = parser.parse_args()
    Swallower(arguments.port, ("127.0.0.1", arguments.box_port), arguments.victim).start()
    wait_for_end()


if __name__ == "__main__":
    main()
