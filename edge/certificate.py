"""From when until when a certificate is valid: the one thing the box asks of its own certificate.

Reads just that much of X.509's DER (RFC 5280, 4.1); a whole library for it would cost the box several megabytes.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


class Validity(NamedTuple):
    not_before: datetime
    not_after: datetime


class _Element(NamedTuple):
    tag: int
    content: bytes
    rest: bytes


def read_validity(file: Path) -> Validity:
    """Of the first certificate in a PEM file. Raises OSError or ValueError."""
    text = file.read_text(encoding="ascii")
    start = text.find(_BEGIN)
    end = text.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError("there is no certificate in it")
    return validity(ssl.PEM_cert_to_DER_cert(text[start : end + len(_END)]))


def validity(der: bytes) -> Validity:
    """Raises ValueError for what is no certificate."""
    try:
        to_be_signed = _element(_element(der, _SEQUENCE).content, _SEQUENCE).content
        if to_be_signed[0] == _VERSION:
            to_be_signed = _element(to_be_signed).rest
        for _ in ("serial number", "signature", "issuer"):
            to_be_signed = _element(to_be_signed).rest
        first = _element(_element(to_be_signed, _SEQUENCE).content)
        return Validity(_time(first), _time(_element(first.rest)))
    except IndexError:
        raise ValueError("the certificate ends early") from None


def _element(data: bytes, tag: int | None = None) -> _Element:
    if tag is not None and data[0] != tag:
        raise ValueError(f"not a certificate: tag {data[0]:#x} where {tag:#x} belongs")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("the certificate ends early")
    return _Element(data[0], data[start : start + length], data[start + length :])


def _time(element: _Element) -> datetime:
    text = element.content.decode("ascii")
    if element.tag == _UTC_TIME:  # two digits: 50 to 99 are of the last century (RFC 5280, 4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    elif element.tag != _GENERALIZED_TIME:
        raise ValueError(f"not a time: tag {element.tag:#x}")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
