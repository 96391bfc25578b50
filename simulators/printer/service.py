"""An IPP printer: takes PDFs, prints them at its own pace, can be out of paper, deaf, or hang up in the middle.

Written from RFC 8010 (encoding) and RFC 8011 (Print-Job, Get-Jobs, Get-Job-Attributes, Get-Printer-Attributes),
independently of the program that prints.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from simulators.ledger import Ledger

OK, BAD_REQUEST, NOT_FOUND, FORMAT_NOT_SUPPORTED = 0x0000, 0x0400, 0x0406, 0x040A
PRINT_JOB, CANCEL_JOB, GET_JOB, GET_JOBS, GET_PRINTER = 0x0002, 0x0008, 0x0009, 0x000A, 0x000B
PENDING, ABORTED, COMPLETED = 3, 8, 9
IDLE, STOPPED = 3, 5
INTEGER, BOOLEAN, ENUM, TEXT, NAME, KEYWORD, MIME = 0x21, 0x22, 0x23, 0x41, 0x42, 0x44, 0x49


@dataclass
class Sheet:
    """One job as this printer knows it."""

    number: int
    name: str
    document: bytes
    attributes: dict[str, list[object]]
    state: int = PENDING
    said: str = ""


@dataclass
class IppPrinter:
    """A printer. `by_itself`: a job is finished as soon as it is taken; else `finish()` does it."""

    ledger: Ledger
    by_itself: bool = True
    out_of_paper: bool = False
    takes_pdf: bool = True
    hang_up_after_taking: int = 0
    """So many times the job is taken and the line breaks before the answer."""
    sheets: list[Sheet] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, host: str, port: int) -> ThreadingHTTPServer:
        printer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = printer.answer(body)
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/ipp")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer((host, port), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def answer(self, body: bytes) -> bytes | None:
        """The answer to one request; None: hang up without one."""
        version, operation, number = body[:2], int.from_bytes(body[2:4]), body[4:8]
        attributes, document = _read(body[8:])
        with self._lock:
            status, groups = self._do(operation, attributes, document)
            if operation == PRINT_JOB and status == OK and self.hang_up_after_taking:
                self.hang_up_after_taking -= 1
                return None
        said = bytearray(version + status.to_bytes(2) + number)
        said += b"\x01" + _write(0x47, "attributes-charset", "utf-8")
        said += _write(0x48, "attributes-natural-language", "en")
        for tag, values in groups:
            said.append(tag)
            for kind, name, value in values:
                said += _write(kind, name, value)
        return bytes(said + b"\x03")

    def _do(
        self, operation: int, given: dict[str, list[object]], document: bytes
    ) -> tuple[int, list[tuple[int, list[tuple[int, str, object]]]]]:
        if operation == GET_PRINTER:
            formats = ["application/pdf", "image/urf"] if self.takes_pdf else ["image/urf"]
            return OK, [
                (
                    0x04,
                    [
                        (ENUM, "printer-state", STOPPED if self.out_of_paper else IDLE),
                        (KEYWORD, "printer-state-reasons", "media-empty" if self.out_of_paper else "none"),
                        (BOOLEAN, "printer-is-accepting-jobs", True),
                        *[
                            (MIME, "document-format-supported" if place == 0 else "", each)
                            for place, each in enumerate(formats)
                        ],
                    ],
                )
            ]
        if operation == PRINT_JOB:
            return self._take(given, document)
        if operation == GET_JOBS:
            done = given.get("which-jobs") == ["completed"]
            wanted = [each for each in self.sheets if (each.state >= 7) == done]
            return OK, [(0x02, self._about(each)) for each in wanted]
        if operation in (GET_JOB, CANCEL_JOB):
            found = next((each for each in self.sheets if [each.number] == given.get("job-id")), None)
            return (NOT_FOUND, []) if found is None else (OK, [(0x02, self._about(found))])
        return BAD_REQUEST, []

    def _take(
        self, given: dict[str, list[object]], document: bytes
    ) -> tuple[int, list[tuple[int, list[tuple[int, str, object]]]]]:
        if not self.takes_pdf:
            return FORMAT_NOT_SUPPORTED, []
        if not document.startswith(b"%PDF"):
            return BAD_REQUEST, []
        sheet = Sheet(len(self.sheets) + 1, str(given["job-name"][0]), document, given)
        sheet.state = COMPLETED if self.by_itself else PENDING
        self.sheets.append(sheet)
        self.ledger.write("printed", name=sheet.name, bytes=len(document))
        return OK, [(0x02, self._about(sheet))]

    def _about(self, sheet: Sheet) -> list[tuple[int, str, object]]:
        made: list[tuple[int, str, object]] = [
            (INTEGER, "job-id", sheet.number),
            (NAME, "job-name", sheet.name),
            (ENUM, "job-state", sheet.state),
        ]
        return [*made, (TEXT, "job-state-message", sheet.said)] if sheet.said else made

    def finish(self, state: int = COMPLETED, said: str = "") -> None:
        """What is pending comes out, or is given up."""
        with self._lock:
            for each in self.sheets:
                if each.state == PENDING:
                    each.state, each.said = state, said


def _read(body: bytes) -> tuple[dict[str, list[object]], bytes]:
    """Attributes of every group together, and the document after the end tag."""
    found: dict[str, list[object]] = {}
    at, name = 0, ""
    while body[at] != 0x03:
        if body[at] < 0x10:
            at += 1
            continue
        tag = body[at]
        size = int.from_bytes(body[at + 1 : at + 3])
        name = body[at + 3 : at + 3 + size].decode() or name
        at += 3 + size
        size = int.from_bytes(body[at : at + 2])
        raw = body[at + 2 : at + 2 + size]
        at += 2 + size
        value: object = raw.decode() if tag >= 0x40 else int.from_bytes(raw, signed=True)
        found.setdefault(name, []).append(value)
    return found, body[at + 1 :]


def _write(tag: int, name: str, value: object) -> bytes:
    if isinstance(value, bool):
        raw = b"\x01" if value else b"\x00"
    elif isinstance(value, int):
        raw = value.to_bytes(4, signed=True)
    else:
        raw = str(value).encode()
    return bytes([tag]) + len(name).to_bytes(2) + name.encode() + len(raw).to_bytes(2) + raw
