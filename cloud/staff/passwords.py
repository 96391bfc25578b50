"""Password hashing (argon2id), and what a new password must be.

One check costs some 80 ms and 64 MB: callers run in threads, a few at once.
"""

from __future__ import annotations

import threading
from functools import cache

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from cloud.config import settings
from cloud.kit.errors import Invalid
from cloud.web.i18n import mark as N_

SHORTEST = 10
LONGEST = 256
_at_once = threading.Semaphore(4)
"""A crowd of sign-ins must not take the machine's memory."""


def _hasher() -> PasswordHash:
    return _hasher_for(settings().hashing)


@cache
def _hasher_for(work: str) -> PasswordHash:
    if work == "full":
        return PasswordHash.recommended()
    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


@cache
def _nobodys_hash(work: str) -> str:
    return _hasher_for(work).hash("the password of nobody")


def hash_password(password: str) -> str:
    with _at_once:
        return _hasher().hash(password)


def verify(password: str, stored: str | None) -> bool:
    """True if right. Without an account it takes the same time, so that the answer does not tell which logins exist."""
    if len(password) > LONGEST:
        return False
    with _at_once:
        try:
            right = _hasher().verify(password, stored or _nobodys_hash(settings().hashing))
        except UnknownHashError:
            return False
    return right and stored is not None


def check_new(password: str, login: str) -> None:
    """Raise `Invalid` for a password that is too short, too long, one repeated letter, or the login itself."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid("password_length", N_("密码至少 {shortest} 位。"), shortest=SHORTEST)
    if len(set(password)) < 4 or login.lower() in password.lower():
        raise Invalid("password_weak", N_("密码过于简单：不要重复同一个字符，也不要包含登录名。"))
