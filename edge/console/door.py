"""Who may come in: sign-in with the box's key, a token in every form, and a limit on trying.

The socket file is open to whoever may open it. On TCP a request must name the box by an address or a local name (a
stranger's page that makes its own name point at the box is refused), and where others than this machine can come the
key is asked for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge.console.http import Request
from provisioning.console_key import is_key

COOKIE = "xl-box"
SIGNED_IN_S = 12 * 3600
_MOST_SESSIONS = 32
_TRIES, _ONE_MORE_AFTER_S = 5, 20.0
_ALL_TRIES, _ALL_ONE_MORE_AFTER_S = 30, 2.0
_MOST_PEERS = 256


@dataclass(slots=True)
class Bucket:
    """So many at once, then one more after each `refill_s`."""

    most: int
    refill_s: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        self.left = min(float(self.most), self.left + (now - self.at) / self.refill_s)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Door:
    """`key_hash` None: no key is asked for (the page is served to this machine alone)."""

    def __init__(self, key_hash: str | None, now: Callable[[], float] = time.monotonic) -> None:
        self._key_hash = key_hash
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._sessions: dict[str, float] = {}
        self._tries: dict[str, Bucket] = {}
        self._all = Bucket(_ALL_TRIES, _ALL_ONE_MORE_AFTER_S, _ALL_TRIES, now())
        self.failed = 0

    def knows_its_name(self, request: Request) -> bool:
        """Does the request name the box in a way that no stranger's DNS can answer for?"""
        if request.local:
            return True
        host = urlsplit("//" + request.headers.get("host", "")).hostname or ""
        own = socket.gethostname().lower()
        if host in ("localhost", own, own.partition(".")[0]) or host.endswith(".local"):
            return True
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return True

    def is_in(self, request: Request) -> bool:
        if request.local or self._key_hash is None:
            return True
        until = self._sessions.get(_mark(request.cookie(COOKIE)))
        return until is not None and until > self._now()

    def may_try(self, peer: str) -> bool:
        """Counts as a try."""
        now = self._now()
        if len(self._tries) >= _MOST_PEERS and peer not in self._tries:
            self._tries.pop(next(iter(self._tries)))
        own = self._tries.setdefault(peer, Bucket(_TRIES, _ONE_MORE_AFTER_S, _TRIES, now))
        return own.take(now) and self._all.take(now)

    def fits(self, key: str) -> bool:
        """In a thread: it takes its time on purpose."""
        return self._key_hash is not None and len(key) <= 200 and is_key(key, self._key_hash)

    def let_in(self) -> str:
        """The cookie's value of a new session."""
        now = self._now()
        self._sessions = {mark: until for mark, until in self._sessions.items() if until > now}
        while len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        token = secrets.token_urlsafe(32)
        self._sessions[_mark(token)] = now + SIGNED_IN_S
        return token

    def let_out(self, request: Request) -> None:
        self._sessions.pop(_mark(request.cookie(COOKIE)), None)

    def token(self, request: Request) -> str:
        """What a form of this client carries."""
        return hmac.new(self._secret, request.cookie(COOKIE).encode(), "sha256").hexdigest()

    def meant_it(self, request: Request, given: str) -> bool:
        """Did this client's own page send the form?"""
        if request.local:
            return True
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return False
        return hmac.compare_digest(given.encode(), self.token(request).encode())


def _mark(token: str) -> str:
    """Sessions are kept as hashes: looking one up tells nothing by its time."""
    return hashlib.sha256(token.encode()).hexdigest()
