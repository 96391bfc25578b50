"""What a page needs to call WeChat's JS-SDK: the signature over its own address with the account's shared ticket.

WeChat gives a ticket for two hours and allows few fetches a day, so it lies in the database like the token: one process
fetches, the others use the old one or come back. Source: WeChat's open documentation, JS-SDK, appendix 1.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import or_, update
from sqlalchemy.dialects.postgresql import insert

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.jobs import Begin
from cloud.notify import wechat
from cloud.notify.errors import DeliveryFailed
from cloud.notify.model import WechatTicket

_REFRESH_BEFORE = timedelta(minutes=5)
_REFRESH_CLAIM = timedelta(seconds=20)


def signed(begin: Begin, address: str) -> dict[str, str | int]:
    """The four words of ``wx.config`` for the page at `address` (its fragment does not count).

    Raises `DeliveryFailed` when WeChat gives no ticket; no transaction may be open.
    """
    nonce, now = secrets.token_hex(8), int(clock.now().timestamp())
    text = f"jsapi_ticket={ticket(begin)}&noncestr={nonce}&timestamp={now}&url={address.partition('#')[0]}"
    signature = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()  # what WeChat asks for
    return {"appId": settings().wechat_app_id, "timestamp": now, "nonceStr": nonce, "signature": signature}


def ticket(begin: Begin) -> str:
    """The shared ticket; fetched by one process when it is missing or about to end."""
    app_id, now = settings().wechat_app_id, clock.now()
    with begin() as session:
        session.execute(insert(WechatTicket).values(app_id=app_id).on_conflict_do_nothing(index_elements=["app_id"]))
        claimed = session.scalar(
            update(WechatTicket)
            .where(
                WechatTicket.app_id == app_id,
                or_(WechatTicket.ticket.is_(None), WechatTicket.expires_at < now + _REFRESH_BEFORE),
                or_(WechatTicket.refreshing_until.is_(None), WechatTicket.refreshing_until < now),
            )
            .values(refreshing_until=now + _REFRESH_CLAIM)
            .returning(WechatTicket.app_id)
        )
        row = session.get_one(WechatTicket, app_id, populate_existing=True)
        kept, ends = row.ticket, row.expires_at
    if claimed is None:
        if kept is None or ends is None or ends <= now:
            raise DeliveryFailed("wechat_ticket_being_fetched", permanent=False)
        return kept
    try:
        answer = wechat.get(begin, "ticket/getticket", {"type": "jsapi"})
        fresh, lasts = str(answer["ticket"]), int(answer.get("expires_in", 7200))
    except (KeyError, ValueError) as error:
        _share(begin, app_id, None, 0)
        raise DeliveryFailed("wechat_ticket_unreadable", permanent=False) from error
    except DeliveryFailed:
        _share(begin, app_id, None, 0)
        raise
    _share(begin, app_id, fresh, lasts)
    return fresh


def _share(begin: Begin, app_id: str, fresh: str | None, lasts_s: int) -> None:
    """Write a fetched ticket; without one, only give the claim back."""
    values: dict[str, object] = {"refreshing_until": None}
    if fresh is not None:
        values |= {"ticket": fresh, "expires_at": clock.now() + timedelta(seconds=lasts_s)}
    with begin() as session:
        session.execute(update(WechatTicket).where(WechatTicket.app_id == app_id).values(**values))
