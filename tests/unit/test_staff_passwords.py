"""How passwords are hashed: at full cost wherever patients' data are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from cloud import config
from cloud.config import Settings
from cloud.staff import passwords
from cloud.web import secrets

pytestmark = pytest.mark.req("SEC-1")
SECRET = SecretStr("a-key-for-tests-only-0123456789abcdef")


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "test")
    monkeypatch.delenv("XINGLIN_HASHING", raising=False)
    config.settings.cache_clear()
    yield monkeypatch
    config.settings.cache_clear()


def _hash_with(work: pytest.MonkeyPatch, much: str) -> str:
    work.setenv("XINGLIN_HASHING", much)
    config.settings.cache_clear()
    return passwords.hash_password("a right password")


def test_a_password_is_hashed_at_full_cost_unless_a_test_says_otherwise(work: pytest.MonkeyPatch) -> None:
    # RFC 9106, section 4: the second recommended option, 64 MiB, 3 passes, 4 lanes.
    assert passwords.hash_password("a right password").startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert _hash_with(work, "least").startswith("$argon2id$v=19$m=8,t=1,p=1$")


@pytest.mark.parametrize("hashed", ["full", "least"])
@pytest.mark.parametrize("verified", ["full", "least"])
def test_a_right_password_is_right_however_it_was_hashed(work: pytest.MonkeyPatch, hashed: str, verified: str) -> None:
    stored = _hash_with(work, hashed)
    work.setenv("XINGLIN_HASHING", verified)
    config.settings.cache_clear()
    assert passwords.verify("a right password", stored)
    assert not passwords.verify("a wrong password", stored)
    assert not passwords.verify("a right password", None)


def test_production_refuses_to_hash_cheaply() -> None:
    secrets.check(Settings(environment="production", secret_key=SECRET, hashing="full"))
    secrets.check(Settings(environment="test", secret_key=SECRET, hashing="least"))
    with pytest.raises(secrets.NoSecret, match="XINGLIN_HASHING"):
        secrets.check(Settings(environment="production", secret_key=SECRET, hashing="least"))
