"""What the page says of tubes without an order, in Chinese sentences that are translated when shown."""

from __future__ import annotations

from cloud.lis.worklists.model import ClosedHow, UnansweredState
from cloud.web.i18n import mark as N_
from protocols.uplink.asking import NoOrder

REASONS = {
    NoOrder.UNKNOWN: N_("条码未登记"),
    NoOrder.NOT_COLLECTED: N_("尚未扫码采集或接收"),
    NoOrder.CLOSED: N_("标本已拒收或取消"),
    NoOrder.DONE: N_("检验已全部完成"),
    NoOrder.NOTHING_HERE: N_("没有本仪器的项目"),
    NoOrder.NOT_REACHED: N_("网关当时离线"),
    NoOrder.NO_ANSWER: N_("服务器未及时答复"),
    NoOrder.NOT_ASKED: N_("此线路不向服务器询问"),
    NoOrder.NO_BARCODE: N_("条码无法识读"),
}
STATES = {
    UnansweredState.WAITING: (N_("等待医嘱"), "warn"),
    UnansweredState.ORDER_CAME: (N_("医嘱已到，请重新上机"), "bad"),
    UnansweredState.CLOSED: (N_("已关闭"), "good"),
}
CLOSED = {
    ClosedHow.RESULT: N_("已收到结果"),
    ClosedHow.DONE: N_("已在别处完成"),
    ClosedHow.BY_HAND: N_("人工关闭"),
    ClosedHow.OLD: N_("逾期关闭"),
}


def reason(word: str) -> str:
    """A newer box may know one more: its own word."""
    return REASONS.get(word, word)  # type: ignore[call-overload,no-any-return]
