"""What one instrument was told to do, and what of it has not arrived."""

from __future__ import annotations

from edge.console.box import Box
from edge.console.layout import Look, badge, table
from edge.console.markup import Html, Part, el
from edge.store import orders
from edge.store.orders import SentOrder, SentState

_SHOWN = 50
_STATES = {
    SentState.SENDING: ("正在发", "warn"),
    SentState.SENT: ("已发", "good"),
    SentState.FAILED: ("没发成，会再试", "warn"),
    SentState.REFUSED: ("仪器不收", "bad"),
}


async def section(box: Box, look: Look, link: str) -> Html | None:
    """None where it was never told anything: most instruments ask."""
    t = look.t
    found = await box.read(lambda reader: reader.ask(orders.sent_orders, link, _SHOWN))
    if not found:
        return None
    rows: list[list[Part]] = [
        [each.specimen, _state(look, each), ", ".join(sorted(each.codes)), ", ".join(each.pending)] for each in found
    ]
    listed = table([t("样本"), t("状态"), t("项目"), t("还没确认的")], rows, class_="items")
    return el("section", el("h2", t("下发给仪器的医嘱")), listed, id="orders")


def _state(look: Look, order: SentOrder) -> Html:
    text, tone = _STATES[order.state]
    reason = el("small", " " + look.t.reason(order.reason)) if order.reason else None
    tries = el("small", f" ×{order.tries}") if order.tries > 1 else None
    return el("span", badge(look.t(text), tone), tries, reason)
