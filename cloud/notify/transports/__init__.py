"""The channels a message can take. A transport is one verb, `send(begin, message) -> receipt`, and one error."""

from __future__ import annotations

from collections.abc import Callable

from cloud.kit.jobs import Begin
from cloud.notify.errors import DeliveryFailed
from cloud.notify.service import ALIPAY, SMS, WECHAT, Message
from cloud.notify.transports import alipay_message, sms, wechat_message

Transport = Callable[[Begin, Message], str | None]

TRANSPORTS: dict[str, Transport] = {
    SMS: sms.send,
    WECHAT: wechat_message.send,
    ALIPAY: alipay_message.send,
}


def send(begin: Begin, message: Message) -> str | None:
    """Hand `message` to its channel with no transaction open; raises `DeliveryFailed`."""
    transport = TRANSPORTS.get(message.transport)
    if transport is None:
        raise DeliveryFailed("no_such_transport", permanent=True)
    return transport(begin, message)
