"""Daily bills as files, from the channel's own books: WeChat Pay's CSV, Alipay's zip. From their public documents."""

from __future__ import annotations

import io
import time
import zipfile
from datetime import datetime, timedelta, timezone

from simulators.money.book import Book, Order, Refunded

BEIJING = timezone(timedelta(hours=8))
WECHAT_COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,"
    "申请退款金额,费率备注"
)
WECHAT_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
ALIPAY_COLUMNS = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)


def _yuan(fen: int) -> str:
    return f"{fen / 100:.2f}"


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, BEIJING):%Y-%m-%d %H:%M:%S}"


def _of_day(book: Book, day: str) -> tuple[list[Order], list[tuple[Refunded, Order]]]:
    with book.lock:
        paid = [each for each in book.orders.values() if each.transaction_id and _at(each.paid_at).startswith(day)]
        back = [
            (each, book.orders[each.order_number])
            for each in book.refunds.values()
            if each.state != "failed" and _at(each.at).startswith(day)
        ]
    return paid, back


def wechat(book: Book, app_id: str, merchant_id: str, day: str) -> bytes | None:
    """UTF-8 with a byte order mark, a backtick before each value, totals at the end; None for a day without trade."""
    paid, back = _of_day(book, day)
    if not paid and not back:
        return None
    rows = [_wechat_line(app_id, merchant_id, each, None) for each in paid]
    rows += [_wechat_line(app_id, merchant_id, order, each) for each, order in back]
    total, returned = sum(each.fen for each in paid), sum(each.fen for each, _ in back)
    sums = [str(len(rows)), _yuan(total), _yuan(returned), "0.00", "0.00", _yuan(total), _yuan(returned)]
    lines = [WECHAT_COLUMNS, *rows, WECHAT_TOTALS, ",".join(f"`{each}" for each in sums)]
    return b"\xef\xbb\xbf" + ("\r\n".join(lines) + "\r\n").encode()


def _wechat_line(app_id: str, merchant_id: str, order: Order, back: Refunded | None) -> str:
    values = [
        _at(back.at if back else order.paid_at),
        app_id,
        merchant_id,
        "0",
        "",
        order.transaction_id,
        order.number,
        order.payer,
        "JSAPI",
        "REFUND" if back else "SUCCESS",
        "OTHERS",
        "CNY",
        "0.00" if back else _yuan(order.fen),
        "0.00",
        back.channel_number if back else "0",
        back.number if back else "0",
        _yuan(back.fen) if back else "0.00",
        "0.00",
        "ORIGINAL" if back else "",
        ("SUCCESS" if back.state == "done" else "PROCESSING") if back else "",
        order.subject,
        "",
        "0.00000",
        "0.60%",
        "0.00" if back else _yuan(order.fen),
        _yuan(back.fen) if back else "0.00",
        "",
    ]
    return ",".join(f"`{each}" for each in values)


def alipay(book: Book, merchant_id: str, day: str) -> bytes | None:
    """A zip of one detail and one summary file in GBK; None for a day without trade."""
    paid, back = _of_day(book, day)
    if not paid and not back:
        return None
    rows = [_alipay_line(each, None) for each in paid] + [_alipay_line(order, each) for each, order in back]
    total, returned = sum(each.fen for each in paid), sum(each.fen for each, _ in back)
    text = "\r\n".join(
        [
            "#支付宝业务明细查询",
            f"#账号：[{merchant_id}0156]",
            f"#起始日期：[{day} 00:00:00]   终止日期：[{day} 23:59:59]",
            "#-----------------------------------------业务明细列表----------------------------------------",
            ALIPAY_COLUMNS,
            *rows,
            "#-----------------------------------------业务明细列表结束------------------------------------",
            f"#交易合计：{len(paid)}笔，商家实收共{_yuan(total)}元，商家优惠共0元",
            f"#退款合计：{len(back)}笔，商家实收退款共{_yuan(-returned)}元，商家优惠退款共0元",
            f"#导出时间：[{_at(time.time())}]",
            "",
        ]
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        name = f"{merchant_id}0156_{day.replace('-', '')}_业务明细"
        archive.writestr(f"{name}.csv", text.encode("gbk"))
        archive.writestr(f"{name}(汇总).csv", "#支付宝业务汇总查询\r\n".encode("gbk"))
    return packed.getvalue()


def _alipay_line(order: Order, back: Refunded | None) -> str:
    fen = -back.fen if back else order.fen
    values = [
        f"{order.transaction_id}\t",
        f"{order.number}\t",
        "退款" if back else "交易",
        order.subject,
        _at(order.made_at),
        _at(back.at if back else order.paid_at),
        *[""] * 4,
        "p***@example.com",
        _yuan(fen),
        _yuan(fen),
        *["0.00"] * 5,
        "",
        "0.00",
        "0.00",
        back.number if back else "",
        "0.00",
        "0.00",
        "",
    ]
    return ",".join(values)
