"""Alipay life-account template message to one follower (``alipay.open.public.message.single.send``).

Which keyword of the hospital's template carries what is a setting. Alipay knows no number of ours for a message, so a
try whose answer was lost may be shown twice; that it is lost instead would be worse.
"""

from __future__ import annotations

from cloud.config import settings
from cloud.kit.jobs import Begin
from cloud.notify.alipay import AlipayAway, AlipayRefused, call
from cloud.notify.errors import DeliveryFailed
from cloud.notify.service import Message
from cloud.notify.subjects import words_of

METHOD = "alipay.open.public.message.single.send"
COLOUR = "#333333"
_LATER = {"isp.unknow-error", "aop.unknow-error", "SYSTEM_ERROR", "isv.app-call-limited"}


def send(_begin: Begin, message: Message) -> str | None:
    known = settings()
    if not known.alipay_app_id or not known.alipay_message_template_id:
        raise DeliveryFailed("alipay_not_configured", permanent=False)
    words = words_of(message)
    context: dict[str, object] = {
        name: {"color": COLOUR, "value": _clean(words[source])}
        for name, source in known.alipay_message_fields.items()
        if words.get(source)
    }
    context |= {"head_color": COLOUR, "url": message.parameters.get("link", ""), "action_name": "查看详情"}
    # A user of the older kind is called by a number that begins with 2088, one of the newer kind by an open id.
    name = "to_user_id" if message.address.startswith("2088") else "to_open_id"
    content = {name: message.address, "template": {"template_id": known.alipay_message_template_id, "context": context}}
    try:
        answer = call(known, METHOD, content)
    except AlipayAway as away:
        raise DeliveryFailed(f"alipay_{away}", permanent=False) from away
    except AlipayRefused as refusal:
        raise DeliveryFailed(f"alipay_{refusal.code}", permanent=refusal.code not in _LATER) from refusal
    receipt = answer.get("msg_id")
    return None if receipt is None else str(receipt)


def _clean(value: str) -> str:
    """Without braces: the library reads an answer that echoes them as forged."""
    return " ".join(value.split()).replace("{", "(").replace("}", ")")[:200]
