"""One printer, or the print server in front of it, spoken to by IPP over HTTP. The network is here and nowhere else.

`ipp://host:631/path` is HTTP POST to `http://host:631/path` (RFC 3510), `ipps` the same over TLS
(RFC 7472): its certificate must be one that the server trusts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import httpx

from cloud.lis.printing.ipp import (
    JOB_GROUP,
    NOT_FOUND,
    OPERATION_GROUP,
    PRINTER_GROUP,
    STOPPED_PRINTER,
    Answer,
    JobStateOnDevice,
    NotIpp,
    Operation,
    Value,
    read,
    request,
)

ANSWER_S = 10.0
USER = "xinglin"
PDF = "application/pdf"
DEFAULT_PORT = 631


class PrinterAway(ConnectionError):
    """No connection, no answer in time, or an answer that is no IPP. What was under way may or may not be printed."""


class PrinterRefused(Exception):
    """The printer answered, and does not take it; the message is the device's own."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the printer says of itself. `trouble`: its reasons in words, e.g. media-empty; empty: none."""

    stopped: bool
    trouble: str
    takes_pdf: bool


@dataclass(frozen=True, slots=True)
class OnDevice:
    """A job as the device knows it."""

    number: int
    state: int
    message: str

    @property
    def printed(self) -> bool:
        return self.state == JobStateOnDevice.COMPLETED

    @property
    def lost(self) -> bool:
        """Cancelled at the device, or aborted by it."""
        return self.state in (JobStateOnDevice.CANCELED, JobStateOnDevice.ABORTED)


class Device:
    """One printer for the length of a pass; use as a context manager."""

    def __init__(self, address: str) -> None:
        self._uri = address
        self._url = http_address(address)
        self._http = httpx.Client(timeout=ANSWER_S, trust_env=False)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def health(self) -> Health:
        """Whether it answers, is stopped, and why; raises `PrinterAway`."""
        answer = self._ask(
            Operation.GET_PRINTER_ATTRIBUTES,
            {
                "requested-attributes": [
                    "printer-state",
                    "printer-state-reasons",
                    "printer-is-accepting-jobs",
                    "document-format-supported",
                ]
            },
        )
        if not answer.accepted:
            raise PrinterRefused(_refusal(answer))
        group = answer.group(PRINTER_GROUP)
        reasons = [str(each) for each in group.get("printer-state-reasons", []) if each != "none"]
        accepting = group.get("printer-is-accepting-jobs", [True])[0]
        formats = group.get("document-format-supported", [])
        return Health(
            stopped=answer.integer(PRINTER_GROUP, "printer-state") == STOPPED_PRINTER or not accepting,
            trouble=", ".join(reasons),
            takes_pdf=not formats or PDF in formats or "application/octet-stream" in formats,
        )

    def send(self, name: str, document: bytes, *, two_sided: bool) -> OnDevice:
        """Hand over one PDF under `name`; raises `PrinterAway` (unknown whether it arrived) or `PrinterRefused`."""
        job: dict[str, Value] = {"copies": 1, "sides": "two-sided-long-edge" if two_sided else "one-sided"}
        answer = self._ask(
            Operation.PRINT_JOB, {"requesting-user-name": USER, "job-name": name, "document-format": PDF}, job, document
        )
        if not answer.accepted:
            raise PrinterRefused(_refusal(answer))
        number = answer.integer(JOB_GROUP, "job-id")
        if number is None:
            raise PrinterAway("the printer accepted a job and gave it no number")
        return OnDevice(number, answer.integer(JOB_GROUP, "job-state") or JobStateOnDevice.PENDING, "")

    def find(self, name: str) -> OnDevice | None:
        """A job of this name that the device has or had: what became of one whose answer was lost."""
        for which in ("not-completed", "completed"):
            answer = self._ask(
                Operation.GET_JOBS,
                {
                    "requesting-user-name": USER,
                    "which-jobs": which,
                    "requested-attributes": ["job-id", "job-name", "job-state"],
                },
            )
            for tag, values in answer.groups:
                if tag == JOB_GROUP and values.get("job-name") == [name]:
                    number, state = values.get("job-id", [0])[0], values.get("job-state", [0])[0]
                    return OnDevice(int(number), int(state), "")
        return None

    def look(self, number: int) -> OnDevice | None:
        """The job as the device knows it now; None where it has forgotten it."""
        answer = self._ask(
            Operation.GET_JOB_ATTRIBUTES,
            {
                "job-id": number,
                "requesting-user-name": USER,
                "requested-attributes": ["job-state", "job-state-reasons", "job-state-message"],
            },
        )
        if answer.status == NOT_FOUND:
            return None
        if not answer.accepted:
            raise PrinterRefused(_refusal(answer))
        said = [answer.text(JOB_GROUP, "job-state-message"), answer.text(JOB_GROUP, "job-state-reasons")]
        message = " · ".join(each for each in said if each and each != "none")
        return OnDevice(number, answer.integer(JOB_GROUP, "job-state") or JobStateOnDevice.PENDING, message)

    def _ask(
        self,
        operation: Operation,
        attributes: dict[str, Value | list[str]],
        job: dict[str, Value] | None = None,
        document: bytes = b"",
    ) -> Answer:
        number = next(self._numbers)
        content = request(operation, number, self._uri, attributes, job, document)
        try:
            response = self._http.post(self._url, content=content, headers={"Content-Type": "application/ipp"})
            if response.status_code != 200:
                raise PrinterAway(f"HTTP {response.status_code}")
            answer = read(response.content)
        except httpx.ConnectError as error:
            raise PrinterAway("no connection") from error
        except httpx.TimeoutException as error:
            raise PrinterAway("no answer in time") from error
        except (httpx.HTTPError, NotIpp) as error:
            raise PrinterAway(str(error) or type(error).__name__) from error
        if answer.request_id != number:
            raise PrinterAway("an answer to another request")
        return answer


def http_address(address: str) -> str:
    """Where `ipp://` and `ipps://` addresses are posted to; raises ValueError for anything else."""
    parts = urlsplit(address)
    if parts.scheme not in ("ipp", "ipps") or not parts.hostname:
        raise ValueError(f"{address} is no ipp address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = "https" if parts.scheme == "ipps" else "http"
    return urlunsplit((scheme, f"{host}:{parts.port or DEFAULT_PORT}", parts.path or "/", "", ""))


def _refusal(answer: Answer) -> str:
    said = answer.text(OPERATION_GROUP, "status-message")
    return f"{said} (0x{answer.status:04x})" if said else f"0x{answer.status:04x}"
