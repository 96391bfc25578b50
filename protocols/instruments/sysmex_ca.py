"""Sysmex CA and CS coagulation analyzers (CA-600 series, CS-1600, CS-2000i, CS-2500, CS-5100), ASTM E1394-97.

Source: public LIS integrations of the CA-600 (inquiry and order) and CS-2500/CS-1600 (results, inquiry), the latter
written from an analyzer's messages. Sysmex' "CA-600 ASTM Host Interface Specification" and "CS-2000i/CS-2100i ASTM Host
Interface Specifications" are the vendor's documents, of which only the contents were at hand. Not proved on an
instrument.

R.3 is ``^^^parameter^name~unit^dilution in percent^...``; an order names the assay (040), its results come as the
parameters of its ten (041 s, 042 %, 043 INR ...). A comment ``LOT^040^PT^lot`` behind a result tells the lot of the
assay's reagent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.astm_driver import Test
from protocols.dialects.sysmex import SysmexAstm
from protocols.driver import Status
from protocols.messages.astm import build_message, escape
from protocols.model import Decoded, HostQuery, Item, Observation, Order, changed

_LOT = "LOT^"


class SysmexCa(SysmexAstm):
    id: ClassVar[str] = "sysmex_ca"
    vendor: ClassVar[str] = "Sysmex"
    models: ClassVar[tuple[str, ...]] = (
        "CA-620", "CA-660", "CS-1600", "CS-2000i", "CS-2100i", "CS-2500", "CS-5100",
    )  # fmt: skip
    source: ClassVar[str] = "public LIS integrations of CA-600 (inquiry, order) and CS-2500 (results, inquiry)"
    status: ClassVar[Status] = Status.MANUAL
    names: ClassVar[tuple[str, ...]] = ("CA-", "CS-")
    answers_host_queries: ClassVar[bool] = True

    def decode(self, payload: bytes) -> Decoded:
        decoded = super().decode(payload)
        lots = _lots(decoded.items)
        if not lots:
            return decoded
        items = tuple(_with_lot(item, lots) for item in decoded.items)
        return Decoded(items=items, sender=decoded.sender, message_id=decoded.message_id, charset=decoded.charset)

    def test(self, parts: Sequence[str]) -> Test:
        if len(parts) < 4:
            return "^".join(filter(None, parts)), None, None
        return parts[3], (parts[4] or None) if len(parts) > 4 else None, (parts[5] or None) if len(parts) > 5 else None

    def answer(self, query: HostQuery, orders: Mapping[str, Sequence[Order]], now: datetime) -> bytes:
        """Assays as ``^^^040^^100`` (undiluted). No order: report type Y, as the dialect has it."""
        asked = query.context.get("asked", "")
        known = [each for specimen in query.specimens for each in orders.get(specimen, ()) if not each.cancelled]
        if not known:
            return super().answer(query, orders, now)
        codes = dict.fromkeys(code for each in known for code in each.codes)
        tests = "\\".join(f"^^^{escape(code)}^^100" for code in codes)
        priority = "S" if any(each.priority == "S" for each in known) else "R"
        order = ("O", "1", asked, "", tests, priority, now.strftime("%Y%m%d%H%M%S"), *[""] * 4, "N")
        return build_message([self.reply_header(now), ("P", "1"), order, ("L", "1", "N")])


def _lots(items: Sequence[Item]) -> dict[tuple[str | None, str], str]:
    """Lot of each assay of a specimen, by the first two digits of its parameters."""
    found: dict[tuple[str | None, str], str] = {}
    for item in items:
        for comment in item.comments if isinstance(item, Observation) else ():
            parts = comment.split("^")
            if comment.startswith(_LOT) and len(parts) >= 3:
                found[getattr(item, "specimen", None), parts[1][:2]] = parts[-1]
    return found


def _with_lot(item: Item, lots: Mapping[tuple[str | None, str], str]) -> Item:
    if not isinstance(item, Observation):
        return item
    lot = lots.get((item.specimen, item.code[:2]))
    return changed(item, reagent_lot=lot) if lot else item
