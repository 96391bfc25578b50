"""WeChat template message (or, where the account has them, long-term subscription message) to one follower.

Which field of the hospital's template carries what is a setting, because each account picks its own template. Since
2023-05-04 a field holds at most 20 characters and no line break, and the first and last lines are gone.
"""

from __future__ import annotations

from typing import Any

from cloud.config import Settings, settings
from cloud.kit.jobs import Begin
from cloud.notify import wechat
from cloud.notify.errors import DeliveryFailed
from cloud.notify.service import Message
from cloud.notify.subjects import words_of

FIELD_CHARACTERS = 20


def send(begin: Begin, message: Message) -> str | None:
    known = settings()
    if not known.wechat_app_id or not known.wechat_report_template_id:
        raise DeliveryFailed("wechat_not_configured", permanent=False)
    endpoint = "message/template/send" if known.wechat_message_api == "template" else "message/subscribe/bizsend"
    answer = wechat.post(begin, endpoint, _content(message, known))
    receipt = answer.get("msgid")
    return None if receipt is None else str(receipt)


def _content(message: Message, known: Settings) -> dict[str, Any]:
    """The call's body. `client_msg_id` makes WeChat drop a repetition of the same message."""
    words = words_of(message)
    data = {
        name: {"value": _fitting(words[source])}
        for name, source in known.wechat_report_fields.items()
        if words.get(source)
    }
    content: dict[str, Any] = {
        "touser": message.address,
        "template_id": known.wechat_report_template_id,
        "data": data,
    }
    if known.wechat_message_api == "subscribe":
        return {**content, "page": message.parameters.get("link")}
    return {**content, "url": message.parameters.get("link"), "client_msg_id": message.id.hex}


def _fitting(value: str) -> str:
    return " ".join(value.split())[:FIELD_CHARACTERS]
