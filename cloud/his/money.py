"""Money and executed items as the HIS is told of them, and its books as it tells them. Pure.

HL7 v2.5.1: DFT^P03 and FT1 chapter 6 (6.4.1, 6.5.1), ORM^O01 and ORC chapter 4, QBP^Q13 with RTB^K13 chapter 5. An
amount is a composite price (CP): yuan with two decimals and the currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from cloud.his.port import MoneyKind, MoneyLine, PatientFacts, Refused, Unknown
from cloud.his.reading import read_time
from cloud.his.writing import header, pid, stamp, written
from cloud.kit.money import fen as fen_of
from cloud.kit.money import yuan
from protocols.messages.hl7 import Hl7Message, Segment, escape

CHANNEL_NAMES = {"wechat": "微信支付", "alipay": "支付宝", "cash": "现金"}
NOBODY = PatientFacts("", "", "", "U", None, "", "")
QUERY = "XLMONEY^已入账流水^L"
PAGE = 1000
COLUMNS = ("number^ST^40", "yuan^ST^16", "at^ST^14", "channel^ST^16")

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Concern:
    """What money was for, or what was executed, in the HIS's numbers."""

    number: str
    """Of a charge's item, or of an appointment."""
    group: str = ""
    """Of the charge."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of the ledger."""

    number: str
    """Ours, of the payment or of the refund: the HIS books it once."""
    payment_number: str
    fen: int
    """Negative: it went back."""
    at: datetime
    channel: str
    purpose: str
    patient: PatientFacts = NOBODY
    concerns: tuple[Concern, ...] = ()


def movement(told: Movement, control_id: str, now: datetime, zone: tzinfo, names: Names) -> bytes:
    """DFT^P03 with one FT1 of type PY; below it an ORC for each thing it was for."""
    ft1 = ["FT1", "1", escape(told.number), escape(told.payment_number), stamp(told.at, zone), "", "PY", *[""] * 24]
    ft1[7] = f"{escape(told.channel)}^{CHANNEL_NAMES.get(told.channel, escape(told.channel))}^L"
    ft1[10] = "1"
    ft1[11] = f"{yuan(told.fen)}&CNY"
    ft1[25] = f"{escape(told.purpose)}^^L"
    ft1[30] = escape(told.payment_number)
    return written(
        [
            header("DFT^P03^DFT_P03", control_id, now, zone, names),
            ["EVN", "P03", stamp(now, zone)],
            pid(told.patient, names),
            ft1,
            *(["ORC", "SC", escape(each.number), "", escape(each.group)] for each in told.concerns),
        ],
        names,
    )


def executed(
    items: tuple[Concern, ...],
    patient: PatientFacts,
    at: datetime,
    by: str,
    control_id: str,
    now: datetime,
    zone: tzinfo,
    names: Names,
) -> bytes:
    """ORM^O01: each item's status changed (SC) to completed (CM)."""
    return written(
        [
            header("ORM^O01^ORM_O01", control_id, now, zone, names),
            pid(patient, names),
            *(
                [
                    *("ORC", "SC", escape(each.number), "", escape(each.group), "CM", "", "", ""),
                    *(stamp(at, zone), f"^{escape(by)}"),
                ]
                for each in items
            ),
        ],
        names,
    )


def money_query(day: date, after: str, control_id: str, now: datetime, zone: tzinfo, names: Names) -> bytes:
    """QBP^Q13 for what was booked of a day, behind the number `after` (DSC-1 of the answer before)."""
    return written(
        [
            header("QBP^Q13^QBP_Q13", control_id, now, zone, names),
            ["QPD", QUERY, control_id, f"{day:%Y%m%d}"],
            ["RDF", str(len(COLUMNS)), "~".join(COLUMNS)],
            ["RCP", "I", f"{PAGE}^RD"],
            *([["DSC", escape(after), "I"]] if after else []),
        ],
        names,
    )


def read_money(answer: Hl7Message, zone: tzinfo) -> tuple[list[MoneyLine], str]:
    """RTB^K13: its rows, and where the next page begins (empty: this was the last). Raises `Refused`, `Unknown`."""
    msa, qak = answer.first("MSA"), answer.first("QAK")
    code = msa.text(1).upper() if msa is not None else ""
    if code in ("AE", "AR", "CE", "CR"):
        raise Refused(f"hl7_{code.lower()}", permanent=False, text=msa.text(3) if msa is not None else "")
    if code not in ("AA", "CA") or qak is None or qak.text(2).upper() not in ("OK", "NF"):
        raise Unknown("unreadable_money")
    dsc = answer.first("DSC")
    rows = [_row(each, zone) for each in answer.segments if each.name == "RDT"]
    return rows, dsc.text(1) if dsc is not None else ""


def _row(rdt: Segment, zone: tzinfo) -> MoneyLine:
    try:
        amount = fen_of(rdt.text(2))
    except ValueError as error:
        raise Unknown("unreadable_money") from error
    kind = MoneyKind.REFUND if amount < 0 else MoneyKind.PAYMENT
    return MoneyLine(kind, rdt.text(1), amount, read_time(rdt.text(3), zone), rdt.text(4))
