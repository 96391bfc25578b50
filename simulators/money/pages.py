"""The channel's cashier on a phone: an amount, a button, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from simulators.money.book import Order, Refunded

_STYLE = (
    "<meta name=viewport content='width=device-width, initial-scale=1'><style>body{font:18px sans-serif;margin:2rem;"
    "text-align:center}button,a{font-size:20px;padding:.8rem 2rem;display:inline-block;margin-top:1rem}</style>"
)


def _page(title: str, body: str) -> str:
    return f"<!doctype html><html lang=zh-CN><meta charset=utf-8><title>{escape(title)}</title>{_STYLE}{body}"


def cashier(channel: str, order: Order, back: str) -> str:
    amount = f"{order.fen / 100:.2f}"
    return _page(
        channel,
        f"<h1>{escape(channel)}（模拟）</h1><p>{escape(order.subject)}</p><p><b>¥ {amount}</b></p>"
        f"<form method=post action=/cashier><input type=hidden name=number value='{escape(order.number)}'>"
        f"<input type=hidden name=back value='{escape(back)}'><button>确认支付</button></form>"
        + (f"<p><a href='{escape(back)}'>不付了</a></p>" if back else ""),
    )


def paid(channel: str, order: Order, back: str) -> str:
    link = f"<p><a href='{escape(back)}'>完成</a></p>" if back else ""
    return _page(channel, f"<h1>支付成功</h1><p>¥ {order.fen / 100:.2f}</p>{link}")


def over(why: str, back: str) -> str:
    link = f"<p><a href='{escape(back)}'>返回</a></p>" if back else ""
    return _page("未支付", f"<h1>不能支付</h1><p>{why}</p>{link}")


_STATES = {"unpaid": "待支付", "paid": "已支付", "closed": "已关闭"}
_BACK = {"processing": "退款中", "done": "已退", "failed": "退款失败"}


def booked(channel: str, orders: Sequence[Order], refunds: Sequence[Refunded], totals: Mapping[str, int]) -> str:
    """The channel's own list of orders with what went back of each."""
    back: dict[str, list[str]] = {}
    for each in refunds:
        back.setdefault(each.order_number, []).append(f"{_BACK.get(each.state, each.state)} {each.fen / 100:.2f}")
    rows = "".join(
        f"<tr><td>{escape(each.number)}</td><td>{escape(each.subject)}</td><td>{each.fen / 100:.2f}</td>"
        f"<td>{_STATES.get(each.state, each.state)}</td><td>{escape('；'.join(back.get(each.number, [])))}</td></tr>"
        for each in orders
    )
    return _page(
        f"{channel}模拟器",
        f"<h1>{escape(channel)}模拟器</h1><p>收 {totals['paid']} 笔 {totals['paid_fen'] / 100:.2f} 元，"
        f"退 {totals['refunds']} 笔 {totals['refunded_fen'] / 100:.2f} 元</p>"
        "<table border=1 cellpadding=6 align=center><tr><th>商户单号<th>商品<th>金额<th>状态<th>退款</tr>"
        f"{rows}</table>",
    )
