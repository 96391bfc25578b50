"""The bytes an analyzer would have sent for a tube, in the forms that our drivers read, and what they read from them.

A test lets the drivers of the product read these bytes again: they must say what stands in the inbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """One value on the wire."""

    code: str
    value: str
    unit: str
    flag: str
    name: str = ""


def sysmex(barcode: str, said: Sequence[Said], stamp: str, observed: str, rack: int, place: int) -> tuple[bytes, Any]:
    """E1394 records in one E1381 frame; the items of the driver ``sysmex_xn``."""
    lines = [
        r"H|\^&|||XN-1000^00-24^11001^^^^HISTORY||||||||E1394-97",
        "P|1",
        f"O|1||{rack}^{place}^{barcode:>22}^B|^^^^WBC|||||||N||||||||||||||F",
    ]
    lines += [f"R|{n}|^^^^{x.code}^1|{x.value}|{x.unit}||{x.flag}||F||||{stamp}" for n, x in enumerate(said, 1)]
    lines.append("L|1|N")
    text = b"1" + "\r".join(lines).encode() + b"\r\x03"
    raw = b"\x02" + text + b"%02X\r\n" % (sum(text) & 0xFF)
    items = [
        {
            "kind": "observation",
            "specimen": barcode,
            "code": each.code,
            "value": each.value,
            "unit": each.unit,
            "flags": [each.flag],
            "observed_at": observed,
            "status": "F",
            "dilution": "1",
            "rack": str(rack),
            "position": str(place),
            "record": record,
        }
        for record, each in enumerate(said, 3)
    ]
    return raw, items


def mindray(barcode: str, said: Sequence[Said], stamp: str, observed: str, number: int) -> tuple[bytes, Any]:
    """One ORU^R01 in MLLP's frame; the items of the driver ``mindray_bs``."""
    lines = [
        rf"MSH|^~\&|Mindray|BS-480|||{stamp}||ORU^R01|{number}|P|2.3.1||||0||ASCII|||",
        "PID|1|||||||||||||||||||||||||||||",
        f"OBR|1|{barcode}|{number % 1000}|Mindray^BS-480|N||{stamp}||||||||serum|||||||||||||||||||||||||||||||||",
    ]
    for n, x in enumerate(said, 1):
        lines.append(f"OBX|{n}|NM|{x.code}|{x.name}|{x.value}|{x.unit}||{x.flag}|||F||{x.value}|{stamp}||lab|0|")
    raw = b"\x0b" + "\r".join(lines).encode() + b"\r\x1c\r"
    items = [
        {
            "kind": "observation",
            "specimen": barcode,
            "code": each.code,
            "value": each.value,
            "unit": each.unit,
            "flags": [each.flag],
            "observed_at": observed,
            "status": "F",
            "name": each.name,
            "operator": "lab",
            "record": record,
        }
        for record, each in enumerate(said, 3)
    ]
    return raw, items
