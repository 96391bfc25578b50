"""Alipay's daily bill of trades: a zip with CSV files in GB 18030, comment lines behind ``#``, totals among them.

The totals of the file (number and sum of payments and of refunds) are compared with the lines; a file that is cut is
refused whole. Columns are found by name. Source: Alipay's open documentation of the trade bill (业务明细).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import date, datetime

from cloud.kit import clock, money
from cloud.payments.contract import BillFile, BillLine, LineKind, Refused

_TOTAL = re.compile(r"#(交易|退款)合计：(\d+)笔，商家实收(?:退款)?共(-?[0-9.]+)元")
LARGEST_BYTES = 200_000_000


def read(day: date, packed: bytes) -> BillFile:
    """Raises `Refused` for what is no bill, is cut, or does not add up."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            details = [each for each in archive.infolist() if not _name(each).endswith("汇总).csv")]
            if len(details) != 1 or details[0].file_size > LARGEST_BYTES:
                raise Refused("bill_files", permanent=False)
            raw = archive.read(details[0])
        text = raw.decode("gb18030")
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise Refused("bill_unreadable", permanent=False) from error
    totals = {kind: (int(many), abs(money.fen(sum_))) for kind, many, sum_ in _TOTAL.findall(text)}
    rows = list(csv.reader(io.StringIO("\n".join(each for each in text.splitlines() if not each.startswith("#")))))
    if not rows or "导出时间" not in text:
        raise Refused("bill_cut", permanent=False)
    names = [each.strip() for each in rows[0]]
    try:
        lines = tuple(
            _line({name: value.strip() for name, value in zip(names, row, strict=True)}) for row in rows[1:] if row
        )
    except (KeyError, ValueError) as error:
        raise Refused("bill_unreadable", permanent=False) from error
    for kind, name in ((LineKind.PAID, "交易"), (LineKind.REFUNDED, "退款")):
        own = [each.fen for each in lines if each.kind == kind]
        if totals.get(name) != (len(own), sum(own)):
            raise Refused("bill_totals", permanent=False)
    return BillFile(day, packed, lines)


def _name(entry: zipfile.ZipInfo) -> str:
    """File names are GBK where the zip does not say UTF-8."""
    if entry.flag_bits & 0x800:
        return entry.filename
    return entry.filename.encode("cp437").decode("gb18030", "replace")


def _line(row: dict[str, str]) -> BillLine:
    kind = {"交易": LineKind.PAID, "退款": LineKind.REFUNDED}[row["业务类型"]]
    fen = abs(money.fen(row["订单金额（元）"]))
    at = datetime.strptime(row["完成时间"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=clock.hospital_zone())
    refund_number = row["退款批次号/请求号"] if kind == LineKind.REFUNDED else ""
    return BillLine(kind, row["商户订单号"], refund_number, fen, row["支付宝交易号"], at)
