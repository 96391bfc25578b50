"""WeChat Pay's daily bill of all trades: UTF-8 with a byte order mark, each value behind a backtick, totals at the end.

The file names its own count and sums; a file in which they do not fit the lines is cut or changed and is refused whole.
Columns are found by their Chinese names, so a column that WeChat adds moves nothing. Source: WeChat Pay's documentation
of the trade bill (交易账单).
"""

from __future__ import annotations

import csv
import io
from datetime import date, datetime

from cloud.kit import clock, money
from cloud.payments.contract import BillFile, BillLine, LineKind, Refused

_PAID = {"SUCCESS"}
_REFUNDED = {"REFUND", "REVOKED"}


def read(day: date, raw: bytes, app_id: str, merchant_id: str) -> BillFile:
    """Raises `Refused` for a file that is cut, whose totals differ, or that is another merchant's."""
    try:
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused("bill_unreadable", permanent=False) from error
    head = next((at for at, row in enumerate(rows) if row and row[0].strip() == "交易时间"), None)
    foot = next((at for at, row in enumerate(rows) if row and row[0].strip() == "总交易单数"), None)
    if head is None or foot is None or foot + 1 >= len(rows):
        raise Refused("bill_cut", permanent=False)
    names = [each.strip() for each in rows[head]]
    lines = [
        dict(zip(names, (each.strip().removeprefix("`") for each in row), strict=False))
        for row in rows[head + 1 : foot]
    ]
    totals = [_bare(each) for each in rows[foot + 1]]
    try:
        read_lines = tuple(line for each in lines for line in _lines(each, app_id, merchant_id))
        count, paid, refunded = int(totals[0]), money.fen(totals[1]), money.fen(totals[2])
    except (KeyError, ValueError, IndexError) as error:
        raise Refused("bill_unreadable", permanent=False) from error
    own_paid = sum(each.fen for each in read_lines if each.kind == LineKind.PAID)
    own_refunded = sum(each.fen for each in read_lines if each.kind == LineKind.REFUNDED)
    if (count, paid, refunded) != (len(lines), own_paid, own_refunded):
        raise Refused("bill_totals", permanent=False)
    return BillFile(day, raw, read_lines)


def _bare(value: str) -> str:
    return value.strip().removeprefix("`")


def _lines(line: dict[str, str], app_id: str, merchant_id: str) -> list[BillLine]:
    if line["商户号"] != merchant_id or line["公众账号ID"] != app_id:
        raise ValueError("another merchant's line")
    at = datetime.strptime(line["交易时间"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=clock.hospital_zone())
    state = line["交易状态"]
    if state in _PAID:
        fen = money.fen(line["应结订单金额"])
        return [BillLine(LineKind.PAID, line["商户订单号"], "", fen, line["微信订单号"], at)]
    if state in _REFUNDED:
        fen, done = money.fen(line["退款金额"]), line["退款状态"] == "SUCCESS"
        return [
            BillLine(LineKind.REFUNDED, line["商户订单号"], line["商户退款单号"], fen, line["微信订单号"], at, done)
        ]
    raise ValueError(f"trade state {state!r}")
