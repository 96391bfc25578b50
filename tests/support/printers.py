"""The simulated IPP printer on a socket, and reports to print on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from cloud.kit.db import begin
from cloud.lis.printing import printers
from cloud.lis.printing.model import PrinterKind, Road
from simulators.ledger import Ledger
from simulators.printer.service import IppPrinter
from tests.support.web_server import free_port


@contextmanager
def ipp_printer(port: int = 0, **more: object) -> Iterator[tuple[IppPrinter, str]]:
    """A printer that listens, and its address."""
    printer = IppPrinter(Ledger(None, "printer"), **more)  # type: ignore[arg-type]
    server = printer.start("127.0.0.1", port)
    try:
        yield printer, f"ipp://127.0.0.1:{server.server_port}/ipp/print"
    finally:
        server.shutdown()
        server.server_close()


def nowhere() -> str:
    """The address of a printer that is switched off."""
    return f"ipp://127.0.0.1:{free_port()}/ipp/print"


def an_ipp_printer(address: str, code: str = "W1", kind: PrinterKind = PrinterKind.REPORT) -> uuid.UUID:
    with begin() as session:
        made = printers.register(
            session,
            code=code,
            name="内科病区打印机",
            place="住院楼 3 层",
            kind=kind,
            road=Road.IPP,
            address=address,
            by="staff:operator",
        )
        return made.id


def an_agent_printer(code: str = "A1", kind: PrinterKind = PrinterKind.REPORT) -> tuple[uuid.UUID, str]:
    """A printer behind an agent, and the agent's token."""
    with begin() as session:
        made = printers.register(session, code=code, name="门诊打印机", kind=kind, road=Road.AGENT, by="staff:operator")
        return made.id, printers.issue_token(session, made.id, by="staff:operator")
