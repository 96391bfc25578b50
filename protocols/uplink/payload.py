"""Payloads as JSON objects with their version."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from protocols.uplink.topics import VERSION, UplinkError


def dump(data: dict[str, Any]) -> bytes:
    """Bytes in it travel as base64."""
    return msgspec.json.encode(data)


def load(payload: bytes) -> dict[str, Any]:
    """Raises UplinkError for what is no JSON object of this version."""
    data: Any
    try:
        try:
            data = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            data = json.loads(
                payload
            )  # takes what the strict reader refuses, such as half a character: one value of many
    except (ValueError, RecursionError) as error:
        raise UplinkError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UplinkError("not a JSON object")
    if data.get("v") != VERSION:
        raise UplinkError(f"version {data.get('v')!r} is not known here; this side speaks {VERSION}")
    return data
