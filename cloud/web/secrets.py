"""Keys derived from the installation's secret, one for each use. An empty secret is refused in production."""

from __future__ import annotations

import hashlib
import hmac

from cloud.config import Settings, settings

SHORTEST = 32


class NoSecret(RuntimeError):
    """The installation has no secret, or a short one; the message says what to set."""


def check(configured: Settings) -> None:
    """Raise `NoSecret` where the secret would not do or passwords would be hashed cheaply; called at start."""
    secret = configured.secret_key.get_secret_value()
    if len(secret) < SHORTEST and (secret or configured.environment == "production"):
        raise NoSecret(
            f"XINGLIN_SECRET_KEY must have at least {SHORTEST} characters; it signs sessions and page tokens."
            " Make one with: openssl rand -hex 32"
        )
    if configured.hashing != "full" and configured.environment == "production":
        raise NoSecret("XINGLIN_HASHING=least would make stolen password hashes cheap to guess. Unset it.")


def derived_key(purpose: str) -> bytes:
    """32 bytes for one purpose. Demo and test may go without a secret and get a fixed key."""
    configured = settings()
    check(configured)
    secret = configured.secret_key.get_secret_value() or "demonstration only, never in production"
    return hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)
