"""Who is signed in, kept on the server: the cookie is a random token, the row says whose it is and can be revoked.

One table for every realm (``staff``, ``patient``). The database holds only the token's digest.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, LargeBinary, Text, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.web import cookies, csrf

SEEN_EVERY = timedelta(minutes=1)


class WebSession(Identified, Created, Base):
    __tablename__ = "web_session"
    __table_args__ = (Index("ix_web_session_realm_subject_id", "realm", "subject_id"),)

    realm: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[uuid.UUID]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    data: Mapped[dict[str, Any]]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    address: Mapped[str] = mapped_column(Text)
    browser: Mapped[str] = mapped_column(Text)


def _cookie(realm: str) -> str:
    return f"xl_{realm}"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def address_of(request: Request) -> str:
    """The peer's address as the server sees it (uvicorn puts the proxy's word there only for trusted proxies)."""
    return request.client.host if request.client else "unknown"


def open_session(
    session: Session,
    request: Request,
    response: Response,
    *,
    realm: str,
    subject_id: uuid.UUID,
    lasts: timedelta,
    data: dict[str, Any] | None = None,
) -> WebSession:
    """Sign `subject_id` in: ends the browser's session of this realm, opens a new one, renews the page token."""
    close_session(session, request, response, realm=realm)
    token = secrets.token_urlsafe(32)
    now = clock.now()
    opened = WebSession(
        realm=realm,
        subject_id=subject_id,
        token_hash=_hash(token),
        data=data or {},
        seen_at=now,
        expires_at=now + lasts,
        address=address_of(request),
        browser=request.headers.get("user-agent", "")[:200],
    )
    session.add(opened)
    session.flush()
    cookies.write(response, _cookie(realm), token, max_age_s=int(lasts.total_seconds()))
    csrf.renew(request, response)
    return opened


def find_session(session: Session, request: Request, *, realm: str, idle: timedelta | None = None) -> WebSession | None:
    """The browser's live session of this realm; None when there is none, it ended, was revoked or lay idle too long."""
    token = cookies.read(request, _cookie(realm))
    if not token:
        return None
    now = clock.now()
    found = session.scalar(
        select(WebSession).where(
            WebSession.token_hash == _hash(token),
            WebSession.realm == realm,
            WebSession.revoked_at.is_(None),
            WebSession.expires_at > now,
        )
    )
    if found is None or (idle is not None and found.seen_at < now - idle):
        return None
    if found.seen_at < now - SEEN_EVERY:
        found.seen_at = now
    return found


def close_session(session: Session, request: Request, response: Response, *, realm: str) -> None:
    """Sign this browser out of the realm."""
    token = cookies.read(request, _cookie(realm))
    if token:
        revoke = update(WebSession).where(WebSession.token_hash == _hash(token), WebSession.revoked_at.is_(None))
        session.execute(revoke.values(revoked_at=clock.now()))
        cookies.forget(response, _cookie(realm))


def revoke_all(session: Session, *, realm: str, subject_id: uuid.UUID, but: uuid.UUID | None = None) -> None:
    """End every session of one person (disabled, password reset, rights changed), `but` one if given."""
    revoke = update(WebSession).where(
        WebSession.realm == realm, WebSession.subject_id == subject_id, WebSession.revoked_at.is_(None)
    )
    if but is not None:
        revoke = revoke.where(WebSession.id != but)
    session.execute(revoke.values(revoked_at=clock.now()))


def live_sessions(session: Session, *, realm: str, subject_id: uuid.UUID, idle: timedelta) -> list[WebSession]:
    """Where this person is signed in now, the last used first."""
    now = clock.now()
    found = select(WebSession).where(
        WebSession.realm == realm,
        WebSession.subject_id == subject_id,
        WebSession.revoked_at.is_(None),
        WebSession.expires_at > now,
        WebSession.seen_at >= now - idle,
    )
    return list(session.scalars(found.order_by(WebSession.seen_at.desc(), WebSession.id)))


def revoke_one(session: Session, session_id: uuid.UUID, *, realm: str, subject_id: uuid.UUID) -> bool:
    """End one session of this person; False when they have no such session open."""
    revoke = update(WebSession).where(
        WebSession.id == session_id,
        WebSession.realm == realm,
        WebSession.subject_id == subject_id,
        WebSession.revoked_at.is_(None),
    )
    return session.scalar(revoke.values(revoked_at=clock.now()).returning(WebSession.id)) is not None
