"""The channel's cashier on a phone: an amount, a button, and the way back."""

from __future__ import annotations

from html import escape

from simulators.money.book import Order

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
