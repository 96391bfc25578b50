"""Answers to the HIS, HL7 v2.5.1 chapter 2.9: acknowledgement codes of table 0008, text in MSA-3 and ERR-8.

OML^O21 that was taken is answered with ORL^O22 and our own order numbers, everything else with the general ACK.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cloud.his import mapping
from protocols.messages.hl7 import (
    Hl7Message,
    acknowledgement_type,
    build,
    escape,
    reply_header,
    wants,
)

_CHARSETS = {"utf-8": "UNICODE UTF-8", "gb18030": "GB 18030-2000"}
_COMMIT = {"AA": "CA", "AE": "CE", "AR": "CR"}
_ERROR = {"AE": "207", "AR": "200"}
"""Table 0357: 207 application internal error, 200 unsupported message type."""


def application(
    message: Hl7Message, code: str, reason: str | None, outcome: dict[str, Any] | None, now: datetime
) -> bytes:
    """The application's answer; characters as the request's."""
    accepted_order = code == "AA" and message.kind == "OML^O21"
    kind = "ORL^O22^ORL_O22" if accepted_order else acknowledgement_type(message.header)
    segments = _head(message, kind, code, reason, now)
    if accepted_order and outcome is not None:
        segments += _patient(message)
        segments += [["ORC", "OK", escape(each["placer"]), escape(each["number"])] for each in outcome["orders"]]
    return build(segments, _python_charset(message))


def wanted(message: Hl7Message, answer: bytes) -> list[bytes]:
    """What this sender expects: the application's answer, in enhanced mode a commit acknowledgement before it."""
    expects = list(wants(message.header))
    found = [answer] if {"original", "application"} & set(expects) else []
    if "commit" in expects:
        found.insert(0, _commit(answer))
    return found


def not_hl7(now: datetime) -> bytes:
    """To bytes in which there is no MSH to answer to."""
    ours = mapping.outgoing()
    header = ["MSH", "^~\\&", ours["application"], ours["facility"], "", "", now.strftime("%Y%m%d%H%M%S"), "", "ACK"]
    return build([[*header, "0", "P", "2.5.1"], ["MSA", "AR", "", "no MSH segment"]], "ascii")


def _head(message: Hl7Message, kind: str, code: str, reason: str | None, now: datetime) -> list[Sequence[str]]:
    header = reply_header(message.header, kind, now)
    header[17] = _CHARSETS.get(_python_charset(message), header[17])
    segments: list[Sequence[str]] = [header, ["MSA", code, message.header.raw(10), escape(reason or "")]]
    if code != "AA":
        segments.append(["ERR", "", "", _ERROR[code], "E", "", "", "", escape(reason or "")])
    return segments


def _patient(message: Hl7Message) -> list[Sequence[str]]:
    """PID as the sender had it, number and name alone: in an ORL^O22 the orders stand below their patient."""
    patient = message.first("PID")
    if patient is None:
        return []
    number, name = ("^".join(escape(part) for part in patient.components(field)).rstrip("^") for field in (3, 5))
    return [["PID", "", "", number, "", name]]


def _commit(answer: bytes) -> bytes:
    """The same answer as a commit acknowledgement: it promises storage, which has happened when this is made."""
    for code, commit in _COMMIT.items():
        answer = answer.replace(f"\rMSA|{code}|".encode("ascii"), f"\rMSA|{commit}|".encode("ascii"), 1)
    return answer


def _python_charset(message: Hl7Message) -> str:
    """The request's characters; a request in plain ASCII may still get Chinese text, as UTF-8."""
    return message.charset if message.charset in ("utf-8", "gb18030", "big5") else "utf-8"
